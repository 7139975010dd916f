"""A dead letter: one event that was not imported, with its original text and the reason."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from beam_mixpanel.core.events.rules import Violation
from beam_mixpanel.core.json.text import UNREADABLE

PARSE: Final = "parse"
MAP: Final = "map"
VALIDATE: Final = "validate"
IMPORT: Final = "import"

_LONGEST_FIELD: Final = 1_000
_LONGEST_MESSAGE: Final = 5_000
"""Characters; names of fields that an event makes up may be as long as the event."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class DeadLetter(NamedTuple):
    """One event that was not imported.

    Attributes:
      event: the original bytes, as they were read; the first ones only where the reason is `line_too_long`.
      stage: `parse`, `map`, `validate` or `import`.
      reason: a short stable name to count and filter by: a rule of `rules.RULES`, `rejected`, or what kept
        the answer away, such as `http_503` or `timeout`.
      field: the field at fault where known, such as `properties.time`.
      message: what went wrong, in words; never a property's value of ours.
      http_status: the last answer's status; 0 where there was none.
      attempts: requests that carried the event; 0 before the first.
      insert_id: the event's `$insert_id` as it was or would have been sent; empty where it has none.
      source: the file and byte offset (`FILE@OFFSET`) where known.
      fate: `invalid` (we refused it), `rejected` (Mixpanel refused it) or `undelivered` (Mixpanel never confirmed).
      time_ms: the event's `time` as it was sent, in ms since 1970; 0 where it was not sent. With the `insert_id` it
        lets a replay send the same event, whatever the options of the replay are.
    """

    event: bytes
    stage: str
    reason: str
    field: str = ""
    message: str = ""
    http_status: int = 0
    attempts: int = 0
    insert_id: str = ""
    source: str = ""
    fate: str = "invalid"
    time_ms: int = 0

    @property
    def was_sent(self) -> bool:
        """Whether a request may have carried the event, so that it must keep the identity it was sent with."""
        return self.stage == IMPORT or self.time_ms != 0


class RefusedLetter(NamedTuple):
    """An event that a step before the check refused: it goes to the dead letters as it is.

    Attributes:
      letter: why, and the original text.
    """

    letter: DeadLetter


def letter_of(
    original: bytes, violations: Sequence[Violation], *, insert_id: str = "", source: str = "", stage: str = VALIDATE
) -> DeadLetter:
    """Make the dead letter of an event that breaks rules: the first one counts, the message names all."""
    return DeadLetter(
        original,
        stage,
        violations[0].rule,
        field=_encodable(violations[0].field[:_LONGEST_FIELD]),
        message=_encodable("; ".join(violation.message for violation in violations)[:_LONGEST_MESSAGE]),
        insert_id=_encodable(insert_id[:_LONGEST_FIELD]),
        source=source,
    )


def _encodable(text: str) -> str:
    """Write lone surrogates as escapes: no coder takes them."""
    return text.encode(errors="backslashreplace").decode()


_TYPES: Final = {"stage": str, "reason": str} | {
    name: type(default) for name, default in DeadLetter._field_defaults.items()
}
_INT64: Final = range(-(2**63), 2**63)


def to_json_line(letter: DeadLetter) -> bytes:
    """Write a dead letter as one line of JSON, without the newline.

    The event is text under `event`, or base64 under `event_base64` where its bytes are not UTF-8.
    """
    record = letter._asdict()
    original = record.pop("event")
    try:
        text = {"event": original.decode()}
    except UnicodeDecodeError:
        text = {"event_base64": base64.b64encode(original).decode()}
    return _encode(text | record)


def from_json_line(line: bytes) -> DeadLetter:
    """Read what `to_json_line` wrote; unknown fields are ignored, absent ones and nulls take their defaults.

    Raises:
      ValueError: the line is not a dead letter.
    """
    try:
        letter = _read(_decode(line))
    except (*UNREADABLE, KeyError, TypeError):
        letter = None
    if letter is None:
        raise ValueError("not a dead letter: expected a JSON object with event or event_base64, stage and reason")
    return letter


def _read(record: dict[str, Any]) -> DeadLetter | None:
    """Take the fields of a dead letter; None where one has the wrong type."""
    known = {name: record[name] for name in _TYPES if record.get(name) is not None}
    text = record.get("event")
    event = text.encode() if isinstance(text, str) else base64.b64decode(record["event_base64"], validate=True)
    if all(type(value) is _TYPES[name] and _fits(value) for name, value in known.items()):
        return DeadLetter(event, **known)
    return None


def _fits(value: str | int) -> bool:
    """Tell whether a value is none of the numbers that a row cannot hold, in which dead letters travel."""
    return isinstance(value, str) or value in _INT64
