"""What `--help` prints: examples, then our options by what they are for. Only `--help-all` loads Beam."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final, NoReturn

from beam_mixpanel.launcher.source import Source
from beam_mixpanel.transforms.flags import Flag, FlagGroup

ASKED: Final = frozenset({"-h", "--help", "--help-all", "--help_all"})
"""The words that ask for help."""
_WIDTH: Final = 100
"""Of a line, at most; what a terminal that is narrower shows is wrapped to it."""
_LONGEST_OPTION: Final = 32
"""An option that takes more has its meaning on the next line."""
_LONGEST_CHOICES: Final = 24
_ENDS: Final = "Exit codes: 0 all imported; 3 ended with dead letters; 1 the job failed; 2 the arguments are wrong."


def print_help(source: Source, arguments: Sequence[str]) -> NoReturn:
    """Print the help of a command, and end.

    Raises:
      SystemExit: with exit code 0.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of Latin-1 cannot show the … of a help text; that is no reason to show nothing.
        sys.stdout.reconfigure(errors="replace")
    width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    everything = bool({"--help-all", "--help_all"} & set(arguments))
    print(full_help(source, width) if everything else short_help(source, width))
    raise SystemExit(0)


def short_help(source: Source, width: int = _WIDTH) -> str:
    """Return what most need: the examples, and a line or so for each option that is not rare."""
    lines = list(_beginning(source))
    for group in source.all_flags:
        often = [flag for flag in group if not flag.rare]
        lines += ["", f"{group.title}:", *_options(often, width, short=True)]
    command = f"beam-mixpanel {source.command} --help-all"
    return "\n".join([*lines, "", f"All options, those of Beam and its runners among them: {command}", _ENDS])


def full_help(source: Source, width: int = _WIDTH) -> str:
    """Return every option with its whole meaning, those of Beam's after ours."""
    lines = list(_beginning(source))
    for group in source.all_flags:
        lines += ["", f"{group.title}:", *_options(group, width, short=False)]
    lines += ["", "Hyphens and underscores are the same in the names of these options.", _ENDS, ""]
    return "\n".join([*lines, "Apache Beam", "-----------", "", *_of_beam(width)])


def _beginning(source: Source) -> Iterator[str]:
    yield f"Usage: beam-mixpanel {source.command} [OPTIONS]"
    yield ""
    yield source.summary
    yield ""
    yield "Examples:"
    for example in source.examples:
        yield f"  beam-mixpanel {source.command} {example}"


def _options(flags: FlagGroup | Sequence[Flag], width: int, *, short: bool) -> Iterator[str]:
    for flag in flags:
        choices = "|".join(flag.choices)
        value = "CHOICE" if short and len(choices) > _LONGEST_CHOICES else choices or flag.value
        option = f"  {flag.option} {value}".rstrip()
        meaning = flag.meaning.partition(";")[0] if short else flag.full_meaning
        yield from _in_columns(option, meaning, width)


def _in_columns(option: str, meaning: str, width: int) -> Iterator[str]:
    indent = " " * (_LONGEST_OPTION + 2)
    fits = len(option) <= _LONGEST_OPTION
    if not fits:
        yield option
    first = f"{option:<{_LONGEST_OPTION}}  " if fits else indent
    yield from textwrap.wrap(meaning, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)


def _of_beam(width: int) -> list[str]:
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(
        add_help=False,
        usage=argparse.SUPPRESS,
        conflict_handler="resolve",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=_LONGEST_OPTION, width=width),
    )
    pending = list(PipelineOptions.__subclasses__())
    while pending:
        group = pending.pop(0)
        pending += group.__subclasses__()
        if group.__module__.startswith("apache_beam.") and "_add_argparse_args" in vars(group):
            group._add_argparse_args(parser.add_argument_group(group.__name__))
    return parser.format_help().splitlines()
