"""What the reader needs of a database, whichever it is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from beam_mixpanel.errors import DatabaseError

if TYPE_CHECKING:
    import pyarrow as pa

    Rows: TypeAlias = pa.RecordBatch | list[Mapping[str, Any]]
    """Rows as an Arrow record batch, or as dicts where a column's values have several types."""

BATCH_ROWS: Final = 8192
BATCH_BYTES: Final = 1 << 20
"""About so much is in memory at once for each reader; larger batches were no faster."""

_NAME_PARTS: Final = re.compile(r'"(?:[^"]|"")+"|`(?:[^`]|``)+`|\[[^\]]+\]|[^."`\[\]]+')
_QUOTES: Final = ('"', "`", "[")


class Column(NamedTuple):
    """A column of what is read.

    Attributes:
      name: as the rows call it.
      select: the expression that reads it in a form that has an exact JSON value.
      finite: a condition that leaves out infinite moments and what is no number; empty where there is no such value.
    """

    name: str
    select: str
    finite: str = ""


class Session(Protocol):
    """A connection in a transaction that only reads.

    Attributes:
      snapshot: names what this session sees, for others to see it while this one lasts; empty where that cannot be.
    """

    snapshot: str

    def columns(self, source: str) -> list[Column]:
        """Tell the columns of what stands behind FROM, without reading a row."""

    def row(self, sql: str) -> tuple[Any, ...]:
        """Give the first row."""

    def read(self, sql: str) -> Iterator[Rows]:
        """Give all rows, a batch at a time."""

    def tables(self) -> list[str]:
        """Give the names of tables and views that can be read."""

    def close(self) -> None:
        """End the transaction and the connection."""


class Database(Protocol):
    """A kind of database, and where it is."""

    def connect(self, snapshot: str = "", *, share: bool = False) -> Session:
        """Begin to read.

        Args:
          snapshot: what another session shares; empty to see the present.
          share: make a snapshot that others can read while this session lasts, where the database can.

        Raises:
          LostConnectionError: it cannot be reached.
          LostSnapshotError: the snapshot has ended.
          DatabaseError: it refuses, or its driver is not installed.
        """

    def quote(self, name: str) -> str:
        """Write a name so that it means exactly this one."""

    def literal(self, value: Any) -> str:
        """Write a number, text or moment in SQL."""


def python_row(fetch: Callable[[], Any]) -> tuple[Any, ...]:
    """Fetch a row as Python values.

    Raises:
      DatabaseError: it holds a moment that Python has no value for.
    """
    try:
        return tuple(fetch())
    except (OverflowError, ValueError):
        raise DatabaseError(
            "a bound of the column is a moment before the year 1 or past 9999; choose another column, or leave such "
            "rows out in a `query`"
        ) from None


def quote_table(database: Database, table: str) -> str:
    """Quote `table` or `schema.table`, whose parts may be quoted already."""
    parts = [part.strip() for part in _NAME_PARTS.findall(table)]
    return ".".join(part if part.startswith(_QUOTES) else database.quote(part) for part in parts if part)


def quote_ansi(name: str) -> str:
    """Quote a name as standard SQL does."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def quote_text(text: str) -> str:
    """Quote text as standard SQL does."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def ansi_literal(value: Any) -> str:
    """Write a number, text or moment as standard SQL does, with the types of PostgreSQL and DuckDB.

    SQLite has no moments, and so is never asked for one. SQLAlchemy writes values as each dialect does; BigQuery's SQL
    is made without a connection (`core/sources/bigquery_sql.py`) and has other types and quotes.
    """
    if isinstance(value, datetime):
        kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
        return f"{kind} '{value.isoformat(' ')}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return quote_text(value)
    return str(value)


def check_distinct(names: Iterable[str]) -> None:
    """Refuse columns that cannot be told apart.

    Raises:
      DatabaseError: two have the same name, or one has none.
    """
    seen: set[str] = set()
    for name in names:
        if not name:
            raise DatabaseError("the query gives a column without a name; name it with AS")
        if name in seen:
            raise DatabaseError(f"the query gives two columns {name!r}; name each differently with AS")
        seen.add(name)


def find_column(columns: Sequence[Column], name: str, role: str) -> Column:
    """Give the column of this name.

    Raises:
      DatabaseError: there is none; the message names those that there are.
    """
    for column in columns:
        if column.name == name:
            return column
    names = [column.name for column in columns]
    raise DatabaseError(f"there is no {role} {name!r}{near(name, names)}; the columns are {', '.join(names)}")


def near(name: str, names: Sequence[str]) -> str:
    """Ask for the most similar names, in the form `; did you mean …?`; empty where none is."""
    by_folded = {each.lower(): each for each in names}
    folded = difflib.get_close_matches(name.lower(), list(by_folded), 3, 0.6)
    if folded:
        return f"; did you mean {' or '.join(by_folded[each] for each in folded)}?"
    return ""
