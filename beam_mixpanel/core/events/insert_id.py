"""`$insert_id`: what makes sending an event twice harmless.

Mixpanel shows one of several events that agree in event name, `distinct_id`, `time` and `$insert_id`
(https://docs.mixpanel.com/reference/event-deduplication). So an id must follow from the event alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import mmh3

from beam_mixpanel.core.events.ids import id_text
from beam_mixpanel.core.events.rules import Violation
from beam_mixpanel.core.events.shapes import Event
from beam_mixpanel.core.json.exact import encode_sorted
from beam_mixpanel.core.json.text import UNWRITABLE
from beam_mixpanel.core.limits import INSERT_ID_CHARS, MAX_INSERT_ID_BYTES, PLACEHOLDER_IDS

_ACCEPTED: Final = re.compile(f"{INSERT_ID_CHARS}{{1,{MAX_INSERT_ID_BYTES}}}", re.ASCII)


class InsertIdStrategy(NamedTuple):
    """How an absent `$insert_id` is made.

    Attributes:
      kind: `content` (from the whole event), `columns` (from the named properties), or `mixpanel-import`
        (as the npm tool of that name makes it, to finish a job that it began).
      columns: the properties, or `event`, that identify an event; for `columns` only.
    """

    kind: str = "content"
    columns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> InsertIdStrategy:
        """Read `content`, `mixpanel-import` or `columns:NAME,NAME`.

        Raises:
          ValueError: it is none of these.
        """
        kind, _, names = text.partition(":")
        columns = tuple(name.strip() for name in names.split(",") if name.strip())
        if kind in ("content", "mixpanel-import") and not names:
            return cls(kind)
        if kind == "columns" and columns:
            return cls(kind, columns)
        raise ValueError(f"`insert_id` must be content, columns:NAME,NAME or mixpanel-import, got {text!r}")


CONTENT_IDS: Final = InsertIdStrategy()


def is_acceptable(insert_id: object) -> bool:
    """Tell whether Mixpanel takes this `$insert_id` as it is (https://docs.mixpanel.com/reference/import-events)."""
    return (
        isinstance(insert_id, str)
        and _ACCEPTED.fullmatch(insert_id) is not None
        and insert_id.lower() not in PLACEHOLDER_IDS
    )


def hash_bytes(content: bytes) -> str:
    """Give 128 bits of BLAKE2b as 32 hex digits, acceptable to Mixpanel under every reading of its rules."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def from_content(canonical_event: bytes) -> str:
    """Make the id of an event that has none, from its canonical JSON (sorted keys, no `$insert_id`)."""
    return hash_bytes(canonical_event)


def with_content_id(canonical_event: bytes) -> bytes:
    """Add the id that is made from it to an event in canonical JSON, whose properties come last."""
    return b'%b,"$insert_id":"%b"}}' % (canonical_event[:-2], hash_bytes(canonical_event).encode())


def from_columns(event_name: str, properties: Mapping[str, Any], columns: tuple[str, ...]) -> str | None:
    """Make the id from the columns that identify an event; None where one of them is absent or null."""
    values = [event_name if column == "event" else properties.get(column) for column in columns]
    if any(value is None for value in values):
        return None
    return hash_bytes(encode_sorted(list(zip(columns, values, strict=True))))


def from_refused(refused: object, event_name: str, properties: Mapping[str, Any]) -> str:
    """Replace an id that Mixpanel would refuse: equal ids of equal events stay equal, others stay apart."""
    return hash_bytes(encode_sorted([refused, event_name, properties.get("distinct_id"), properties.get("time")]))


def from_mixpanel_import(event_name: str, distinct_id: object, time: object) -> str:
    """Make the id that the npm tool mixpanel-import makes: murmur3 x86 32-bit of `event-distinct_id-time`.

    Args:
      event_name: the event's name.
      distinct_id: as text; absent or empty counts as "".
      time: the number as the source holds it, or milliseconds where the source holds text.

    Raises:
      UnicodeEncodeError: the name or the id holds lone surrogates.

    Source: https://github.com/ak--47/mixpanel-import/blob/main/components/transforms.js
    """
    identity = f"{event_name}-{distinct_id or ''}-{time}"
    return str(mmh3.hash(identity.encode(), signed=False))


class MadeInsertId(NamedTuple):
    """What became of an event's `$insert_id`.

    Attributes:
      changed: whether it differs from the input's.
      needs_id: it is absent and is to be made from the content.
      repaired: one that Mixpanel would refuse was replaced.
      violations: why none can be made.
    """

    changed: bool = True
    needs_id: bool = False
    repaired: bool = False
    violations: tuple[Violation, ...] = ()


_UNCHANGED: Final = MadeInsertId(changed=False)
_CHANGED: Final = MadeInsertId()
_FROM_CONTENT: Final = MadeInsertId(needs_id=True)


def give_insert_id(event: Event, given_time: Any, strategy: InsertIdStrategy) -> MadeInsertId:
    """Make an absent `$insert_id`, or replace one that Mixpanel would refuse, in place.

    Args:
      event: its time and its other ids are in form.
      given_time: the time as the source holds it.
      strategy: how an absent one is made.
    """
    properties: dict[str, Any] = event.properties
    given = properties.get("$insert_id")
    if is_acceptable(given):
        return _UNCHANGED
    if given is not None and given != "":
        as_text = given if isinstance(given, (str, dict, list)) else id_text(given)
        if is_acceptable(as_text):
            properties["$insert_id"] = as_text
            return _CHANGED
        try:
            properties["$insert_id"] = from_refused(as_text, event.event, properties)
        except UNWRITABLE:
            return MadeInsertId(violations=(Violation("not_utf8", ""),))
        return MadeInsertId(repaired=True)
    properties.pop("$insert_id", None)
    if strategy.kind == "content":
        return _FROM_CONTENT
    try:
        made = made_insert_id(event, given_time, strategy)
    except UNWRITABLE:
        return MadeInsertId(violations=(Violation("not_utf8", ""),))
    if made is None:
        return MadeInsertId(violations=(Violation("insert_id_column_missing", ",".join(strategy.columns)),))
    properties["$insert_id"] = made
    return _CHANGED


def made_insert_id(event: Event, given_time: Any, strategy: InsertIdStrategy) -> str | None:
    """Make the `$insert_id` of an event in form by another strategy than its content; None where a column is absent.

    Args:
      event: its other ids and its time are in form.
      given_time: the time as the source holds it.
      strategy: `columns` or `mixpanel-import`.
    """
    properties = event.properties
    if strategy.kind == "columns":
        return from_columns(event.event, properties, strategy.columns)
    time: Any = given_time if isinstance(given_time, (int, float, Decimal)) else properties["time"]
    return from_mixpanel_import(event.event, properties.get("distinct_id"), id_text(time))
