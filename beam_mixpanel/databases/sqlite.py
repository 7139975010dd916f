"""SQLite, read by Python's own driver.

ADBC's takes a column's type from its first rows: a number among text becomes bytes. SQLite's values have types of their
own, so each is read as it is.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_mixpanel.databases.arrow_values import from_python
from beam_mixpanel.databases.database import BATCH_ROWS, Column, ansi_literal, check_distinct, quote_ansi
from beam_mixpanel.databases.url import DatabaseUrl
from beam_mixpanel.errors import DatabaseError, LostConnectionError

if TYPE_CHECKING:
    from beam_mixpanel.databases.database import Rows


class Sqlite:
    """A SQLite file."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url

    def connect(self, snapshot: str = "", *, share: bool = False) -> SqliteSession:
        """Begin to read; each session sees the file as it is when it begins, and snapshots cannot be shared."""
        return SqliteSession(self._url)

    def quote(self, name: str) -> str:
        """Quote a name."""
        return quote_ansi(name)

    def literal(self, value: Any) -> str:
        """Write a number, text or moment in SQL."""
        return ansi_literal(value)


class SqliteSession:
    """A transaction that only reads."""

    snapshot = ""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        file = f"{Path(url.path).absolute().as_uri()}?mode=ro"
        with _explained(url):
            self._connection = sqlite3.connect(file, uri=True, isolation_level=None, check_same_thread=False)
            self._connection.text_factory = _text
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT 1 FROM sqlite_master").fetchone()

    def columns(self, source: str) -> list[Column]:
        """Tell the columns."""
        with _explained(self._url):
            cursor = self._connection.execute(f"SELECT * FROM {source} LIMIT 0")  # noqa: S608 - as the user says
        names = [name for name, *_ in cursor.description or ()]
        check_distinct(names)
        return [Column(name, quote_ansi(name)) for name in names]

    def row(self, sql: str) -> tuple[Any, ...]:
        """Give the first row."""
        with _explained(self._url):
            return tuple(self._connection.execute(sql).fetchone())

    def read(self, sql: str) -> Iterator[Rows]:
        """Give all rows, some thousand at a time."""
        with _explained(self._url):
            cursor = self._connection.execute(sql)
            names = [name for name, *_ in cursor.description]
            while rows := cursor.fetchmany(BATCH_ROWS):
                yield from_python(rows, names)

    def tables(self) -> list[str]:
        """Give tables and views."""
        rows = self._connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        return [name for (name,) in rows]

    def close(self) -> None:
        """End the transaction and the connection."""
        self._connection.close()


def _text(value: bytes) -> str:
    """Read text; what is not UTF-8 keeps its bytes as lone surrogates, so that its row alone is refused."""
    return value.decode(errors="surrogateescape")


@contextlib.contextmanager
def _explained(url: DatabaseUrl) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        message = url.scrub(error)
        if "locked" in message or "busy" in message:
            raise LostConnectionError(f"{url.place} is locked by somebody who writes: {message}") from None
        if "unable to open" in message:
            raise DatabaseError(f"cannot open {url.place}: there is no such file, or it cannot be read") from None
        raise DatabaseError(f"{url.place} refuses: {message}") from None
