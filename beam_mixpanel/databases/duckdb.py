"""DuckDB, which gives Arrow batches itself."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from beam_mixpanel.databases.arrow_values import as_json, without_endless_moments
from beam_mixpanel.databases.database import (
    BATCH_ROWS,
    Column,
    ansi_literal,
    check_distinct,
    python_row,
    quote_ansi,
)
from beam_mixpanel.databases.url import DatabaseUrl
from beam_mixpanel.errors import DatabaseError, LostConnectionError

if TYPE_CHECKING:
    from beam_mixpanel.databases.database import Rows

_ODD: Final = re.compile(
    r"\b(INTERVAL|BIT|TIME WITH TIME ZONE|TIMETZ|TIME_NS|BIGNUM|VARINT|UHUGEINT|UNION|VARIANT|GEOMETRY"
    r"|JSON)\b"
)
"""Types that Arrow has no exact form for, or Python no values."""
_NESTED: Final = re.compile(r"^(?:STRUCT|MAP|UNION)\b|\[\d*\]$")
_WIDE_NUMBERS: Final = ("UHUGEINT", "BIGNUM", "VARINT")
_MOMENTS: Final = ("DATE", "TIMESTAMP")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_JSON_MARK: Final = "json in text: "
"""Begins the name under which a column of JSON is read: to Arrow, DuckDB says only that it is text."""


class DuckDb:
    """A DuckDB file."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url

    def connect(self, snapshot: str = "", *, share: bool = False) -> DuckDbSession:
        """Begin to read; nobody writes to the file while it is open, so all sessions see the same."""
        return DuckDbSession(self._url, _driver())

    def quote(self, name: str) -> str:
        """Quote a name."""
        return quote_ansi(name)

    def literal(self, value: Any) -> str:
        """Write a number, text or moment in SQL."""
        return ansi_literal(value)


def _driver() -> ModuleType:
    try:
        import duckdb
    except ImportError:
        raise DatabaseError("DuckDB needs its package: pip install 'beam-mixpanel[sql]'") from None
    module: ModuleType = duckdb
    return module


class DuckDbSession:
    """A connection that only reads."""

    snapshot = ""

    def __init__(self, url: DatabaseUrl, driver: ModuleType) -> None:
        self._url = url
        self._errors = (driver.Error, OSError)
        self._io_error = driver.IOException
        # What ends a stream of Arrow's batches comes as an OSError, which says nothing of DuckDB's class.
        self._of_a_value = (driver.ConversionException, driver.InvalidInputException, OSError)
        if not os.path.exists(url.path):
            raise DatabaseError(f"cannot open {url.place}: there is no such file")
        with self._explained():
            self._connection = driver.connect(url.path, read_only=True)
            self._connection.execute("SET timezone = 'UTC'")

    def columns(self, source: str) -> list[Column]:
        """Tell the columns."""
        with self._explained():
            described = self._connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
        check_distinct([name for name, *_ in described])
        return [Column(name, _select(name, kind), _finite(name, kind)) for name, kind, *_ in described]

    def row(self, sql: str) -> tuple[Any, ...]:
        """Give the first row."""
        with self._explained():
            return python_row(self._connection.execute(sql).fetchone)

    def read(self, sql: str) -> Iterator[Rows]:
        """Give all rows, some thousand at a time; a relation streams where `execute` would hold the whole result."""
        with self._explained():
            for batch in self._connection.sql(sql).to_arrow_reader(BATCH_ROWS):
                if batch.num_rows:
                    yield without_endless_moments(_with_json(batch))

    def tables(self) -> list[str]:
        """Give tables and views; those of the schema main without it."""
        rows = self._connection.execute("SELECT table_schema, table_name FROM information_schema.tables").fetchall()
        return [name if schema == "main" else f"{schema}.{name}" for schema, name in rows]

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            message = self._url.scrub(str(error).partition("\n\nLINE")[0])
            if isinstance(error, self._io_error) and "lock" in message.lower():
                raise LostConnectionError(f"{self._url.place} is open for writing elsewhere: {message}") from None
            if isinstance(error, self._of_a_value):
                message = _QUOTED.sub("…", message)  # the value that could not be computed with is a row's
            raise DatabaseError(f"{self._url.place} refuses: {message}") from None


def _select(name: str, kind: str) -> str:
    """Write the expression that reads a column."""
    quoted, marked = quote_ansi(name), quote_ansi(_JSON_MARK + name)
    if kind == "JSON" or kind in _WIDE_NUMBERS:
        return f"{quoted}::VARCHAR AS {marked}"
    if _NESTED.search(kind):
        if _ODD.search(kind):
            return f"to_json({quoted})::VARCHAR AS {marked}"
        return quoted
    if _ODD.search(kind) or kind.startswith(("ENUM", "UUID")):
        return f"{quoted}::VARCHAR AS {quoted}"
    return quoted


def _finite(name: str, kind: str) -> str:
    if kind.startswith(_MOMENTS):
        return f"isfinite({quote_ansi(name)})"
    return ""


def _with_json(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Say of the columns that were read as JSON that they are."""
    names = batch.schema.names
    if not any(name.startswith(_JSON_MARK) for name in names):
        return batch
    columns = [
        as_json(column) if name.startswith(_JSON_MARK) else column
        for name, column in zip(names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=[name.removeprefix(_JSON_MARK) for name in names])
