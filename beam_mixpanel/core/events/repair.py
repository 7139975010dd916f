"""A dead letter's event on its way through a repair: what the repair is given, and what becomes of its result."""

from __future__ import annotations

import math
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from beam_mixpanel.core.events.dead_letter import IMPORT, MAP, DeadLetter, Refused
from beam_mixpanel.core.events.event import TEXT_IDS
from beam_mixpanel.core.events.prepare import write_as_given
from beam_mixpanel.core.json.text import UNREADABLE, UNWRITABLE
from beam_mixpanel.errors import UnsupportedValueError

FIX_FAILED: Final = "fix_failed"
_FIXED: Final = "fixed"
_IDS: Final = (*TEXT_IDS, "$insert_id")
_IDENTITY: Final = ("distinct_id", "time", "$insert_id")


def as_given(original: bytes) -> dict[str, Any] | str | bytes:
    """Read an event for a repair: its fields where it is a JSON object, else its text, else its bytes.

    Fractions are floats, but where an id is one all are `Decimal`s, so that no digit of it is lost.
    """
    fields = _read(original)
    if fields is not None:
        return fields
    try:
        return original.decode()
    except UnicodeDecodeError:
        return original


def repaired(letter: DeadLetter, events: Sequence[Mapping[Any, Any]]) -> list[DeadLetter] | Refused:
    """Put what a repair gave in the place of a dead letter's event.

    An event that the repair left as it was keeps its very bytes. One that was sent before keeps the `$insert_id` and
    the `time` it was sent with, each unless the repair changed it; of several events made from one, none can keep the
    `$insert_id` that was made for that one.

    Args:
      letter: the dead letter.
      events: what the repair made of its event.

    Returns:
      Letters to try again, in order; or the letter refused, where what the repair gave cannot stand for events.
    """
    try:
        texts = [write_as_given(event) for event in events]
    except (UnsupportedValueError, *UNWRITABLE, RecursionError) as error:
        return refuse(letter, f"the function gave an event that has no JSON form ({type(error).__name__})")
    before = _read(letter.event)
    if _hide_each_other(events):
        return refuse(
            letter,
            "the function gave several events with one $insert_id, of which Mixpanel would show one; give each its "
            "own, or none",
        )
    unchanged = None if before is None else write_as_given(before)
    return [
        letter if text == unchanged else _replaced(letter, text, before or {}, fields, len(events) == 1)
        for text, fields in zip(texts, events, strict=True)
    ]


def refuse(letter: DeadLetter, message: str) -> Refused:
    """Keep an event that a repair failed on as it was, and the identity under which it was sent."""
    return Refused(
        letter._replace(
            stage=MAP, reason=FIX_FAILED, field="", message=message, http_status=0, attempts=0, fate="invalid"
        )
    )


def _replaced(
    letter: DeadLetter, text: bytes, before: Mapping[Any, Any], after: Mapping[Any, Any], alone: bool
) -> DeadLetter:
    def kept(name: str) -> bool:
        return letter.was_sent and _property(before, name) == _property(after, name)

    return letter._replace(
        event=text,
        stage=IMPORT if letter.was_sent else letter.stage,
        reason=_FIXED,
        insert_id=letter.insert_id if alone and kept("$insert_id") else "",
        time_ms=letter.time_ms if kept("time") else 0,
    )


def _hide_each_other(events: Sequence[Mapping[Any, Any]]) -> bool:
    """Tell whether Mixpanel would take two of the events for one, by the `$insert_id`s that they state."""
    stated = [
        (_name(event), *(str(_property(event, name)) for name in _IDENTITY))
        for event in events
        if _property(event, "$insert_id") not in (None, "")
    ]
    return len(set(stated)) < len(stated)


def _name(event: Mapping[Any, Any]) -> str:
    return str(event.get("event") or event.get("event_name"))


def _property(event: Mapping[Any, Any], name: str) -> Any:
    """Look a property up in Mixpanel's shape, or in the flat shape."""
    inside = event.get("properties")
    return inside[name] if isinstance(inside, Mapping) and name in inside else event.get(name)


def _read(text: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None for any other text."""
    try:
        fields = _decode(text.removeprefix(BOM_UTF8))
        if isinstance(fields, dict) and any(isinstance(_property(fields, name), float) for name in _IDS):
            fields = _decode_exact(text.removeprefix(BOM_UTF8))
    except UNREADABLE:
        return None
    return fields if isinstance(fields, dict) else None


def _number(text: str) -> float | Decimal:
    number = float(text)
    return number if math.isfinite(number) else _exact_number(text)


def _exact_number(text: str) -> float | Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return float(text)


_decode: Final = msgspec.json.Decoder(float_hook=_number).decode
_decode_exact: Final = msgspec.json.Decoder(float_hook=_exact_number).decode
