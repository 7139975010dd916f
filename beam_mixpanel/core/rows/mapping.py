"""How a row becomes an event: which column is what, which are properties, and which rows are wanted.

An `EventMapping` is what the user says, in Python, in a YAML file or by flags. Bound to the columns that a source has,
it becomes a `ColumnPlan`, in which every column is settled; `map_row` follows it for one row, `columnar` for many.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timezone, tzinfo
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any, Final, NamedTuple

from beam_mixpanel.core import limits
from beam_mixpanel.core.arguments import refuse_value_provider
from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.event import id_text
from beam_mixpanel.core.events.prepare import decode_exact
from beam_mixpanel.core.events.time import MILLISECONDS_BELOW, POWER_OF_UNIT, from_format, from_unit, to_epoch_ms
from beam_mixpanel.core.events.validation import Violation
from beam_mixpanel.core.json.text import UNREADABLE, UNWRITABLE
from beam_mixpanel.core.json.values import fields_of, to_json_key, to_json_value, unwrap
from beam_mixpanel.errors import MappingError, UnsupportedValueError

TIME_UNITS: Final = ("auto", *POWER_OF_UNIT)
ID_ROLES: Final = (
    ("distinct_id", "distinct_id_column"),
    ("$user_id", "user_id_column"),
    ("$device_id", "device_id_column"),
)
"""Each id property and the key that names its column."""

COMMON_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "event_column": ("event", "event_name", "event_type", "mp_event_name", "name", "action"),
    "time_column": (
        "time", "timestamp", "event_time", "event_timestamp", "ts", "mp_time", "datetime", "occurred_at",
        "original_timestamp", "created_at", "sent_at", "date", "event_date",
    ),
    "distinct_id_column": ("distinct_id", "mp_distinct_id"),
    "user_id_column": ("user_id", "mp_user_id"),
    "device_id_column": ("device_id", "mp_device_id", "anonymous_id"),
    "insert_id_columns": ("insert_id", "mp_insert_id"),
}  # fmt: skip
"""Names by which a column is found that the user does not name; the first that is there. Case and signs do not count:
`$user_id`, `userId` and `USER ID` are `user_id`."""

_LIKELY_WORDS: Final = {
    "event_column": {"event", "action", "activity", "type", "name", "kind", "verb", "aktion", "ereignis"},
    "time_column": {
        *("time", "timestamp", "date", "datetime", "day", "at", "ts", "when", "created", "occurred", "datum", "zeit"),
    },
}
"""Words in the names of columns that may be meant where none has a common name; they are proposed, not taken."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+")
_NEVER_NULL: Final = frozenset((str, int, bool, dict, list, tuple, datetime, date, bytes))
_SHOWN_COLUMNS: Final = 40
_OTHER_SEPARATORS: Final = (";", "|")
"""What other files have than commas between their columns."""


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


@dataclass(frozen=True, kw_only=True)
class EventMapping:
    """What the user says about rows. The same names are the keys of a YAML file and, mostly, flags.

    Attributes:
      event: the name of every event.
      event_column: or the column that holds it.
      time_column: the column that holds the time.
      time_unit: of numbers in it: `s`, `ms`, `us`, `ns`, or `auto` to tell by size.
      time_format: of text in it, as for `strptime`; None for ISO 8601 and numbers.
      distinct_id_column: the column that becomes `distinct_id`. Where there is none, `$user_id` serves as both.
      user_id_column: the column that becomes `$user_id`.
      device_id_column: the column that becomes `$device_id`.
      insert_id_columns: one, whose value is the `$insert_id`; or several, whose hash is, and which stay properties. Of
        an event in Mixpanel's shape that has no `$insert_id`: properties, or `event`, whose hash it gets.
      include: the columns that become properties, by name or with `*`. A column that is used above is one only where
        it is named in full.
      exclude: columns that are left out, by name or with `*`; `COLUMN.KEY` for keys of spread and flattened ones.
      rename: from column, or `COLUMN.KEY`, to property.
      tags: properties that every event gets.
      json_columns: columns whose text is JSON.
      spread_columns: columns that hold an object, or JSON text of one, whose keys become properties; a key whose name
        another property has becomes `COLUMN.KEY`.
      flatten: write nested records as `parent.child`.
      keep_nulls: keep properties that are null.
      only_events: names of the events to import, with `*`; empty for all.
      skip_events: names of the events to leave out, with `*`.
      from_time: the earliest time to import: a date, ISO 8601 or an epoch time.
      until_time: the first time that is not imported.
      map: `module:function` (in Python also the function), from row to event, list of events or None. It takes the
        place of everything above but `tags`, `only_events`, `skip_events`, `from_time` and `until_time`.

    Raises:
      MappingError: a value is wrong, or two do not fit together.
    """

    event: str | None = None
    event_column: str | None = None
    time_column: str | None = None
    time_unit: str = "auto"
    time_format: str | None = None
    distinct_id_column: str | None = None
    user_id_column: str | None = None
    device_id_column: str | None = None
    insert_id_columns: tuple[str, ...] = ()
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    json_columns: tuple[str, ...] = ()
    spread_columns: tuple[str, ...] = ()
    flatten: bool = False
    keep_nulls: bool = False
    only_events: tuple[str, ...] = ()
    skip_events: tuple[str, ...] = ()
    from_time: str | int | date | None = None
    until_time: str | int | date | None = None
    map: str | Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        """Check each value and bring it into one form, so that equal mappings are equal wherever they come from."""
        for key in KEYS:
            value = getattr(self, key)
            try:
                refuse_value_provider(key, value)
            except TypeError as error:
                raise MappingError(str(error)) from None
            if value is None and key not in _MAY_BE_NONE:
                raise MappingError(f"{key} must not be None; leave it out for its default")
            if value is not None:
                object.__setattr__(self, key, _READERS[key](key, value))
        _check_together(self)

    @property
    def names_columns(self) -> bool:
        """Tell whether a key says what stands where; without one, rows in Mixpanel's shape are events as they are."""
        return not set(self.given) <= set(EVENTS_TAKE)

    @property
    def given(self) -> list[str]:
        """Name the keys that say something."""
        silent = EventMapping()
        return [key for key in KEYS if getattr(self, key) != getattr(silent, key)]

    def replaced(self, settings: Mapping[str, Any]) -> EventMapping:
        """Give this mapping with other values for some keys; a null leaves a key as it is.

        Raises:
          MappingError: a key or a value is wrong.
        """
        for key in settings:
            if key not in KEYS:
                raise MappingError(f"unknown mapping key {key!r}{_did_you_mean(str(key), KEYS)}")
        return replace(self, **{key: value for key, value in settings.items() if value is not None})

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> EventMapping:
        """Read what a YAML file or flags say; a text stands for a list of one.

        Raises:
          MappingError: a key or a value is wrong; says what is right.
        """
        return cls().replaced(settings)

    def plan_for_events(self, *, zone: tzinfo = timezone.utc) -> ColumnPlan:
        """Give what is to be done with events, which the function of `map` makes or rows are: filters and tags."""
        of_events = replace(self, map=None, event_column="event", time_column="time", insert_id_columns=())
        return of_events.bind((), zone=zone, complete=False)

    def bind(self, columns: Sequence[str], *, zone: tzinfo = timezone.utc, complete: bool = True) -> ColumnPlan:
        """Settle which column is what.

        Args:
          columns: that the source has, in order.
          zone: of bounds of time that name none.
          complete: no row has other columns. If not, a named column that is absent is taken for null in these rows.

        Raises:
          MappingError: a column that the mapping names is not there, none holds the time or the name, or two
            properties would have one name.
        """
        if not all(isinstance(column, str) for column in columns):
            raise MappingError("the names of columns must be text")
        if complete:
            _check_columns(self, columns)
        roles = _find_roles(self, columns, complete=complete)
        insert_id_columns = self.insert_id_columns or roles.insert_id
        taken = {roles.event, roles.time, *(column for _, column in roles.ids)}
        taken.update(insert_id_columns if len(insert_id_columns) == 1 else ())
        plan = ColumnPlan(
            event=self.event,
            event_column=roles.event,
            time_column=roles.time,
            time_unit=self.time_unit,
            time_format=self.time_format,
            ids=roles.ids,
            insert_id_columns=insert_id_columns,
            properties=_properties_of(self, columns, taken),
            tags=tuple(self.tags.items()),
            json_columns=frozenset(self.json_columns),
            spread_columns=frozenset(self.spread_columns),
            flatten=self.flatten,
            keep_nulls=self.keep_nulls,
            only_events=self.only_events,
            skip_events=self.skip_events,
            from_ms=_bound_ms(self.from_time, zone),
            until_ms=_bound_ms(self.until_time, zone),
            insert_id_may_be_null=not self.insert_id_columns,
            nested_exclude=tuple(name for name in self.exclude if "." in name),
            nested_rename=tuple((name, to) for name, to in self.rename.items() if "." in name),
        )
        return plan._replace(reserved=_check_properties(plan))


KEYS: Final = tuple(each.name for each in fields(EventMapping))
_MAY_BE_NONE: Final = frozenset(each.name for each in fields(EventMapping) if each.default is None)
MAP_TAKES: Final = ("map", "tags", "only_events", "skip_events", "from_time", "until_time")
"""The keys that serve beside a function."""
EVENTS_TAKE: Final = (*MAP_TAKES, "insert_id_columns")
"""The keys that serve with events in Mixpanel's shape, where `insert_id_columns` names properties."""


class ColumnPlan(NamedTuple):
    """A mapping whose columns are settled.

    Attributes:
      event: the name of every event; None where event_column holds it.
      event_column: empty where event names it.
      ids: pairs of property and column.
      properties: pairs of property and column, in the order of the columns.
      tags: pairs of property and value.
      from_ms: the first millisecond that is wanted, until_ms the first that is not; None for no bound.
      insert_id_may_be_null: the one insert-id column was found by its name; where it is null, the id is made from the
        content. A null in columns that the user names is a violation.
      nested_exclude: patterns of `COLUMN.KEY` that are left out of spread and flattened columns.
      nested_rename: pairs of `COLUMN.KEY` there and property.
      reserved: the names of all properties but those; a key with such a name is written `COLUMN.KEY`.

    The others are as in `EventMapping`.
    """

    event: str | None
    event_column: str
    time_column: str
    time_unit: str
    time_format: str | None
    ids: tuple[tuple[str, str], ...]
    insert_id_columns: tuple[str, ...]
    properties: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, Any], ...]
    json_columns: frozenset[str]
    spread_columns: frozenset[str]
    flatten: bool
    keep_nulls: bool
    only_events: tuple[str, ...]
    skip_events: tuple[str, ...]
    from_ms: int | None
    until_ms: int | None
    insert_id_may_be_null: bool = False
    nested_exclude: tuple[str, ...] = ()
    nested_rename: tuple[tuple[str, str], ...] = ()
    reserved: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read; a source need not give others."""
        named = [self.event_column, self.time_column, *(column for _, column in self.ids), *self.insert_id_columns]
        named += [column for _, column in self.properties]
        return tuple(dict.fromkeys(column for column in named if column))

    def describe(self) -> str:
        """Say in one line which column is what, for the person who started the job."""
        parts = [f"event = {self.event!r}" if self.event is not None else f"event from {self.event_column}"]
        parts.append(f"time from {self.time_column}")
        parts += [f"{name} from {column}" for name, column in self.ids]
        if self.insert_id_columns:
            parts.append(f"$insert_id from {' + '.join(self.insert_id_columns)}")
        else:
            parts.append("$insert_id made from the content")
        names = [
            f"keys of {column}"
            if column in self.spread_columns
            else name
            if name == column
            else f"{name} (from {column})"
            for name, column in self.properties
        ]
        names += [f"{name} (tag)" for name, _ in self.tags]
        return f"{'; '.join(parts)}; properties: {_listed(names) if names else 'none'}"


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
    if isinstance(time, (Filtered, Unmappable, Violation)):
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
    if not is_wanted(event_name(event.get("event_name") if name is None else name), plan):
        return Filtered.BY_NAME
    if plan.from_ms is not None or plan.until_ms is not None:
        time = properties.get("time")
        if not is_in_window(read_time(event.get("time") if time is None else time, plan, zone), plan):
            return Filtered.BY_TIME
    if not plan.tags:
        return event
    tags = dict(plan.tags)
    for tag in tags.keys() & properties.keys():
        if tags[tag] != properties[tag]:
            return _given_twice(tag)
    return {**event, **tags} if inner is None else {**event, "properties": {**inner, **tags}}


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
    return id_text(plain) if is_number else ""


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
    return given if told_by_size or given is None or given == "" else _in_bounds(time_ms, plan.time_column)


def _in_bounds(time_ms: int | None, column: str) -> int | Unmappable | Violation:
    if time_ms is None:
        return Unmappable("time_unreadable", column, f"the column {column} is no time of the stated unit or format")
    if time_ms < limits.EARLIEST_TIME_MS:
        return Violation("time_before_1971", "properties.time")
    return time_ms if time_ms < MILLISECONDS_BELOW else Violation("time_in_future", "properties.time")


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
        return None if value == "" or _is_null(value) else value
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
        return self._put(name, path, value) if self._plan.keep_nulls or not _is_null(value) else None

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


class _Roles(NamedTuple):
    event: str
    time: str
    ids: tuple[tuple[str, str], ...]
    insert_id: tuple[str, ...]


def _find_roles(mapping: EventMapping, columns: Sequence[str], *, complete: bool) -> _Roles:
    """Find the columns that the user does not name, among those that are not left out.

    Raises:
      MappingError: the columns are all there are, and none holds the time, or the name.
    """
    known: dict[str, str] = {}
    for column in reversed(columns):
        if not matches(column, mapping.exclude):
            known[_squashed(column)] = column

    def find(key: str) -> str | None:
        return next((known[name] for name in map(_squashed, COMMON_NAMES[key]) if name in known), None)

    event = "" if mapping.event is not None else mapping.event_column or find("event_column")
    time = mapping.time_column or find("time_column")
    if complete and event is None:
        cure = f"give `event` NAME, or `event_column` COLUMN{_perhaps('event_column', known)}"
        raise MappingError(f"no column holds the event's name; {cure}. {_there_are(columns)}")
    if complete and time is None:
        cure = f"give `time_column` COLUMN{_perhaps('time_column', known)}"
        raise MappingError(f"no column holds the time; {cure}. {_there_are(columns)}")
    ids = {name: getattr(mapping, key) or find(key) for name, key in ID_ROLES}
    ids["distinct_id"] = ids["distinct_id"] or ids["$user_id"]
    insert_id = find("insert_id_columns")
    return _Roles(
        "event" if event is None else event,
        time or "time",
        tuple((name, column) for name, column in ids.items() if column),
        (insert_id,) if insert_id else (),
    )


def _perhaps(key: str, known: Mapping[str, str]) -> str:
    """Name columns that may be meant, from a word in their names; the user knows."""
    likely = [column for column in known.values() if _LIKELY_WORDS[key] & {*map(str.lower, _WORD.findall(column))}]
    return f", perhaps {_listed(likely[::-1])}" if likely else ""


def _squashed(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _properties_of(mapping: EventMapping, columns: Sequence[str], taken: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (mapping.rename.get(column, column), column)
        for column in columns
        if (column in mapping.include or (column not in taken and matches(column, mapping.include)))
        and not matches(column, mapping.exclude)
    )


def _check_columns(mapping: EventMapping, columns: Sequence[str]) -> None:
    """Refuse names of columns that are not there; of what is nested, the column must be."""
    named = [mapping.event_column, mapping.time_column, *(getattr(mapping, key) for _, key in ID_ROLES)]
    named += [*mapping.insert_id_columns, *mapping.json_columns, *mapping.spread_columns]
    named += [name for name in (*mapping.include, *mapping.exclude, *mapping.rename) if "*" not in name]
    nests = columns if mapping.flatten else mapping.spread_columns
    for name in named:
        if name and name not in columns and not any(name.startswith(f"{column}.") for column in nests):
            raise MappingError(f"there is no column {name!r}{_did_you_mean(name, columns)} {_there_are(columns)}")


def _check_properties(plan: ColumnPlan) -> frozenset[str]:
    """Give the names of all properties that are no keys of records; refuse two values for one property."""
    sources = {"time": plan.time_column, **dict(plan.ids)}
    if plan.insert_id_columns:
        sources["$insert_id"] = " + ".join(plan.insert_id_columns)
    own = [(name, f"column {column}") for name, column in plan.properties if column not in plan.spread_columns]
    own += [(name, f"tag {name}") for name, _ in plan.tags]
    for name, source in own:
        if name in sources:
            raise MappingError(
                f"{source} and {sources[name]} would both be the property {name}; exclude or rename one of them"
            )
        sources[name] = source
    return frozenset(sources) | {"$insert_id"}


def _check_together(mapping: EventMapping) -> None:
    if mapping.map is not None:
        for each in fields(mapping):
            default = each.default_factory() if callable(each.default_factory) else each.default
            if each.name not in MAP_TAKES and getattr(mapping, each.name) != default:
                raise MappingError(f"map takes the place of {each.name}; leave one of them out")
    if mapping.event is not None and mapping.event_column is not None:
        raise MappingError("give event or event_column, not both")
    if mapping.time_unit != "auto" and mapping.time_format is not None:
        raise MappingError("give time_unit, for numbers, or time_format, for text, not both")
    from_ms, until_ms = (_bound_ms(bound, timezone.utc) for bound in (mapping.from_time, mapping.until_time))
    if from_ms is not None and until_ms is not None and from_ms >= until_ms:
        raise MappingError("from_time must be before until_time; until_time itself is not imported")


@lru_cache(maxsize=4096)
def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a name is one of the patterns, in which only `*` is special."""
    return any(name == pattern or ("*" in pattern and _pattern(pattern).fullmatch(name)) for pattern in patterns)


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _bound_ms(value: Any, zone: tzinfo) -> int | None:
    return None if value is None else to_epoch_ms(value, zone=zone)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else "."


def _there_are(columns: Sequence[str]) -> str:
    if not columns:
        return "There are no columns"
    separator = next((sign for sign in _OTHER_SEPARATORS if len(columns) == 1 and sign in columns[0]), "")
    cure = f". If these are several, they need `csv.delimiter` '{separator}'" if separator else ""
    return f"The columns are: {_listed(columns)}{cure}"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN_COLUMNS
    return ", ".join(names[:_SHOWN_COLUMNS]) + (f" and {rest} more" if rest > 0 else "")


def _read_text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        quote = "" if isinstance(value, str) else "; in YAML, put it in quotes"
        raise MappingError(f"{key} must be a text, got {value!r}{quote}")
    return value


def _read_texts(key: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)):
        raise MappingError(f"{key} must be a list of texts, got {value!r}")
    return tuple(_read_text(key, item) for item in values)


def _read_names(key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise MappingError(f"{key} must map names, such as {{old: new}}, got {value!r}")
    return {_read_text(key, old): _read_text(key, new) for old, new in value.items()}


def _read_tags(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise MappingError(f"{key} must map properties to values, such as {{source: backfill}}, got {value!r}")
    try:
        tags = {_read_text(key, name): to_json_value(item) for name, item in value.items()}
    except UnsupportedValueError as error:
        raise MappingError(f"{key}: {error}") from None
    if None in tags.values():
        raise MappingError(f"{key} must have values; null is none")
    return tags


def _read_flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise MappingError(f"{key} must be true or false, got {value!r}")
    return value


def _read_unit(key: str, value: Any) -> str:
    if value not in TIME_UNITS:
        raise MappingError(f"{key} must be one of {', '.join(TIME_UNITS)}, got {value!r}")
    return str(value)


def _read_format(key: str, value: Any) -> str:
    text = _read_text(key, value)
    day = datetime(2001, 2, 3, tzinfo=timezone.utc)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a format without a year: refused below
            read = datetime.strptime(day.strftime(text), text)  # noqa: DTZ007 - a trial
    except ValueError as error:
        raise MappingError(f"{key} {text!r} is no format of strptime, such as '%d/%m/%Y %H:%M:%S': {error}") from None
    if read.year != day.year:
        raise MappingError(f"{key} {text!r} has no year; give one such as '%d/%m/%Y %H:%M:%S'")
    return text


def _read_bound(key: str, value: Any) -> str:
    """Take a number and what YAML makes of a date, too."""
    text = value.isoformat() if isinstance(value, date) else value
    if isinstance(text, bool) or not isinstance(text, (str, int)) or to_epoch_ms(text) is None:
        raise MappingError(f"{key} must be a date, ISO 8601 or an epoch time, got {value!r}")
    return str(text)


def _read_function(key: str, value: Any) -> Any:
    if callable(value):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[^\s:]+:[^\s:]+", value):
        raise MappingError(f"{key} must be module:function, such as my_events:to_event, got {value!r}")
    return value


_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(("event", "event_column", "time_column", *(key for _, key in ID_ROLES)), _read_text),
    **dict.fromkeys(("insert_id_columns", "include", "exclude", "json_columns", "spread_columns"), _read_texts),
    **dict.fromkeys(("only_events", "skip_events"), _read_texts),
    **dict.fromkeys(("flatten", "keep_nulls"), _read_flag),
    **dict.fromkeys(("from_time", "until_time"), _read_bound),
    "time_unit": _read_unit,
    "time_format": _read_format,
    "rename": _read_names,
    "tags": _read_tags,
    "map": _read_function,
}
