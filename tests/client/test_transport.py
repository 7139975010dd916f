"""`PooledTransport` over real loopback sockets, against servers that do what servers should not."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from urllib3 import exceptions as _urllib3

from beam_mixpanel.client.client import MixpanelClient
from beam_mixpanel.client.credentials import ServiceAccount
from beam_mixpanel.client.transport import Answer, PooledTransport, _no_answer, abandon_requests
from beam_mixpanel.errors import MixpanelError, NoAnswerError

SECRET = "s3cret-of-the-account"
BASIC = base64.b64encode(f"a-user:{SECRET}".encode()).decode()
PROXY_PASSWORD = "pr0xy-passw0rd"
HEADERS = {"Authorization": f"Basic {BASIC}", "Content-Encoding": "gzip", "User-Agent": "a-test"}
TIMEOUT_SECS = 0.3
MOST_SECS = TIMEOUT_SECS + 1.2
"""The watch looks four times a second; the rest is for machines that are busy. The servers below take longer."""
DRIP_SECS = 0.05
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Received(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """A server's end: reads requests, writes bytes."""

    def __init__(self, sock: socket.socket, server: RawServer) -> None:
        self.sock = sock
        self.server = server
        self._file = sock.makefile("rb")

    def read_request(self) -> Received | None:
        line = self._file.readline().decode().strip()
        if not line:
            return None
        headers = {}
        while header := self._file.readline().decode().strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        request = Received(line, headers, self._file.read(int(headers.get("content-length", "0"))))
        self.server.received.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes) -> None:
        for byte in data:
            if self.server.stopping.wait(DRIP_SECS):
                return
            self.send(bytes([byte]))

    def hang(self) -> None:
        self.server.stopping.wait(10)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Handler = Callable[[Connection], None]


class RawServer:
    """Runs a handler for each connection, in a thread of its own, until it is stopped."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self.stopping = threading.Event()
        self.received: list[Received] = []
        self.connections = 0
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}/import"
        self._threads[0].start()

    def stop(self) -> None:
        self.stopping.set()
        for sock in [self._listener, *self._open]:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._open.append(sock)
                self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, ValueError), ExitStack() as stack:
            stack.enter_context(closing(sock))
            if self._tls:
                sock = stack.enter_context(self._tls.wrap_socket(sock, server_side=True))
                self._open.append(sock)
            connection = Connection(sock, self)
            stack.enter_context(connection._file)
            self._handler(connection)


def answering(*answers: bytes) -> Handler:
    """Answer each request of a connection, the last answer for ever."""

    def handle(connection: Connection) -> None:
        left = list(answers)
        while connection.read_request():
            connection.send(left.pop(0) if len(left) > 1 else left[0])

    return handle


def once(data: bytes) -> Handler:
    """Answer one request with these bytes, and end the connection."""

    def handle(connection: Connection) -> None:
        connection.read_request()
        connection.send(data)

    return handle


def dripping(start: bytes, rest: bytes) -> Handler:
    def handle(connection: Connection) -> None:
        connection.read_request()
        connection.send(start)
        connection.drip(rest)

    return handle


def hanging(connection: Connection) -> None:
    connection.read_request()
    connection.hang()


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


NewServer = Callable[..., RawServer]


@pytest.fixture
def new_server() -> Iterator[NewServer]:
    with ExitStack() as stack:

        def new(handler: Handler, tls: ssl.SSLContext | None = None) -> RawServer:
            server = RawServer(handler, tls)
            stack.callback(server.stop)
            return server

        yield new


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith(("_proxy", "_ca_bundle")) or name == "NETRC":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, no logger at any level may learn a secret."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        text = f"{record.getMessage()} {record.args} {record.exc_info}"
        for secret in (SECRET, BASIC, PROXY_PASSWORD):
            assert secret not in text


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))


def post(url: str, *, body: bytes = b"a body", transport: PooledTransport | None = None) -> Answer:
    return (transport or PooledTransport(total_timeout_secs=5))(url, HEADERS, body)


def post_in_time(url: str, body: bytes = b"a body") -> tuple[NoAnswerError, float]:
    """Send what cannot succeed, within a short time-out; give the error and how long it took."""
    began = time.monotonic()
    error = fail(url, transport=PooledTransport(total_timeout_secs=TIMEOUT_SECS), body=body)
    return error, time.monotonic() - began


def fail(url: str, **options: Any) -> NoAnswerError:
    """Send what cannot succeed, and check that its error tells no secret and keeps no other error."""
    with pytest.raises(NoAnswerError) as caught:
        post(url, **options)
    error = caught.value
    assert error.__cause__ is error.__context__ is None
    for secret in (SECRET, BASIC, PROXY_PASSWORD):
        assert secret not in f"{error} {error!r} {vars(error)}"
    return error


class TestAnswers:
    def test_a_request_arrives_as_it_was_given(self, new_server):
        """Method, path, query, headers and bytes are what the caller gave; the answer is whole, names in lower case."""
        server = new_server(answering(response(b'{"a":1}', "X-Some-Thing: Value")))
        body = bytes(range(256)) * 1000
        answer = post(f"{server.url}?strict=1&project_id=1", body=body)
        assert (answer.status, answer.body, answer.headers["x-some-thing"]) == (200, b'{"a":1}', "Value")
        (request,) = server.received
        assert request.line == "POST /import?strict=1&project_id=1 HTTP/1.1"
        assert request.body == body
        assert {name.lower(): value for name, value in HEADERS.items()}.items() <= request.headers.items()

    @pytest.mark.parametrize("status", [200, 204, 400, 401, 413, 429, 500, 503, 599])
    def test_every_status_is_an_answer(self, new_server, status):
        """No status raises; what it means is not the transport's to say."""
        body = b"" if status == 204 else b"words"
        server = new_server(answering(response(body, "Retry-After: 7", status=f"{status} Any")))
        answer = post(server.url)
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (status, body, "7")

    def test_a_chunked_answer_is_whole(self, new_server):
        """Chunks are joined."""
        server = new_server(
            answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        )
        assert post(server.url).body == b"abc"

    def test_a_gzipped_answer_is_decompressed(self, new_server):
        """The body is given decompressed."""
        server = new_server(answering(response(gzip.compress(b"words"), "Content-Encoding: gzip")))
        assert post(server.url).body == b"words"

    def test_an_answer_that_ends_with_the_connection_is_whole(self, new_server):
        """Without a length, the end of the connection ends the body."""
        server = new_server(once(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwords"))
        assert post(server.url).body == b"words"

    def test_without_credentials_no_header_is_made_up(self, new_server):
        """A request without `Authorization` goes out without one."""
        server = new_server(answering(OK))
        PooledTransport()(server.url, {}, b"a body")
        assert "authorization" not in server.received[0].headers

    def test_an_early_answer_to_a_large_body_is_read(self, new_server):
        """A server that answers before it has read everything is heard."""

        def handle(connection: Connection) -> None:
            connection.sock.recv(1000)
            connection.send(response(b"too large", status="413 Too Large"))
            connection.sock.shutdown(socket.SHUT_WR)
            while connection.sock.recv(1_000_000):
                pass

        assert post(new_server(handle).url, body=b"x" * 5_000_000).status == 413


class TestConnections:
    def test_a_thread_keeps_its_connection(self, new_server):
        """Requests of one thread use one connection, answers of any status included."""
        server = new_server(answering(OK, response(b"no", status="503 No"), OK))
        transport = PooledTransport()
        assert [post(server.url, transport=transport).status for _ in range(4)] == [200, 503, 200, 200]
        assert server.connections == 1

    def test_each_thread_has_its_own(self, new_server):
        """Threads share no connection, and each keeps its own."""
        server = new_server(answering(OK))
        transport = PooledTransport()
        together = threading.Barrier(3)

        def run(_: int) -> None:
            together.wait(5)
            for _ in range(3):
                post(server.url, transport=transport)

        with ThreadPoolExecutor(3) as threads:
            list(threads.map(run, range(3)))
        assert server.connections == 3
        assert len(server.received) == 9

    def test_a_connection_closed_between_requests_is_replaced(self, new_server):
        """A server that closes after each answer costs a new connection, not a failure."""
        server = new_server(once(OK))
        transport = PooledTransport()
        for _ in range(3):
            assert post(server.url, transport=transport).status == 200
            time.sleep(0.02)
        assert server.connections == 3

    def test_a_surplus_answer_is_not_taken_for_the_next(self, new_server):
        """Two answers to one request: the second is not the answer to the next request."""
        surplus = response(b"surplus", status="401 No")
        server = new_server(answering(OK + surplus, OK))
        transport = PooledTransport()
        assert post(server.url, transport=transport).status == 200
        time.sleep(0.02)
        assert post(server.url, transport=transport).status == 200

    def test_a_failed_call_leaves_nothing_behind(self, new_server):
        """After a time-out, the next call of the thread has a connection of its own and its own answer."""

        def handle(connection: Connection) -> None:
            if server.connections == 1:
                dripping(b"HTTP/1.1 503 No\r\nContent-Length: 90\r\n\r\n", b"x" * 90)(connection)
            else:
                answering(OK)(connection)

        server = new_server(handle)
        transport = PooledTransport(total_timeout_secs=TIMEOUT_SECS)
        assert fail(server.url, transport=transport).reason == "timeout"
        assert post(server.url, transport=transport) == post(server.url, transport=transport)
        assert server.connections == 2


SLOW = {
    "never answers": hanging,
    "drips the status": dripping(b"", OK * 10),
    "drips headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X-Header: 1\r\n" * 10),
    "drips the body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"x" * 99),
    "drips a body without length": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 99),
    "drips its last body": dripping(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99\r\n\r\n", b"x" * 99),
    "drips chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 20),
    "drips a redirect": dripping(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 99\r\n\r\n", b"x" * 99),
}


class TestTimeouts:
    @pytest.mark.usefixtures("_trusted")
    @pytest.mark.parametrize("inside_tls", [False, True])
    def test_the_whole_call_ends_in_time(self, new_server, tls, inside_tls):
        """However a server delays its answer, a call ends within its time-out, as a time-out; inside TLS just so."""
        urls = {name: new_server(handler, tls if inside_tls else None).url for name, handler in SLOW.items()}
        with ThreadPoolExecutor(len(SLOW)) as threads:
            calls = {name: threads.submit(post_in_time, url) for name, url in urls.items()}
        ended = {name: call.result() for name, call in calls.items()}
        assert {name: error.reason for name, (error, _) in ended.items()} == dict.fromkeys(SLOW, "timeout")
        assert {name: secs for name, (_, secs) in ended.items() if not TIMEOUT_SECS - 0.01 <= secs < MOST_SECS} == {}

    def test_a_server_that_does_not_read_is_given_up(self, new_server):
        """A body that the server does not take ends in time."""
        error, secs = post_in_time(new_server(Connection.hang).url, body=b"x" * 20_000_000)
        assert error.reason == "timeout"
        assert secs < MOST_SECS

    @pytest.mark.usefixtures("_trusted")
    def test_a_handshake_that_never_ends_is_given_up(self, new_server):
        """A server that accepts and never speaks TLS ends in time."""
        server = new_server(Connection.hang)
        error, secs = post_in_time(server.url.replace("http:", "https:"))
        assert error.reason == "timeout"
        assert secs < MOST_SECS

    def test_a_slow_answer_within_the_time_is_good(self, new_server):
        """Dripping is no fault of itself."""
        assert post(new_server(dripping(OK[:-2], OK[-2:])).url).body == b"ok"

    def test_abandoned_requests_end_at_once(self, new_server):
        """`abandon_requests` ends what is in flight, in every thread, long before its time-out."""
        server = new_server(hanging)
        with ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(fail, server.url) for _ in range(2)]
            while len(server.received) < 2:
                time.sleep(0.005)
            began = time.monotonic()
            abandon_requests()
            assert {call.result(5).reason for call in calls} == {"timeout"}
        assert time.monotonic() - began < 1

    def test_what_is_still_connecting_can_be_abandoned(self):
        """A call without a connection yet ends as a time-out too, when its connecting ends."""
        with socket.socket() as listener, ExitStack() as stack:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            with ThreadPoolExecutor(1) as threads:
                call = threads.submit(post_in_time, f"http://127.0.0.1:{listener.getsockname()[1]}/import")
                time.sleep(0.1)
                abandon_requests()
                error, secs = call.result(5)
        assert error.reason == "timeout"
        assert secs < MOST_SECS


def _reset_at_once(connection: Connection) -> None:
    connection.reset()


def _reset_after_the_request(connection: Connection) -> None:
    connection.read_request()
    connection.reset()


def _reset_in_the_answer(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok")
    time.sleep(0.02)
    connection.reset()


class TestLostConnections:
    @pytest.mark.parametrize(
        "handler",
        [
            pytest.param(_reset_after_the_request, id="reset before the answer"),
            pytest.param(_reset_in_the_answer, id="reset within the answer"),
            pytest.param(once(b""), id="closed without an answer"),
            pytest.param(once(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok"), id="truncated body"),
            pytest.param(once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), id="truncated chunk"),
            pytest.param(once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="no chunk"),
            pytest.param(once(b"no HTTP at all\r\n\r\n"), id="no HTTP"),
            pytest.param(once(b"HTTP/1.1 abc OK\r\n\r\n"), id="no status"),
            pytest.param(once(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 500 + b"\r\n"), id="too many headers"),
            pytest.param(once(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), id="a header without end"),
            pytest.param(once(response(b"x" * 4_100_000)), id="oversized"),
            pytest.param(
                once(response(gzip.compress(b"x" * 40_000_000), "Content-Encoding: gzip")), id="oversized once unpacked"
            ),
            pytest.param(once(response(b"no gzip", "Content-Encoding: gzip")), id="broken gzip"),
        ],
    )
    def test_no_whole_answer_is_a_lost_connection(self, new_server, handler):
        """What is not a whole answer is none, whatever was heard of it."""
        assert fail(new_server(handler).url).reason == "connection_lost"

    def test_a_reset_before_the_request(self, new_server):
        """Whether it comes while connecting or just after, it is a connection that failed, not an answer."""
        assert fail(new_server(_reset_at_once).url).reason in ("connection_failed", "connection_lost")

    def test_a_refused_connection(self):
        """Nobody listens: that is said."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        error = fail(f"http://127.0.0.1:{port}/import")
        assert (error.reason, str(error)) == ("connection_failed", "cannot connect to the server")

    def test_a_name_that_does_not_resolve(self):
        """A host that does not exist: cannot connect."""
        assert fail("https://nosuchhost.invalid/import").reason == "connection_failed"

    def test_errors_belong_to_the_family(self):
        """Whoever catches the package's errors catches these."""
        assert issubclass(NoAnswerError, MixpanelError)


_NO_CONNECTION = _urllib3.NewConnectionError(None, "refused")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.ConnectionError(_urllib3.MaxRetryError(None, "/", _NO_CONNECTION)), "connection_failed"),  # type: ignore[arg-type]
        (requests.ConnectionError(_urllib3.ProtocolError("Aborted", TimeoutError("late"))), "timeout"),
        (requests.ConnectionError(_urllib3.ProtocolError("Aborted", ConnectionResetError())), "connection_lost"),
        (requests.ConnectionError("a text that says TimeoutError or NewConnectionError"), "connection_lost"),
    ],
)
def test_reasons_are_told_by_the_errors_within(error, reason):
    """By their classes, however deep, not by what their text happens to say."""
    assert _no_answer(error).reason == reason


class TestRedirects:
    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
    def test_they_are_answers_and_not_followed(self, new_server, status):
        """The target gets no request; the redirect and its body are the answer."""
        target = new_server(answering(OK))
        server = new_server(answering(response(b"over there", f"Location: {target.url}", status=status)))
        answer = post(server.url)
        assert (answer.status, answer.body) == (int(status[:3]), b"over there")
        assert (target.connections, len(server.received)) == (0, 1)

    @pytest.mark.parametrize("location", ["http://[::1", "//", "", "\xff\xfe", "http://h:x/"])
    def test_a_target_that_makes_no_sense_does_no_harm(self, new_server, location):
        """Nobody looks at where it leads."""
        data = response(b"", "Location: LOCATION", status="302 Found").replace(b"LOCATION", location.encode("latin1"))
        assert post(new_server(answering(data)).url).status == 302


class TestTls:
    def test_a_self_signed_certificate_is_refused(self, new_server, tls):
        """A server that nobody vouches for gets no request, and so no secret."""
        server = new_server(answering(OK), tls)
        error = fail(server.url)
        assert error.reason == "tls_failed"
        assert "certificate" in str(error)
        assert server.received == []

    @pytest.mark.usefixtures("_trusted")
    def test_an_own_ca_bundle_is_trusted(self, new_server, tls):
        """`REQUESTS_CA_BUNDLE` names whom to trust; the connection is kept."""
        server = new_server(answering(OK), tls)
        transport = PooledTransport()
        assert [post(server.url, transport=transport).status for _ in range(2)] == [200, 200]
        assert server.connections == 1

    def test_a_given_ca_bundle_is_trusted_and_no_other(self, new_server, tls, certificate, monkeypatch, tmp_path):
        """`ca_bundle` names whom to trust, above the environment; what it does not vouch for is refused."""
        server = new_server(answering(OK), tls)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())
        assert fail(server.url).reason == "tls_failed"
        assert post(server.url, transport=PooledTransport(ca_bundle=str(certificate))).status == 200
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        others = PooledTransport(ca_bundle=requests.certs.where())
        assert fail(server.url, transport=others).reason == "tls_failed"
        assert len(server.received) == 1

    def test_the_client_hands_the_ca_bundle_on(self, new_server, tls, certificate):
        """`MixpanelClient(ca_bundle=…)` delivers to a server that only the bundle vouches for."""
        server = new_server(answering(response(b'{"code":200,"num_records_imported":1}')), tls)
        client = MixpanelClient(
            ServiceAccount("a-user", SECRET, project_id=1), host=server.url, ca_bundle=str(certificate)
        )
        assert client.import_batch([b'{"event":"e","properties":{}}']).imported == 1

    @pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("no certificate", "PEM form")])
    def test_a_given_ca_bundle_must_be_one(self, tmp_path, content, reason):
        """One that is missing or no PEM file is an error before anything is sent, and names the file."""
        path = tmp_path / "bundle.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(MixpanelError, match=f"bundle.pem: .*{reason}"):
            PooledTransport(ca_bundle=str(path))

    @pytest.mark.usefixtures("_trusted")
    def test_the_name_must_match(self, new_server, tls):
        """A trusted certificate of another name is refused."""
        server = new_server(answering(OK), tls)
        assert fail(server.url.replace("127.0.0.1", "localhost")).reason == "tls_failed"
        assert server.received == []

    @pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_a_ca_bundle_that_does_not_exist_is_an_error_of_its_own(self, monkeypatch, name):
        """It is said at once, rather than tried again until the deadline as a lost connection."""
        monkeypatch.setenv(name, "/no/such/bundle.pem")
        with pytest.raises(MixpanelError, match=r"/no/such/bundle\.pem, which does not exist") as caught:
            post("https://127.0.0.1:9/import")
        assert not isinstance(caught.value, NoAnswerError)

    @pytest.mark.usefixtures("_trusted")
    def test_a_server_without_tls(self, new_server):
        """`https://` to a server that speaks plain HTTP sends it no request."""
        server = new_server(once(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        assert fail(server.url.replace("http:", "https:")).reason == "tls_failed"
        assert not any(SECRET in str(request) or BASIC in str(request) for request in server.received)


def relaying(connection: Connection) -> None:
    """Be a proxy: connect to where the CONNECT says, and carry bytes both ways."""
    request = connection.read_request()
    assert request is not None
    host, _, port = request.line.split()[1].rpartition(":")
    with socket.create_connection((host, int(port))) as target:
        connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_carry, args=(target, connection.sock))
        back.start()
        _carry(connection.sock, target)
        back.join(5)


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for sock in (source, target):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _through(monkeypatch: pytest.MonkeyPatch, address: str, scheme: str = "http") -> None:
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, f"{scheme}://proxy-user:{PROXY_PASSWORD}@{address}")


class TestEnvironment:
    def test_a_netrc_does_not_replace_our_header(self, new_server, monkeypatch, tmp_path):
        """The credentials that are sent are ours, whatever the user's `.netrc` says of the host."""
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login another password another\ndefault login a password b\n")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        server = new_server(answering(OK))
        post(server.url)
        assert server.received[0].headers["authorization"] == f"Basic {BASIC}"

    @pytest.mark.usefixtures("_trusted")
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_proxy_is_used_and_sees_no_secret(self, new_server, monkeypatch, tls, scheme):
        """`https_proxy` is honoured: the proxy gets a CONNECT with its own password, and nothing of ours."""
        proxy = new_server(relaying, tls if scheme == "https" else None)
        server = new_server(answering(OK), tls)
        _through(monkeypatch, proxy.address, scheme)
        transport = PooledTransport(total_timeout_secs=5)
        assert [post(server.url, transport=transport).status for _ in range(2)] == [200, 200]
        (asked,) = proxy.received
        assert asked.line.startswith(f"CONNECT {server.address} ")
        own = base64.b64encode(f"proxy-user:{PROXY_PASSWORD}".encode()).decode()
        assert asked.headers["proxy-authorization"] == f"Basic {own}"
        assert "authorization" not in asked.headers
        assert [request.headers["authorization"] for request in server.received] == [f"Basic {BASIC}"] * 2
        assert "proxy-authorization" not in server.received[0].headers

    @pytest.mark.usefixtures("_trusted")
    def test_no_proxy_is_honoured(self, new_server, monkeypatch, tls):
        """`no_proxy` keeps a host from the proxy."""
        proxy = new_server(relaying)
        server = new_server(answering(OK), tls)
        _through(monkeypatch, proxy.address)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert post(server.url).status == 200
        assert proxy.connections == 0

    def test_what_is_for_this_machine_does_not_leave_it(self, new_server, monkeypatch):
        """`http://` is allowed for this machine only, so it must not carry credentials to a proxy in the clear."""
        proxy = new_server(answering(OK))
        server = new_server(answering(OK))
        _through(monkeypatch, proxy.address)
        assert post(server.url).status == 200
        assert (proxy.connections, len(server.received)) == (0, 1)

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"]
    )
    def test_a_proxy_that_refuses_is_named(self, new_server, monkeypatch, answer):
        """The error says that it is the proxy, not its password."""
        _through(monkeypatch, new_server(once(answer)).address)
        error = fail("https://api.example.com/import")
        assert (error.reason, str(error)) == ("connection_failed", "cannot connect through the proxy")

    @pytest.mark.parametrize(
        "proxy", [f"http://u:{PROXY_PASSWORD}@127.0.0.1:1", f"http://u:{PROXY_PASSWORD}@nosuchproxy.invalid", "http://"]
    )
    def test_a_proxy_that_is_not_there_is_named(self, monkeypatch, proxy):
        """Nobody would look for the fault at the proxy if the error spoke of the server."""
        monkeypatch.setenv("https_proxy", proxy)
        error = fail("https://api.example.com/import")
        assert (error.reason, str(error)) == ("connection_failed", "cannot connect through the proxy")

    @pytest.mark.usefixtures("_trusted")
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_dripping_proxy_is_cut_off(self, new_server, monkeypatch, tls, scheme):
        """A proxy that drips its answer to the CONNECT ends in time."""
        proxy = new_server(dripping(b"", OK * 10), tls if scheme == "https" else None)
        _through(monkeypatch, proxy.address, scheme)
        error, secs = post_in_time("https://api.example.com/import")
        assert error.reason == "timeout"
        assert secs < MOST_SECS

    @pytest.mark.usefixtures("_trusted")
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_dripping_server_behind_a_proxy_is_cut_off(self, new_server, monkeypatch, tls, scheme):
        """TLS within TLS is cut off like a plain connection."""
        server = new_server(dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 99), tls)
        proxy = new_server(relaying, tls if scheme == "https" else None)
        _through(monkeypatch, proxy.address, scheme)
        error, secs = post_in_time(server.url)
        assert error.reason == "timeout"
        assert secs < MOST_SECS


class TestWithTheClient:
    """`MixpanelClient` over these sockets: connections come and go, the books do not."""

    @staticmethod
    def _import_batches(server: RawServer, clock: Any, batches: int) -> list[Any]:
        client = MixpanelClient(
            ServiceAccount("a-user", SECRET, project_id=1),
            host=f"http://{server.address}",
            transport=PooledTransport(total_timeout_secs=5),
            clock=clock,
            sleep=clock.sleep,
        )
        results = []
        for number in range(batches):
            results.append(client.import_batch([b'{"event":"e","properties":{"number":%d}}' % number] * 2))
            time.sleep(0.01)
        return results

    @staticmethod
    def _imports(connection: Connection) -> bool:
        request = connection.read_request()
        if request is None:
            return False
        count = len(json.loads(gzip.decompress(request.body)))
        connection.send(response(json.dumps({"num_records_imported": count}).encode()))
        return True

    def test_connections_closed_between_requests_lose_and_double_nothing(self, new_server, clock):
        """A server that closes after each answer: each batch is sent once and imported."""
        server = new_server(lambda connection: self._imports(connection) and None)
        results = self._import_batches(server, clock, 4)
        assert [(r.imported, r.failures, r.retries, r.unanswered) for r in results] == [(2, [], 0, 0)] * 4
        assert (server.connections, len(server.received)) == (4, 4)

    def test_connections_closed_at_the_next_request_lose_and_double_nothing(self, new_server, clock):
        """A server that drops a kept connection with a request on it: sent again with the same bytes, counted once."""

        def handle(connection: Connection) -> None:
            if self._imports(connection):
                connection.read_request()

        server = new_server(handle)
        results = self._import_batches(server, clock, 4)
        assert [(r.imported, r.failures, r.retries, r.unanswered) for r in results] == [
            (2, [], 0, 0),
            *[(2, [], 1, 1)] * 3,
        ]
        assert len(server.received) == 7
        assert len({request.body for request in server.received}) == 4
