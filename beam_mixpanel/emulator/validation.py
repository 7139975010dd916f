"""Checks a batch event by event.

A good event is recognised in one typed parse; only what that refuses is examined rule by rule.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from beam_mixpanel.emulator.bodies import UNREADABLE
from beam_mixpanel.emulator.effects import (
    MAX_TEXT_CHARS,
    OpenedEvent,
    cut,
    derived_distinct_id,
    distinct_id_as_sent,
    has_long_text,
    is_ignored,
    rewritten,
)
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

_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS)]
_Scalar = _Text | int | float | bool | None
_Few = msgspec.Meta(max_length=MAX_ENTRIES)
_Level3 = _Scalar | Annotated[list[_Scalar], _Few] | Annotated[dict[str, _Scalar], _Few]
_Level2 = _Scalar | Annotated[list[_Level3], _Few] | Annotated[dict[str, _Level3], _Few]
_Level1 = _Scalar | Annotated[list[_Level2], _Few] | Annotated[dict[str, _Level2], _Few]


class _WellFormed(msgspec.Struct, gc=False):
    """An event within every limit on counts, nesting and text; names and ids are still to be checked."""

    event: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    properties: Annotated[dict[_Text, _Level1], _Few]


_decode_well_formed = msgspec.json.Decoder(_WellFormed).decode
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
    dropped: Counter[str] = field(default_factory=Counter)

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
    # What Mixpanel changes takes a closer look; of times, those to come.
    latest_ms = context.now_ms
    if context.as_sent:
        latest_ms += MAX_AHEAD_MS
    for index, text in enumerate(events):
        identity = _identity_of_plain_event(text, latest_ms, context)
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
            batch.dropped[reason] += 1
        elif _is_identity_event(event) and not (context.original_id_merge or context.as_sent):
            batch.dropped["track: identity event, ignored with Simplified ID Merge"] += 1
        else:
            _accept(event, text, context, batch)
    return batch


def name_of(event: OpenedEvent) -> str:
    """Return the name of an opened event."""
    return _decode_name(event.event)


def insert_id_of(text: bytes) -> str:
    """Return the $insert_id as an answer echoes it: empty if there is none to echo."""
    return _echo(_parse_any(text))


def _identity_of_plain_event(text: bytes, latest_ms: int, context: Context) -> Identity | None:
    """Recognise a good event in its commonest form, which is shown as it is; None asks for a closer look."""
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
        and (context.as_sent or _is_shown_as_sent(properties, distinct_id, context))
    ):
        return name, distinct_id, time, insert_id
    return None


def _is_shown_as_sent(properties: Mapping[str, Any], distinct_id: str, context: Context) -> bool:
    """Tell of a good event without long texts or a time to come whether Mixpanel shows it unchanged."""
    if "$ignore" in properties:
        return False
    names_user = "$user_id" in properties or "$device_id" in properties
    return context.original_id_merge or not names_user or derived_distinct_id(properties) == distinct_id


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
    if not isinstance(event, dict):
        return False
    name = event.get("event")
    return isinstance(name, str) and name in IDENTITY_EVENTS


def _first_violation(event: Any, text: bytes, context: Context, rules: tuple[Rule, ...]) -> Violation | None:
    if len(text) > MAX_EVENT_BYTES:
        return Violation("event", "'event' is invalid: must be smaller than 1MB")  # synthetic
    return next((violation for rule in rules if (violation := rule(event, context))), None)


def _refusal(index: int, event: Any, violation: Violation) -> Refusal:
    return Refusal(index, _echo(event), violation.field, violation.message)


def _echo(event: Any) -> str:
    """Return the $insert_id of an event of any shape, as an answer can hold it."""
    if not isinstance(event, dict) or not isinstance(event.get("properties"), dict):
        return ""
    insert_id = event["properties"].get("$insert_id")
    if isinstance(insert_id, str) and is_text(insert_id):
        return insert_id
    return ""


def _accept(event: Any, text: bytes, context: Context, batch: CheckedBatch) -> None:
    """Keep an event as Mixpanel shows it; its time may be missing or in seconds, and its $insert_id may be missing."""
    name, properties = event["event"], event["properties"]
    if is_ignored(properties) and not context.as_sent:
        batch.dropped["$ignore"] += 1
        return
    time, insert_id = properties.get("time"), properties.get("$insert_id")
    time_ms, distinct_id = to_ms(time, context.now_ms), distinct_id_as_sent(properties)
    changes: dict[str, str | int] = {}
    cut_texts = not context.as_sent and has_long_text(name, properties)
    if not context.as_sent:
        time_ms = min(time_ms, context.now_ms)
        if not context.original_id_merge:
            distinct_id = cut(derived_distinct_id(properties))
            if properties.get("distinct_id") != distinct_id:
                changes["distinct_id"] = distinct_id
    if type(time) is not int or time != time_ms:
        changes["time"] = time_ms
    if changes or cut_texts:
        text = rewritten(text, changes, cut_texts=cut_texts)
    if cut_texts:
        name, distinct_id = cut(name), cut(distinct_id)
    # Without $insert_id the server makes one up, so that the event equals no other:
    # https://docs.mixpanel.com/reference/event-deduplication
    identity = uuid4().hex if insert_id is None else str(insert_id)
    batch.keep(text, (name, distinct_id, time_ms, identity), made_up=insert_id is None)


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
