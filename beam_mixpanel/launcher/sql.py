"""From the options of `sql_to_mixpanel` to what is read, or an error that names the cure."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

from beam_mixpanel.databases.reading import SqlReading
from beam_mixpanel.errors import CredentialsError, DatabaseError, IncrementalError, UsageError
from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.epilogue import Epilogue
from beam_mixpanel.launcher.incremental import Recurrence, recurrence_of
from beam_mixpanel.launcher.mapping import announce, needed_columns
from beam_mixpanel.launcher.options import SqlOptions, TableOptions
from beam_mixpanel.transforms.options import MixpanelOptions

_DEFAULT_PARTITIONS: Final = 8
"""More than the cores of most workers: ranges are seldom equally full."""


def open_reading(settings: Settings) -> tuple[SqlReading, Epilogue]:
    """Connect, look at the columns, and choose what is read.

    Returns:
      What to read, and what to do when the job has ended.

    Raises:
      UsageError: the options, the mapping or the database do not fit each other.
      LostConnectionError: the database cannot be reached.
    """
    options = settings.options.view_as(SqlOptions)
    what = settings.options.view_as(TableOptions)
    _check(options)
    with _told_as_usage():
        # A snapshot lasts as long as the connection that shares it, and that ends with a launcher that only submits.
        share = not settings.submits_only
        reading = SqlReading(options.connection, table=what.table, query=what.query, share=share)
    with contextlib.ExitStack() as at_failure, _told_as_usage():
        at_failure.callback(reading.close)
        recurrence = _narrow(reading, settings, options)
        at_failure.pop_all()
    return reading, _epilogue(reading, recurrence)


def _check(options: SqlOptions) -> None:
    if options.partitions is not None and not options.partition_column:
        raise UsageError("--partitions needs --partition_column, whose ranges are read in parallel")


@contextlib.contextmanager
def _told_as_usage() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, CredentialsError, IncrementalError, ValueError) as error:
        raise UsageError(str(error)) from None


def _narrow(reading: SqlReading, settings: Settings, options: SqlOptions) -> Recurrence | None:
    """Read the columns and rows that are needed, in the ranges that are wanted."""
    plan = announce(settings, reading.columns)
    columns = needed_columns(settings, plan, reading.columns)
    if columns is not None:
        reading.choose(columns)
    recurrence = recurrence_of(settings, plan, reading.name, reading.address)
    if recurrence:
        zone = ZoneInfo(settings.options.view_as(MixpanelOptions).mixpanel_time_zone)
        reading.select_new(recurrence.increment, recurrence.state, zone)
        recurrence.compare(reading.highest)
    if options.partition_column:
        partitions = _DEFAULT_PARTITIONS if options.partitions is None else options.partitions
        reading.split(options.partition_column, partitions)
        if not reading.snapshot:
            _say("this database shares no snapshot: each range is read as it is when its reader begins")
    return recurrence


def _epilogue(reading: SqlReading, recurrence: Recurrence | None) -> Epilogue:
    if recurrence is None:
        return Epilogue(reading.name, close=reading.close)
    return Epilogue(
        reading.name,
        confirm=lambda: recurrence.remember(reading.mark),
        close=reading.close,
        may_be_empty=recurrence.may_be_empty,
    )


def _say(text: str) -> None:
    print(f"database: {text}", file=sys.stderr)
