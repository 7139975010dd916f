"""Imports messages as events while they come: `beam-mixpanel import pubsub --subscription NAME …`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apache_beam as beam

from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.connect import import_events
from beam_mixpanel.launcher.job import end_process, run_job
from beam_mixpanel.launcher.options import PubSubOptions
from beam_mixpanel.launcher.pubsub import read_messages

DESCRIPTION: Final = "Import messages of Pub/Sub into Mixpanel."
OPTIONS: Final = (PubSubOptions,)
"""What it takes besides the options of every pipeline."""


def build(pipeline: beam.Pipeline, settings: Settings) -> None:
    """Connect Pub/Sub to Mixpanel."""
    import_events(pipeline | "ReadMessages" >> read_messages(settings), settings)


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("beam_mixpanel.pipelines.pubsub_to_mixpanel", DESCRIPTION, build, argv, also=OPTIONS)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
