"""The source of `import sql`: from the options to what is read, or an error that names the cure."""

from __future__ import annotations

import contextlib
from typing import Final

from beam_mixpanel.databases.reading import SqlReading
from beam_mixpanel.databases.url import EMBEDDED, Connection
from beam_mixpanel.errors import CredentialsError, DatabaseError, IncrementalError, UsageError
from beam_mixpanel.launcher.checks import resolves_here
from beam_mixpanel.launcher.incremental import Recurrence, epilogue_of, recurrence_of
from beam_mixpanel.launcher.mapping import announce, needed_columns
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.options import ConnectionOptions, SqlOptions, TableOptions
from beam_mixpanel.launcher.runners import runner_of
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.usage import as_usage, notice
from beam_mixpanel.transforms.read_sql import ReadFromSqlBatched

_DEFAULT_PARTITIONS: Final = 8
"""More than the cores of most workers: ranges are seldom equally full."""
_WRONG_ARGUMENTS: Final = (DatabaseError, CredentialsError, IncrementalError, ValueError)
"""What a database, its driver or a state says of options that do not fit; a lost connection is not among them."""


def check_table(settings: Settings) -> None:
    """See that there is one thing to read: a table or a query.

    Raises:
      UsageError: there is none, or there are two.
    """
    options = settings.options.view_as(TableOptions)
    if bool(options.table) == bool(options.query):
        raise UsageError("give either --table NAME or --query 'SELECT ...'")


def check_connection(settings: Settings) -> None:
    """See that a database is named, by a reference that the workers can resolve.

    Raises:
      UsageError: none is named, or only this machine could reach it.
    """
    options = settings.options.view_as(ConnectionOptions)
    if not options.connection:
        raise UsageError(
            "no database: give --connection REF, where REF names a URL (postgresql://USER:PASSWORD@HOST/DATABASE): "
            "env:NAME, file:PATH or gcp-secret:...; or sqlite:///FILE, duckdb:///FILE"
        )
    try:
        resolves_here(Connection(options.connection).reference, settings.options)
    except ValueError as error:
        raise UsageError(f"--connection: {error}") from None
    if settings.runs_remotely and options.connection.startswith(EMBEDDED):
        raise UsageError(
            f"--connection names a file, which is out of reach of workers of {runner_of(settings.options)}"
        )
    if options.partitions is not None and not settings.options.view_as(SqlOptions).partition_column:
        raise UsageError("--partitions needs --partition_column, whose ranges are read in parallel")


def open_database(settings: Settings) -> Opened:
    """Connect, look at the columns, and choose what is read.

    Raises:
      UsageError: the options, the mapping or the database do not fit each other.
      LostConnectionError: the database cannot be reached.
    """
    connection = settings.options.view_as(ConnectionOptions).connection
    what = settings.options.view_as(TableOptions)
    with contextlib.ExitStack() as at_failure, as_usage(*_WRONG_ARGUMENTS):
        # A snapshot lasts as long as the connection that shares it, and that ends with a launcher that only submits.
        share = not settings.submits_only
        reading = SqlReading(connection, table=what.table, query=what.query, share=share)
        at_failure.callback(reading.close)
        recurrence = _narrow(reading, settings)
        epilogue = epilogue_of(reading.name, recurrence, reading.mark)._replace(close=reading.close)
        opened = Opened(ReadFromSqlBatched(reading), settings, epilogue)
        at_failure.pop_all()
    return opened


def _narrow(reading: SqlReading, settings: Settings) -> Recurrence | None:
    """Read the columns and rows that are needed, in the ranges that are wanted."""
    plan = announce(settings, reading.columns)
    columns = needed_columns(settings, plan, reading.columns)
    if columns is not None:
        reading.choose(columns)
    recurrence = recurrence_of(settings, plan, reading.name, reading.address)
    if recurrence:
        reading.select_new(recurrence.increment, recurrence.state, recurrence.zone)
        recurrence.compare(reading.highest)
    partition_column = settings.options.view_as(SqlOptions).partition_column
    if partition_column:
        partitions = settings.options.view_as(ConnectionOptions).partitions
        reading.split(partition_column, _DEFAULT_PARTITIONS if partitions is None else partitions)
        if not reading.snapshot:
            notice("database", "this database shares no snapshot: each range is read as it is when its reader begins")
    return recurrence
