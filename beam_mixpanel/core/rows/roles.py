"""Which column of a source is what: by what the mapping names, and by common names where it names nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from beam_mixpanel.core.rows.plan import ColumnPlan, did_you_mean, listed, matches
from beam_mixpanel.errors import MappingError

if TYPE_CHECKING:
    from beam_mixpanel.core.rows.mapping import EventMapping

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
_OTHER_SEPARATORS: Final = (";", "|")
"""What other files have than commas between their columns."""


class Roles(NamedTuple):
    """Which column is what, beside properties."""

    event: str
    time: str
    ids: tuple[tuple[str, str], ...]
    insert_id: tuple[str, ...]


def find_roles(mapping: EventMapping, columns: Sequence[str], *, complete: bool) -> Roles:
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
    return Roles(
        "event" if event is None else event,
        time or "time",
        tuple((name, column) for name, column in ids.items() if column),
        (insert_id,) if insert_id else (),
    )


def _perhaps(key: str, known: Mapping[str, str]) -> str:
    """Name columns that may be meant, from a word in their names; the user knows."""
    likely = [column for column in known.values() if _LIKELY_WORDS[key] & {*map(str.lower, _WORD.findall(column))}]
    if likely:
        return f", perhaps {listed(likely[::-1])}"
    return ""


def _squashed(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def properties_of(mapping: EventMapping, columns: Sequence[str], taken: set[str]) -> tuple[tuple[str, str], ...]:
    """Give the properties that columns become, with their columns; of those that are `taken` only what is named."""
    return tuple(
        (mapping.rename.get(column, column), column)
        for column in columns
        if (column in mapping.include or (column not in taken and matches(column, mapping.include)))
        and not matches(column, mapping.exclude)
    )


def check_columns(mapping: EventMapping, columns: Sequence[str]) -> None:
    """Refuse names of columns that are not there; of what is nested, the column must be."""
    named = [mapping.event_column, mapping.time_column, *(getattr(mapping, key) for _, key in ID_ROLES)]
    named += [*mapping.insert_id_columns, *mapping.json_columns, *mapping.spread_columns]
    named += [name for name in (*mapping.include, *mapping.exclude, *mapping.rename) if "*" not in name]
    nests = columns if mapping.flatten else mapping.spread_columns
    for name in named:
        if name and name not in columns and not any(name.startswith(f"{column}.") for column in nests):
            raise MappingError(f"there is no column {name!r}{did_you_mean(name, columns)} {_there_are(columns)}")


def check_properties(plan: ColumnPlan) -> frozenset[str]:
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


def _there_are(columns: Sequence[str]) -> str:
    if not columns:
        return "There are no columns"
    separator = next((sign for sign in _OTHER_SEPARATORS if len(columns) == 1 and sign in columns[0]), "")
    cure = ""
    if separator:
        cure = f". If these are several, they need `csv.delimiter` '{separator}'"
    return f"The columns are: {listed(columns)}{cure}"
