"""Sends dead letters again: `beam-mixpanel replay --input PREFIX-*`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apache_beam as beam

from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.connect import import_events, read_dead_letters
from beam_mixpanel.launcher.job import end_process, run_job
from beam_mixpanel.launcher.options import FileOptions, ReplayOptions

DESCRIPTION: Final = "Send dead letters to Mixpanel again."
OPTIONS: Final = (FileOptions, ReplayOptions)
"""What it takes besides the options of every pipeline."""


def build(pipeline: beam.Pipeline, settings: Settings) -> None:
    """Connect the dead letters to Mixpanel, and what fails again to new dead letters."""
    import_events(read_dead_letters(pipeline, settings), settings)


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("beam_mixpanel.pipelines.replay_dead_letters", DESCRIPTION, build, argv, also=OPTIONS)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
