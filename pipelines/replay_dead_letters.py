"""Sends dead letters again: `python -m pipelines.replay_dead_letters --input PREFIX-*`."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_mixpanel import ReadDeadLetters
from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.connect import import_events
from beam_mixpanel.launcher.job import end_process, run_job


def build(pipeline: beam.Pipeline, settings: Settings) -> None:
    """Connect the dead letters to Mixpanel, and what fails again to new dead letters."""
    import_events(pipeline | "ReadDeadLetters" >> ReadDeadLetters(settings.inputs), settings)


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("pipelines.replay_dead_letters", "Send dead letters to Mixpanel again.", build, argv)


if __name__ == "__main__":
    end_process(run())
