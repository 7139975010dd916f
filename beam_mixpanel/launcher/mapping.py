"""The mapping of a job: from its options, and against a source's columns, before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from beam_mixpanel.core.rows.mapped import may_hold_events
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.mapping_settings import FLAGS, mapping_of, settings_from_flags, settings_from_yaml
from beam_mixpanel.core.rows.plan import ColumnPlan
from beam_mixpanel.core.user_function import load
from beam_mixpanel.errors import MappingError, UnreadableFileError, UsageError, UserFunctionError
from beam_mixpanel.files.listing import open_file
from beam_mixpanel.launcher.options import MappingOptions
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.usage import as_usage, notice

TOPIC: Final = "mapping"


def mapping_from(options: MappingOptions) -> EventMapping | None:
    """Put together what the mapping file and the flags say; None where they say nothing.

    Raises:
      UsageError: the file cannot be read, a value is wrong, or the function cannot be found.
    """
    with as_usage(MappingError, UserFunctionError):
        settings = settings_from_flags({flag: getattr(options, flag) for flag in FLAGS.values()})
        if options.mapping:
            settings = _mapping_file(options.mapping) | settings
        elif not settings:
            return None
        mapping = mapping_of(settings)
        if mapping.map is not None:
            load(mapping.map)
    return mapping


def _mapping_file(path: str) -> dict[str, Any]:
    try:
        with open_file(path) as file:
            return settings_from_yaml(file.read(), path)
    except (UnreadableFileError, OSError) as error:
        raise UsageError(f"cannot read --mapping {path}: {error}") from None


def announce(settings: Settings, columns: Sequence[str]) -> ColumnPlan | None:
    """Bind the mapping to a source's columns and print which column is what.

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
        notice(TOPIC, f"{mapping.map} makes events of rows")
        return None
    with as_usage(MappingError):
        plan = mapping.bind(columns)
    notice(TOPIC, plan.describe())
    return plan


def announce_incomplete(settings: Settings, columns: Sequence[str]) -> None:
    """Print which column is what, and warn of one that is missing here and may be there further on."""
    mapping = settings.mapping or EventMapping()
    try:
        notice(TOPIC, mapping.bind(columns, complete=False).describe())
        mapping.bind(columns)
    except MappingError as error:
        notice(TOPIC, f"warning: in the first rows, {error}")


def announce_events(settings: Settings, columns: Sequence[str]) -> bool:
    """Return whether rows are mapped by name and can be events in Mixpanel's shape, and print what is done then."""
    mapping = settings.mapping or EventMapping()
    if mapping.map is not None or mapping.names_columns or not may_hold_events(columns):
        return False
    notice(TOPIC, "events in Mixpanel's shape, as they are, where properties holds an object")
    return True


def needed_columns(settings: Settings, plan: ColumnPlan | None, columns: Sequence[str]) -> list[str] | None:
    """Return the only columns that have to be read, in the source's order; None for all.

    None, too, where a function maps, and where the columns that are read would lead to another plan.
    """
    if plan is None:
        return None
    needed = [column for column in columns if column in plan.columns]
    with suppress(MappingError):
        if (settings.mapping or EventMapping()).bind(needed) == plan:
            return needed
    return None
