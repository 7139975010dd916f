"""What to read of a database, cut into parts that workers read independently, each row in one of them."""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from beam_mixpanel.core import arguments
from beam_mixpanel.core.arguments import check_flag, check_text, check_whole_number, optional
from beam_mixpanel.core.sending.backoff import delay_secs
from beam_mixpanel.core.sources.increments import Increment, Mark, State
from beam_mixpanel.core.sources.key_ranges import KeyRange, split_range
from beam_mixpanel.databases.database import Column, Database, Session, check_distinct, find_column, near, quote_table
from beam_mixpanel.databases.duckdb import DuckDb
from beam_mixpanel.databases.postgresql import PostgreSql
from beam_mixpanel.databases.sqlalchemy import SqlAlchemy
from beam_mixpanel.databases.sqlite import Sqlite
from beam_mixpanel.databases.url import Connection, DatabaseUrl
from beam_mixpanel.errors import DatabaseError, LostConnectionError, LostSnapshotError

if TYPE_CHECKING:
    from beam_mixpanel.databases.database import Rows

MOST_ATTEMPTS: Final = 6
"""With the waits between them, a partition outlives a restart of its database of one or two minutes."""
MOST_PARTITIONS: Final = 10_000
"""Each has its query in the job's graph, and makes a connection of its own; Dataflow takes graphs of up to 10 MB.
https://cloud.google.com/dataflow/docs/request-quotas"""
_DATABASES: Final[dict[str, Callable[[DatabaseUrl], Database]]] = {
    "postgresql": PostgreSql,
    "postgres": PostgreSql,
    "sqlite": Sqlite,
    "duckdb": DuckDb,
}

_MICROSECOND: Final = timedelta(microseconds=1)

_log = logging.getLogger(__name__)


def database_of(url: DatabaseUrl) -> Database:
    """Choose how to read a database; one that a URL names with a driver of its own is left to SQLAlchemy."""
    return _DATABASES.get(url.scheme, SqlAlchemy)(url)


class Part(NamedTuple):
    """Some of the rows.

    Attributes:
      name: what dead letters say of where a row is from.
      sql: reads them.
    """

    name: str
    sql: str


class SqlReading:
    """A table or a query, looked at and cut into parts, and the snapshot in which they are read.

    While it is open, the parts of a PostgreSQL database see one state of it, wherever they are read. Close it when the
    job has ended.

    Args:
      connection: a reference to the database's URL, as for secrets; or the URL of a SQLite or DuckDB file.
      table: `table` or `schema.table`.
      query: one SELECT, instead of a table.
      share: whether the parts see one state; if not, each sees the one at its own beginning, and the reading may be
        closed before they are read.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: the connection is no reference, or there is not exactly one of table and query.
      DatabaseError: the database cannot be read; the message names the cure.
    """

    def __init__(
        self, connection: str, *, table: str | None = None, query: str | None = None, share: bool = True
    ) -> None:
        optional(check_text, "table", table, "TABLE or SCHEMA.TABLE")
        optional(check_text, "query", query, "one SELECT")
        check_flag("share", share)
        if bool(table) == bool(query):
            raise ValueError(f"give a `table` or a `query`{', not both' if table else ''}")
        self.connection = Connection(connection)
        url = self.connection.url()
        self.address = url.address
        """Where it reads, without a secret."""
        self._database = database_of(url)
        self._table = table or ""
        self._query = (query or "").strip().rstrip(";")
        self._session = self._database.connect(share=share)
        with self._closed_at_failure():
            self._columns = self._look()
        self._chosen = self._columns
        self._conditions: list[str] = []
        self._ranges: list[str] = []
        self.mark: Mark | None = None
        """The greatest value of the cursor column that is read."""
        self.highest: Mark | None = None
        """The greatest value of the cursor column that there is."""
        self.finds_nothing = False
        """Whether it is known that no row fulfils the bounds."""

    @contextlib.contextmanager
    def _closed_at_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _look(self) -> list[Column]:
        try:
            return self._session.columns(self._source)
        except DatabaseError as error:
            failure = error
        if self._table:
            with contextlib.closing(self._database.connect()) as session:
                tables = session.tables()
            if self._table not in tables:
                listed = near(self._table, tables) or f"; there are {', '.join(sorted(tables)[:20]) or 'no tables'}"
                raise DatabaseError(f"cannot read the table {self._table!r}{listed} ({failure})")
        raise failure from None

    @property
    def _source(self) -> str:
        if self._table:
            return quote_table(self._database, self._table)
        return f"(\n{self._query}\n) rows_read"

    @property
    def name(self) -> str:
        """What is read, for people: the table's name, or `query`."""
        return self._table or "query"

    @property
    def columns(self) -> list[str]:
        """The names of all columns that there are."""
        return [column.name for column in self._columns]

    @property
    def snapshot(self) -> str:
        """The name of the state that all parts see; empty where each sees the state at its own beginning."""
        return self._session.snapshot

    def choose(self, columns: Sequence[str]) -> None:
        """Read these columns only.

        Raises:
          DatabaseError: one of them does not exist.
        """
        names = arguments.check_names("columns", columns, "columns")
        check_distinct(names)
        self._chosen = [find_column(self._columns, name, "column") for name in names] or self._columns

    def select_new(self, increment: Increment, state: State | None = None, zone: tzinfo = timezone.utc) -> None:
        """Read the rows of an increment only, up to the greatest value that there is now.

        Rows whose cursor column is null, NaN or infinite are read while there is no lower bound.

        Raises:
          DatabaseError: there is no such column.
          IncrementalError: the bounds do not suit it.
        """
        increment.check()
        column = self._quoted(increment.cursor_column, "cursor column")
        rest = self._rest(column)
        highest = self._bounds(column)[1]
        if highest is None:
            self.finds_nothing = increment.since is not None or state is not None
            return
        self.highest = _plain_number(highest)
        lower, upper = increment.bounds(self.highest, state, zone)
        literal = self._database.literal
        bounds = [f"{column.expression} >= {literal(lower)}"] if lower is not None else []
        if upper is not None:
            bounds.append(f"{column.expression} < {literal(upper)}")
        self._conditions += [*bounds, *column.finite]
        self.mark = _plain_number(self._bounds(column)[1])
        self._conditions.clear()
        if self.mark is None:
            self.finds_nothing = True
            return
        if upper is None:
            bounds.append(f"{column.expression} {_up_to(self.mark, literal)}")
        window = " AND ".join(bounds)
        self._conditions.append(window if lower is not None else f"({window} OR {rest})")

    def split(self, partition_column: str, partitions: int) -> None:
        """Cut what is read into ranges of a column that holds integers, days or moments.

        Rows where the column is null, NaN or infinite are a part of their own. The bounds are those of now: rows
        that arrive later with greater values are left to the next run.

        Raises:
          DatabaseError: there is no such column, or it holds something else.
          ValueError: partitions is less than 1, or more than a job's graph should hold.
        """
        check_text("partition_column", partition_column, "the name of a column")
        check_whole_number("partitions", partitions, 1, MOST_PARTITIONS)
        column = self._quoted(partition_column, "partition column")
        low, high = self._bounds(column)
        self._ranges = [f"({self._rest(column)})"]
        if low is None:
            return
        for bound in (low, high):
            if not isinstance(bound, (int, Decimal, datetime, date)) or isinstance(bound, bool):
                raise DatabaseError(
                    f"the partition column {partition_column!r} holds values of type {type(bound).__name__}; choose "
                    "one of integers, dates or timestamps, or cast it in a `query`"
                )
        ranges = split_range(_plain_number(low), _plain_number(high), partitions)
        within = [self._within(column.expression, each) for each in ranges]
        if isinstance(high, datetime):
            from_last_cut = self._within(column.expression, ranges[-1]._replace(high=None))
            within[-1] = f"{from_last_cut} AND {column.expression} {_up_to(high, self._database.literal)}"
        self._ranges = [*within, *self._ranges]

    def _quoted(self, name: str, role: str) -> _Quoted:
        column = find_column(self._columns, name, role)
        return _Quoted(f"{role} {name!r}", self._database.quote(name), [column.finite] if column.finite else [])

    def _rest(self, column: _Quoted) -> str:
        """Give the condition of the rows that are in no range."""
        return " OR ".join([f"{column.expression} IS NULL", *(f"NOT ({finite})" for finite in column.finite)])

    def _bounds(self, column: _Quoted) -> tuple[Any, Any]:
        conditions = [*self._conditions, *column.finite]
        expression = column.expression
        try:
            low, high = self._session.row(
                f"SELECT min({expression}), max({expression}) FROM {self._source}{_where(conditions)}"  # noqa: S608
            )
        except DatabaseError as error:
            raise DatabaseError(
                f"cannot tell the least and the greatest value of the {column.role}: {error}; choose one of integers, "
                "dates or timestamps"
            ) from None
        return low, high

    def _within(self, expression: str, keys: KeyRange) -> str:
        literal = self._database.literal
        ends = [f"{expression} >= {literal(keys.low)}"]
        if keys.high is not None:
            ends.append(f"{expression} < {literal(keys.high)}")
        return " AND ".join(ends)

    def parts(self) -> list[Part]:
        """Give what each reader reads; none where it is known that there is nothing."""
        if self.finds_nothing:
            return []
        count = len(self._ranges) - 1
        labels = [f"[{number}/{count}]" for number in range(1, count + 1)] + ["[null]"] if self._ranges else [""]
        return [
            Part(f"sql:{self.name}{label}", self._sql([each] if each else []))
            for label, each in zip(labels, self._ranges or [""], strict=True)
        ]

    def _sql(self, conditions: list[str]) -> str:
        conditions = [*self._conditions, *conditions]
        expressions = [column.select for column in self._chosen]
        if self._query and not conditions and expressions == [self._database.quote(name) for name in self.columns]:
            return self._query
        return f"SELECT {', '.join(expressions)} FROM {self._source}{_where(conditions)}"  # noqa: S608

    def close(self) -> None:
        """End the snapshot."""
        self._session.close()

    def __enter__(self) -> SqlReading:
        """Keep the snapshot for the length of a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the snapshot."""
        self.close()


class _Quoted(NamedTuple):
    role: str
    expression: str
    finite: list[str]


def _where(conditions: Sequence[str]) -> str:
    if conditions:
        return f" WHERE {' AND '.join(conditions)}"
    return ""


def _up_to(mark: Mark, literal: Callable[[Any], str]) -> str:
    """Write the condition of values up to a mark.

    A driver may have cut nanoseconds off the mark, which the rows have; and a database whose times are coarser than a
    microsecond cuts them off the bound. So it lies a microsecond further on, and is itself read.
    """
    if isinstance(mark, datetime):
        with contextlib.suppress(OverflowError):
            return f"<= {literal(mark + _MICROSECOND)}"
    return f"<= {literal(mark)}"


def _plain_number(value: Any) -> Any:
    """Give whole numbers as int, whatever the driver calls them."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return value


def read_part(
    connection: Connection,
    part: Part,
    snapshot: str = "",
    *,
    count: Callable[[str], None] = lambda name: None,
    sleep: Callable[[float], None] = time.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
    connect: Callable[[Connection, str], Session] | None = None,
) -> Iterator[Rows]:
    """Read a part, a batch at a time, however often the connection is lost.

    After a loss the part is read again from its beginning, in the same snapshot and bounds: its rows become the same
    events with the same ids as before.

    Args:
      connection: names the database.
      part: what to read.
      snapshot: what the others see; where it has ended, the part is read as it is now, and that is logged.
      count: is told of each `lost_connections` and `lost_snapshots`.
      sleep: waits so many seconds.
      uniform: draws a number between two bounds.
      connect: begins a session; None for the database's own way.

    Raises:
      LostConnectionError: the database was not there for long.
      DatabaseError: it refuses.
    """
    for attempt in itertools.count(1):
        try:
            with contextlib.closing((connect or _connect)(connection, snapshot)) as session:
                yield from session.read(part.sql)
        except LostSnapshotError as error:
            snapshot = ""
            count("lost_snapshots")
            _log.warning(
                "%s: %s; it is read as it is now, in the same bounds. Rows that others change meanwhile may be read in "
                "either form",
                part.name,
                error,
            )
        except LostConnectionError as error:
            if attempt >= MOST_ATTEMPTS:
                raise
            count("lost_connections")
            delay = delay_secs(attempt, retry_after_secs=None, uniform=uniform)
            _log.warning("%s: %s; reading it again in %.0f s", part.name, error, delay)
            sleep(delay)
        else:
            return


def _connect(connection: Connection, snapshot: str) -> Session:
    return database_of(connection.url()).connect(snapshot)
