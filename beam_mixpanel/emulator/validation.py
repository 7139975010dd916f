"""Checks a batch event by event.

A good event is recognised in one typed parse; only what that refuses is examined rule by rule.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from beam_mixpanel.emulator.bodies import UNREADABLE
from beam_mixpanel.emulator.rules import (
    EARLIEST_MS,
    IMPORT_RULES,
    MAX_AHEAD_MS,
    MAX_ENTRIES,
    MAX_EVENT_BYTES,
    MAX_INSERT_ID_BYTES,
    PLACEHOLDERS,
    TRACK_RULES,
    Context,
    Rule,
    Violation,
    is_text,
    to_ms,
    track_drop_reason,
)
from beam_mixpanel.emulator.search import label

IDENTITY_EVENTS = frozenset({"$identify", "$create_alias", "$merge"})

# What de-duplication compares: the name, the distinct_id, the time in milliseconds and the $insert_id.
Identity = tuple[str, str, int, str]

_Scalar = str | int | float | bool | None
_Few = msgspec.Meta(max_length=MAX_ENTRIES)
_Level3 = _Scalar | Annotated[list[_Scalar], _Few] | Annotated[dict[str, _Scalar], _Few]
_Level2 = _Scalar | Annotated[list[_Level3], _Few] | Annotated[dict[str, _Level3], _Few]
_Level1 = _Scalar | Annotated[list[_Level2], _Few] | Annotated[dict[str, _Level2], _Few]


class _WellFormed(msgspec.Struct, gc=False):
    """An event within every limit on counts, nesting and text; names and ids are still to be checked."""

    event: Annotated[str, msgspec.Meta(min_length=1)]
    properties: Annotated[dict[str, _Level1], _Few]


class OpenedEvent(msgspec.Struct):
    """An event whose name and values stay as they were written, so that every digit survives."""

    event: msgspec.Raw
    properties: dict[str, msgspec.Raw]


_decode_well_formed = msgspec.json.Decoder(_WellFormed).decode
open_event = msgspec.json.Decoder(OpenedEvent).decode
_decode_name = msgspec.json.Decoder(str).decode


class MalformedJSONError(ValueError):
    """The text of an event is not JSON."""


class IdentityEventError(ValueError):
    """A batch for a project with Simplified ID Merge holds $identify, $create_alias or $merge."""


@dataclass(frozen=True)
class Refusal:
    """Why the event at one position of a batch was refused."""

    index: int
    insert_id: str
    field: str
    message: str

    def record(self) -> dict[str, object]:
        """Return the entry of `failed_records` that tells the client."""
        return {
            "index": self.index,
            "insert_id": self.insert_id,
            "field": self.field,
            "message": self.message,
        }


@dataclass(slots=True)
class CheckedBatch:
    """What became of a batch.

    Attributes:
      events: the JSON of each accepted event, with its time in milliseconds.
      keys: for each of them a hash of what de-duplication compares.
      labels: what each of them can be found by.
      refusals: one for each event that was refused.
      dropped: reason and count of events that vanish although the answer says success.
    """

    events: list[bytes] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def keep(self, text: bytes, identity: Identity, *, made_up: bool = False) -> None:
        """Accept an event; nobody can look for an $insert_id that was made up here."""
        name, distinct_id, _, insert_id = identity
        self.events.append(text)
        self.keys.append(hash(identity))
        self.labels.append(label(name, distinct_id, "" if made_up else insert_id))


def check_import(events: Sequence[bytes], context: Context) -> CheckedBatch:
    """Check a batch for `/import`, each event by itself.

    Args:
      events: one JSON text each.
      context: the server's clock and settings.

    Raises:
      MalformedJSONError: a text is not JSON.
      IdentityEventError: the whole batch has to be refused.

    Source: https://docs.mixpanel.com/reference/import-events
    """
    batch = CheckedBatch()
    latest_ms = context.now_ms + MAX_AHEAD_MS
    for index, text in enumerate(events):
        identity = _identity_of_plain_event(text, latest_ms)
        if identity is None:
            _examine(index, text, context, batch)
        else:
            batch.keep(text, identity)
    return batch


def check_track(events: Sequence[bytes], context: Context) -> CheckedBatch:
    """Check a batch for `/track`, which asks less than `/import` and drops what is over five days old.

    Raises:
      MalformedJSONError: a text is not JSON.

    Source: https://docs.mixpanel.com/reference/track-event
    """
    batch = CheckedBatch()
    for index, text in enumerate(events):
        event = _parse_any(text)
        violation = _first_violation(event, text, context, TRACK_RULES)
        if violation:
            batch.refusals.append(_refusal(index, event, violation))
        elif reason := track_drop_reason(event, context):
            batch.dropped[reason] = batch.dropped.get(reason, 0) + 1
        else:
            _accept(event, text, context, batch)
    return batch


def name_of(event: OpenedEvent) -> str:
    """Return the name of an opened event."""
    return _decode_name(event.event)


def insert_id_of(text: bytes) -> str:
    """Return the $insert_id as an answer echoes it: empty if there is none to echo."""
    return _echo(_parse_any(text))


def _identity_of_plain_event(text: bytes, latest_ms: int) -> Identity | None:
    """Recognise a good event in its commonest form; None means that it needs a closer look."""
    try:
        event = _decode_well_formed(text)
    except UNREADABLE:
        return None
    name, properties = event.event, event.properties
    time, distinct_id, insert_id = (
        properties.get("time"),
        properties.get("distinct_id"),
        properties.get("$insert_id"),
    )
    if (
        type(time) is int
        and EARLIEST_MS <= time <= latest_ms
        and type(distinct_id) is str
        and distinct_id.lower() not in PLACEHOLDERS
        and type(insert_id) is str
        and len(insert_id) <= MAX_INSERT_ID_BYTES
        and insert_id.isascii()
        and insert_id.replace("-", "").isalnum()
        and insert_id.lower() not in PLACEHOLDERS
        and not name.isspace()
        and name not in IDENTITY_EVENTS
        and len(text) <= MAX_EVENT_BYTES
    ):
        return name, distinct_id, time, insert_id
    return None


def _examine(index: int, text: bytes, context: Context, batch: CheckedBatch) -> None:
    event = _parse_any(text)
    if not context.original_id_merge and _is_identity_event(event):
        raise IdentityEventError(f"event {index}")
    violation = _first_violation(event, text, context, IMPORT_RULES)
    if violation:
        batch.refusals.append(_refusal(index, event, violation))
    else:
        _accept(event, text, context, batch)


def _is_identity_event(event: Any) -> bool:
    name = event.get("event") if isinstance(event, dict) else None
    return isinstance(name, str) and name in IDENTITY_EVENTS


def _first_violation(event: Any, text: bytes, context: Context, rules: tuple[Rule, ...]) -> Violation | None:
    if len(text) > MAX_EVENT_BYTES:
        return Violation("event", "'event' is invalid: must be smaller than 1MB")  # synthetic
    return next((violation for rule in rules if (violation := rule(event, context))), None)


def _refusal(index: int, event: Any, violation: Violation) -> Refusal:
    return Refusal(index, _echo(event), violation.field, violation.message)


def _echo(event: Any) -> str:
    properties = event.get("properties") if isinstance(event, dict) else None
    insert_id = properties.get("$insert_id") if isinstance(properties, dict) else None
    return insert_id if isinstance(insert_id, str) and is_text(insert_id) else ""


def _accept(event: Any, text: bytes, context: Context, batch: CheckedBatch) -> None:
    """Keep an event whose time may be missing or in seconds, and whose $insert_id may be missing."""
    properties = event["properties"]
    time, insert_id = properties.get("time"), properties.get("$insert_id")
    time_ms = to_ms(time, context.now_ms)
    if type(time) is not int or time != time_ms:
        opened = open_event(text)
        opened.properties["time"] = msgspec.Raw(b"%d" % time_ms)
        text = msgspec.json.encode(opened)
    # Without $insert_id the server makes one up, so that the event equals no other:
    # https://docs.mixpanel.com/reference/event-deduplication
    identity = uuid4().hex if insert_id is None else str(insert_id)
    batch.keep(text, (event["event"], _distinct_id_text(properties), time_ms, identity), made_up=insert_id is None)


def _distinct_id_text(properties: dict[str, Any]) -> str:
    distinct_id = properties.get("distinct_id", "")
    return distinct_id if isinstance(distinct_id, str) else json.dumps(distinct_id)


def _parse_any(text: bytes) -> Any:
    """Parse JSON that may hold invalid UTF-8 and numbers beyond any range, to say what is wrong with it."""
    try:
        return _LENIENT.decode(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise MalformedJSONError("not JSON") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    return int(digits[:400])


_LENIENT = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_bounded_int)
