"""From what a source gives to the bytes that are sent: parse once, check everything, write once.

An event that is already in form is passed on byte for byte: `skim` tells it for whole blocks at a time. What it does
not pass, `Rewriter` writes anew where nothing is to be explained; the rest goes through `normalise` and `check_event`,
which explain. Property tests hold the ways together.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import accumulate, islice
from typing import Any, Final, NamedTuple

import msgspec

from beam_mixpanel.core import limits
from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.chunk import EventChunk, origin_of
from beam_mixpanel.core.events.dead_letter import PARSE, VALIDATE, DeadLetter
from beam_mixpanel.core.events.elements import why_no_event
from beam_mixpanel.core.events.event import TEXT_IDS, Changes, Form, normalise, to_event
from beam_mixpanel.core.events.redaction import Redaction, withhold
from beam_mixpanel.core.events.rewrite import Rewriter
from beam_mixpanel.core.events.skim import skim
from beam_mixpanel.core.events.validation import LINE_TOO_LONG, Event, Violation, check_event
from beam_mixpanel.core.json.text import UNREADABLE, UNWRITABLE, fault_of, is_utf8
from beam_mixpanel.core.json.values import fields_of, to_json_key, to_json_value, unwrap
from beam_mixpanel.errors import UnsupportedValueError

_IDS: Final = (*TEXT_IDS, "$insert_id")
_EXACT_DIGITS: Final = 15
"""A double holds so many decimal digits."""
_LONGEST_FIELD: Final = 1_000
_LONGEST_MESSAGE: Final = 5_000
"""Characters; names of fields that an event makes up may be as long as the event."""

_encode_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_encode_as_given = msgspec.json.Encoder(decimal_format="number").encode


class EventBlock(NamedTuple):
    r"""Some lines of a file, handled together because that is faster.

    Attributes:
      data: whole lines, separated by `\n`; or the first bytes of one that is too long to be held.
      source: the file's name.
      offset: where the block begins in the (uncompressed) file, in bytes.
      cut_line_bytes: how long that line is; 0 for whole lines.
      cut_line_sha256: the hash of that line, without its `\n`, in hexadecimal.
    """

    data: bytes
    source: str
    offset: int
    cut_line_bytes: int = 0
    cut_line_sha256: str = ""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Give each whole line that is not blank, with its offset in the file."""
        offset = self.offset
        for line in self.data.split(b"\n"):
            if line and not line.isspace():
                yield offset, line
            offset += len(line) + 1


class _Parsed(NamedTuple):
    """An event read from text or an object.

    Attributes:
      event: the event, time and ids not yet in form.
      in_shape: the text it was read from has Mixpanel's shape, and may be sent if nothing else changes.
    """

    event: Event
    in_shape: bool


class Preparation:
    """What became of some events.

    Attributes:
      events: those that can be sent, in order.
      invalid: the others.
      filtered: how many the user did not want.
      repaired: how many refused `$insert_id`s were replaced.
      past_retention: how many of `events` are older than the project keeps.
    """

    __slots__ = ("events", "filtered", "invalid", "past_retention", "repaired")

    def __init__(self) -> None:
        self.events = EventChunk()
        self.invalid: list[DeadLetter] = []
        self.filtered = 0
        self.repaired = 0
        self.past_retention = 0

    @property
    def read(self) -> int:
        """How many events there were."""
        return len(self.events) + len(self.invalid) + self.filtered

    def add(self, other: Preparation) -> None:
        """Take in what became of more events."""
        self.events.extend(other.events)
        self.invalid += other.invalid
        self.filtered += other.filtered
        self.repaired += other.repaired
        self.past_retention += other.past_retention


class EventPreparer:
    """Turns events of any supported shape into bytes that Mixpanel accepts, or into dead letters.

    Args:
      form: how times and ids are read and made.
      retention_days: events older than this are counted, since the project will delete them.
    """

    def __init__(self, form: Form = Form(), *, retention_days: int = limits.DEFAULT_RETENTION_DAYS) -> None:
        self._form = form
        self._rewriter = Rewriter(form)
        self._redaction = Redaction(form.redact) if form.redact else None
        self._retention_ms = retention_days * 86_400_000

    def prepare_block(self, block: EventBlock, now_ms: int) -> Preparation:
        """Prepare the lines of a block; blank lines are no events, and one that is too long is one dead letter."""
        if block.cut_line_bytes:
            done = Preparation()
            done.invalid.append(self._kept(cut_line_letter(block)))
            return done
        lines = block.data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        offsets = accumulate((len(line) + 1 for line in lines), initial=block.offset)
        done = Preparation()
        times = [] if self._may_be_redacted(block.data) else skim(block.data, lines)
        if times and self._in_time(times, now_ms):
            done.events = EventChunk(
                lines, [None] * len(lines), [block.source] * len(lines), list(islice(offsets, len(lines)))
            )
            done.past_retention = self._count_past_retention(times, now_ms)
            return done
        for line, offset in zip(lines, offsets, strict=False):
            if line and not line.isspace():
                self._prepare_line(line, block.source, offset, now_ms, done)
        return done

    def prepare_text(self, event: bytes | str, now_ms: int, *, source: str = "") -> Preparation:
        """Prepare one event given as JSON text."""
        done = Preparation()
        line = event if isinstance(event, bytes) else event.encode(errors="surrogatepass")
        self._prepare_line(line, source, -1, now_ms, done)
        return done

    def prepare_dead_letter(self, letter: DeadLetter, now_ms: int) -> Preparation:
        """Prepare an event that was not imported; one that was sent keeps the identity under which it was.

        The head of a line that was too long stays a dead letter, even if it reads like an event: the rest is unknown.
        """
        if letter.reason == LINE_TOO_LONG:
            done = Preparation()
            done.invalid.append(self._kept(letter))
            return done
        done = self.prepare_text(letter.event, now_ms, source=letter.source)
        sent = _sent_as(letter)
        if not sent or not sent.items() - _identity(done):
            return done
        parsed = _parse(letter.event)
        if not isinstance(parsed, DeadLetter):
            parsed.event.properties |= sent
            done = Preparation()
            self._finish(parsed._replace(in_shape=False), letter.event, letter.source, -1, now_ms, done)
        done.invalid = [again._replace(insert_id=letter.insert_id, time_ms=letter.time_ms) for again in done.invalid]
        return done

    def refuse(self, letter: DeadLetter) -> Preparation:
        """Take over an event that an earlier step refused; one that it could not read cannot be redacted."""
        done = Preparation()
        unread = self._redaction is not None and letter.stage == PARSE
        done.invalid.append(letter._replace(event=withhold(letter.event)) if unread else self._kept(letter))
        return done

    def prepare_object(self, event: Any, now_ms: int, *, source: str = "") -> Preparation:
        """Prepare one event given as a dict, Beam Row, NamedTuple or dataclass; anything else is a dead letter.

        A good one has no original text: its body stands for it, so that sending it again sends the same.
        """
        done = Preparation()
        shaped: Event | Violation
        fields = None
        try:
            fields = fields_of(event)
        except UnsupportedValueError as error:
            shaped = Violation("unsupported_value", "", error.detail)
        except RecursionError:
            shaped = Violation("nested_too_deep", "")
        else:
            shaped = Violation("not_an_object", "", why_no_event(event)) if fields is None else to_event(fields)
        if isinstance(shaped, Violation):
            done.invalid.append(_dead_letter(b"", [shaped])._replace(source=source))
        else:
            parsed = _Parsed(shaped, in_shape=False)
            self._finish(parsed, b"", source, -1, now_ms, done)
        if done.invalid:
            kept = self._kept_of(event if fields is None else fields)
            done.invalid = [letter._replace(event=kept) for letter in done.invalid]
        return done

    def _may_be_redacted(self, text: bytes) -> bool:
        return self._redaction is not None and self._redaction.may_concern(text)

    def _kept_of(self, value: Any) -> bytes:
        """Write what is kept of an object that is no valid event."""
        original = original_text(value)
        if self._redaction is None:
            return original
        rewritten = self._redaction.rewrite_fields(value, original) if isinstance(value, dict) else None
        return withhold(original) if rewritten is None else original_text(rewritten)

    def _kept(self, letter: DeadLetter) -> DeadLetter:
        """Take out of a dead letter what is not to be kept."""
        return letter._replace(event=self._redaction.rewrite_text(letter.event)) if self._redaction else letter

    def _in_time(self, times: list[int], now_ms: int) -> bool:
        max_age_ms = self._form.max_age_ms
        return max(times) <= now_ms + limits.MAX_AHEAD_MS and (max_age_ms is None or min(times) >= now_ms - max_age_ms)

    def _count_past_retention(self, times: list[int], now_ms: int) -> int:
        oldest = now_ms - self._retention_ms
        return sum([time < oldest for time in times]) if min(times) < oldest else 0

    def _prepare_line(self, line: bytes, source: str, offset: int, now_ms: int, done: Preparation) -> None:
        rewritten = None if self._may_be_redacted(line) else self._rewriter.rewrite(line, now_ms)
        if rewritten:
            body, time_ms = rewritten
            done.events.append(body, None if body == line else line, source, offset)
            done.past_retention += time_ms < now_ms - self._retention_ms
            return
        parsed = _parse(line)
        if isinstance(parsed, DeadLetter):
            done.invalid.append(self._kept(parsed)._replace(source=origin_of(source, offset)))
        else:
            self._finish(parsed, line, source, offset, now_ms, done)

    def _finish(
        self, parsed: _Parsed, original: bytes, source: str, offset: int, now_ms: int, done: Preparation
    ) -> None:
        """Bring an event into form, write it, and put it where it belongs; one from an object has no original."""
        event = parsed.event
        redacted = self._redaction is not None and (not original or self._redaction.may_concern(original))
        if redacted:
            changes, violations = self._redact(event, now_ms)
        else:
            violations = check_event(event)
            changes = normalise(event, self._form, now_ms)
            violations += changes.violations
        if not violations and len(event.properties) + changes.needs_id > limits.MAX_PROPERTIES:
            violations.append(Violation("too_many_properties", "properties"))
        body = original
        if not violations and (changes.changed or not parsed.in_shape):
            try:
                body = _encode(event, changes.needs_id)
            except UNWRITABLE:
                violations.append(Violation("not_utf8", ""))
        if len(body) > limits.MAX_EVENT_BYTES and not violations:
            violations.append(Violation("event_too_large", ""))
        if violations:
            insert_id = _text_or_empty(event.properties.get("$insert_id"))
            letter = _dead_letter(original, violations, insert_id)
            done.invalid.append(self._kept(letter)._replace(source=origin_of(source, offset)))
            return
        done.events.append(body, None if redacted or original in (body, b"") else original, source, offset)
        done.repaired += changes.repaired
        done.past_retention += event.properties["time"] < now_ms - self._retention_ms  # type: ignore[operator]

    def _redact(self, event: Event, now_ms: int) -> tuple[Changes, list[Violation]]:
        """Bring an event into form and take out what is not to be sent; its ids are made from the whole of it."""
        changes = normalise(event, self._form, now_ms)
        violations = changes.violations
        if changes.needs_id and not violations:
            try:
                event.properties["$insert_id"] = insert_ids.from_content(_encode_canonical(event))
            except UNWRITABLE:
                violations = [Violation("not_utf8", "")]
            except RecursionError:
                violations = [Violation("nested_too_deep", "")]
        self._redaction.apply_to(event)  # type: ignore[union-attr]
        return changes._replace(changed=True, needs_id=False), check_event(event) + violations


def identity_of(body: bytes) -> tuple[str, int]:
    """Read the `$insert_id` and the `time` of a prepared event."""
    properties = json.loads(body)["properties"]  # msgspec would refuse a number past all doubles
    return properties["$insert_id"], properties["time"]


def _identity(done: Preparation) -> set[tuple[str, str | int]]:
    if not done.events:
        return set()
    insert_id, time_ms = identity_of(done.events.bodies[0])
    return {("$insert_id", insert_id), ("time", time_ms)}


def _sent_as(letter: DeadLetter) -> dict[str, str | int]:
    """Give the properties that an event must be sent with again, as far as they are known; none if it never was."""
    known: dict[str, str | int] = {"$insert_id": letter.insert_id, "time": letter.time_ms}
    return {name: value for name, value in known.items() if value} if letter.was_sent else {}


def parse_object(line: bytes) -> dict[str, Any] | DeadLetter:
    """Read a line as a JSON object, its numbers exact."""
    try:
        fields = decode_exact(line.removeprefix(BOM_UTF8))
    except RecursionError:
        return _dead_letter(line, [Violation("nested_too_deep" if is_utf8(line) else "not_utf8", "")], stage=PARSE)
    except UNREADABLE as error:
        letter = _dead_letter(line, [Violation(fault_of(line), "")], stage=PARSE)
        return letter._replace(message=f"{letter.message}: {error}") if letter.reason == "invalid_json" else letter
    if not isinstance(fields, dict):
        return _dead_letter(line, [Violation("not_an_object", "")], stage=PARSE)
    return fields


def _parse(line: bytes) -> _Parsed | DeadLetter:
    """Read a line; an id keeps its digits, another number with a fraction is the double that it is to Mixpanel."""
    fields = parse_object(line)
    if isinstance(fields, DeadLetter):
        return fields
    event = to_event(_in_doubles(line, fields))
    if isinstance(event, Violation):
        return _dead_letter(line, [event])
    return _Parsed(event, _in_shape(line, fields))


def _in_doubles(line: bytes, exact: dict[str, Any]) -> dict[str, Any]:
    """Give the same fields, but for their ids as doubles; if one number is past all doubles, all but times stay."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(line.removeprefix(BOM_UTF8))
    except UNREADABLE:
        fields = exact
    for given, read in ((exact, fields), (exact.get("properties"), fields.get("properties"))):
        if isinstance(given, dict) and isinstance(read, dict):
            read |= {key: given[key] for key in _IDS if key in given}
            if isinstance(read.get("time"), Decimal):
                read["time"] = float(read["time"])
    return fields


def _in_shape(line: bytes, fields: dict[str, Any]) -> bool:
    """Tell whether a line could be sent as it stands: in Mixpanel's shape, and no id a number past all doubles."""
    given = fields.get("properties")
    return (
        isinstance(given, dict)
        and fields.keys() == {"event", "properties"}
        and b"\n" not in line
        and not line.startswith(BOM_UTF8)
        and not any(isinstance(given.get(key), Decimal) for key in _IDS)
    )


def _number(text: str) -> float | Decimal:
    """Read a number that is no integer; one that a double may not hold exactly keeps its digits.

    One whose exponent has more than 18 digits is infinite, or 0.
    """
    if len(text) <= _EXACT_DIGITS and "e" not in text and "E" not in text:
        return float(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(float(text))


decode_exact = msgspec.json.Decoder(float_hook=_number).decode
"""Reads JSON; no number loses a digit."""


def cut_line_letter(block: EventBlock) -> DeadLetter:
    """Give the dead letter of a line that is too long to be held."""
    letter = _dead_letter(block.data, [Violation(LINE_TOO_LONG, "")], stage=PARSE)
    facts = f"{block.cut_line_bytes} bytes, SHA-256 {block.cut_line_sha256}; the rest of it is in the file only"
    return letter._replace(message=f"{letter.message}: {facts}", source=origin_of(block.source, block.offset))


def _dead_letter(
    original: bytes, violations: list[Violation], insert_id: str = "", *, stage: str = VALIDATE
) -> DeadLetter:
    return DeadLetter(
        original,
        stage,
        violations[0].rule,
        _encodable(violations[0].field[:_LONGEST_FIELD]),
        _encodable("; ".join(violation.message for violation in violations)[:_LONGEST_MESSAGE]),
        insert_id=_encodable(insert_id[:_LONGEST_FIELD]),
    )


def _encodable(text: str) -> str:
    """Write lone surrogates as escapes: no coder takes them."""
    return text.encode(errors="backslashreplace").decode()


def _encode(event: Event, needs_id: bool) -> bytes:
    """Write an event with sorted keys; the same bytes, without `$insert_id`, are what a missing one is made from."""
    canonical = _encode_canonical(event)
    return insert_ids.with_content_id(canonical) if needs_id else canonical


def write_as_given(fields: Mapping[Any, Any], time_key: str = "time") -> bytes:
    """Write an event that came as an object as JSON text, its time with its zone, as faithfully as JSON can.

    Raises:
      UnsupportedValueError: a value has no JSON form.
      ValueError: a text holds lone surrogates, or a number has too many digits.
      RecursionError: it nests too deeply.
    """
    return _encode_as_given(_as_given(fields, time_key))


def original_text(value: Any, time_key: str = "time") -> bytes:
    """Write an event that came as an object as JSON text, or as well as it can be told where it has no JSON form."""
    try:
        fields = fields_of(value) if isinstance(value, Mapping) else None
        if fields is None:
            return _encode_as_given(to_json_value(value))
        return write_as_given(fields, time_key)
    except (UnsupportedValueError, *UNWRITABLE, RecursionError):
        return _last_resort(value)


def _as_given(fields: Mapping[Any, Any], time_key: str = "time") -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, item in fields.items():
        inner = fields_of(item) if key == "properties" else None
        given[to_json_key(key)] = (
            _as_given(inner) if inner is not None else _with_zone(item) if key == time_key else to_json_value(item)
        )
    return given


def _with_zone(value: Any) -> Any:
    """Say in which zone a moment is: without, it would be read in the zone that the user names."""
    plain = unwrap(value)
    if isinstance(plain, datetime) and plain.utcoffset() is not None:
        return plain.isoformat()
    form = to_json_value(plain)
    return f"{form}Z" if isinstance(form, str) and hasattr(plain, "micros") else form


def _last_resort(value: Any) -> bytes:
    try:
        return repr(value).encode(errors="backslashreplace")
    except (RecursionError, ValueError):
        return f"<{type(value).__name__} nested too deeply, or with a number too long, to write>".encode()
    except Exception:  # noqa: BLE001 - it is the value's own code
        return f"<{type(value).__name__} that cannot be written>".encode()


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""
