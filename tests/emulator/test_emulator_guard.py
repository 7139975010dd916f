"""Web pages can neither read nor change what the emulator holds."""

from __future__ import annotations

import socket

import pytest

EVIL = "http://evil.example"


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "127.0.0.1", "127.8.9.10:7", "[::1]:8080", "[::1]"],
)
def test_names_of_this_machine_pass(emulator, http, host):
    """A Host that is a loopback name passes, whatever its port (a forwarded port is another one)."""
    assert http.get(f"{emulator.url}/_emulator/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0"),
        *("169.254.169.254", "[2001:db8::1]", "a@127.0.0.1@evil.example", "", "[::1", "127.0.0.1, evil.example"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/_emulator/export"), ("POST", "/_emulator/reset"), ("POST", "/import"), ("GET", "/")]
)
def test_other_names_are_refused(emulator, http, host, method, path):
    """A Host that is no loopback name is a 403: by DNS rebinding a page would read what is stored."""
    answer = http.request(method, emulator.url + path, headers={"Host": host})
    assert answer.status_code == 403
    assert "Host" in answer.json()["error"]


@pytest.mark.parametrize("hosts", [b"", b"Host: 127.0.0.1\r\nHost: evil.example\r\n"])
def test_a_host_is_required_once(emulator, hosts):
    """A request without Host, or with two, is a 403."""
    address, port = emulator.url.removeprefix("http://").split(":")
    with socket.create_connection((address, int(port)), timeout=5) as connection:
        connection.sendall(b"GET /_emulator/stats HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost:3000", "https://127.0.0.1", "http://127.0.0.1"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_other_origins_are_refused(emulator, http, send, event, origin, method):
    """A page of another origin, also of another port of this machine, wipes nothing and sets no fault."""
    send(emulator, [event()])
    for path in ("/_emulator/reset", "/_emulator/faults", "/_emulator/limits", "/import?strict=1", "/track"):
        answer = http.request(method, emulator.url + path, headers={"Origin": origin}, auth=("t", ""))
        assert (answer.status_code, "origin" in answer.json()["error"]) == (403, True)
    assert (len(emulator.events()), emulator.faults()) == (1, [])


def test_its_own_page_passes(emulator, http):
    """What the page itself asks passes, under the name it was opened by."""
    port = emulator.url.rsplit(":", 1)[1]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert http.post(f"{emulator.url}/_emulator/reset", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("path", "target", "status"),
    [
        ("/", "document", 200),
        ("/", "iframe", 403),
        ("/_emulator/export", "document", 403),
        ("/track?data=e30=", "image", 403),
        ("/import?data=e30=", "image", 403),
    ],
)
def test_a_link_to_the_page_is_all_that_another_site_may_use(emulator, http, site, path, target, status):
    """A link may lead to the page; an image or a frame of another site gets nothing, though it has no Origin."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": target}
    assert http.get(emulator.url + path, headers=headers).status_code == status


def test_the_page_cannot_be_framed(emulator, http):
    """No other page can show this one and have its buttons pressed."""
    headers = http.get(emulator.url).headers
    assert (headers["X-Frame-Options"], headers["Content-Security-Policy"]) == ("DENY", "frame-ancestors 'none'")
