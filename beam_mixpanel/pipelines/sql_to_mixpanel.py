"""Imports rows of a database as events: `beam-mixpanel import sql --connection env:DATABASE_URL …`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apache_beam as beam

from beam_mixpanel import ReadRowsFromSql
from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.connect import import_events
from beam_mixpanel.launcher.epilogue import Epilogue
from beam_mixpanel.launcher.job import end_process, run_job
from beam_mixpanel.launcher.options import IncrementalOptions, SqlOptions, TableOptions
from beam_mixpanel.launcher.sql import open_reading

DESCRIPTION: Final = "Import rows of a SQL database into Mixpanel."
OPTIONS: Final = (TableOptions, SqlOptions, IncrementalOptions)
"""What it takes besides the options of every pipeline."""


def build(pipeline: beam.Pipeline, settings: Settings) -> Epilogue:
    """Connect the database to Mixpanel."""
    reading, epilogue = open_reading(settings)
    import_events(pipeline | "ReadRows" >> ReadRowsFromSql(reading), settings)
    return epilogue


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("beam_mixpanel.pipelines.sql_to_mixpanel", DESCRIPTION, build, argv, also=OPTIONS)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
