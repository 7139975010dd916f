"""A PostgreSQL server of our own, for tests and measurements: made, started and removed again."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

USER = "app"


class PostgresMissingError(Exception):
    """There is no PostgreSQL on this machine; says how to get it."""


class PrivatePostgres:
    """A server on a free port of this machine, in a folder that is removed when the block ends.

    Root cannot run it, so there it belongs to the user `postgres` (or `nobody`).

    Raises:
      PostgresMissingError: it is not installed.
    """

    def __init__(self) -> None:
        self._programs = _programs()
        self.password = f"pw-{secrets.token_hex(8)}"

    def __enter__(self) -> PrivatePostgres:
        """Make a cluster and start it."""
        self._folder = Path(tempfile.mkdtemp(prefix="private-postgres-"))
        self._user = _server_user()
        if self._user:
            shutil.chown(self._folder, self._user)
        self.port = _free_port()
        password_file = self._folder / "password"
        password_file.write_text(self.password)
        data = str(self._folder / "data")
        self._data = data
        try:
            self._run(
                "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={password_file}", "--no-sync",
                "-E", "UTF8", "--no-locale",
            )  # fmt: skip
            settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder} -c fsync=off"
            self._run("pg_ctl", "-D", data, "-w", "-l", str(self._folder / "log"), "-o", settings, "start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove everything."""
        if os.path.exists(os.path.join(self._data, "postmaster.pid")):
            self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """Where it is, with the password."""
        return self.url_of(self.password)

    def url_of(self, password: str) -> str:
        """Where it is, with another password."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/postgres"

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        """Give a cursor that commits each statement."""
        import adbc_driver_postgresql.dbapi as driver

        with driver.connect(self.url, autocommit=True) as connection, connection.cursor() as cursor:
            yield cursor

    def serve_tls(self, certificate: Path, key: Path) -> None:
        """Begin anew, and take connections with TLS, too."""
        for file, setting in ((certificate, "ssl_cert_file"), (key, "ssl_key_file")):
            copy = shutil.copy(file, self._folder)
            if self._user:
                shutil.chown(copy, self._user)
            os.chmod(copy, 0o600)
            self.execute(f"ALTER SYSTEM SET {setting} = '{copy}'")
        self.execute("ALTER SYSTEM SET ssl = on")
        self._run("pg_ctl", "-D", self._data, "-w", "-l", str(self._folder / "log"), "restart")

    def execute(self, *statements: str) -> None:
        """Run statements."""
        with self.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Give the rows of a query."""
        with self.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs; into a file, since a server that it starts would keep a pipe open."""
        output = self._folder / "output"
        with output.open("wb") as file:
            done = subprocess.run(
                [self._programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                user=self._user,
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {output.read_text()}")


def _programs() -> Path:
    """Find the newest server's programs."""
    folders = sorted(glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(Path(path).parent.name))
    on_path = shutil.which("initdb")
    for folder in ([os.path.dirname(os.path.realpath(on_path))] if on_path else []) + folders[::-1]:
        if os.path.exists(os.path.join(folder, "pg_ctl")):
            return Path(folder)
    raise PostgresMissingError("PostgreSQL is not installed; run scripts/install-databases")


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
