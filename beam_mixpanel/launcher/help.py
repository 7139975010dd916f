"""What `--help` of a pipeline prints."""

from __future__ import annotations

import argparse
import io
import sys
from typing import NoReturn

from beam_mixpanel.launcher.examples import examples_of
from beam_mixpanel.launcher.parse import OptionGroups


def print_help(program: str, description: str, groups: OptionGroups) -> NoReturn:
    """Print the options of ours that a pipeline takes, and end.

    Raises:
      SystemExit: with exit code 0.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"{examples_of(program)}Every option of Apache Beam and of the chosen --runner works, too.\n"
        "Exit codes: 0 all imported; 3 ended with dead letters; 1 the job failed; 2 the arguments are wrong.",
    )
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of Latin-1 cannot show the … of a help text; that is no reason to show nothing.
        sys.stdout.reconfigure(errors="replace")
    for group in groups:
        group._add_argparse_args(parser)
    parser.print_help()
    raise SystemExit(0)
