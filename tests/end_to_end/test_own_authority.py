"""A server whose certificate an own authority signed: refused without its bundle, served with it, as people run it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import files_to_mixpanel


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1; its key beside it."""
    path = tmp_path / "authority.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", path.with_suffix(".key"), "-out", path),
        ],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def tls_url(emulator: Emulator, certificate: Path) -> Iterator[str]:
    """The emulator behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    target = urlsplit(emulator.url)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, context, (target.hostname, target.port)), daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket, context: ssl.SSLContext, target: tuple[str, int]) -> None:
    while True:
        try:
            plain, _ = server.accept()
        except OSError:
            return
        try:
            inside = context.wrap_socket(plain, server_side=True)
        except OSError:
            continue
        outside = socket.create_connection(target)
        for pair in ((inside, outside), (outside, inside)):
            threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_the_ca_bundle_decides_whether_anything_is_sent(
    tmp_path: Path,
    emulator: Emulator,
    token_reference: str,
    tls_url: str,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without `--mixpanel_ca_bundle` nothing is sent and the event is undelivered; with it the event arrives."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    properties = {"time": int(time.time() * 1000), "distinct_id": "ann", "$insert_id": "id-1"}
    (tmp_path / "events.ndjson").write_text(json.dumps({"event": "e", "properties": properties}))
    flags = [
        f"--input={tmp_path}/events.ndjson",
        f"--mixpanel_api_host={tls_url}",
        f"--mixpanel_project_token={token_reference}",
        f"--dead_letters={tmp_path}/dead",
        "--mixpanel_on_undelivered=dead_letter",
        "--mixpanel_retry_deadline_secs=0",
    ]
    assert files_to_mixpanel.run(flags) == 3
    (letters,) = tmp_path.glob("dead-*.jsonl")
    assert json.loads(letters.read_text())["reason"] == "tls_failed"
    assert emulator.requests() == []
    assert files_to_mixpanel.run([*flags, f"--mixpanel_ca_bundle={certificate}"]) == 0
    assert len(emulator.events()) == 1
