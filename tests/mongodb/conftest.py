"""A server that speaks MongoDB's protocol; or another one, named by `BEAM_MIXPANEL_MONGODB_URL`."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pymongo import MongoClient
from pymongo.database import Database

ROOT = Path(__file__).parents[2]
JARS = Path(os.environ.get("BEAM_MIXPANEL_ENGINES") or ROOT / ".engines") / "mongodb"
PROGRAM = Path(__file__).with_name("Server.java")
REQUIRED = os.environ.get("BEAM_MIXPANEL_REQUIRE_MONGODB") == "1"
OTHER_SERVER = os.environ.get("BEAM_MIXPANEL_MONGODB_URL", "")
"""Of a real MongoDB, say; the tests make databases of their own there, and drop them."""
VARIABLE = "TEST_MONGODB_URL"


def _missing(why: str) -> NoReturn:
    """Skip the test, or fail it where the server is required."""
    why = f"no server of MongoDB's protocol: {why}; see scripts/fetch-mongodb"
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


class Server:
    """A server in a process of its own."""

    def __init__(self) -> None:
        if not shutil.which("java"):
            _missing("no java")
        if not JARS.is_dir():
            _missing(f"nothing in {JARS}")
        self._process = subprocess.Popen(
            ["java", "-Xmx512m", "-cp", f"{JARS}/*", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            _missing(f"java ended with {self._process.wait()}")
        self.port = int(port)

    def stop(self) -> None:
        """End it, as a crash would."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of the session's server."""
    if OTHER_SERVER:
        yield OTHER_SERVER
        return
    server = Server()
    yield f"mongodb://127.0.0.1:{server.port}/?directConnection=true"
    server.stop()


@pytest.fixture
def reference(server_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A reference to the server's URL."""
    monkeypatch.setenv(VARIABLE, server_url)
    return f"env:{VARIABLE}"


@pytest.fixture
def database(server_url: str) -> Iterator[Database[Any]]:
    """An empty database of the test's own."""
    client: MongoClient[Any]
    with MongoClient(server_url, datetime_conversion="DATETIME_AUTO", tz_aware=True) as client:
        name = f"test_{uuid.uuid4().hex}"
        yield client[name]
        client.drop_database(name)
