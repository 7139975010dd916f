"""An independent judge: the standard library's JSON and the emulator's rules, nothing of what is judged."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from beam_mixpanel.emulator.rules import IMPORT_RULES, MAX_EVENT_BYTES, PLACEHOLDERS, Context
from beam_mixpanel.emulator.validation import IDENTITY_EVENTS, IdentityEventError, MalformedJSONError, check_import

IDS: Final = ("distinct_id", "$user_id", "$device_id")
_INSERT_ID: Final = re.compile(r"[A-Za-z0-9-]{1,36}", re.ASCII)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _exact(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal(float(digits))


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is repeated")
    return dict(pairs)


read_exactly = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_exact).decode
_read_strictly = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated).decode


def complaint(body: bytes, now_ms: int) -> str:
    """Say why `/import` would refuse an event that is to be sent; empty if it would not."""
    try:
        event = read_exactly(body.decode())
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(event, dict) or event.keys() != {"event", "properties"}:
        return "not in Mixpanel's shape"
    if complaint_about_ids := _complaint_about_ids(event["properties"]):
        return complaint_about_ids
    context = Context(now_ms)
    violation = next((found for rule in IMPORT_RULES if (found := rule(event, context))), None)
    if violation:
        return violation.message
    if len(body) > MAX_EVENT_BYTES:
        return "too large"
    return "more than one line" if b"\n" in body else ""


def _complaint_about_ids(properties: Any) -> str:
    if not isinstance(properties, dict):
        return "properties are no object"
    for key in IDS:
        if not isinstance(properties.get(key, ""), str):
            return f"{key} is no text"
    return "" if _is_good_insert_id(properties.get("$insert_id")) else "$insert_id is malformed"


def batch_complaint(bodies: Sequence[bytes], now_ms: int) -> str:
    """Say why the emulator's own way of checking batches would refuse one that is to be sent."""
    try:
        checked = check_import(bodies, Context(now_ms))
    except IdentityEventError:
        plain = [body for body in bodies if json.loads(body)["event"] not in IDENTITY_EVENTS]
        return batch_complaint(plain, now_ms)
    except MalformedJSONError as error:
        return str(error)
    if checked.refusals:
        return checked.refusals[0].message
    return "" if len(checked.events) == len(bodies) else "lost events"


def would_take(line: bytes, now_ms: int) -> bool:
    """Tell whether `/import` would take a line as it stands.

    Not where a key is repeated, since one of the values may be bad; nor where there are fields beside the properties,
    which we read as properties and the server does not read at all; nor a `$merge`, which needs neither time nor id.
    """
    try:
        event = _read_strictly(line.decode())
        if not isinstance(event, dict) or event.keys() != {"event", "properties"} or event["event"] == "$merge":
            return False
        checked = check_import([line], Context(now_ms, original_id_merge=True))
    except (MalformedJSONError, ValueError, RecursionError):
        return False
    return not checked.refusals


def change_of_content(original: bytes, body: bytes) -> str:
    """Say what of an event that was rewritten differs from the original though it need not; empty if nothing does."""
    given = read_exactly(original.decode("utf-8-sig"))
    sent = read_exactly(body.decode())
    name = given["event"] if given.get("event") is not None else given["event_name"]
    if name != sent["event"]:
        return "the name"
    named = "event" if given.get("event") is not None else "event_name"
    fields = (given.get("properties") or {}) | {
        key: value
        for key, value in given.items()
        if key not in (named, "properties") and not (key == "event" and value is None)
    }
    before, after = fields, sent["properties"]
    return next((key for key in before.keys() | after.keys() if not _is_kept(key, before, after)), "")


def _is_kept(key: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    if key == "time":
        return type(after[key]) is int
    if key == "$insert_id":
        given = before.get(key)
        return after[key] == given or not _is_good_insert_id(given)
    if key in IDS:
        given = before.get(key)
        if isinstance(given, str) or type(given) is int:
            return bool(after[key] == str(given))
        return (key in after) == (given is not None)
    return key in before and key in after and _same(before[key], after[key])


def _is_good_insert_id(value: Any) -> bool:
    return isinstance(value, str) and bool(_INSERT_ID.fullmatch(value)) and value.lower() not in PLACEHOLDERS


def _same(one: Any, other: Any) -> bool:
    """Compare values, telling true from 1, but not numbers with a fraction that are one double."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Decimal) and one.is_infinite():
        return bool(other == one or other in ("Infinity", "-Infinity"))
    if isinstance(one, Decimal) and isinstance(other, Decimal) and float(one) == float(other):
        return True
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
