"""What a recurring job has to read, and what it remembers; for any source that has a cursor column."""

from __future__ import annotations

import hashlib
import shlex
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from beam_mixpanel.client.credentials import ServiceAccount, resolve_host
from beam_mixpanel.core.rows.plan import ColumnPlan
from beam_mixpanel.core.sources.increments import Increment, Mark, State, not_past, source_of_query
from beam_mixpanel.errors import IncrementalError, UsageError
from beam_mixpanel.launcher.opened import Epilogue
from beam_mixpanel.launcher.options import IncrementalOptions, TableOptions
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.state_file import read_state, write_state
from beam_mixpanel.launcher.usage import as_usage, notice
from beam_mixpanel.transforms.options import MixpanelOptions

_TOPIC: Final = "incremental"
_FUTURE: Final = timedelta(days=1)
"""Nobody's clock or time zone is so far ahead."""
_ONE_WRITER: Final = ("sqlite:", "duckdb:")
"""Databases in which no row is committed after one of a later transaction."""


class Recurrence(NamedTuple):
    """A recurring job.

    Attributes:
      increment: which rows to read.
      source: what is read, as its state names it.
      database: where that is, without a secret.
      destination: the host and project that it imports into, without a secret; empty where nothing is sent to stay.
      path: the file of its state; empty where it has none.
      writes: whether to write the state; not where what is imported does not stay.
      started: the present, before the source was looked at.
      zone: of moments and dates of the cursor column that name none.
      state: what the run before left; None where there was none.
    """

    increment: Increment
    source: str
    database: str
    destination: str
    path: str
    writes: bool
    started: datetime
    zone: tzinfo
    state: State | None = None

    @property
    def may_be_empty(self) -> bool:
        """Whether finding nothing is no failure: a lower bound was given, or is remembered."""
        return self.state is not None or self.increment.since is not None

    def compare(self, highest: Mark | None) -> None:
        """Say so if the state is ahead of the greatest value that there is now."""
        state = self.state
        if highest is None or state is None or self.increment.since is not None or not state.is_ahead_of(highest):
            return
        notice(
            _TOPIC,
            f"{self.path} remembers {state.mark}, but the greatest {state.cursor_column} is {highest} now. If this is "
            "another database, or an older copy was restored, set the starting point once: --since VALUE",
        )

    def remember(self, mark: Mark | None) -> None:
        """Write the mark for the next run, and say so.

        A run that found nothing leaves the old one, as does one that ended at `until`, short of what was read before.

        Raises:
          OSError: it cannot be written.
        """
        if not self.path or mark is None:
            return
        column = self.increment.cursor_column
        greatest = mark
        mark = not_past(greatest, self.started, self.zone)
        if mark != greatest:
            notice(
                _TOPIC,
                f"there are rows of the future, up to {column} = {greatest}: they were read, and the next runs read "
                f"them again, from {column} = {mark} on",
            )
        if not self.writes:
            notice(_TOPIC, f"{self.path} is not written: the emulator keeps nothing of what was sent")
        elif self.state is not None and self._ended_short_of(self.state, mark):
            notice(_TOPIC, f"{self.path} stays at {column} = {self.state.mark}: --until ended this run before that")
        else:
            write_state(self.path, State(self.source, column, mark, self.database, self.destination))
            notice(_TOPIC, f"{column} = {mark} is remembered in {self.path}")

    @property
    def unconfirmed(self) -> str:
        """The message for a run whose dead letters keep the state where it is; empty without a state to write."""
        if not self.path or not self.writes:
            return ""
        stays = f"{self.path} is not written"
        if self.state is not None:
            stays = f"{self.path} stays at {self.increment.cursor_column} = {self.state.mark}"
        return (
            f"{stays}, so the next run reads the same rows again; duplicates are ignored. To move it on and leave the "
            "dead letters behind, run again with --dead_letters PREFIX --allow_dead_letters N"
        )

    def refusal_of(self, state: State) -> str:
        """Return why a state is not this job's, and the cure; empty where it is."""
        column = self.increment.cursor_column
        since = f"--since {shlex.quote(str(state.mark))}"
        if (state.source, state.cursor_column) != (self.source, column):
            left = "another query" if state.source.startswith("query ") else state.source
            here = "this query" if self.source.startswith("query ") else self.source
            return (
                f"--state {self.path} belongs to {state.cursor_column} of {left}, not to {column} of "
                f"{here}; give each job a file of its own. If only its query or table was changed, "
                "set the starting point once: --since VALUE"
            )
        if state.database and state.database != self.database:
            return (
                f"--state {self.path} was left by {state.database}, not by {self.database}, and could skip rows of the "
                "latter; give each database a file of its own. If the database has only moved, set the "
                f"starting point once: {since}"
            )
        if state.destination and self.destination and state.destination != self.destination:
            return (
                f"--state {self.path} was left by an import into {state.destination}, not into {self.destination}, "
                "which may lack the rows before it; give each project a file of its own. If it is the same project, "
                f"set the starting point once: {since}"
            )
        return ""

    def _ended_short_of(self, state: State, mark: Mark) -> bool:
        """Return whether `until` ended this run before the mark of an earlier run of the same job."""
        return self.increment.until is not None and not self.refusal_of(state) and state.is_past(mark)


def recurrence_of(settings: Settings, plan: ColumnPlan | None, source: str, database: str) -> Recurrence | None:
    """Put together what the options say of a recurring job; None for a job that reads everything.

    Args:
      settings: with the options.
      plan: names the column to look at where the options do not; None where a function maps.
      source: what is read, for a table its name; a state that another source left is refused.
      database: where that is, without a secret; a state that another database left is refused.

    Raises:
      UsageError: the options contradict each other or the state.
    """
    options = settings.options.view_as(IncrementalOptions)
    _check_together(options)
    if all(value is None for value in (options.cursor_column, options.since, options.until, options.state)):
        return None
    column = options.cursor_column or (plan.time_column if plan else "")
    if not column:
        raise UsageError("--since, --until and --state need --cursor_column where a function maps")
    increment = Increment(column, options.since, options.until, options.overlap)
    with as_usage(IncrementalError):
        increment.check()
    query = settings.options.view_as(TableOptions).query
    source = source if query is None else source_of_query(query)
    if options.state and options.overlap is None and not database.startswith(_ONE_WRITER):
        notice(
            _TOPIC,
            f"a row that is committed late, with a smaller {column} than rows already read, is missed: give --overlap, "
            "such as 1h, or a number for a column of numbers; longer than your longest transaction",
        )
    recurrence = Recurrence(
        increment=increment,
        source=source,
        database=database,
        destination=_destination(settings),
        path=options.state or "",
        writes=not settings.use_emulator,
        started=datetime.now(timezone.utc),
        zone=ZoneInfo(settings.options.view_as(MixpanelOptions).mixpanel_time_zone),
    )
    return recurrence._replace(state=_left_state(recurrence))


def epilogue_of(source: str, recurrence: Recurrence | None, mark: Mark | None) -> Epilogue:
    """Return what is left to be done when a job has ended that may be a recurring one.

    Args:
      source: what was read, for people.
      recurrence: None for a job that reads everything.
      mark: the greatest value that is read.
    """
    if recurrence is None:
        return Epilogue(source)
    return Epilogue(
        source,
        confirm=lambda: recurrence.remember(mark),
        may_be_empty=recurrence.may_be_empty,
        unconfirmed=recurrence.unconfirmed,
    )


def _destination(settings: Settings) -> str:
    """Name the host and project that events go to, without a secret; empty where nothing is sent to stay.

    A token tells its project only to Mixpanel, so it is named by a hash.
    """
    if settings.checks or settings.use_emulator:
        return ""
    options = settings.options.view_as(MixpanelOptions)
    host = resolve_host(options.mixpanel_region, options.mixpanel_api_host)
    credentials = options.credentials()
    if isinstance(credentials, ServiceAccount):
        return f"project {credentials.project_id} at {host}"
    reference = credentials.reference
    if reference is None or not reference.is_local:
        named = "a token" if reference is None else reference.text
        return f"the project of {named} at {host}"
    fingerprint = hashlib.sha256(reference.resolve().encode()).hexdigest()[:12]
    return f"the project with a token of SHA-256 {fingerprint} at {host}"


def _check_together(options: IncrementalOptions) -> None:
    if options.state == "":
        raise UsageError("--state needs the name of a file, and was given none; is a variable empty?")
    if options.overlap is not None and not options.state:
        raise UsageError("--overlap needs --state FILE, whose value it goes back from")


def _left_state(recurrence: Recurrence) -> State | None:
    """Return what the run before left, if it is that of this job; with `--since` it is replaced, whosever it is.

    Raises:
      UsageError: another job left it, or it remembers a moment or date of the future, as earlier versions did after a
        row of 2099: nothing would be new to it for years.
    """
    if not recurrence.path:
        return None
    state = read_state(recurrence.path)
    if state is None:
        return None
    if recurrence.increment.since is not None:
        notice(_TOPIC, f"--since replaces {state.mark}")
        return state
    refusal = recurrence.refusal_of(state)
    if refusal:
        raise UsageError(refusal)
    notice(_TOPIC, f"reading from {state.cursor_column} = {state.mark} on")
    if not_past(state.mark, recurrence.started + _FUTURE, recurrence.zone) != state.mark:
        raise UsageError(
            f"--state {recurrence.path} remembers {state.cursor_column} = {state.mark}, which lies in the future, so "
            "that no row since then was read, and none would be; set the starting point once: --since VALUE"
        )
    return state
