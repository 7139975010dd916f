"""Every other database, read through SQLAlchemy with a cursor on the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from beam_mixpanel.databases.arrow_values import from_python
from beam_mixpanel.databases.database import BATCH_ROWS, Column, check_names
from beam_mixpanel.databases.url import DatabaseUrl
from beam_mixpanel.errors import DatabaseError, LostConnectionError

if TYPE_CHECKING:
    from beam_mixpanel.databases.database import Rows

_SETTINGS: Final = dict.fromkeys(("mysql", "mariadb"), ("SET time_zone = '+00:00'",))
"""What each dialect is told first: MySQL gives moments without their zone, in that of the session."""
_REFUSALS: Final = ("denied", "auth", "password", "login", "unknown database")


class SqlAlchemy:
    """A database for which SQLAlchemy has a dialect.

    Raises:
      DatabaseError: SQLAlchemy, the dialect or its driver is not installed.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        try:
            import sqlalchemy
        except ImportError:
            raise DatabaseError(f"{url.scheme} needs SQLAlchemy: pip install 'beam-mixpanel[sql]'") from None
        try:
            self._engine = sqlalchemy.create_engine(str(url.text), poolclass=sqlalchemy.NullPool, hide_parameters=True)
        except ImportError as error:
            raise DatabaseError(f"{url.scheme} needs a driver: pip install {error.name}") from None
        except sqlalchemy.exc.SQLAlchemyError as error:
            reason = url.scrub(str(error).partition("\n")[0])
        else:
            return
        raise DatabaseError(
            f"SQLAlchemy cannot use {url.place}: {reason}; install the package that has this dialect, such as pymysql "
            "for mysql+pymysql:// or snowflake-sqlalchemy for snowflake://"
        )

    def connect(self, snapshot: str = "", *, share: bool = False) -> SqlAlchemySession:
        """Begin to read; each session sees one state where the database can, and snapshots cannot be shared."""
        return SqlAlchemySession(self._url, self._engine)

    def quote(self, name: str) -> str:
        """Quote a name as the dialect does."""
        return str(self._engine.dialect.identifier_preparer.quote_identifier(name))

    def literal(self, value: Any) -> str:
        """Write a value as the dialect does."""
        import sqlalchemy

        return str(
            sqlalchemy.literal(value).compile(dialect=self._engine.dialect, compile_kwargs={"literal_binds": True})
        )


class SqlAlchemySession:
    """A connection that only reads."""

    snapshot = ""

    def __init__(self, url: DatabaseUrl, engine: Any) -> None:
        self._url = url
        self._quote = engine.dialect.identifier_preparer.quote_identifier
        with self._explained(connecting=True):
            self._connection = engine.connect().execution_options(stream_results=True, max_row_buffer=BATCH_ROWS)
        with self._explained():
            for statement in _SETTINGS.get(engine.dialect.name, ()):
                self._connection.exec_driver_sql(statement)

    def columns(self, source: str) -> list[Column]:
        """Tell the columns."""
        with self._explained():
            result = self._connection.exec_driver_sql(f"SELECT * FROM {source} WHERE 1 = 0")  # noqa: S608
            names = list(result.keys())
            result.close()
        check_names(names)
        return [Column(name, self._quote(name)) for name in names]

    def row(self, sql: str) -> tuple[Any, ...]:
        """Give the first row."""
        with self._explained():
            return tuple(self._connection.exec_driver_sql(sql).first())

    def read(self, sql: str) -> Iterator[Rows]:
        """Give all rows, some thousand at a time."""
        with self._explained():
            result = self._connection.exec_driver_sql(sql)
            names = list(result.keys())
            for rows in result.partitions(BATCH_ROWS):
                yield from_python(rows, names)

    def tables(self) -> list[str]:
        """Give the tables of the default schema."""
        import sqlalchemy

        with self._explained():
            return list(sqlalchemy.inspect(self._connection).get_table_names())

    def close(self) -> None:
        """End the connection, which may be broken already."""
        from sqlalchemy.exc import SQLAlchemyError

        with contextlib.suppress(SQLAlchemyError):
            self._connection.close()

    @contextlib.contextmanager
    def _explained(self, *, connecting: bool = False) -> Iterator[None]:
        """Put a driver's words into ours, without the statement and what belongs to it."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as error:
            failure = self._explain(error, connecting)
        else:
            return
        raise failure from None

    def _explain(self, error: Any, connecting: bool) -> DatabaseError | LostConnectionError:
        place = self._url.place
        reason = self._url.scrub(str(getattr(error, "orig", None) or error).partition("\n")[0])
        if connecting and any(word in reason.lower() for word in _REFUSALS):
            return DatabaseError(f"{place} refuses: {reason}; check the URL that the reference names")
        if connecting:
            return LostConnectionError(f"cannot connect to {place}: {reason}")
        if getattr(error, "connection_invalidated", False):
            return LostConnectionError(f"the connection to {place} was lost: {reason}")
        return DatabaseError(f"{place} refuses: {reason}")
