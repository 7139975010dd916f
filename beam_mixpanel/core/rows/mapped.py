"""From a row to an event, as a plan says; and the filters and tags of what is an event already."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, Final, NamedTuple

from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.ids import id_text
from beam_mixpanel.core.events.rules import Violation
from beam_mixpanel.core.events.time import MILLISECONDS_BELOW, SECONDS_BELOW, from_format, from_unit, to_epoch_ms
from beam_mixpanel.core.json.exact import decode_exact
from beam_mixpanel.core.json.text import UNREADABLE, UNWRITABLE
from beam_mixpanel.core.json.values import fields_of, to_json_key, to_json_value, unwrap
from beam_mixpanel.core.rows.plan import ColumnPlan, matches
from beam_mixpanel.errors import UnsupportedValueError

_NEVER_NULL: Final = frozenset((str, int, bool, dict, list, tuple, datetime, date, bytes))


class Filtered(Enum):
    """A row that the mapping leaves out, and why."""

    BY_NAME = "name"
    BY_TIME = "time"
    BY_FUNCTION = "function"


class Unmappable(NamedTuple):
    """A row of which the mapping cannot make an event.

    Attributes:
      reason: short and stable.
      field: the column or property at fault.
      message: in words, without the column's value.
    """

    reason: str
    field: str
    message: str


def map_row(
    plan: ColumnPlan, row: Mapping[str, Any], zone: tzinfo
) -> dict[str, Any] | Filtered | Unmappable | Violation:
    """Make an event of a row.

    Args:
      plan: which column is what.
      row: the values, of any type that `to_json_value` knows, by column.
      zone: of times that name none.

    Returns:
      The event in Mixpanel's shape, its values not yet in JSON's; or why there is none.
    """
    name = plan.event
    if name is None:
        name = event_name(row.get(plan.event_column))
    if not is_wanted(name, plan):
        return Filtered.BY_NAME
    time = _time_of(plan, row, zone)
    if isinstance(time, (Filtered, Unmappable)):
        return time
    own = _own(name, time, plan, row)
    if isinstance(own, Violation):
        return own
    properties = _collect(plan, row, own)
    if isinstance(properties, Unmappable):
        return properties
    properties.update(own)
    return {"event": name, "properties": properties}


def finish_event(plan: ColumnPlan, event: Mapping[Any, Any], zone: tzinfo) -> Mapping[Any, Any] | Filtered | Unmappable:
    """Filter and tag an event that a function made, or that a row is already, in Mixpanel's shape or flat.

    Args:
      plan: of `EventMapping.plan_for_events`.
      event: as it was made.
      zone: of times that name none.
    """
    inner = fields_of(event.get("properties"))
    properties = event if inner is None else inner
    name = event.get("event")
    if name is None:
        name = event.get("event_name")
    if not is_wanted(event_name(name), plan):
        return Filtered.BY_NAME
    if not _is_in_window(plan, event, properties, zone):
        return Filtered.BY_TIME
    if not plan.tags:
        return event
    tags = dict(plan.tags)
    for tag in tags.keys() & properties.keys():
        if tags[tag] != properties[tag]:
            return _given_twice(tag)
    if inner is None:
        return {**event, **tags}
    return {**event, "properties": {**inner, **tags}}


def _is_in_window(plan: ColumnPlan, event: Mapping[Any, Any], properties: Mapping[Any, Any], zone: tzinfo) -> bool:
    if plan.from_ms is None and plan.until_ms is None:
        return True
    time = properties.get("time")
    if time is None:
        time = event.get("time")
    return is_in_window(read_time(time, plan, zone), plan)


def is_event(row: Mapping[Any, Any]) -> bool:
    """Tell whether a row is in Mixpanel's shape: a name, and an object under `properties`."""
    return fields_of(row.get("properties")) is not None and ("event" in row or "event_name" in row)


def may_hold_events(columns: Collection[str]) -> bool:
    """Tell whether rows with these columns can be in Mixpanel's shape."""
    return "properties" in columns and ("event" in columns or "event_name" in columns)


def event_name(value: Any) -> str:
    """Give an event's name: text as it is, a number digit by digit, empty for anything else."""
    if type(value) is str:
        return value
    plain = unwrap(value)
    if isinstance(plain, str):
        return str.__str__(plain)
    is_number = isinstance(plain, (int, float, Decimal)) and not isinstance(plain, bool) and isfinite(plain)
    if is_number:
        return id_text(plain)
    return ""


def is_wanted(name: str, plan: ColumnPlan) -> bool:
    """Tell whether events of this name are imported."""
    return (not plan.only_events or matches(name, plan.only_events)) and not (
        plan.skip_events and matches(name, plan.skip_events)
    )


def is_in_window(time_ms: int | None, plan: ColumnPlan) -> bool:
    """Tell whether a time is in the window; what is no time is kept, to be explained later."""
    return time_ms is None or (
        (plan.from_ms is None or time_ms >= plan.from_ms) and (plan.until_ms is None or time_ms < plan.until_ms)
    )


def read_time(value: Any, plan: ColumnPlan, zone: tzinfo) -> int | None:
    """Read a time as the plan says, in milliseconds; None for what is none."""
    plain = unwrap(value)
    if plan.time_format is not None:
        return from_format(plain, plan.time_format, zone=zone)
    if plan.time_unit != "auto":
        return from_unit(plain, plan.time_unit, zone=zone)
    return to_epoch_ms(plain, zone=zone)


def _time_of(plan: ColumnPlan, row: Mapping[str, Any], zone: tzinfo) -> Any:
    """Give the time to go on with, or why there is none.

    Where unit or format are stated, it is in milliseconds, and such that nobody who judges it by its size errs.
    """
    given = row.get(plan.time_column)
    told_by_size = plan.time_format is None and plan.time_unit == "auto"
    if told_by_size and plan.from_ms is None and plan.until_ms is None:
        return given
    time_ms = read_time(given, plan, zone)
    if not is_in_window(time_ms, plan):
        return Filtered.BY_TIME
    if told_by_size or given is None or given == "":
        return given
    if time_ms is None:
        column = plan.time_column
        return Unmappable("time_unreadable", column, f"the column {column} is no time of the stated unit or format")
    if SECONDS_BELOW <= time_ms < MILLISECONDS_BELOW:
        return time_ms
    return _Moment(time_ms * 1000)


class _Moment:
    """A time so early or so late that its number alone would be read in another unit; the rules refuse it.

    Attributes:
      micros: microseconds since 1970.
    """

    def __init__(self, micros: int) -> None:
        self.micros = micros


def _collect(plan: ColumnPlan, row: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any] | Unmappable:
    """Gather the properties that come from columns of their own."""
    if plan.flatten or plan.json_columns or plan.spread_columns:
        return _Unfolding(plan, own).collect(row)
    get = row.get
    if plan.keep_nulls:
        return {name: get(column) for name, column in plan.properties}
    return {
        name: value
        for name, column in plan.properties
        if (value := get(column)) is not None and (type(value) in _NEVER_NULL or not _is_null(value))
    }


def _is_null(value: Any) -> bool:
    """Tell whether a value is null in JSON, such as NaN."""
    if value is None:
        return True
    if type(value) is float:
        return value != value
    try:
        return type(value) not in _NEVER_NULL and to_json_value(value) is None
    except (UnsupportedValueError, *UNWRITABLE, RecursionError):
        return False  # told when the event is written


def _own(name: str, time: Any, plan: ColumnPlan, row: Mapping[str, Any]) -> dict[str, Any] | Violation:
    """Gather tags, ids and the time."""
    own = dict(plan.tags)
    for property_name, column in plan.ids:
        value = row.get(column)
        if value is not None:
            own[property_name] = value
    if plan.insert_id_columns:
        insert_id = _insert_id(name, plan, row)
        if insert_id is not None:
            own["$insert_id"] = insert_id
        elif not plan.insert_id_may_be_null:
            return Violation("insert_id_column_missing", ",".join(plan.insert_id_columns))
    own["time"] = time
    return own


def _insert_id(name: str, plan: ColumnPlan, row: Mapping[str, Any]) -> Any:
    """Give the id, or what Mixpanel would refuse as one; None where a column is null."""
    columns = plan.insert_id_columns
    if len(columns) == 1:
        value = unwrap(row.get(columns[0]))
        if value == "" or _is_null(value):
            return None
        return value
    try:
        values = {column: to_json_value(row.get(column)) for column in columns}
        return insert_ids.from_columns(name, values, columns)
    except (UnsupportedValueError, *UNWRITABLE, RecursionError):
        return None


def _given_twice(name: str) -> Unmappable:
    return Unmappable(
        "property_twice", f"properties.{name}", f"the property {name} is given twice, with different values"
    )


class _Unfolding:
    """Gathers properties from columns of which some hold records."""

    def __init__(self, plan: ColumnPlan, own: Mapping[str, Any]) -> None:
        self._plan = plan
        self._own = own
        self._rename = dict(plan.nested_rename)
        self._properties: dict[str, Any] = {}

    def collect(self, row: Mapping[str, Any]) -> dict[str, Any] | Unmappable:
        """Give the properties of a row, or why it has none."""
        for name, column in self._plan.properties:
            try:
                problem = self._add_column(name, column, row.get(column))
            except RecursionError:
                return Unmappable("nested_too_deep", column, f"the column {column} nests too deep")
            if problem is not None:
                return problem
        return self._properties

    def _add_column(self, name: str, column: str, value: Any) -> Unmappable | None:
        spread = column in self._plan.spread_columns
        if (spread or column in self._plan.json_columns) and isinstance(value, (str, bytes)):
            try:
                value = decode_exact(value) if value.strip() else None
            except UNREADABLE:
                return Unmappable(
                    "json_column_invalid", column, f"the column {column} is not JSON, as the mapping says"
                )
        fields = fields_of(value) if spread or self._plan.flatten else None
        if fields is not None:
            return self._add_fields("" if spread else f"{name}.", column, fields)
        if spread and not _is_null(value):
            return Unmappable("spread_column_not_object", column, f"the column {column} is no object to spread")
        if not spread and (self._plan.keep_nulls or not _is_null(value)):
            self._properties[name] = value
        return None

    def _add_fields(self, prefix: str, path: str, fields: Mapping[Any, Any]) -> Unmappable | None:
        for key, value in fields.items():
            try:
                text = to_json_key(key)
            except (UnsupportedValueError, *UNWRITABLE):
                return Unmappable("key_not_text", path, f"a key in {path} has no form as text")
            if not matches(f"{path}.{text}", self._plan.nested_exclude):
                problem = self._add(self._rename.get(f"{path}.{text}", prefix + text), f"{path}.{text}", value)
                if problem is not None:
                    return problem
        return None

    def _add(self, name: str, path: str, value: Any) -> Unmappable | None:
        """Add a field, or the fields in it."""
        fields = fields_of(value) if self._plan.flatten else None
        if fields is not None:
            return self._add_fields(f"{name}.", path, fields)
        if self._plan.keep_nulls or not _is_null(value):
            return self._put(name, path, value)
        return None

    def _put(self, name: str, path: str, value: Any) -> Unmappable | None:
        """Add a value; one whose name another has is named by its whole path."""
        if name in self._properties or name in self._plan.reserved:
            given = self._own.get(name, self._properties.get(name))
            if type(given) is type(value) and given == value:
                return None
            if path in self._properties or path in self._plan.reserved:
                return _given_twice(path)
            name = path
        self._properties[name] = value
        return None
