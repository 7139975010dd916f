"""Tells what an import would do, and sends nothing: `python -m pipelines.check_events --input GLOB --report FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from beam_mixpanel.launcher.job import end_process, run_job
from beam_mixpanel.launcher.options import FileOptions
from pipelines.files_to_mixpanel import build

DESCRIPTION: Final = "Check events of files before they are imported into Mixpanel: a page to decide by. Sends nothing."
OPTIONS: Final = (FileOptions,)
"""What it takes besides the options of every pipeline."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("pipelines.check_events", DESCRIPTION, build, argv, also=OPTIONS, checks=True)


if __name__ == "__main__":
    end_process(run())
