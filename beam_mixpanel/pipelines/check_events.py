"""Tells what an import would do, and sends nothing: `beam-mixpanel check --input GLOB --report FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from beam_mixpanel.launcher.job import end_process, run_job
from beam_mixpanel.launcher.options import FileOptions
from beam_mixpanel.pipelines.files_to_mixpanel import build

DESCRIPTION: Final = "Check events of files before they are imported into Mixpanel: a page to decide by. Sends nothing."
OPTIONS: Final = (FileOptions,)
"""What it takes besides the options of every pipeline."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run it; see `run_job` for the exit codes."""
    return run_job("beam_mixpanel.pipelines.check_events", DESCRIPTION, build, argv, also=OPTIONS, checks=True)


def main() -> None:
    """Run it as a process of its own."""
    end_process(run())


if __name__ == "__main__":
    main()
