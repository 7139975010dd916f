"""Imports rows of BigQuery as events: `beam-mixpanel import bigquery --table PROJECT.DATASET.TABLE …`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apache_beam as beam

from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.bigquery import open_source
from beam_mixpanel.launcher.connect import import_events
from beam_mixpanel.launcher.epilogue import Epilogue
from beam_mixpanel.launcher.job import end_process, run_job
from beam_mixpanel.launcher.options import BigQueryOptions, IncrementalOptions, TableOptions

DESCRIPTION: Final = "Import rows of BigQuery into Mixpanel."
OPTIONS: Final = (TableOptions, BigQueryOptions, IncrementalOptions)
"""What it takes besides the options of every pipeline."""


def build(pipeline: beam.Pipeline, settings: Settings) -> Epilogue:
    """Connect BigQuery to Mixpanel."""
    opened = open_source(settings)
    import_events(pipeline | "ReadRows" >> opened.rows, opened.settings)
    return opened.epilogue


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("beam_mixpanel.pipelines.bigquery_to_mixpanel", DESCRIPTION, build, argv, also=OPTIONS)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
