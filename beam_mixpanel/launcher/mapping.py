"""Tells before a job which column is what, and refuses a mapping that does not fit the columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from beam_mixpanel.client.errors import MixpanelError
from beam_mixpanel.core.dead_letter import DeadLetter
from beam_mixpanel.core.mapping import ColumnPlan, EventMapping, MappingError
from beam_mixpanel.core.prepare import parse_object
from beam_mixpanel.launcher.arguments import Settings, UsageError
from beam_mixpanel.transforms.files import match_files
from beam_mixpanel.transforms.read import lines_of, read_first_block

_LOOKED_AT: Final = 1000
"""Lines whose keys are taken for the columns of a file of JSON lines."""


def announce(settings: Settings, columns: Sequence[str]) -> ColumnPlan | None:
    """Bind the mapping to a source's columns and print what was chosen.

    Args:
      settings: with or without a mapping.
      columns: all that the source has.

    Returns:
      None where a function maps.

    Raises:
      UsageError: the mapping does not fit; names the columns that there are.
    """
    mapping = settings.mapping or EventMapping()
    if mapping.map is not None:
        _say(f"{mapping.map} makes events of rows")
        return None
    try:
        plan = mapping.bind(columns)
    except MappingError as error:
        raise UsageError(str(error)) from None
    _say(plan.describe())
    return plan


def announce_lines(settings: Settings) -> None:
    """Do so for files of JSON lines, if there is a mapping.

    Each line has its own keys, so a column that the first thousand lack is only worth a warning.
    """
    mapping = settings.mapping
    if mapping is None:
        return
    if mapping.map is not None:
        _say(f"{mapping.map} makes events of rows")
        return
    columns = _columns_of_lines(settings.inputs[0])
    try:
        _say(mapping.bind(columns, complete=False).describe())
        mapping.bind(columns)
    except MappingError as error:
        _say(f"warning: in the first lines, {error}")


def _columns_of_lines(pattern: str) -> list[str]:
    columns: dict[str, None] = {}
    try:
        block = read_first_block(match_files(pattern)[0].path)
    except MixpanelError:
        return []  # the job will say so
    for line in lines_of(block)[:_LOOKED_AT] if block else ():
        row = parse_object(line)
        if not isinstance(row, DeadLetter):
            columns.update(dict.fromkeys(row))
    return list(columns)


def _say(text: str) -> None:
    print(f"mapping: {text}", file=sys.stderr)
