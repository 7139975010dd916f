"""Reports what an import would do, and sends nothing: `beam-mixpanel check --input GLOB --report FILE`.

`beam-mixpanel check sql …` does so for the rows of a database, and so on: a first word names what to check, and the
options are those of that import. Without such a word, files are checked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import apache_beam as beam

from beam_mixpanel.launcher.build import prepare_events, profile_settings
from beam_mixpanel.launcher.end_process import end_process
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.reports.files import json_beside
from beam_mixpanel.launcher.run import run_job
from beam_mixpanel.launcher.sources import CHECKABLE, check_of, names_no_source
from beam_mixpanel.launcher.verdict import EXIT_USAGE
from beam_mixpanel.transforms.dead_letters import WriteDeadLetters
from beam_mixpanel.transforms.profile import ProfileEvents, WriteProfile

_DEFAULT: Final = "files"
SOURCE: Final = check_of(_DEFAULT)


def build(pipeline: beam.Pipeline, source: Opened) -> None:
    """Read what the import would read, prepare it as the import would, and describe the result."""
    settings = source.settings
    rows = pipeline | "Read" >> source.rows
    prepared = rows | "PrepareEvents" >> prepare_events(settings)
    profile = prepared | "ProfileEvents" >> ProfileEvents(profile_settings(settings))
    _ = profile | "WriteProfile" >> WriteProfile(json_beside(str(settings.report)))
    if settings.dead_letters:
        _ = prepared.invalid | "WriteDeadLetters" >> WriteDeadLetters(settings.dead_letters)


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = _DEFAULT
    if arguments and arguments[0] in CHECKABLE:
        name = arguments.pop(0)
    elif names_no_source(arguments):
        print(f"error: a check reads {' or '.join(CHECKABLE)}: what has an end", file=sys.stderr)
        return EXIT_USAGE
    return run_job(check_of(name), build, arguments, checks=True)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
