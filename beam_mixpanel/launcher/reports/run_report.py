"""The report of a run: what `--report` of the importing pipelines writes, as a page and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Final, NamedTuple

from apache_beam.options.pipeline_options import StandardOptions

from beam_mixpanel.core.check.masking import example_of
from beam_mixpanel.core.events.dead_letter import DeadLetter, from_json_line
from beam_mixpanel.errors import UnreadableFileError
from beam_mixpanel.files.listing import match_files, open_file
from beam_mixpanel.launcher import messages
from beam_mixpanel.launcher.parse import chosen_settings
from beam_mixpanel.launcher.reports.course import Moment
from beam_mixpanel.launcher.reports.files import write_files
from beam_mixpanel.launcher.reports.run_page import page_of
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.summary import Summary
from beam_mixpanel.version import VERSION

_MOST_LETTERS: Final = 20_000
"""Looked at for examples; the counts are the runner's."""


class Run(NamedTuple):
    """A run that has ended.

    Attributes:
      settings: with which it ran.
      summary: its books.
      moments: what this process saw of it.
      source: what it read, for people; empty where the settings name files.
      dead_letter_prefixes: how the names of its files of dead letters begin.
      exit_code: of the command.
      failure: why it failed; empty where it did not.
    """

    settings: Settings
    summary: Summary
    moments: Sequence[Moment]
    source: str
    dead_letter_prefixes: Sequence[str]
    exit_code: int
    failure: str


def write_run_report(page: str, run: Run) -> None:
    """Write the page, and JSON beside it.

    Raises:
      OSError: a file cannot be written.
    """
    report = run_report(run)
    write_files(page, page_of(report), report)


def run_report(run: Run) -> dict[str, Any]:
    """Put together what is known of a run."""
    settings = run.settings
    return {
        "about": {
            "source": [run.source] if run.source else settings.inputs,
            "ended_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "version": VERSION,
            "runner": str(settings.options.view_as(StandardOptions).runner),
            "show_values": settings.show_values,
        },
        "exit_code": run.exit_code,
        "failure": run.failure,
        "books": run.summary.as_json(),
        "reasons": _reasons(run),
        "course": [moment._asdict() for moment in run.moments],
        "settings": {flag: _plain(value) for flag, value in chosen_settings(settings.options).items()},
        "replay": _replay(run),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, list)):
        return value
    return str(value)


def _reasons(run: Run) -> list[dict[str, Any]]:
    """Give each reason with its count and, where dead letters were kept, the first of them that was found."""
    examples: dict[str, DeadLetter] = {}
    for letter in islice(_letters(run.dead_letter_prefixes), _MOST_LETTERS):
        # Of what Mixpanel rejected, its words are counted as the reason.
        reason = letter.message if letter.reason == "rejected" else letter.reason
        examples.setdefault(reason, letter)
    return [
        {"reason": reason, "events": count} | _example(examples.get(reason), run.settings.show_values)
        for reason, count in run.summary.reasons.items()
    ]


def _example(letter: DeadLetter | None, show_values: bool) -> dict[str, Any]:
    if letter is None:
        return {}
    fields = ("stage", "fate", "field", "message", "http_status", "attempts", "source")
    return {name: getattr(letter, name) for name in fields} | {
        "event": example_of(letter.event, show_values=show_values)
    }


def _letters(prefixes: Iterable[str]) -> Iterator[DeadLetter]:
    """Read the dead letters of this run; where they cannot be read, there are no examples."""
    try:
        for prefix in prefixes:
            for found in match_files(f"{prefix}-*"):
                with open_file(found.path) as file:
                    for line in file:
                        yield from_json_line(line)
    except (UnreadableFileError, OSError, ValueError):
        return


def _replay(run: Run) -> str:
    """Write the command that sends the dead letters again; empty where there are none, or no server any more."""
    if not run.summary.books.dead_letters or not run.dead_letter_prefixes or run.settings.use_emulator:
        return ""
    return messages.replay_command(run.settings, run.dead_letter_prefixes)
