"""Imports messages as events while they come: `beam-mixpanel import pubsub --subscription NAME …`."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_mixpanel.launcher.build import write_to_mixpanel
from beam_mixpanel.launcher.end_process import end_process
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.run import run_job
from beam_mixpanel.launcher.sources.pubsub import SOURCE
from beam_mixpanel.transforms.dead_letters import WriteDeadLetters


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
