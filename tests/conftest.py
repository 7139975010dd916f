"""What tests of all levels share."""

from __future__ import annotations

import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_mixpanel.emulator import Emulator

TOKEN_VARIABLE = "TEST_MIXPANEL_TOKEN"


@pytest.fixture(scope="session", autouse=True)
def _temporary_folder() -> Iterator[None]:
    """Beam leaves a temporary folder for each pipeline that is made and never run: here they go with the tests."""
    with tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # PostgreSQL runs as a user of its own
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", folder)
            patch.setattr(tempfile, "tempdir", folder)
            yield


@pytest.fixture
def token_reference(monkeypatch: pytest.MonkeyPatch) -> str:
    """A reference to a project token that the emulator accepts."""
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token")
    return f"env:{TOKEN_VARIABLE}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
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


@pytest.fixture(scope="session")
def tls(certificate: Path) -> ssl.SSLContext:
    """What a server needs to show `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


@pytest.fixture(scope="session")
def _emulator() -> Iterator[Emulator]:
    # Tests of the connector look at what is sent; what Mixpanel makes of it is tested in tests/emulator.
    with Emulator(record_bodies=True, as_sent=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: Emulator) -> Emulator:
    """The session's emulator, emptied and without faults or limits."""
    _emulator.reset()
    _emulator.clear_faults()
    _emulator.set_limits()
    return _emulator
