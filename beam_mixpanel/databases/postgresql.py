"""PostgreSQL, read by ADBC in Arrow batches: a tenth of the CPU that rows of Python objects take."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import pyarrow as pa

from beam_mixpanel.databases.arrow_values import as_json, from_numeric, without_endless_moments
from beam_mixpanel.databases.database import (
    BATCH_BYTES,
    Column,
    ansi_literal,
    check_distinct,
    python_row,
    quote_ansi,
    quote_text,
)
from beam_mixpanel.databases.url import DatabaseUrl
from beam_mixpanel.errors import DatabaseError, LostConnectionError, LostSnapshotError, MixpanelError

if TYPE_CHECKING:
    from beam_mixpanel.databases.database import Rows

_TYPE: Final = b"POSTGRESQL:type"
_TYPE_MODIFIER: Final = b"POSTGRESQL:typmod"
_MOMENTS: Final = frozenset(("date", "timestamp", "timestamptz"))
_JSON: Final = frozenset(("json", "jsonb"))
_AS_IS: Final = frozenset(
    (
        *("bool", "int2", "int4", "int8", "float4", "float8", "numeric"),
        *("text", "varchar", "bpchar", "name", "bytea", "time", *_MOMENTS, *_JSON),
    )
)
_CASTS: Final = {"oid": "{}::int8", "money": "{}::numeric", "hstore": "to_jsonb({})"}
_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SETTINGS: Final = (
    "SET timezone = 'UTC'",
    "SET intervalstyle = 'iso_8601'",
    "SET idle_in_transaction_session_timeout = 0",
)
"""Moments and spans are written one way on every server; a shared snapshot lasts as long as the job."""
_DEFAULTS: Final = {"connect_timeout": "30", "application_name": "beam_mixpanel"}

_LOST_STATES: Final = ("08", "57P0", "53300", "40001")
"""Connection exceptions, shutdowns, too many connections, a standby's conflict with recovery.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_LOST_WORDS: Final = re.compile(
    "server closed the connection|connection (?:reset|refused|timed out|not open)|terminating connection|SSL connection"
    "|SSL SYSCALL|could not (?:receive|send) data|no connection to the server|conflict with recovery",
    re.IGNORECASE,
)
_CANCELLED_WORDS: Final = "canceling statement due to user request"
_UNKNOWN_USER_WORDS: Final = re.compile("authentication|no password|role .* does not exist|pg_hba")
_TLS_WORDS: Final = re.compile("SSL was required|certificate|sslmode")
_WRONG_URL_WORDS: Final = re.compile(
    f"database .* does not exist|invalid (?:URI query parameter|connection option|.* value)|{_TLS_WORDS.pattern}"
)
"""No other attempt would help."""
_QUOTED: Final = re.compile(r'"[^"]*"')


class PostgreSql:
    """A PostgreSQL database."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url

    def connect(self, snapshot: str = "", *, share: bool = False) -> PostgreSqlSession:
        """Begin a transaction that sees one state of the database from beginning to end."""
        return PostgreSqlSession(self._url, _driver(), snapshot, share)

    def quote(self, name: str) -> str:
        """Quote a name."""
        return quote_ansi(name)

    def literal(self, value: Any) -> str:
        """Write a number, text or moment in SQL."""
        return ansi_literal(value)


def _driver() -> ModuleType:
    try:
        import adbc_driver_postgresql.dbapi as driver
    except ImportError:
        raise DatabaseError("PostgreSQL needs its driver: pip install 'beam-mixpanel[sql]'") from None
    module: ModuleType = driver
    return module


class PostgreSqlSession:
    """A transaction that only reads."""

    def __init__(self, url: DatabaseUrl, driver: ModuleType, snapshot: str, share: bool) -> None:
        self._url = url
        self._errors = (driver.Error, OSError)
        self._connection = self._connect(driver)
        try:
            self.snapshot = self._begin(snapshot, share)
        except MixpanelError:
            self.close()
            raise

    def _connect(self, driver: ModuleType) -> Any:
        url = self._url
        missing = {key: value for key, value in _DEFAULTS.items() if key not in url.query}
        added = ""
        if missing:
            separator = {True: "&", False: "?"}[bool(url.query)]
            added = f"{separator}{urlencode(missing)}"
        try:
            return driver.connect(f"{url.text}{added}", autocommit=True)
        except self._errors as error:
            reason = url.scrub(error).replace(added, "").rpartition("failed: ")[2]
        # Raised out here, it does not keep the driver's error, which may hold the password.
        if _UNKNOWN_USER_WORDS.search(reason):
            raise DatabaseError(
                f"{url.place} refuses the user name or password: {reason}; check the URL that the reference names"
            )
        if _TLS_WORDS.search(reason):
            reason += "; see sslmode and sslrootcert in https://www.postgresql.org/docs/current/libpq-ssl.html"
        message = f"cannot connect to {url.place}: {reason}"
        if _WRONG_URL_WORDS.search(reason):
            raise DatabaseError(message)
        raise LostConnectionError(message)

    def _begin(self, snapshot: str, share: bool) -> str:
        for statement in _SETTINGS:
            self._execute(statement)
        self._execute(_BEGIN)
        if snapshot:
            try:
                self._execute(f"SET TRANSACTION SNAPSHOT {quote_text(snapshot)}")
            except DatabaseError:
                raise LostSnapshotError("the shared snapshot has ended with the connection that held it") from None
        if share:
            return self._export()
        return snapshot

    def _export(self) -> str:
        """Share this transaction's snapshot; servers that only speak PostgreSQL's protocol cannot."""
        try:
            return str(self.row("SELECT pg_export_snapshot()")[0])
        except DatabaseError:
            self._execute("ROLLBACK")
            self._execute(_BEGIN)
            return ""

    def _execute(self, sql: str) -> None:
        with self._cursor() as cursor:
            cursor.execute(sql)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            try:
                cursor = self._connection.cursor()
                stack.callback(self._close, cursor)
                yield cursor
            except self._errors as error:
                failure = KeyboardInterrupt() if _is_interrupt(error) else _explain(error, self._url)
            else:
                return
        raise failure from None

    def _close(self, thing: Any) -> None:
        """Close what may be broken already."""
        with contextlib.suppress(*self._errors, RuntimeError):
            thing.close()

    def columns(self, source: str) -> list[Column]:
        """Tell the columns, each with a cast where its type has no exact form in Arrow."""
        with self._cursor() as cursor:
            cursor.execute(f"SELECT * FROM {source} LIMIT 0")  # noqa: S608 - as the user says
            schema = cursor.fetch_record_batch().schema
        check_distinct(schema.names)
        return [Column(field.name, _select(field), _finite(field)) for field in schema]

    def row(self, sql: str) -> tuple[Any, ...]:
        """Give the first row."""
        with self._cursor() as cursor:
            cursor.execute(sql)
            first = next(batch for batch in cursor.fetch_record_batch() if batch.num_rows)
            values = python_row(lambda: [column[0].as_py() for column in first.columns])
        return tuple(_number(value, field) for value, field in zip(values, first.schema, strict=True))

    def read(self, sql: str) -> Iterator[Rows]:
        """Give all rows, about a megabyte at a time."""
        with self._cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            cursor.execute(sql)
            for batch in cursor.fetch_record_batch():
                if batch.num_rows:
                    yield without_endless_moments(_exact(batch))

    def tables(self) -> list[str]:
        """Give tables and views; those of the search path without their schema."""
        with self._cursor() as cursor:
            cursor.execute(
                "SELECT CASE WHEN table_schema = ANY (current_schemas(false)) THEN table_name::text "
                "ELSE table_schema || '.' || table_name END FROM information_schema.tables "
                "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
            )
            return [name for (name,) in cursor.fetchall()]

    def close(self) -> None:
        """End the transaction and the connection."""
        self._close(self._connection)


def _type_of(field: pa.Field) -> str:
    return str((field.metadata or {}).get(_TYPE, b"").decode())


def _select(field: pa.Field) -> str:
    """Write the expression that reads a column; what the driver gives as bytes or flattens is cast by the server."""
    name, kind = quote_ansi(field.name), _type_of(field)
    if kind in _AS_IS:
        return name
    cast = "to_jsonb({})" if pa.types.is_nested(field.type) else _CASTS.get(kind, "{}::text")
    return f"{cast.format(name)} AS {name}"


def _finite(field: pa.Field) -> str:
    """Write the condition that leaves out infinite values; text, since servers before 14 know no infinite `numeric`."""
    name, kind = quote_ansi(field.name), _type_of(field)
    if kind == "numeric":
        return f"{name}::text NOT IN ('NaN', 'Infinity', '-Infinity')"
    if kind in _MOMENTS:
        return f"isfinite({name})"
    return ""


def _number(value: Any, field: pa.Field) -> Any:
    """Make a number of a `numeric`, which the driver gives as text."""
    if _type_of(field) == "numeric" and value is not None:
        return Decimal(value)
    return value


def _exact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Make numbers of `numeric`, which the driver gives as text."""
    columns = [_exact_column(column, field) for column, field in zip(batch.columns, batch.schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _exact_column(column: pa.Array, field: pa.Field) -> pa.Array:
    kind = _type_of(field)
    if kind == "numeric":
        return from_numeric(column, *_precision_and_scale(int((field.metadata or {}).get(_TYPE_MODIFIER, b"-1"))))
    if kind in _JSON:
        return as_json(column)
    return column


def _precision_and_scale(modifier: int) -> tuple[int, int]:
    """Read how a `numeric` was declared; the scale has eleven bits, one for the sign.

    Source: https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/numeric.c
    """
    if modifier < 0:
        return 0, 0
    scale = (modifier - 4) & 0x7FF
    return ((modifier - 4) >> 16) & 0xFFFF, (scale ^ 0x400) - 0x400


def _is_interrupt(error: Exception) -> bool:
    """Tell whether Ctrl-C ended a statement: in the main thread the driver takes the signal, and cancels what runs.

    Source: https://github.com/apache/arrow-adbc/blob/main/python/adbc_driver_manager/adbc_driver_manager/_lib.pyx
    """
    return threading.current_thread() is threading.main_thread() and _CANCELLED_WORDS in str(error)


def _explain(error: Exception, url: DatabaseUrl) -> DatabaseError | LostConnectionError:
    state = getattr(error, "sqlstate", None) or ""
    primary = dict(getattr(error, "details", ())).get(b"PG_DIAG_MESSAGE_PRIMARY")
    message = url.scrub(primary.decode(errors="replace") if primary else error)
    if state.startswith(_LOST_STATES) or _LOST_WORDS.search(message):
        return LostConnectionError(f"the connection to {url.place} was lost: {message}")
    if not state or state.startswith("22"):
        message = _QUOTED.sub('"…"', message)  # the value that could not be computed with is a row's
    return DatabaseError(f"{url.place} refuses: {message}")
