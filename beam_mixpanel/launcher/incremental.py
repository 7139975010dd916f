"""What a recurring job has to read, and what it remembers; for any source that has a cursor column."""

from __future__ import annotations

import shlex
from typing import Final, NamedTuple

from beam_mixpanel.core.rows.plan import ColumnPlan
from beam_mixpanel.core.sources.increments import Increment, Mark, State, source_of_query
from beam_mixpanel.errors import IncrementalError, UsageError
from beam_mixpanel.launcher.options import IncrementalOptions, TableOptions
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.state_file import read_state, write_state
from beam_mixpanel.launcher.usage import as_usage, notice

_TOPIC: Final = "incremental"


class Recurrence(NamedTuple):
    """A recurring job.

    Attributes:
      increment: which rows to read.
      source: what is read, as its state names it.
      database: where that is, without a secret.
      path: the file of its state; empty where it has none.
      state: what the run before left; None where there was none.
    """

    increment: Increment
    source: str
    database: str
    path: str = ""
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
        """Write the mark for the next run, and say so; a run that found nothing leaves the old one.

        Raises:
          OSError: it cannot be written.
        """
        if self.path and mark is not None:
            write_state(self.path, State(self.source, self.increment.cursor_column, mark, self.database))
            notice(_TOPIC, f"{self.increment.cursor_column} = {mark} is remembered in {self.path}")


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
    return Recurrence(
        increment=increment,
        source=source,
        database=database,
        path=options.state or "",
        state=_left_state(options, source, database, column),
    )


def _check_together(options: IncrementalOptions) -> None:
    if options.state == "":
        raise UsageError("--state needs the name of a file, and was given none; is a variable empty?")
    if options.overlap is not None and not options.state:
        raise UsageError("--overlap needs --state FILE, whose value it goes back from")


def _left_state(options: IncrementalOptions, source: str, database: str, column: str) -> State | None:
    """Return what the run before left, if it is that of this job; with `--since` it is replaced, whosever it is."""
    state = read_state(options.state) if options.state else None
    if state is None:
        return None
    if options.since is not None:
        notice(_TOPIC, f"--since replaces {state.mark}")
        return state
    if (state.source, state.cursor_column) != (source, column):
        left = "another query" if state.source.startswith("query ") else state.source
        here = "this query" if source.startswith("query ") else source
        raise UsageError(
            f"--state {options.state} belongs to {state.cursor_column} of {left}, not to {column} of "
            f"{here}; give each job a file of its own. If only its query or table was changed, "
            "set the starting point once: --since VALUE"
        )
    if state.database and state.database != database:
        raise UsageError(
            f"--state {options.state} was left by {state.database}, not by {database}, and could skip rows of the "
            "latter; give each database a file of its own. If the database has only moved, set the "
            f"starting point once: --since {shlex.quote(str(state.mark))}"
        )
    notice(_TOPIC, f"reading from {column} = {state.mark} on")
    return state
