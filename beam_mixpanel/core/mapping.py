"""How a row becomes an event: which column is what, which are properties, and which rows are wanted.

An `EventMapping` is what the user says, in Python, in a YAML file or by flags. Bound to the columns that a source has,
it becomes a `ColumnPlan`, in which every column is settled; `map_row` follows it for one row, `columnar` for many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from beam_mixpanel.core import insert_id as insert_ids
from beam_mixpanel.core.event_time import to_epoch_ms
from beam_mixpanel.core.json_values import fields_of, to_json_value, unwrap
from beam_mixpanel.core.validation import Violation

TIME_UNITS: Final = ("auto", "s", "ms", "us", "ns")
_PER_MS: Final = {"us": 1000, "ns": 1_000_000}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)

_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "event_column": ("event", "event_name", "$event_name", "event_type", "eventName", "eventType", "mp_event_name"),
    "time_column": (
        "time", "timestamp", "event_time", "event_timestamp", "ts", "created_at", "occurred_at", "sent_at", "datetime",
        "mp_time",
    ),
    "distinct_id_column": ("distinct_id", "$distinct_id", "distinctId", "mp_distinct_id", "user_id", "userId"),
    "user_id_column": ("$user_id",),
    "device_id_column": ("$device_id", "device_id", "deviceId", "anonymous_id", "anonymousId"),
    "insert_id_columns": ("$insert_id", "insert_id", "insertId", "event_id", "message_id", "messageId", "uuid"),
}  # fmt: skip
"""Names by which columns are found that the user does not name, the first that is there; case does not count."""

_decode_json = msgspec.json.Decoder().decode


class MappingError(ValueError):
    """A mapping that does not fit itself or the columns; the message names the cure."""


class Filtered(NamedTuple):
    """A row that the mapping leaves out."""

    why: str


class Unmappable(NamedTuple):
    """A row of which the mapping cannot make an event.

    Attributes:
      reason: short and stable.
      field: the column at fault.
      message: in words, without the column's value.
    """

    reason: str
    field: str
    message: str


class EventMapping(NamedTuple):
    """What the user says about rows. The same names are the keys of a YAML file and, with dashes in front, flags.

    Attributes:
      event: the name of every event.
      event_column: or the column that holds it.
      time_column: the column that holds the time.
      time_unit: of numbers in it: `s`, `ms`, `us`, `ns`, or `auto` to tell by size.
      time_format: of text in it, as for `strptime`; None for ISO 8601 and numbers.
      distinct_id_column: the column that becomes `distinct_id`; likewise user_id_column (`$user_id`) and
        device_id_column (`$device_id`).
      insert_id_columns: one, whose value is the `$insert_id`; or several, whose hash is.
      include: the columns that become properties, by name or with `*`. A column that is used above is one only where
        it is named in full.
      exclude: columns that do not, by name or with `*`.
      rename: from column to property.
      tags: properties that every event gets.
      json_columns: columns whose text is JSON.
      spread_columns: columns that hold an object, or JSON text of one, whose keys become properties.
      flatten: write nested records as `parent.child`.
      keep_nulls: keep properties that are null.
      only_events: names of the events to import, with `*`; empty for all.
      skip_events: names of the events to leave out, with `*`.
      from_time: the earliest time to import; a date, ISO 8601 or epoch seconds or milliseconds.
      until_time: the first time that is not imported.
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
    rename: Mapping[str, str] = {}
    tags: Mapping[str, Any] = {}
    json_columns: tuple[str, ...] = ()
    spread_columns: tuple[str, ...] = ()
    flatten: bool = False
    keep_nulls: bool = False
    only_events: tuple[str, ...] = ()
    skip_events: tuple[str, ...] = ()
    from_time: str | int | None = None
    until_time: str | int | None = None

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> EventMapping:
        """Read what a YAML file or flags say.

        Args:
          settings: by the names above; a text stands for a list of one.

        Raises:
          MappingError: a key or a value is wrong; says what is right.
        """
        for key in settings:
            if key not in cls._fields:
                near = get_close_matches(str(key), cls._fields, 1)
                raise MappingError(f"unknown mapping key {key!r}{f'; did you mean {near[0]}?' if near else ''}")
        values = {key: _READERS[key](key, value) for key, value in settings.items() if value is not None}
        return cls(**values).checked()

    def checked(self) -> EventMapping:
        """Give the mapping itself, if it fits together.

        Raises:
          MappingError: it does not.
        """
        if self.event is not None and self.event_column is not None:
            raise MappingError("give event or event_column, not both")
        if self.time_unit not in TIME_UNITS:
            raise MappingError(f"time_unit must be one of {', '.join(TIME_UNITS)}, got {self.time_unit!r}")
        if self.time_format is not None and self.time_unit != "auto":
            raise MappingError("give time_unit, for numbers, or time_format, for text, not both")
        from_ms, until_ms = _bound_ms("from_time", self.from_time), _bound_ms("until_time", self.until_time)
        if from_ms is not None and until_ms is not None and from_ms >= until_ms:
            raise MappingError("from_time must be before until_time")
        return self

    def bind(self, columns: Sequence[str]) -> ColumnPlan:
        """Settle which column is what.

        Args:
          columns: that the source has, in order.

        Raises:
          MappingError: a column that the mapping names is not there, none serves as time or name, or two properties
            would have one name.
        """
        self.checked()
        self._check_columns(columns)
        event_column = None if self.event is not None else self.event_column or _find("event_column", columns)
        time_column = self.time_column or _find("time_column", columns)
        if self.event is None and event_column is None:
            raise MappingError(f"no column holds the event's name; give event or event_column. {_there_are(columns)}")
        if time_column is None:
            raise MappingError(f"no column holds the time; give time_column. {_there_are(columns)}")
        ids = tuple(
            (name, column)
            for name, field in (
                ("distinct_id", "distinct_id_column"),
                ("$user_id", "user_id_column"),
                ("$device_id", "device_id_column"),
            )
            if (column := getattr(self, field) or _find(field, columns)) is not None
        )
        found = _find("insert_id_columns", columns)
        insert_id_columns = self.insert_id_columns or ((found,) if found else ())
        used = {event_column, time_column, *(column for _, column in ids)}
        used.update(insert_id_columns if len(insert_id_columns) == 1 else ())
        plan = ColumnPlan(
            event=self.event,
            event_column=event_column or "",
            time_column=time_column,
            time_unit=self.time_unit,
            time_format=self.time_format,
            ids=ids,
            insert_id_columns=insert_id_columns,
            properties=tuple((self.rename.get(column, column), column) for column in self._properties(columns, used)),
            tags=tuple(self.tags.items()),
            json_columns=frozenset(self.json_columns),
            spread_columns=frozenset(self.spread_columns),
            flatten=self.flatten,
            keep_nulls=self.keep_nulls,
            only_events=self.only_events,
            skip_events=self.skip_events,
            from_ms=_bound_ms("from_time", self.from_time),
            until_ms=_bound_ms("until_time", self.until_time),
        )
        _check_properties(plan)
        return plan

    def _check_columns(self, columns: Sequence[str]) -> None:
        named = [self.event_column, self.time_column, self.distinct_id_column, self.user_id_column]
        named += [self.device_id_column, *self.insert_id_columns, *self.rename, *self.json_columns]
        named += [*self.spread_columns, *(name for name in (*self.include, *self.exclude) if "*" not in name)]
        for name in named:
            if name is not None and name not in columns:
                near = get_close_matches(name, columns, 1)
                hint = f"; did you mean {near[0]}?" if near else "."
                raise MappingError(f"there is no column {name}{hint} {_there_are(columns)}")

    def _properties(self, columns: Sequence[str], used: set[str | None]) -> list[str]:
        return [
            column
            for column in columns
            if (column in self.include or (column not in used and _matches(column, self.include)))
            and not _matches(column, self.exclude)
        ]


class ColumnPlan(NamedTuple):
    """A mapping whose columns are settled.

    Attributes:
      event: the name of every event; None where event_column holds it.
      event_column: empty where there is none.
      ids: pairs of property and column.
      properties: pairs of property and column, in the order of the columns.
      tags: pairs of property and value.
      from_ms: the first millisecond that is wanted, until_ms the first that is not; None for no bound.

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

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read; a source need not give others."""
        named = [self.event_column, self.time_column, *(column for _, column in self.ids), *self.insert_id_columns]
        named += [column for _, column in self.properties]
        return tuple(dict.fromkeys(column for column in named if column))

    def describe(self) -> str:
        """Say in one line which column is what, for the person who started the job."""
        parts = [f"event: {self.event!r}" if self.event is not None else f"event ← {self.event_column}"]
        parts += [f"time ← {self.time_column}", *(f"{name} ← {column}" for name, column in self.ids)]
        if self.insert_id_columns:
            parts.append(f"$insert_id ← {'+'.join(self.insert_id_columns)}")
        return f"{', '.join(parts)}; {len(self.properties)} properties"


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
    name = plan.event if plan.event is not None else _event_name(row.get(plan.event_column))
    if not is_wanted(name or "", plan):
        return Filtered("event")
    time = read_time(row.get(plan.time_column), plan, zone)
    if not is_in_window(time, plan, zone):
        return Filtered("time")
    properties = _properties(row, plan)
    if isinstance(properties, Unmappable):
        return properties
    properties.update(plan.tags)
    properties["time"] = time
    for property_name, column in plan.ids:
        properties[property_name] = row.get(column)
    if plan.insert_id_columns:
        made = _insert_id(plan.insert_id_columns, name, row)
        if made is None:
            return Violation("insert_id_column_missing", ",".join(plan.insert_id_columns))
        properties["$insert_id"] = made
    return {"event": name, "properties": properties}


def is_wanted(name: str, plan: ColumnPlan) -> bool:
    """Tell whether events of this name are imported."""
    return (not plan.only_events or _matches(name, plan.only_events)) and not _matches(name, plan.skip_events)


def is_in_window(time: Any, plan: ColumnPlan, zone: tzinfo) -> bool:
    """Tell whether a time is in the window; what is no time is kept, to be explained later."""
    if plan.from_ms is None and plan.until_ms is None:
        return True
    time_ms = to_epoch_ms(unwrap(time), zone=zone)
    return time_ms is None or (
        (plan.from_ms is None or time_ms >= plan.from_ms) and (plan.until_ms is None or time_ms < plan.until_ms)
    )


def read_time(value: Any, plan: ColumnPlan, zone: tzinfo) -> Any:
    """Read a time of the plan's unit or format as milliseconds or a moment; leave alone what has neither form."""
    if plan.time_format is not None:
        return _by_format(value, plan.time_format, zone)
    if plan.time_unit != "auto":
        return _by_unit(unwrap(value), plan.time_unit)
    return value


def _by_format(value: Any, time_format: str, zone: tzinfo) -> Any:
    if value is None or value == "":
        return None
    try:
        moment = datetime.strptime(str(value).strip(), time_format)  # noqa: DTZ007 - given a zone below
    except ValueError:
        return "unreadable"
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=zone)


def _by_unit(value: Any, unit: str) -> Any:
    """Make a moment of a number, so that its size does not count."""
    if isinstance(value, str):
        try:
            value = int(value) if re.fullmatch(r"\s*-?\d+\s*", value, re.ASCII) else float(value)
        except ValueError:
            return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    try:
        if unit == "s":
            return _EPOCH + timedelta(milliseconds=round(value * 1000))
        return _EPOCH + timedelta(milliseconds=value // _PER_MS.get(unit, 1))
    except (OverflowError, ValueError):
        return "unreadable"


def _event_name(value: Any) -> Any:
    plain = unwrap(value)
    return plain if isinstance(plain, str) or plain is None else str(to_json_value(plain))


def _properties(row: Mapping[str, Any], plan: ColumnPlan) -> dict[str, Any] | Unmappable:
    if not (plan.json_columns or plan.spread_columns or plan.flatten or plan.keep_nulls):
        return {name: value for name, column in plan.properties if (value := row.get(column)) is not None}
    properties: dict[str, Any] = {}
    for name, column in plan.properties:
        problem = _add_property(properties, name, column, row.get(column), plan)
        if problem is not None:
            return problem
    return properties


def _add_property(
    properties: dict[str, Any], name: str, column: str, value: Any, plan: ColumnPlan
) -> Unmappable | None:
    """Add what a column holds; say so where it does not hold what the mapping says."""
    if (column in plan.json_columns or column in plan.spread_columns) and isinstance(value, (str, bytes)):
        if not value.strip():
            value = None
        else:
            try:
                value = _decode_json(value)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                return Unmappable("json_column_invalid", column, f"the column {column} is not JSON")
    fields = fields_of(value) if column in plan.spread_columns or plan.flatten else None
    if column in plan.spread_columns:
        if value is not None and fields is None:
            return Unmappable("spread_column_not_object", column, f"the column {column} is not an object")
        for key, item in (fields or {}).items():
            _put(properties, str(key), item, plan)
    else:
        _put(properties, name, value, plan)
    return None


def _put(properties: dict[str, Any], name: str, value: Any, plan: ColumnPlan) -> None:
    fields = fields_of(value) if plan.flatten else None
    if fields is not None:
        for key, item in fields.items():
            _put(properties, f"{name}.{key}", item, plan)
    elif value is not None or plan.keep_nulls:
        properties[name] = value


def _insert_id(columns: tuple[str, ...], name: Any, row: Mapping[str, Any]) -> Any:
    if len(columns) == 1:
        value = row.get(columns[0])
        return None if value == "" else value
    values = {column: to_json_value(row.get(column)) for column in columns}
    return insert_ids.from_columns(name, values, columns)


def _find(field: str, columns: Sequence[str]) -> str | None:
    """Find a column by the names that are common for its part."""
    by_lower = {column.lower(): column for column in reversed(columns)}
    for name in _NAMES[field]:
        if name in columns:
            return name
        if name.lower() in by_lower:
            return by_lower[name.lower()]
    return None


@lru_cache(maxsize=4096)
def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a name is one of the patterns, in which only `*` is special."""
    return any(name == pattern or ("*" in pattern and _pattern(pattern).fullmatch(name)) for pattern in patterns)


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _check_properties(plan: ColumnPlan) -> None:
    taken: dict[str, str] = {"time": plan.time_column, **dict(plan.ids)}
    if plan.insert_id_columns:
        taken["$insert_id"] = "+".join(plan.insert_id_columns)
    named = [(name, column) for name, column in plan.properties if column not in plan.spread_columns]
    for name, column in [*named, *((name, f"the tag {name}") for name, _ in plan.tags)]:
        if taken.setdefault(name, column) != column or (name in ("time", "$insert_id") and column != taken[name]):
            raise MappingError(
                f"{taken[name]} and {column} would both be the property {name}; exclude or rename one of them"
            )


def _there_are(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:40])
    return f"The columns are: {shown}{', …' if len(columns) > 40 else ''}"


def _bound_ms(key: str, value: str | int | None) -> int | None:
    if value is None:
        return None
    time_ms = to_epoch_ms(value)
    if time_ms is None:
        raise MappingError(f"{key} must be a date, ISO 8601 or epoch time, got {value!r}")
    return time_ms


def _read_text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise MappingError(f"{key} must be a text, got {value!r}")
    return value


def _read_texts(key: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)):
        raise MappingError(f"{key} must be a list of texts, got {value!r}")
    return tuple(_read_text(key, item) for item in values)


def _read_map(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise MappingError(f"{key} must map names, such as {{old: new}}, got {value!r}")
    return dict(value)


def _read_flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise MappingError(f"{key} must be true or false, got {value!r}")
    return value


def _read_bound(key: str, value: Any) -> Any:
    """Take what YAML makes of a date, too."""
    return value if isinstance(value, (str, int)) and not isinstance(value, bool) else _as_text(key, value)


def _as_text(key: str, value: Any) -> str:
    if not hasattr(value, "isoformat"):
        raise MappingError(f"{key} must be a date, ISO 8601 or epoch time, got {value!r}")
    return str(value.isoformat())


_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(EventMapping._fields, _read_text),
    **dict.fromkeys(
        ("insert_id_columns", "include", "exclude", "json_columns", "spread_columns", "only_events", "skip_events"),
        _read_texts,
    ),
    **dict.fromkeys(("rename", "tags"), _read_map),
    **dict.fromkeys(("flatten", "keep_nulls"), _read_flag),
    **dict.fromkeys(("from_time", "until_time"), _read_bound),
}
