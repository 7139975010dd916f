"""Sends dead letters again: `python -m pipelines.replay_dead_letters --input PREFIX-*`."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.connect import import_events, read_dead_letters
from beam_mixpanel.launcher.job import end_process, run_job
from beam_mixpanel.transforms.options import FileOptions, ReplayOptions


def build(pipeline: beam.Pipeline, settings: Settings) -> None:
    """Connect the dead letters to Mixpanel, and what fails again to new dead letters."""
    import_events(read_dead_letters(pipeline, settings), settings)


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    program = "pipelines.replay_dead_letters"
    return run_job(program, "Send dead letters to Mixpanel again.", build, argv, also=(FileOptions, ReplayOptions))


if __name__ == "__main__":
    end_process(run())
