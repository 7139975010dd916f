"""Imports messages as events while they come: `beam-mixpanel import pubsub --subscription NAME …`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apache_beam as beam

from beam_mixpanel.launcher.build import write_to_mixpanel
from beam_mixpanel.launcher.end_process import end_process
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.options import PubSubOptions
from beam_mixpanel.launcher.pubsub import open_messages
from beam_mixpanel.launcher.run import run_job
from beam_mixpanel.launcher.source import Source
from beam_mixpanel.transforms.dead_letters import WriteDeadLetters

SOURCE: Final = Source(
    name="pubsub",
    pipeline="beam_mixpanel.pipelines.pubsub_to_mixpanel",
    summary="Import messages of Pub/Sub into Mixpanel.",
    groups=(PubSubOptions,),
    open=open_messages,
)


def build(pipeline: beam.Pipeline, source: Opened) -> None:
    """Read messages as they come, write them to Mixpanel as events, and keep what is not imported."""
    settings = source.settings
    messages = pipeline | "ReadMessages" >> source.rows
    result = messages | "WriteToMixpanel" >> write_to_mixpanel(settings)
    if settings.dead_letters:
        _ = result.dead_letter_parts | "WriteDeadLetters" >> WriteDeadLetters(settings.dead_letters)


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job(SOURCE, build, argv)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
