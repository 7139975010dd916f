"""What the shell completes: options, their choices, and files; without Beam, which takes seconds to load."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from click.shell_completion import CompletionItem

from beam_mixpanel.transforms.flags import Flag


def emulator_flags() -> list[Flag]:
    """Return the options of the emulator, which has a parser of its own."""
    from beam_mixpanel.emulator.__main__ import _parser

    return [_as_flag(action) for action in _parser()._actions]


def complete(flags: Sequence[Flag], before: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """Complete a word: a value where an option waits for one, else an option.

    Args:
      flags: the options that can be typed.
      before: the words before it; bash gives the `=` of `--option=value` as a word of its own.
      incomplete: how it begins.
    """
    named = {spelling: flag for flag in flags for spelling in flag.spellings}
    words = [word for word in before if word != "="]
    option = ""
    if words:
        option = words[-1]
    waits = option.startswith("-") and "=" not in option and option != "--help"
    if waits and not incomplete.startswith("-") and not (option in named and named[option].is_switch):
        return _values(named.get(option), incomplete)
    # Hyphens where they are typed, underscores where nothing says otherwise.
    typed = 0
    if "-" in incomplete.lstrip("-"):
        typed = -1
    names = [*(flag.spellings[typed] for flag in flags), "--help"]
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _values(flag: Flag | None, incomplete: str) -> list[CompletionItem]:
    if flag is None or not flag.completions:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(choice) for choice in flag.completions if choice.startswith(incomplete)]


def _as_flag(action: argparse.Action) -> Flag:
    value = ""
    if action.nargs != 0:
        value = str(action.metavar or action.dest)
    return Flag(
        name=action.option_strings[-1].removeprefix("--"),
        meaning=action.help or "",
        value=value,
        choices=tuple(action.choices or ()),
    )
