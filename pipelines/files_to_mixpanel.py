"""Imports events from files into Mixpanel: `python -m pipelines.files_to_mixpanel --input GLOB …`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import apache_beam as beam

from beam_mixpanel import ReadEventBlocksFromFiles, WriteDeadLetters
from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.job import run_job


def build(pipeline: beam.Pipeline, settings: Settings) -> None:
    """Connect the files to Mixpanel, and what cannot be imported to its own files."""
    events = pipeline | "ReadFiles" >> ReadEventBlocksFromFiles(settings.inputs)
    if settings.validate_only:
        letters = (events | "PrepareEvents" >> settings.prepare_events()).invalid
        if settings.dead_letters:
            _ = letters | "WriteDeadLetters" >> WriteDeadLetters(settings.dead_letters)
        return
    result = events | "WriteToMixpanel" >> settings.write_to_mixpanel()
    if settings.dead_letters:
        _ = result.dead_letter_parts | "WriteDeadLetters" >> WriteDeadLetters(settings.dead_letters)


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("pipelines.files_to_mixpanel", "Import events from files into Mixpanel.", build, argv)


if __name__ == "__main__":
    sys.exit(run())
