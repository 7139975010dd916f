"""How a row becomes an event: which column is what, which are properties, and which rows are wanted.

An `EventMapping` is what the user says, in Python, in a YAML file or by flags. Bound to the columns that a source has,
it becomes a `ColumnPlan`, in which every column is settled; `map_row` follows it for one row, `by_column` for many.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timezone, tzinfo
from typing import Any, Final

from beam_mixpanel.core.arguments import refuse_value_provider
from beam_mixpanel.core.events.time import POWER_OF_UNIT, to_epoch_ms
from beam_mixpanel.core.json.values import to_json_value
from beam_mixpanel.core.rows.plan import ColumnPlan, did_you_mean
from beam_mixpanel.core.rows.roles import ID_ROLES, check_columns, check_properties, find_roles, properties_of
from beam_mixpanel.errors import MappingError, UnsupportedValueError

TIME_UNITS: Final = ("auto", *POWER_OF_UNIT)


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
                raise MappingError(f"unknown mapping key {key!r}{did_you_mean(str(key), KEYS)}")
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
            check_columns(self, columns)
        roles = find_roles(self, columns, complete=complete)
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
            properties=properties_of(self, columns, taken),
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
        return plan._replace(reserved=check_properties(plan))


KEYS: Final = tuple(each.name for each in fields(EventMapping))
_MAY_BE_NONE: Final = frozenset(each.name for each in fields(EventMapping) if each.default is None)
MAP_TAKES: Final = ("map", "tags", "only_events", "skip_events", "from_time", "until_time")
"""The keys that serve beside a function."""
EVENTS_TAKE: Final = (*MAP_TAKES, "insert_id_columns")
"""The keys that serve with events in Mixpanel's shape, where `insert_id_columns` names properties."""


def _check_together(mapping: EventMapping) -> None:
    if mapping.map is not None:
        for each in fields(mapping):
            default = each.default
            if callable(each.default_factory):
                default = each.default_factory()
            if each.name not in MAP_TAKES and getattr(mapping, each.name) != default:
                raise MappingError(f"map takes the place of {each.name}; leave one of them out")
    if mapping.event is not None and mapping.event_column is not None:
        raise MappingError("give event or event_column, not both")
    if mapping.time_unit != "auto" and mapping.time_format is not None:
        raise MappingError("give time_unit, for numbers, or time_format, for text, not both")
    from_ms, until_ms = (_bound_ms(bound, timezone.utc) for bound in (mapping.from_time, mapping.until_time))
    if from_ms is not None and until_ms is not None and from_ms >= until_ms:
        raise MappingError("from_time must be before until_time; until_time itself is not imported")


def _bound_ms(value: Any, zone: tzinfo) -> int | None:
    if value is None:
        return None
    return to_epoch_ms(value, zone=zone)


def _read_text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        quote = "; in YAML, put it in quotes"
        if isinstance(value, str):
            quote = ""
        raise MappingError(f"{key} must be a text, got {value!r}{quote}")
    return value


def _read_texts(key: str, value: Any) -> tuple[str, ...]:
    values = value
    if isinstance(value, str):
        values = [value]
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
    text = value
    if isinstance(value, date):
        text = value.isoformat()
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
