"""From what a source gives to the bytes that are sent: parse once, check everything, write once.

An event that is already in form is passed on byte for byte: `skim` tells it for whole blocks at a time. What it does
not pass, `Rewriter` writes anew where nothing is to be explained; the rest is looked at closely: read number by number,
brought into form (`event.py`), and judged by the rules (`rules.py`). Property tests hold the ways together, and a way
steps aside where there is a rule that it does not know (`facts.py`).

One module, since all its ways end in the same two methods, `_look_closely` and `_add`, and share what the preparer
knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, Final, NamedTuple

from beam_mixpanel.core import limits
from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events import rewrite, skim
from beam_mixpanel.core.events.chunk import EventChunk, origin_of
from beam_mixpanel.core.events.dead_letter import PARSE, DeadLetter, letter_of
from beam_mixpanel.core.events.elements import why_no_event
from beam_mixpanel.core.events.event import Form, bring_into_form
from beam_mixpanel.core.events.facts import Fact, time_bounds
from beam_mixpanel.core.events.insert_id import MadeInsertId, give_insert_id
from beam_mixpanel.core.events.original import original_text
from beam_mixpanel.core.events.reading import ReadEvent, read_fields, read_line
from beam_mixpanel.core.events.redaction import Redaction, withhold
from beam_mixpanel.core.events.rules import LINE_TOO_LONG, Judge, Violation
from beam_mixpanel.core.events.shapes import Event
from beam_mixpanel.core.json.exact import encode_sorted
from beam_mixpanel.core.json.text import UNWRITABLE
from beam_mixpanel.core.json.values import fields_of
from beam_mixpanel.errors import UnsupportedValueError

_MS_PER_DAY: Final = 86_400_000


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


class Preparation:
    """What became of some events.

    Attributes:
      events: those that can be sent, in order.
      invalid: the others.
      filtered: how many the user did not want.
      repaired: how many refused `$insert_id`s were replaced.
      past_retention: how many of `events` are older than the project keeps.
    """

    __slots__ = ("_events", "filtered", "invalid", "past_retention", "repaired")

    def __init__(self, events: EventChunk | None = None) -> None:
        self._events = events
        self.invalid: list[DeadLetter] = []
        self.filtered = 0
        self.repaired = 0
        self.past_retention = 0

    @property
    def events(self) -> EventChunk:
        """Return those that can be sent, in order; made when it is first asked for, since many a block has none."""
        if self._events is None:
            self._events = EventChunk()
        return self._events

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


class _Prepared(NamedTuple):
    """An event that was looked at closely, and can be sent.

    Attributes:
      body: what is sent.
      original: what it was read as; None where that is the body, or was no text.
      time_ms: its time.
      repaired: a refused `$insert_id` was replaced.
    """

    body: bytes
    original: bytes | None
    time_ms: int
    repaired: bool


class EventPreparer:
    """Turns events of any supported shape into bytes that Mixpanel accepts, or into dead letters.

    Args:
      form: how times and ids are read and made.
      retention_days: events older than this are counted, since the project will delete them.
    """

    def __init__(self, form: Form = Form(), *, retention_days: int = limits.DEFAULT_RETENTION_DAYS) -> None:
        self._form = form
        self._judge = Judge()
        self._skims = self._judge.is_settled_by(skim.FACTS | {Fact.TIME})
        self._rewriter = rewrite.Rewriter(form) if self._judge.is_settled_by(rewrite.FACTS) else None
        self._redaction = Redaction(form.redact) if form.redact else None
        self._retention_ms = retention_days * _MS_PER_DAY

    def prepare_block(self, block: EventBlock, now_ms: int) -> Preparation:
        """Prepare the lines of a block; blank lines are no events, and one that is too long is one dead letter."""
        if block.cut_line_bytes:
            done = Preparation()
            done.invalid.append(self._kept(cut_line_letter(block)))
            return done
        lines = block.data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        offsets = accumulate([len(line) + 1 for line in lines], initial=block.offset)
        times = self._times_if_in_form(block.data, lines, now_ms)
        if times:
            size = len(lines)
            done = Preparation(EventChunk(lines, [None] * size, [block.source] * size, list(islice(offsets, size))))
            done.past_retention = self.count_past_retention(times, now_ms)
            return done
        numbered = [each for each in zip(lines, offsets, strict=False) if each[0] and not each[0].isspace()]
        return self._prepare_lines(numbered, block.source, now_ms)

    def prepare_text(self, event: bytes | str, now_ms: int, *, source: str = "") -> Preparation:
        """Prepare one event given as JSON text."""
        line = event if isinstance(event, bytes) else event.encode(errors="surrogatepass")
        return self._prepare_lines(((line, -1),), source, now_ms)

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
        read = read_line(letter.event)
        if isinstance(read, ReadEvent):
            read.event.properties |= sent
            done = Preparation()
            self._add(done, self._look_closely(read.event, letter.event, now_ms), source=letter.source, now_ms=now_ms)
        done.invalid = [again._replace(insert_id=letter.insert_id, time_ms=letter.time_ms) for again in done.invalid]
        return done

    def refuse(self, letter: DeadLetter) -> Preparation:
        """Take over an event that an earlier step refused; one that it could not read cannot be redacted."""
        done = Preparation()
        unread = self._redaction is not None and letter.stage == PARSE
        done.invalid.append(letter._replace(event=withhold(letter.event)) if unread else self._kept(letter))
        return done

    def prepare_object(
        self, event: Any, now_ms: int, *, source: str = "", keep: Callable[[], bytes] | None = None
    ) -> Preparation:
        """Prepare one event given as a dict, Beam Row, NamedTuple or dataclass; anything else is a dead letter.

        A good one has no original text: its body stands for it, so that sending it again sends the same.

        Args:
          event: the object.
          now_ms: the present.
          source: where it comes from.
          keep: gives what a dead letter keeps; None for the object as JSON text.
        """
        read: Event | Violation
        fields = None
        try:
            fields = fields_of(event)
        except UnsupportedValueError as error:
            read = Violation("unsupported_value", "", error.detail)
        except RecursionError:
            read = Violation("nested_too_deep", "")
        else:
            read = Violation("not_an_object", "", why_no_event(event)) if fields is None else read_fields(fields)
        if isinstance(read, Violation):
            found: _Prepared | DeadLetter = letter_of(b"", [read])
        else:
            found = self._look_closely(read, b"", now_ms)
        if isinstance(found, DeadLetter):
            kept = keep() if keep is not None else self._kept_of(event if fields is None else fields)
            found = found._replace(event=kept)
        done = Preparation()
        self._add(done, found, source=source, now_ms=now_ms)
        return done

    def count_past_retention(self, times: Sequence[int], now_ms: int) -> int:
        """Return how many of these times are so old that the project will delete their events."""
        oldest = now_ms - self._retention_ms
        if min(times) < oldest:
            return sum([time < oldest for time in times])
        return 0

    def _may_be_redacted(self, text: bytes) -> bool:
        return self._redaction is not None and self._redaction.may_concern(text)

    def _kept_of(self, value: Any) -> bytes:
        """Write what is kept of an object that is no valid event."""
        original = original_text(value)
        if self._redaction is None:
            return original
        rewritten = self._redaction.rewrite_fields(value, original) if isinstance(value, dict) else None
        if rewritten is None:
            return withhold(original)
        return original_text(rewritten)

    def _kept(self, letter: DeadLetter) -> DeadLetter:
        """Take out of a dead letter what is not to be kept."""
        if self._redaction:
            return letter._replace(event=self._redaction.rewrite_text(letter.event))
        return letter

    def _times_if_in_form(self, data: bytes, lines: list[bytes], now_ms: int) -> list[int]:
        """Return the times of lines that can all be sent as they stand; nothing where one needs a closer look."""
        if not self._skims or self._may_be_redacted(data):
            return []
        times = skim.skim(data, lines)
        if not times:
            return []
        earliest, latest = time_bounds(now_ms, self._form.max_age_ms)
        if earliest <= min(times) and max(times) <= latest:
            return times
        return []

    def _prepare_lines(self, lines: Iterable[tuple[bytes, int]], source: str, now_ms: int) -> Preparation:
        """Prepare lines, each with its offset: written anew where that is enough, looked at closely where it is not."""
        done = Preparation()
        oldest = now_ms - self._retention_ms
        redaction = self._redaction
        for line, offset in lines:
            rewritten = None
            if self._rewriter is not None and (redaction is None or not redaction.may_concern(line)):
                rewritten = self._rewriter.rewrite(line, now_ms)
            if rewritten:
                body, time_ms = rewritten
                done.events.append(body, None if body == line else line, source, offset)
                done.past_retention += time_ms < oldest
                continue
            read = read_line(line)
            if isinstance(read, DeadLetter):
                self._add(done, self._kept(read), source=source, offset=offset, now_ms=now_ms)
            else:
                found = self._look_closely(read.event, line, now_ms, in_shape=read.in_shape)
                self._add(done, found, source=source, offset=offset, now_ms=now_ms)
        return done

    def _add(
        self, done: Preparation, found: _Prepared | DeadLetter, *, source: str, now_ms: int, offset: int = -1
    ) -> None:
        """Put an event, or what is said of it, where it belongs."""
        if isinstance(found, DeadLetter):
            done.invalid.append(found._replace(source=origin_of(source, offset)))
            return
        done.events.append(found.body, found.original, source, offset)
        done.repaired += found.repaired
        done.past_retention += found.time_ms < now_ms - self._retention_ms

    def _look_closely(
        self, event: Event, original: bytes, now_ms: int, *, in_shape: bool = False
    ) -> _Prepared | DeadLetter:
        """Bring an event into form, ask every rule, and write it.

        Args:
          event: as it was read.
          original: the text it was read from; empty where it was an object.
          now_ms: the present.
          in_shape: the text may be sent as it stands, if nothing in it changes.
        """
        redaction = self._redaction
        if redaction is not None and original and not redaction.may_concern(original):
            redaction = None
        violations, made = self._bring_into_form(event, redaction, now_ms)
        body = original
        unwritable = []
        if not violations and (made.changed or not in_shape):
            try:
                # The same bytes, without `$insert_id`, are what a missing one is made from.
                canonical = encode_sorted(event)
                body = canonical
                if made.needs_id:
                    body = insert_ids.with_content_id(canonical)
            except UNWRITABLE:
                unwritable = [Violation("not_utf8", "")]
        if not violations:
            count = len(event.properties) + made.needs_id
            violations = self._judge.of_event(event, count) or unwritable or self._judge.of_size(len(body))
        if violations:
            insert_id = event.properties.get("$insert_id")
            letter = letter_of(original, violations, insert_id=insert_id if isinstance(insert_id, str) else "")
            return self._kept(letter)
        time_ms: Any = event.properties["time"]
        has_no_original = redaction is not None or original in (body, b"")
        return _Prepared(body, None if has_no_original else original, time_ms, made.repaired)

    def _bring_into_form(
        self, event: Event, redaction: Redaction | None, now_ms: int
    ) -> tuple[list[Violation], MadeInsertId]:
        """Bring time and ids into form, in place, and ask the rules on all that is certain before the event is written.

        Args:
          event: as it was read.
          redaction: takes out what is not to be sent; None where there is nothing.
          now_ms: the present.

        Returns:
          What is wrong, in the order in which it is told; and what changed, with the `$insert_id` or without.
        """
        given = bring_into_form(event, self._form, now_ms)
        # What is redacted is not sent, and need not be small; but ids are made of it, too.
        of_shape = [] if redaction is not None else self._judge.of_shape(event, given.size)
        of_identity = self._judge.of_identity(event, given)
        if of_identity:
            made = MadeInsertId(changed=given.changed)
        else:
            made = give_insert_id(event, given.time, self._form.insert_id)
            of_identity += made.violations
            made = made if made.changed or not given.changed else made._replace(changed=True)
        if redaction is None:
            return of_shape + of_identity, made
        # Ids are made of the whole event, so that two which differ in a redacted property stay two.
        if made.needs_id and not of_identity:
            of_identity += _add_content_id(event)
        redaction.apply_to(event)
        return self._judge.of_shape(event, len(event.properties)) + of_identity, made._replace(
            changed=True, needs_id=False
        )


def _add_content_id(event: Event) -> list[Violation]:
    """Give an event the `$insert_id` that its content makes, in place; return why there is none."""
    try:
        event.properties["$insert_id"] = insert_ids.from_content(encode_sorted(event))
    except UNWRITABLE:
        return [Violation("not_utf8", "")]
    except RecursionError:
        return [Violation("nested_too_deep", "")]
    return []


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
    if letter.was_sent:
        return {name: value for name, value in known.items() if value}
    return {}


def cut_line_letter(block: EventBlock) -> DeadLetter:
    """Give the dead letter of a line that is too long to be held."""
    letter = letter_of(block.data, [Violation(LINE_TOO_LONG, "")], stage=PARSE)
    facts = f"{block.cut_line_bytes} bytes, SHA-256 {block.cut_line_sha256}; the rest of it is in the file only"
    return letter._replace(message=f"{letter.message}: {facts}", source=origin_of(block.source, block.offset))
