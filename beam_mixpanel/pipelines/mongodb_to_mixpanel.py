"""Imports documents of MongoDB as events: `beam-mixpanel import mongodb --connection env:MONGODB_URL …`."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_mixpanel.launcher.build import write_to_mixpanel
from beam_mixpanel.launcher.end_process import end_process
from beam_mixpanel.launcher.nothing_imported import FailIfNothingImported
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.run import run_job
from beam_mixpanel.launcher.sources.mongodb import SOURCE
from beam_mixpanel.transforms.dead_letters import WriteDeadLetters


def build(pipeline: beam.Pipeline, source: Opened) -> None:
    """Read the collection, write its documents to Mixpanel as events, and keep what is not imported."""
    settings = source.settings
    rows = pipeline | "ReadDocuments" >> source.rows
    result = rows | "WriteToMixpanel" >> write_to_mixpanel(settings)
    if settings.dead_letters:
        _ = result.dead_letter_parts | "WriteDeadLetters" >> WriteDeadLetters(settings.dead_letters)
    if settings.submits_only and not source.epilogue.may_be_empty:
        _ = result.receipts | "FailIfNothingImported" >> FailIfNothingImported()


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job(SOURCE, build, argv)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
