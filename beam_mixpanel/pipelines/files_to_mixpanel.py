"""Imports events from files into Mixpanel: `beam-mixpanel import files --input GLOB …`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apache_beam as beam

from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.connect import import_events
from beam_mixpanel.launcher.job import end_process, run_job
from beam_mixpanel.launcher.mapping import announce_files
from beam_mixpanel.launcher.options import FileOptions

DESCRIPTION: Final = "Import events from files into Mixpanel."
OPTIONS: Final = (FileOptions,)
"""What it takes besides the options of every pipeline."""


def build(pipeline: beam.Pipeline, settings: Settings) -> None:
    """Connect the files to Mixpanel."""
    columns = announce_files(settings)
    import_events(pipeline | "ReadFiles" >> settings.read_files(columns), settings)


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("beam_mixpanel.pipelines.files_to_mixpanel", DESCRIPTION, build, argv, also=OPTIONS)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
