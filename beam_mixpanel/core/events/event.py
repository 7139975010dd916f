"""From whatever shape an event comes in to Mixpanel's: `{"event": name, "properties": {...}}`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import timezone, tzinfo
from decimal import Decimal
from typing import Any, Final, NamedTuple

from beam_mixpanel.core import limits
from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.insert_id import CONTENT_IDS, InsertIdStrategy
from beam_mixpanel.core.events.time import to_epoch_ms
from beam_mixpanel.core.events.validation import Event, Violation
from beam_mixpanel.core.json.text import UNWRITABLE
from beam_mixpanel.core.json.values import fields_of, to_json_key, to_json_value, unwrap
from beam_mixpanel.errors import UnsupportedValueError

TEXT_IDS: Final = ("distinct_id", "$user_id", "$device_id")
"""Properties that Mixpanel takes as text; a number becomes its digits."""
_KEPT_AS_GIVEN: Final = ("time", *TEXT_IDS)
_EXACT_IN_DOUBLE: Final = 2**53
_MOST_ID_DIGITS: Final = 1000
"""More than any id has; a number such as 1e999999999 would fill the memory with its digits."""
_MOST_ID_BITS: Final = 3 * _MOST_ID_DIGITS


class Form(NamedTuple):
    """How events are brought into form.

    Attributes:
      insert_id: how an absent `$insert_id` is made.
      zone: the zone of times that name none.
      max_age_ms: events older than this are refused (for `/track`); None for no such bound.
      redact: names of properties that are neither sent nor kept.
    """

    insert_id: InsertIdStrategy = CONTENT_IDS
    zone: tzinfo = timezone.utc
    max_age_ms: int | None = None
    redact: frozenset[str] = frozenset()


class Changes(NamedTuple):
    """What bringing an event into form did.

    Attributes:
      changed: the properties differ from the input's.
      needs_id: `$insert_id` is absent and is to be made from the content.
      repaired: an id that Mixpanel would refuse was replaced.
      violations: why the event cannot be sent; empty for a good one.
    """

    changed: bool
    needs_id: bool
    repaired: bool
    violations: list[Violation]


def to_event(fields: Mapping[Any, Any]) -> Event | Violation:
    """Read Mixpanel's shape or the flat shape.

    Mixpanel's shape has an object under `properties`; other fields beside it join the properties. The flat shape has
    the name in `event` or `event_name` and every other field is a property.

    Args:
      fields: a parsed JSON object or a row; values of any type that `to_json_value` knows.
    """
    name_field = "event" if fields.get("event") is not None else "event_name"
    try:
        given = fields.get("properties")
        properties = {} if given is None else fields_of(given)
        if properties is None:
            return Violation("properties_not_object", "properties")
        name = unwrap(fields.get(name_field))
        beside = {
            to_json_key(key): _property(key, value)
            for key, value in fields.items()
            if key not in (name_field, "properties") and not (key == "event" and value is None)
        }
        inside = {to_json_key(key): _property(key, value) for key, value in properties.items()}
    except UnsupportedValueError:
        return Violation("unsupported_value", "")
    except UNWRITABLE:
        return Violation("not_utf8", "")
    except RecursionError:
        return Violation("nested_too_deep", "")
    for key in beside:
        if key in inside and beside[key] != inside[key]:
            return Violation("field_conflict", key)
    return Event(str.__str__(name) if isinstance(name, str) else "", inside | beside)


def _property(key: Any, value: Any) -> Any:
    """Keep a time as it is, since its zone would be lost in its JSON form, and an infinite id, which is refused."""
    if key not in _KEPT_AS_GIVEN:
        return to_json_value(value)
    plain = unwrap(value)
    if isinstance(plain, Decimal) and plain.is_nan():
        return None
    infinite = isinstance(plain, (float, Decimal)) and math.isinf(plain)
    return plain if key == "time" or infinite else to_json_value(plain)


def normalise(event: Event, form: Form, now_ms: int) -> Changes:
    """Bring time and ids into Mixpanel's form, in place; an event already in form stays as it is.

    Args:
      event: in Mixpanel's shape, name and structure not yet trusted.
      form: what the user chose.
      now_ms: the present, for the bound on future times.
    """
    properties = event.properties
    violations: list[Violation] = []
    given_time = properties.get("time")
    changed = _normalise_time(properties, form, now_ms, violations)
    for key in TEXT_IDS:
        value = properties.get(key)
        if type(value) is not str and key in properties:
            changed = True
            _normalise_id(properties, key, violations)
    violations += check_distinct_id(properties.get("distinct_id"))
    if violations:
        return Changes(changed, False, False, violations)
    given_id = properties.get("$insert_id")
    if insert_ids.is_acceptable(given_id):
        return Changes(changed, False, False, violations)
    try:
        repaired = _make_insert_id(event, given_id, given_time, form.insert_id, violations)
    except UNWRITABLE:
        return Changes(changed, False, False, [Violation("not_utf8", "")])
    return Changes(True, "$insert_id" not in properties, repaired, violations)


def _normalise_time(properties: dict[str, Any], form: Form, now_ms: int, violations: list[Violation]) -> bool:
    given = properties.get("time")
    if given is None or given == "":
        violations.append(Violation("time_missing", "properties.time"))
        return False
    in_form = type(given) is int and limits.EARLIEST_TIME_MS <= given <= now_ms + limits.MAX_AHEAD_MS
    time_ms = given if in_form else to_epoch_ms(given, zone=form.zone)
    if time_ms is None:
        violations.append(Violation("time_unreadable", "properties.time"))
    elif time_ms < limits.EARLIEST_TIME_MS:
        violations.append(Violation("time_before_1971", "properties.time"))
    elif time_ms > now_ms + limits.MAX_AHEAD_MS:
        violations.append(Violation("time_in_future", "properties.time"))
    elif form.max_age_ms is not None and time_ms < now_ms - form.max_age_ms:
        violations.append(Violation("time_too_old_for_track", "properties.time"))
    properties["time"] = time_ms
    return not in_form


def _normalise_id(properties: dict[str, Any], key: str, violations: list[Violation]) -> None:
    value = properties[key]
    if value is None:
        del properties[key]
    elif isinstance(value, (dict, list)):
        violations.append(Violation("id_not_text", f"properties.{key}"))
    elif _is_inexact(value):
        violations.append(Violation("id_inexact", f"properties.{key}"))
    else:
        properties[key] = id_text(value)


def _is_inexact(value: bool | int | float | Decimal) -> bool:
    return abs(value) >= _EXACT_IN_DOUBLE if isinstance(value, float) else _has_endless_digits(value)


def _has_endless_digits(value: int | Decimal) -> bool:
    if isinstance(value, Decimal):
        return not value.is_finite() or abs(value.adjusted()) > _MOST_ID_DIGITS
    return value.bit_length() > _MOST_ID_BITS


def id_text(value: bool | int | float | Decimal) -> str:
    """Write a number that serves as an id, digit by digit; `7.0` is the id 7 that passed through a float column.

    Only a number with more digits than any id is written in short.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_IN_DOUBLE:
        return str(int(value))
    if isinstance(value, (int, Decimal)) and _has_endless_digits(value):
        return hex(value) if isinstance(value, int) else str(value)
    if isinstance(value, Decimal):
        return str(int(value)) if value == value.to_integral_value() else format(value, "f")
    return str(value)


def check_distinct_id(distinct_id: Any) -> list[Violation]:
    """Name the documented limits that a `distinct_id` breaks; what is no text is judged elsewhere."""
    if isinstance(distinct_id, str):
        if distinct_id.lower() in limits.PLACEHOLDER_IDS:
            return [Violation("distinct_id_placeholder", "properties.distinct_id")]
        if len(distinct_id) > limits.MAX_DISTINCT_ID_CHARS:
            return [Violation("distinct_id_too_long", "properties.distinct_id")]
    return []


def unusable_distinct_ids(ids: Collection[str]) -> set[str]:
    """Give those of many ids that `check_distinct_id` names; fast where there are none."""
    longest = max(map(len, ids), default=0)
    if longest <= limits.MAX_DISTINCT_ID_CHARS and limits.PLACEHOLDER_IDS.isdisjoint(map(str.lower, ids)):
        return set()
    return {distinct_id for distinct_id in ids if check_distinct_id(distinct_id)}


def _make_insert_id(
    event: Event, given_id: Any, given_time: Any, strategy: InsertIdStrategy, violations: list[Violation]
) -> bool:
    """Set `$insert_id`, or take it away where the content must give it. Tell whether a refused one was replaced."""
    properties: dict[str, Any] = event.properties
    if given_id is not None and given_id != "":
        as_text = given_id if isinstance(given_id, (str, dict, list)) else id_text(given_id)
        acceptable = insert_ids.is_acceptable(as_text)
        properties["$insert_id"] = as_text if acceptable else insert_ids.from_refused(as_text, event.event, properties)
        return not acceptable
    properties.pop("$insert_id", None)
    if strategy.kind != "content":
        made = made_insert_id(event, given_time, strategy)
        if made is None:
            violations.append(Violation("insert_id_column_missing", ",".join(strategy.columns)))
        else:
            properties["$insert_id"] = made
    return False


def made_insert_id(event: Event, given_time: Any, strategy: InsertIdStrategy) -> str | None:
    """Make the `$insert_id` of an event in form by another strategy than its content; None where a column is absent.

    Args:
      event: its other ids and its time are in form.
      given_time: the time as the source holds it.
      strategy: `columns` or `mixpanel-import`.
    """
    properties = event.properties
    if strategy.kind == "columns":
        return insert_ids.from_columns(event.event, properties, strategy.columns)
    time: Any = given_time if isinstance(given_time, (int, float, Decimal)) else properties["time"]
    return insert_ids.from_mixpanel_import(event.event, properties.get("distinct_id"), id_text(time))
