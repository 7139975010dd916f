"""What a run says when it ends: why it failed, what was left behind, and the command that sends it again."""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, TestOptions

from beam_mixpanel.errors import MixpanelError
from beam_mixpanel.launcher.options import MappingOptions, RedactionOptions
from beam_mixpanel.launcher.parse import chosen_settings
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.summary import Summary
from beam_mixpanel.launcher.wording import in_flags
from beam_mixpanel.metrics import NAMESPACE
from beam_mixpanel.transforms.options import MixpanelOptions

_OUR_ERROR: Final = re.compile(r"^(?:beam_mixpanel\.[\w.]+Error): (?P<message>.*)$", re.MULTILINE)
_WHERE: Final = re.compile(r" \[while running .*?\]$", re.MULTILINE)
"""What Beam adds to an error's words."""
_DEAD_LETTERS_UNWRITTEN: Final = re.compile(r"(?P<why>.*) \[while running '(?:[^']*/)?WriteDeadLetters\b.*?\]")
"""An error in a step that every pipeline of ours names so."""
_REPLAY: Final = ("beam-mixpanel", "replay")

_log = logging.getLogger(__name__)


def explain(error: BaseException) -> str:
    """Say in one paragraph why a job failed; our own errors without the runner's trace around them."""
    interrupt = interrupt_in(error)
    if interrupt is not None:
        signal_name = _WHERE.sub("", str(interrupt))
        by = f" by {signal_name}" if signal_name else ""
        return f"interrupted{by}; run the job again to import the rest: Mixpanel ignores duplicates"
    unwritten = _DEAD_LETTERS_UNWRITTEN.search(str(error))
    text = _WHERE.sub("", str(error)).strip()
    if isinstance(error, MixpanelError):
        return in_flags(text)
    ours = list(_OUR_ERROR.finditer(text))
    if ours:
        return in_flags(ours[-1]["message"])
    if unwritten:
        return (
            f"the dead letters cannot be written ({unwritten['why']}): free space, or give --dead_letters a place that "
            "can be written to, and run the job again: Mixpanel ignores duplicates"
        )
    _log.error("the job failed", exc_info=error)
    return (text.splitlines() or [type(error).__name__])[-1]


def interrupt_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """Find the interrupt in what a runner wrapped around it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


@contextlib.contextmanager
def reported_once() -> Iterator[None]:
    """Keep our own errors out of the log, where portable runners write them with their trace; `explain` has them."""
    root = logging.getLogger()
    root.addFilter(_is_not_our_error)
    try:
        yield
    finally:
        root.removeFilter(_is_not_our_error)


def _is_not_our_error(record: logging.LogRecord) -> bool:
    return not _OUR_ERROR.search(record.getMessage())


def submitted(result: Any, options: PipelineOptions) -> str:
    """Say what became of a job that is not waited for."""
    cloud = options.view_as(GoogleCloudOptions)
    if options.view_as(TestOptions).dry_run:
        return f"dry run: the job {cloud.job_name} was built, and not submitted"
    if not result.has_job:
        return f"the job is written to {cloud.template_location}, for Dataflow to start"
    return (
        f"job {result.job_id()} is submitted; its books are the counters of {NAMESPACE} at "
        f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{result.job_id()}?project={cloud.project}"
    )


def left_behind(summary: Summary, settings: Settings) -> list[str]:
    """Say which events were not imported, and what to do now; empty where there are none."""
    said = []
    books = summary.books
    if books.dropped:
        said.append(
            f"{_events(books.dropped)} dropped by Mixpanel: it confirmed fewer events than it was sent, and named "
            "none. Look for events with the property $ignore, drop filters of the project, and blocked events in its "
            "Lexicon; to accept that, allow so many by --allow_dead_letters"
        )
    if books.dead_letters:
        if settings.checks:
            what = f"{books.dead_letters:,} of the events would not be imported"
        else:
            what = f"{_events(books.dead_letters)} not imported"
        said.append(f"{what}; {_where_they_are(settings)}")
    return said


def _events(number: int) -> str:
    if number != 1:
        return f"{number:,} events were"
    return "1 event was"


def _where_they_are(settings: Settings) -> str:
    if not settings.dead_letters:
        return "add --dead_letters PREFIX to keep them"
    replay = shlex.join([*_REPLAY, "--input", f"{settings.dead_letters}-*"])
    return (
        f"they are in {settings.dead_letters}-*.jsonl. Fix the cause, then replay them: {replay} "
        "and the options of this run"
    )


def unmatched_reasons(summary: Summary, settings: Settings) -> list[str]:
    """Name the reasons that no dead letter of a replay has, where others had theirs."""
    unmatched = [reason for reason in settings.only_reasons if reason not in summary.chosen]
    if unmatched:
        return [f"no dead letter has the reason {' or '.join(unmatched)}"]
    return []


def replay_command(settings: Settings, prefixes: Sequence[str]) -> str:
    """Write the whole command that sends the dead letters of a run again.

    Args:
      settings: of the run.
      prefixes: how the names of its files of dead letters begin.
    """
    flags = [f"--input={prefix}-*" for prefix in prefixes]
    for flag, value in chosen_settings(settings.options, (MappingOptions, MixpanelOptions, RedactionOptions)).items():
        values = value if isinstance(value, list) else [value]
        flags += [flag if each is True else f"{flag}={each}" for each in values]
    flags.append(f"--dead_letters={settings.dead_letters}-again")
    return shlex.join([*_REPLAY, *flags])
