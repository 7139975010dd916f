"""Brings most events that are not in form into it, without a word, and leaves the others to be explained.

An export without `$insert_id`, times in seconds or as text, numbers as ids, the flat shape: such events need no
explanation, only new bytes. What is not taken here is looked at closely, which costs several times as much. A property
test holds the two ways together.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from beam_mixpanel.core import limits
from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.facts import EVERY_FACT, time_bounds
from beam_mixpanel.core.events.ids import is_usable_id
from beam_mixpanel.core.events.shapes import TEXT_IDS, Event, Level1
from beam_mixpanel.core.events.time import MILLISECONDS_BELOW, SECONDS_BELOW, to_epoch_ms
from beam_mixpanel.core.json.exact import encode_sorted
from beam_mixpanel.core.json.text import UNREADABLE

_EARLIEST_SECONDS: Final = limits.EARLIEST_TIME_MS // 1000
FACTS: Final = EVERY_FACT
"""What is certain of an event that is written."""
_LARGEST_ID: Final = 10**18
"""A larger number is seldom an id."""

_FlatEvent = Annotated[dict[str, Level1], msgspec.Meta(max_length=limits.MAX_PROPERTIES + 2)]
_decode_event = msgspec.json.Decoder(Event).decode
_decode_flat = msgspec.json.Decoder(_FlatEvent).decode


class Rewriter:
    """Writes events anew, given as JSON text.

    Args:
      form: how times and ids are read and made; what is to be redacted is not told here.
    """

    def __init__(self, form: Form) -> None:
        self._zone = form.zone
        self._max_age_ms = form.max_age_ms
        self._strategy = form.insert_id
        # The bounds of time are made once for each present: a block's lines share one.
        self._now_ms = self._latest = -1
        self._earliest = 0

    def rewrite(self, line: bytes, now_ms: int) -> tuple[bytes, int] | None:
        """Give an event's final bytes and its time, or None if it needs a closer look.

        One that is in form already is given back as it is.
        """
        is_flat = b'"properties"' not in line
        try:
            event = _from_flat(_decode_flat(line)) if is_flat else _decode_event(line)
        except UNREADABLE:
            return None
        if event is None or not event.event.strip():
            return None
        properties: dict[str, Any] = event.properties
        given_time = properties.get("time")
        time_ms = self._read_time(given_time, now_ms)
        has_other_ids = _write_ids(properties)
        if time_ms is None or has_other_ids is None:
            return None
        properties["time"] = time_ms
        changed = is_flat or has_other_ids or type(given_time) is not int or time_ms != given_time or b"\n" in line
        body = self._write(event, given_time, line, changed)
        if body is None or len(body) > limits.MAX_EVENT_BYTES:
            return None
        return (body, time_ms)

    def _read_time(self, given: Any, now_ms: int) -> int | None:
        if type(given) is int and _EARLIEST_SECONDS <= given < MILLISECONDS_BELOW:
            time_ms = given if given >= SECONDS_BELOW else given * 1000
        else:
            read = to_epoch_ms(given, zone=self._zone)
            if read is None:
                return None
            time_ms = read
        if now_ms != self._now_ms:
            self._now_ms, (self._earliest, self._latest) = now_ms, time_bounds(now_ms, self._max_age_ms)
        if self._earliest <= time_ms <= self._latest:
            return time_ms
        return None

    def _write(self, event: Event, given_time: Any, line: bytes, changed: bool) -> bytes | None:
        """Write an event with its `$insert_id`; None if an id is refused, cannot be made, or is a property too many."""
        properties: dict[str, Any] = event.properties
        if not is_usable_id(properties.get("distinct_id", "")):
            return None
        insert_id = properties.get("$insert_id")
        if insert_id is not None:
            if len(properties) > limits.MAX_PROPERTIES or not insert_ids.is_acceptable(insert_id):
                return None
            if changed:
                return encode_sorted(event)
            return line
        properties.pop("$insert_id", None)
        if len(properties) >= limits.MAX_PROPERTIES:
            return None
        if self._strategy.kind == "content":
            return insert_ids.with_content_id(encode_sorted(event))
        made = insert_ids.made_insert_id(event, given_time, self._strategy)
        if made is None:
            return None
        properties["$insert_id"] = made
        return encode_sorted(event)


def _from_flat(fields: dict[str, Any]) -> Event | None:
    name = fields.pop("event", None)
    if name is None:
        name = fields.pop("event_name", None)
    is_name = type(name) is str and len(name) <= limits.MAX_EVENT_NAME_CHARS
    if is_name and "properties" not in fields:
        return Event(name, fields)
    return None


def _write_ids(properties: dict[str, Any]) -> bool | None:
    """Make text of integers and drop nulls; tell whether there were some, or None if an id needs a closer look."""
    changed = False
    for key in TEXT_IDS:
        value = properties.get(key, "")
        if type(value) is str:
            continue
        changed = True
        if value is None:
            del properties[key]
        elif type(value) is int and -_LARGEST_ID < value < _LARGEST_ID:
            properties[key] = str(value)
        else:
            return None
    return changed
