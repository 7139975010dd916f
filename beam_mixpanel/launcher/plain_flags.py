"""Flags as a Flex template gives them, each once and each with a value, in the form that argparse reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.core.json.text import UNREADABLE


def actions_of(group: type[PipelineOptions]) -> list[argparse.Action]:
    """List what a group of options adds to a command line, in its order."""
    parser = argparse.ArgumentParser(add_help=False)
    group._add_argparse_args(parser)
    return list(parser._actions)


def is_switch(action: argparse.Action) -> bool:
    """Tell whether a flag takes no value."""
    return action.nargs == 0


def is_list(action: argparse.Action) -> bool:
    """Tell whether a flag may be given several times."""
    return isinstance(action, argparse._AppendAction)


def plain_flags(
    arguments: Sequence[str], groups: Sequence[type[PipelineOptions]], beams: Sequence[argparse.Action] = ()
) -> list[str]:
    """Write `--switch=true` as `--switch`, leave out `--switch=false`, and give `--list=["a","b"]` text by text.

    Nothing else is changed: not lists of Beam's, nor a value that is no JSON list of texts, such as `[ab]*.csv`.

    Args:
      arguments: as given.
      groups: options of ours.
      beams: options of Beam, of which only the switches count.
    """
    switches = {name: action for action in beams if is_switch(action) for name in action.option_strings}
    actions = switches | {
        name: action for group in groups for action in actions_of(group) for name in action.option_strings
    }
    return [plain for argument in arguments for plain in _plain(argument, actions)]


def _plain(argument: str, actions: dict[str, argparse.Action]) -> list[str]:
    name, equals, value = argument.partition("=")
    action = actions.get(name)
    if not equals or action is None:
        return [argument]
    if is_switch(action) and value.lower() in ("true", "false"):
        if value.lower() == "true":
            return [name]
        return []
    texts = _texts(value) if is_list(action) else None
    if texts is None:
        return [argument]
    return [f"{name}={text}" for text in texts]


def _texts(value: str) -> list[str] | None:
    with suppress(*UNREADABLE):
        if value.startswith("["):
            return msgspec.json.decode(value, type=list[str])
    return None
