"""Mixpanel's documented limits, each as a named rule.

`check_event` explains; the types of `Event` say the same to the decoder, so that a good event is checked while it is
parsed. A property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from beam_mixpanel.core import limits
from beam_mixpanel.core.limits import EVENT_DOCS, IMPORT_DOCS, TRACK_DOCS

_Scalar = str | int | float | bool | None
_Keys = msgspec.Meta(max_length=limits.MAX_NESTED_KEYS)
_Elements = msgspec.Meta(max_length=limits.MAX_LIST_ELEMENTS)
_Level3 = _Scalar | Annotated[list[_Scalar], _Elements] | Annotated[dict[str, _Scalar], _Keys]
_Level2 = _Scalar | Annotated[list[_Level3], _Elements] | Annotated[dict[str, _Level3], _Keys]
Level1 = _Scalar | Annotated[list[_Level2], _Elements] | Annotated[dict[str, _Level2], _Keys]
"""A property's value, within the limits on counts and nesting."""


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event in Mixpanel's shape; the types carry the limits on names, counts and nesting."""

    event: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_EVENT_NAME_CHARS)]
    properties: Annotated[dict[str, Level1], msgspec.Meta(max_length=limits.MAX_PROPERTIES)]


class SkimmedProperties(msgspec.Struct, gc=False):
    """The properties that must be in form for an event to be sent as it stands; others are skipped unread."""

    time: Annotated[int, msgspec.Meta(ge=limits.EARLIEST_TIME_MS)]
    insert_id: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_INSERT_ID_BYTES)] = msgspec.field(
        name="$insert_id"
    )
    distinct_id: Annotated[str, msgspec.Meta(max_length=limits.MAX_DISTINCT_ID_CHARS)] = ""
    user_id: str = msgspec.field(name="$user_id", default="")
    device_id: str = msgspec.field(name="$device_id", default="")


class SkimmedEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """As much of an event as must be looked at to send it as it stands; several times as fast to decode."""

    event: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_EVENT_NAME_CHARS)]
    properties: SkimmedProperties


_MOST_VIOLATIONS: Final = 20
"""Of one event. An event of millions of values could break a rule with each."""
_LONGEST_NAME: Final = 255
LINE_TOO_LONG: Final = "line_too_long"


class Rule(NamedTuple):
    """A documented limit: what to tell the user, and the page that states it."""

    message: str
    source: str


RULES: Final[dict[str, Rule]] = {
    "invalid_json": Rule("is not one JSON value", IMPORT_DOCS),
    LINE_TOO_LONG: Rule("is on a line that is longer than any event", IMPORT_DOCS),
    "not_utf8": Rule("is not valid UTF-8", IMPORT_DOCS),
    "lone_surrogate": Rule("holds half of a surrogate pair, which is no Unicode text", IMPORT_DOCS),
    "not_an_object": Rule("is not a JSON object", IMPORT_DOCS),
    "unsupported_value": Rule("holds a value that has no JSON form", IMPORT_DOCS),
    "event_missing": Rule("must be a text that is not blank", IMPORT_DOCS),
    "event_too_long": Rule(f"must have at most {limits.MAX_EVENT_NAME_CHARS} characters", EVENT_DOCS),
    "properties_not_object": Rule("must be an object", IMPORT_DOCS),
    "field_conflict": Rule("stands beside properties and, with another value, among them", IMPORT_DOCS),
    "time_missing": Rule("is missing; a time is never invented", IMPORT_DOCS),
    "time_unreadable": Rule("is neither epoch seconds, ms, us or ns nor ISO 8601", IMPORT_DOCS),
    "time_before_1971": Rule("is before 1971-01-01", IMPORT_DOCS),
    "time_in_future": Rule("is more than one hour ahead", IMPORT_DOCS),
    "time_too_old_for_track": Rule("is older than 5 days, which /track drops silently; use /import", TRACK_DOCS),
    "distinct_id_placeholder": Rule("is a placeholder that Mixpanel refuses", IMPORT_DOCS),
    "distinct_id_too_long": Rule(f"must have at most {limits.MAX_DISTINCT_ID_CHARS} characters", EVENT_DOCS),
    "id_inexact": Rule("is a float too large to be exact; give an integer or text", IMPORT_DOCS),
    "id_not_text": Rule("must be text or a number", IMPORT_DOCS),
    "insert_id_column_missing": Rule("is needed for the insert id but absent or null", IMPORT_DOCS),
    "too_many_properties": Rule(
        f"must be at most {limits.MAX_PROPERTIES} properties, an added $insert_id counted", IMPORT_DOCS
    ),
    "too_many_keys": Rule(f"must have at most {limits.MAX_NESTED_KEYS} keys", IMPORT_DOCS),
    "too_many_elements": Rule(f"must have at most {limits.MAX_LIST_ELEMENTS} elements", IMPORT_DOCS),
    "nested_too_deep": Rule(f"nests deeper than {limits.MAX_NESTING} levels", IMPORT_DOCS),
    "event_too_large": Rule(f"must have at most {limits.MAX_EVENT_BYTES} bytes of JSON", IMPORT_DOCS),
}


class Violation(NamedTuple):
    """Why an event is invalid.

    Attributes:
      rule: a key of `RULES`.
      field: where, such as `properties.time`; empty for the whole event. Never a property's value.
      detail: what else helps to fix it; never a property's value.
    """

    rule: str
    field: str
    detail: str = ""

    @property
    def message(self) -> str:
        """What to tell the user, without any value of the event."""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.field or 'the event'} {RULES[self.rule].message}{detail}"


def check_event(event: Event) -> list[Violation]:
    """Name the documented limits on shape and size that an event breaks, 20 of them or so at most.

    Time and ids are checked where they are brought into form (`event.normalise`); the encoded size where the bytes
    are at hand.
    """
    found = list(check_name(event.event))
    if len(event.properties) > limits.MAX_PROPERTIES:
        found.append(Violation("too_many_properties", "properties"))
    for name, value in event.properties.items():
        if isinstance(value, (dict, list)):
            _check_nested(value, f"properties.{_short(name)}", 1, found)
        if len(found) >= _MOST_VIOLATIONS:
            break
    return found


def check_name(name: Any) -> list[Violation]:
    """Name the documented limits that an event's name breaks."""
    if not isinstance(name, str) or not name.strip():
        return [Violation("event_missing", "event")]
    return [Violation("event_too_long", "event")] if len(name) > limits.MAX_EVENT_NAME_CHARS else []


def _check_nested(value: dict[str, Any] | list[Any], field: str, level: int, found: list[Violation]) -> None:
    if level > limits.MAX_NESTING:
        found.append(Violation("nested_too_deep", field))
        return
    if isinstance(value, dict):
        if len(value) > limits.MAX_NESTED_KEYS:
            found.append(Violation("too_many_keys", field))
    elif len(value) > limits.MAX_LIST_ELEMENTS:
        found.append(Violation("too_many_elements", field))
    for child_field, child in _nested_in(value, field):
        if len(found) >= _MOST_VIOLATIONS:
            return
        _check_nested(child, child_field, level + 1, found)


def _nested_in(value: dict[str, Any] | list[Any], field: str) -> Iterator[tuple[str, Any]]:
    """Give what nests in a value, each with its name, one at a time: there may be millions."""
    if isinstance(value, dict):
        for key, child in value.items():
            if isinstance(child, (dict, list)):
                yield f"{field}.{_short(key)}", child
    else:
        for child in value:
            if isinstance(child, (dict, list)):
                yield f"{field}[]", child


def _short(name: Any) -> str:
    """Cut a name for a message: it may be as long as a line, and within a time, which is not looked into, no text."""
    if not isinstance(name, str):
        return f"<{type(name).__name__}>"
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
