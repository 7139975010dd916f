"""Tells before a job which column is what, and refuses a mapping that does not fit the columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from beam_mixpanel.core.formats.detection import CSV, JSON, NDJSON, TSV
from beam_mixpanel.core.rows.mapped import may_hold_events
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.plan import ColumnPlan
from beam_mixpanel.errors import MappingError, MixpanelError, UnknownFormatError, UsageError
from beam_mixpanel.launcher.arguments import Settings

_LOOKED_AT: Final = 10
"""So many files are asked for their columns before a job."""


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


def needed_columns(settings: Settings, plan: ColumnPlan | None, columns: Sequence[str]) -> list[str] | None:
    """Give the columns that a source need give no others than, in its order; None for all.

    None, too, where a function maps, and where those that are read would not give the same plan.
    """
    if plan is None:
        return None
    needed = [column for column in columns if column in plan.columns]
    try:
        return needed if (settings.mapping or EventMapping()).bind(needed) == plan else None
    except MappingError:
        return None


def announce_files(settings: Settings) -> list[str] | None:
    """Do so for files: by the columns that the first ones have together.

    JSON has no header, and there may be more files; then a column that is missing is only worth a warning. Files of
    JSON lines are events, not rows, unless there is a mapping.

    Returns:
      The columns that are needed, where every file was looked at and has the same; None for all.

    Raises:
      UsageError: the mapping does not fit, or a file's format cannot be told.
    """
    mapping = settings.mapping or EventMapping()
    try:
        looked_at = [settings.look_at(file) for file in settings.files[:_LOOKED_AT]]
    except MixpanelError as error:
        if isinstance(error.__cause__, UnknownFormatError):
            raise UsageError(str(error)) from None
        return None  # the job will say so
    formats = {file_format for file_format, _ in looked_at}
    columns = list(dict.fromkeys(name for _, names in looked_at for name in names))
    if not columns or (formats == {NDJSON} and settings.mapping is None):
        return None
    if (
        mapping.map is None
        and not mapping.names_columns
        and formats.isdisjoint((CSV, TSV))
        and may_hold_events(columns)
    ):
        _say("events in Mixpanel's shape, as they are, where properties holds an object")
        return None
    if mapping.map is not None or (formats.isdisjoint((NDJSON, JSON)) and len(settings.files) <= _LOOKED_AT):
        plan = announce(settings, columns)
        return needed_columns(settings, plan, columns) if all(names == columns for _, names in looked_at) else None
    try:
        _say(mapping.bind(columns, complete=False).describe())
        mapping.bind(columns)
    except MappingError as error:
        _say(f"warning: in the first lines, {error}")
    return None


def takes_events(settings: Settings) -> bool:
    """Tell whether columns are not mapped: a function makes the events, or files hold them in Mixpanel's shape."""
    mapping = settings.mapping or EventMapping()
    if mapping.map is not None or mapping.names_columns:
        return mapping.map is not None
    try:
        looked_at = [settings.look_at(file) for file in settings.files[:_LOOKED_AT]]
    except MixpanelError:
        return False
    return any(may_hold_events(names) for found, names in looked_at if found not in (CSV, TSV))


def _say(text: str) -> None:
    print(f"mapping: {text}", file=sys.stderr)
