"""From whatever shape an event comes in to Mixpanel's: `{"event": name, "properties": {...}}`."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from beam_mixpanel.core.events.dead_letter import PARSE, DeadLetter, letter_of
from beam_mixpanel.core.events.rules import Violation
from beam_mixpanel.core.events.shapes import TEXT_IDS, Event
from beam_mixpanel.core.json.exact import decode_exact
from beam_mixpanel.core.json.text import UNREADABLE, UNWRITABLE, fault_of, is_utf8
from beam_mixpanel.core.json.values import fields_of, to_json_fields, unwrap
from beam_mixpanel.errors import UnsupportedValueError

_TEXT_IDS: Final = frozenset(TEXT_IDS)
_IDS: Final = (*TEXT_IDS, "$insert_id")
_WITH_EVENT: Final = frozenset(("event", "properties"))
_WITH_EVENT_NAME: Final = _WITH_EVENT | {"event_name"}


class ReadEvent(NamedTuple):
    """An event read from text or an object.

    Attributes:
      event: the event, time and ids not yet in form.
      in_shape: the text it was read from has Mixpanel's shape, and may be sent if nothing else changes.
    """

    event: Event
    in_shape: bool


def parse_object(line: bytes) -> dict[str, Any] | DeadLetter:
    """Read a line as a JSON object, its numbers exact."""
    try:
        fields = decode_exact(line.removeprefix(BOM_UTF8))
    except RecursionError:
        # The decoder gave up before it had seen all bytes; bad ones come first, as elsewhere.
        fault = "nested_too_deep" if is_utf8(line) else "not_utf8"
        return letter_of(line, [Violation(fault, "")], stage=PARSE)
    except UNREADABLE as error:
        fault = fault_of(line)
        detail = ""
        if fault == "invalid_json":
            detail = str(error)
        return letter_of(line, [Violation(fault, "", detail)], stage=PARSE)
    if isinstance(fields, dict):
        return fields
    return letter_of(line, [Violation("not_an_object", "")], stage=PARSE)


def read_line(line: bytes) -> ReadEvent | DeadLetter:
    """Read the event of a line; an id keeps its digits, another fraction is the double that it is to Mixpanel."""
    fields = parse_object(line)
    if isinstance(fields, DeadLetter):
        return fields
    in_shape = _is_in_shape(line, fields)
    event = read_fields(_in_doubles(line, fields))
    if isinstance(event, Violation):
        return letter_of(line, [event])
    return ReadEvent(event, in_shape)


def read_fields(fields: Mapping[Any, Any]) -> Event | Violation:
    """Read Mixpanel's shape or the flat shape.

    Mixpanel's shape has an object under `properties`; other fields beside it join the properties. The flat shape has
    the name in `event` or `event_name` and every other field is a property.

    Args:
      fields: a parsed JSON object or a row; values of any type that `to_json_value` knows.
    """
    # Beside a name in `event`, an `event_name` is a property; a null in `event` is none.
    name_field, apart = "event_name", _WITH_EVENT_NAME
    if fields.get("event") is not None:
        name_field, apart = "event", _WITH_EVENT
    given = fields.get("properties")
    try:
        inner = {} if given is None else fields_of(given)
        if inner is None:
            return Violation("properties_not_object", "properties")
        name = fields.get(name_field)
        if type(name) is not str:
            name = unwrap(name)
        # A time stays as it is, since JSON would lose its zone; so does an infinite id, which a rule refuses.
        beside = to_json_fields(fields, moment="time", numbers=_TEXT_IDS, without=apart)
        properties = to_json_fields(inner, moment="time", numbers=_TEXT_IDS)
    except UnsupportedValueError:
        return Violation("unsupported_value", "")
    except UNWRITABLE:
        return Violation("not_utf8", "")
    except RecursionError:
        return Violation("nested_too_deep", "")
    conflict = beside and _conflict(beside, properties)
    if conflict:
        return conflict
    properties |= beside
    return Event(str.__str__(name) if isinstance(name, str) else "", properties)


def _conflict(beside: Mapping[str, Any], properties: Mapping[str, Any]) -> Violation | None:
    """Name a field that stands beside properties and, with another value, among them."""
    for key, value in beside.items():
        if key in properties and value != properties[key]:
            return Violation("field_conflict", key)
    return None


def _in_doubles(line: bytes, exact: dict[str, Any]) -> dict[str, Any]:
    """Give the same fields, but for their ids as doubles; if one number is past all doubles, all but times stay."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(line.removeprefix(BOM_UTF8))
    except UNREADABLE:
        fields = exact
    for given, read in ((exact, fields), (exact.get("properties"), fields.get("properties"))):
        if isinstance(given, dict) and isinstance(read, dict):
            for key in _IDS:
                if key in given:
                    read[key] = given[key]
            if isinstance(read.get("time"), Decimal):
                read["time"] = float(read["time"])
    return fields


def _is_in_shape(line: bytes, fields: dict[str, Any]) -> bool:
    """Tell whether a line could be sent as it stands: in Mixpanel's shape, and no id a number past all doubles."""
    given = fields.get("properties")
    if not isinstance(given, dict) or fields.keys() != {"event", "properties"}:
        return False
    if b"\n" in line or line.startswith(BOM_UTF8):
        return False
    return Decimal not in set(map(type, map(given.get, _IDS)))
