"""From the words of a command line to Beam's options, with ours among them; an unknown option is an error."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
from collections.abc import Sequence
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import create_runner

from beam_mixpanel.errors import UsageError
from beam_mixpanel.launcher.options import SOME_TAKE, JobOptions, MappingOptions, PubSubOptions, RedactionOptions
from beam_mixpanel.launcher.plain_flags import actions_of, plain_flags
from beam_mixpanel.launcher.runners import DEFAULT_RUNNER, LOCAL_RUNNERS, STREAM_RUNNER
from beam_mixpanel.launcher.sources import CHECKABLE
from beam_mixpanel.transforms.options import MixpanelOptions

_ALIKE: Final = 0.8
"""How like one of our options (0 to 1, `difflib`) an unknown one is that no remote runner means: `tabel` is 0.8 like
`table`, `redcat` 0.83 like `redact`. Of the options that Beam's runners for Flink and Spark have, none reaches 0.7."""
_BARELY_ALIKE: Final = 0.6
"""Enough to suggest an option to somebody who is refused anyway."""
OptionGroups = tuple[type[PipelineOptions], ...]
COMMON_OPTIONS: Final[OptionGroups] = (MappingOptions, MixpanelOptions, RedactionOptions, JobOptions)
"""What every pipeline of ours takes."""
_GONE: Final = {
    flag: f"to check without sending: beam-mixpanel check {'|'.join(CHECKABLE)}, with the same options"
    for flag in ("validate_only", "check_report")
}
"""Options that a user may expect of a job that must not send. A remote runner would ignore them, and the job send."""


def parse_options(arguments: Sequence[str], also: OptionGroups) -> PipelineOptions:
    """Read options, of which none is dropped unread.

    Args:
      arguments: as given.
      also: the groups of ours that are taken besides those of every pipeline.

    Raises:
      UsageError: an option is unknown, or its value is wrong.
    """
    groups = (*COMMON_OPTIONS, *also)
    arguments = plain_flags(_with_runner(arguments, also), groups, all_options(also)._actions)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parser = all_options(also)
            chosen, unknown = parser.parse_known_args(arguments)
            options = PipelineOptions(arguments)
            for group in groups:
                options.view_as(group)
    except SystemExit:
        raise UsageError(complaint.getvalue().strip().rpartition("error: ")[2]) from None
    check_runner(chosen.runner)
    if chosen.runner in LOCAL_RUNNERS:
        _refuse_unknown(unknown, list(parser._option_string_actions))
    else:
        _refuse_ours(unknown, _names(groups), elsewhere={_plain(name) for name in _names(SOME_TAKE)})
    return options


def chosen_settings(options: PipelineOptions, groups: OptionGroups = (*COMMON_OPTIONS, *SOME_TAKE)) -> dict[str, Any]:
    """Return the options of ours that differ from their defaults, by flag; secrets are references in them."""
    given = ((action, getattr(options.view_as(group), action.dest)) for group in groups for action in actions_of(group))
    return {action.option_strings[0]: value for action, value in given if value not in (action.default, None)}


def all_options(also: OptionGroups) -> argparse.ArgumentParser:
    """Return a parser of every option that Beam and this pipeline know."""
    parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve", allow_abbrev=False)
    pending = list(PipelineOptions.__subclasses__())
    while pending:
        group = pending.pop()
        pending += group.__subclasses__()
        if "_add_argparse_args" in vars(group) and (group in also or group not in SOME_TAKE):
            group._add_argparse_args(parser)
    return parser


def check_runner(name: str) -> None:
    """Refuse a runner that Beam does not know.

    Raises:
      UsageError: it does not.
    """
    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError):
        raise UsageError(f"unknown runner {name}; use one of {', '.join(StandardOptions.KNOWN_RUNNER_NAMES)}") from None


def _with_runner(arguments: Sequence[str], also: OptionGroups) -> list[str]:
    if any(argument.partition("=")[0] == "--runner" for argument in arguments):
        return list(arguments)
    default = STREAM_RUNNER if PubSubOptions in also else DEFAULT_RUNNER
    return [*arguments, f"--runner={default}"]


def _refuse_unknown(unknown: list[str], options: list[str]) -> None:
    """Refuse what neither Beam nor this pipeline knows, rather than drop it as Beam does."""
    for argument in unknown:
        name = argument.partition("=")[0]
        if not name.startswith("-"):
            raise UsageError(_stray(argument))
        raise UsageError(_unknown(name, _nearest(name, options, _BARELY_ALIKE)))


def _names(groups: OptionGroups) -> list[str]:
    return [name for group in groups for action in actions_of(group) for name in action.option_strings]


def _refuse_ours(unknown: list[str], ours: list[str], elsewhere: set[str]) -> None:
    """Leave a remote runner its own options, but refuse those that were meant for us.

    Args:
      unknown: what neither Beam nor this pipeline knows.
      ours: the options of this pipeline; what is very like one of them is a typing error.
      elsewhere: those that only some pipelines have.

    Raises:
      UsageError: one was.
    """
    before = ""
    for argument in unknown:
        name = argument.partition("=")[0]
        if not name.startswith("-"):
            is_value = before.startswith("--") and "=" not in before
            if not is_value:
                raise UsageError(_stray(argument))
        elif name.startswith("--mixpanel"):
            raise UsageError(_unknown(name, _nearest(name, ours, _BARELY_ALIKE)))
        elif _plain(name) in _GONE.keys() | elsewhere or _nearest(name, ours, _ALIKE):
            raise UsageError(_unknown(name, _nearest(name, ours, _ALIKE)))
        before = argument


def _unknown(name: str, near: str | None) -> str:
    if _plain(name) in _GONE:
        return f"unknown option {name}; {_GONE[_plain(name)]}"
    if near:
        return f"unknown option {name}; did you mean {near}?"
    return f"unknown option {name}"


def _nearest(name: str, options: list[str], least: float) -> str | None:
    # Of two spellings of one option the documented one comes first, and is the one to suggest.
    documented = {_plain(option): option for option in reversed(options)}
    near = difflib.get_close_matches(_plain(name), documented, 1, least)
    if near:
        return documented[near[0]]
    return None


def _plain(option: str) -> str:
    """Return the name of an option without what may be typed in one way or another."""
    return option.lstrip("-").replace("-", "_")


def _stray(argument: str) -> str:
    # Repeated only where it is a file: it may be a secret that was meant for an option.
    known = repr(argument) if os.path.exists(argument) else "an argument"
    return (
        f"{known} belongs to no option; if it comes from a pattern, quote the pattern "
        "(--input 'events/*.ndjson') or give --input several times"
    )
