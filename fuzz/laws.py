"""The laws of the core, each as a check that raises `Finding` with the law's name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from beam_mixpanel.core.check.advice import EVENTS
from beam_mixpanel.core.check.findings import check_report
from beam_mixpanel.core.check.profile import Profile, ProfileSettings
from beam_mixpanel.core.events.chunk import PreparedEvent
from beam_mixpanel.core.events.dead_letter import IMPORT, DeadLetter, from_json_line, to_json_line
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation, identity_of
from beam_mixpanel.core.events.rules import RULES
from beam_mixpanel.core.limits import DEFAULT_RETENTION_DAYS, TRACK_MAX_AGE_MS
from beam_mixpanel.core.sending import outcome
from fuzz import judge

NOW_MS: Final = 1_700_000_000_000
STRICTER_THAN_THE_JUDGE: Final = frozenset(
    {"event_too_long", "distinct_id_too_long", "time_too_old_for_track", "insert_id_column_missing"}
)
"""Reasons for which we refuse what the judge would take; docs/validation.md says why."""
STRICTER_FIELDS: Final = frozenset({"properties.$user_id", "properties.$device_id"})
"""The judge takes any value there."""
_READ_OTHERWISE_IN_TEXT: Final = frozenset({"event_missing", "id_inexact", "properties_not_object"})
"""A name that is no text, such as a `UUID`, is text in JSON; a float has its exact digits there; NaN is null."""
_SOURCE: Final = "f"
_ONE_IN: Final = 4
"""The costlier checks are made of so many inputs only, by their length."""
_MAX_DETAIL_CHARS: Final = 300

PREPARERS: Final = (
    EventPreparer(),
    EventPreparer(Form(InsertIdStrategy.parse("mixpanel-import"))),
    EventPreparer(Form(InsertIdStrategy.parse("columns:event,distinct_id"))),
    EventPreparer(Form(max_age_ms=TRACK_MAX_AGE_MS)),
)


class Finding(Exception):
    """A law that does not hold.

    Attributes:
      law: its name.
      detail: what was seen.
      data: the input, so that the finding can be told again.
    """

    def __init__(self, law: str, detail: object, data: object) -> None:
        super().__init__(f"{law}: {in_words(detail):.2000}\n  input: {in_words(data):.2000}")
        self.law = law
        self.detail = detail
        self.data = data


def in_words(value: object) -> str:
    """Give the `repr` of a value, unless it holds an integer with more digits than Python writes."""
    try:
        return repr(value)
    except (ValueError, RecursionError) as error:
        return f"<{type(value).__name__}: {error}>"


class Verdict(NamedTuple):
    """What became of one line, told so roughly that a new verdict is worth exploring."""

    reason: str
    field: str
    rewritten: bool


def check_block(data: bytes, offset: int, endings: list[bytes], preparer: EventPreparer) -> list[tuple[bytes, Verdict]]:
    """Hold every law of `prepare_block` against a block.

    Args:
      data: any bytes.
      offset: where the block begins in its file.
      endings: for each line how it ends when it is prepared alone: an empty line after it keeps it from the quick look.
      preparer: one of `PREPARERS`.

    Returns:
      The lines that are not blank, each with its verdict.
    """
    done = preparer.prepare_block(EventBlock(data, _SOURCE, offset), NOW_MS)
    if len(data) % _ONE_IN == 0:
        _check_determinism(done, preparer.prepare_block(EventBlock(data, _SOURCE, offset), NOW_MS), data)
    _check_prepared(done.events.bodies, data)
    if len(data) % _ONE_IN == 1:
        _check_profiled(done, data)
    events, letters = list(done.events)[::-1], done.invalid[::-1]
    verdicts: list[tuple[bytes, Verdict]] = []
    for number, line in enumerate(data.split(b"\n")):
        if line and not line.isspace():
            found = _take(line, offset, events, letters)
            verdicts.append((line, _check_line(line, found)))
            if (number + len(line)) % 2:
                alone = EventBlock(line + endings[number % len(endings)], _SOURCE, offset)
                _check_alone(line, preparer.prepare_block(alone, NOW_MS), found)
        offset += len(line) + 1
    if events or letters or done.read != len(verdicts):
        raise Finding("every line is one event or one letter", (events, letters, done.read, len(verdicts)), data)
    return verdicts


def _take(
    line: bytes, offset: int, events: list[PreparedEvent], letters: list[DeadLetter]
) -> PreparedEvent | DeadLetter:
    """Take what became of a line from the end of a block's events or letters, by its place."""
    if events and events[-1].offset == offset:
        return events.pop()
    if letters and letters[-1].source == f"{_SOURCE}@{offset}":
        return letters.pop()
    raise Finding("every line is one event or one letter", (offset, events[-1:], letters[-1:]), line)


def _check_alone(line: bytes, alone: Preparation, found: PreparedEvent | DeadLetter) -> None:
    if [*alone.events, *alone.invalid] != [found]:
        raise Finding("a line in a block is what it is alone", (list(alone.events), alone.invalid, found), line)


def _check_determinism(one: Preparation, other: Preparation, data: object) -> None:
    """The same input twice gives the same bytes."""
    if (one.events, one.invalid, one.repaired, one.past_retention) != (
        other.events,
        other.invalid,
        other.repaired,
        other.past_retention,
    ):
        raise Finding("the same input gives the same bytes", (list(one.events), list(other.events)), data)


def _check_prepared(bodies: list[bytes], data: object) -> None:
    """What is to be sent is accepted by the judge, and preparing it again changes nothing."""
    for body in bodies:
        if len(body) % _ONE_IN == 0 and (found := judge.complaint(body, NOW_MS)):
            raise Finding("the judge accepts what we pass", (found, body[:2000]), data)
    if found := judge.batch_complaint(bodies, NOW_MS):
        raise Finding("the judge accepts the batches we pass", found, data)
    again = PREPARERS[0].prepare_block(EventBlock(b"\n".join(bodies), "", 0), NOW_MS)
    if again.events.bodies != bodies or any(again.events.originals) or again.invalid or again.repaired:
        raise Finding("preparing twice is preparing once", (again.events.bodies, bodies, again.invalid), data)


def _check_profiled(done: Preparation, data: object) -> None:
    """A check takes all that is prepared or refused, counts each, and can be written."""
    profile = Profile(ProfileSettings(NOW_MS))
    profile.add_events(done.events.bodies, done.events.originals)
    for letter in done.invalid:
        profile.add_letter(letter)
    about = {"retention_days": DEFAULT_RETENTION_DAYS, "takes": EVENTS, "mapped": []}
    report = check_report(profile.result(), {}, about)
    json.dumps(report).encode()
    counted = [report["events"][fate] for fate in ("would_be_imported", "refused")]
    if counted != [len(done.events), len(done.invalid)] or sum(report["hours_utc"]) != len(done.events):
        raise Finding("a check counts every event", counted, data)


def _check_line(line: bytes, found: PreparedEvent | DeadLetter) -> Verdict:
    """An event or a letter has its line's bytes; an event is changed only where it must be."""
    if isinstance(found, DeadLetter):
        _check_letter(found, line)
        return Verdict(found.reason, _roughly(found), False)
    if (found.body if found.original is None else found.original) != line:
        raise Finding("an event keeps its original", found, line)
    if found.original is not None and (change := judge.change_of_content(line, found.body)):
        raise Finding("nothing is changed that need not be", (change, found.body), line)
    if len(line) % _ONE_IN == 0:
        _check_replay(found, line)
    return Verdict("", "", found.original is not None)


def _check_letter(letter: DeadLetter, original: bytes) -> None:
    """A dead letter holds the original, can be written and read, and names a rule; the judge would refuse, too."""
    if letter.event != original:
        raise Finding("a dead letter keeps the original bytes", letter, original)
    if len(original) % _ONE_IN == 0:
        _check_form_of_letter(letter, original)
    stricter = letter.reason in STRICTER_THAN_THE_JUDGE or letter.field in STRICTER_FIELDS
    if not stricter and judge.would_take(original, NOW_MS):
        raise Finding("the judge refuses what we refuse", letter, original)


def _check_form_of_letter(letter: DeadLetter, data: object) -> None:
    line = to_json_line(letter)
    if from_json_line(line) != letter or b"\n" in line:
        raise Finding("a dead letter survives its JSON line", letter, data)
    json.loads(line.decode())
    if letter.reason not in RULES or letter.stage not in ("parse", "validate") or letter.fate != "invalid":
        raise Finding("a dead letter names a rule", letter, data)


def _check_replay(event: PreparedEvent, line: bytes) -> None:
    """An event that was sent keeps its identity when it is replayed, whatever the options are then."""
    insert_id, time_ms = identity_of(event.body)
    letter = DeadLetter(line, IMPORT, "rejected", insert_id=insert_id, time_ms=time_ms, fate="rejected")
    if from_json_line(to_json_line(letter)) != letter:
        raise Finding("a dead letter survives its JSON line", letter, line)
    replayed = PREPARERS[len(line) % 3].prepare_dead_letter(letter, NOW_MS)
    if [identity_of(body) for body in replayed.events.bodies] != [(insert_id, time_ms)]:
        raise Finding("a replay keeps the identity", (letter, replayed.events.bodies, replayed.invalid), line)


def _roughly(letter: DeadLetter) -> str:
    """Tell where and why without what varies, such as positions and names."""
    words = letter.message.partition("(")[0] if letter.reason == "invalid_json" else str(letter.message.count(";"))
    return f"{letter.field[:24].translate(_NO_DIGITS)} {words[:80].translate(_NO_DIGITS)}"


_NO_DIGITS: Final = {ord(digit): None for digit in "0123456789"}


def check_text(line: bytes) -> None:
    """`prepare_text` says of a line what `prepare_block` says, for bytes and for text."""
    done = PREPARERS[0].prepare_text(line, NOW_MS, source=_SOURCE)
    if done.read != 1:
        raise Finding("a text is one event or one letter", done.read, line)
    for letter in done.invalid:
        _check_letter(letter, line)
    _check_prepared(done.events.bodies, line)
    try:
        text = line.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return
    _check_determinism(done, PREPARERS[0].prepare_text(text, NOW_MS, source=_SOURCE), line)


def check_object(value: Any, preparer: EventPreparer) -> None:
    """Hold the laws against an object: it is left alone, and read as its JSON text is."""
    before = in_words(value)
    done = preparer.prepare_object(value, NOW_MS)
    if done.read != 1:
        raise Finding("an object is one event or one letter", done.read, value)
    _check_determinism(done, preparer.prepare_object(value, NOW_MS), value)
    if in_words(value) != before:
        raise Finding("an object is left alone", value, before)
    _check_prepared(done.events.bodies, value)
    _check_profiled(done, value)
    for letter in done.invalid:
        _check_form_of_letter(letter, value)
        if letter.reason not in _READ_OTHERWISE_IN_TEXT and preparer.prepare_text(letter.event, NOW_MS).events:
            raise Finding("the text of a refused object is refused", letter, value)
    _check_against_text(value, done, preparer)


def _check_against_text(value: Any, done: Preparation, preparer: EventPreparer) -> None:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return
    from_text = preparer.prepare_text(text, NOW_MS)
    same = _contents(from_text.events.bodies) == _contents(done.events.bodies)
    if not same and not _has_float_id(value):
        raise Finding("an object is read as its text", (done.events.bodies, from_text.events.bodies), value)


def _contents(bodies: list[bytes]) -> list[Any]:
    """Read bodies without the id, which is made from the digits: those of a text may differ from a float's."""
    events = [json.loads(body) for body in bodies]
    for event in events:
        del event["properties"]["$insert_id"]
    return events


def _has_float_id(value: Any) -> bool:
    """A number with a fraction or exponent is exact in a text, but not in the float of an object."""
    inner = value.get("properties") or {}
    return any(isinstance(fields.get(key), float) for fields in (value, inner) for key in (*judge.IDS, "$insert_id"))


def check_garbled_letter(line: bytes) -> None:
    """Whatever a file of dead letters holds, a line is a dead letter or a `ValueError`; what was read can be sent."""
    try:
        letter = from_json_line(line)
    except ValueError:
        return
    done = PREPARERS[0].prepare_dead_letter(letter, NOW_MS)
    if done.read != 1:
        raise Finding("a replayed letter is one event or one letter", done.read, line)
    _check_prepared(done.events.bodies, line)
    for again in done.invalid:
        if again.event != letter.event:
            raise Finding("dead letters of dead letters do not nest", again, line)


def check_answer(status: int, headers: Mapping[str, str], body: bytes, batch_size: int) -> str:
    """Hold the laws of reading answers; give the outcome's name."""
    answer = (status, headers, body, batch_size)
    imported = outcome.read_import_answer(status, headers, body, batch_size)
    tracked = outcome.read_track_answer(status, headers, body)
    _CHECKS[type(imported)](imported, answer)
    if isinstance(tracked, outcome.PartlyImported):
        raise Finding("/track names no event", tracked, answer)
    if isinstance(tracked, outcome.Imported):
        success = status // 100 == 2 and (body.strip() == b"1" or _object_of(body).get("status") == 1)
        _require(success, "what is imported was confirmed", tracked, answer)
    else:
        _CHECKS[type(tracked)](tracked, answer)
    return type(imported).__name__


_Answer = tuple[int, Mapping[str, str], bytes, int]


def _require(holds: bool, law: str, found: object, answer: _Answer) -> None:
    if not holds:
        raise Finding(law, found, answer)


def _check_imported(found: outcome.Imported, answer: _Answer) -> None:
    status, _, body, batch_size = answer
    count = _object_of(body).get("num_records_imported")
    _require(status == 200 and count == batch_size, "what is imported was confirmed", found, answer)


def _check_partly_imported(found: outcome.PartlyImported, answer: _Answer) -> None:
    status, _, body, batch_size = answer
    parsed = _object_of(body)
    named = {record["index"] for record in parsed["failed_records"]}
    positions = [record.position for record in found.rejected]
    _require(status == 400 and positions == sorted(named), "those rejected are those named", found, answer)
    _require(set(positions) <= set(range(batch_size)), "those rejected were sent", found, answer)
    adds_up = parsed.get("num_records_imported") == batch_size - len(positions)
    _require(adds_up or not found.rest_confirmed, "the rest was confirmed", found, answer)


def _check_miscounted(found: outcome.Miscounted, answer: _Answer) -> None:
    status, _, body, batch_size = answer
    count = _object_of(body).get("num_records_imported")
    another = status == 200 and count == found.imported != batch_size and count >= 0
    _require(another, "another count is the answer's own", found, answer)


def _check_retry(found: outcome.Retry, answer: _Answer) -> None:
    wait = found.retry_after_secs
    _require(wait is None or (wait >= 0 and math.isfinite(wait)), "a wait is a number of seconds", found, answer)
    _require(found.rate_limited == (answer[0] == 429), "only 429 limits the rate", found, answer)
    retryable = answer[0] in (408, 429) or answer[0] >= 500 or answer[0] < 300
    _require(retryable, "what can succeed is repeated", found, answer)


def _check_split(found: outcome.Split, answer: _Answer) -> None:
    in_words = len(found.message) <= _MAX_DETAIL_CHARS and "\n" not in found.message
    _require(in_words, "the server's words are short", found, answer)
    _require(answer[0] in (400, 413) or answer[0] // 100 == 2, "only 400 and 413 split", found, answer)


def _check_refused(found: outcome.Refused, answer: _Answer) -> None:
    status = answer[0]
    hopeless = 300 <= status < 500 and status not in (400, 408, 413, 429)
    _require(hopeless and bool(found.cure), "only the hopeless ends the job", found, answer)
    _require(len(found.message) <= _MAX_DETAIL_CHARS, "the server's words are short", found, answer)


_CHECKS: Final[dict[type, Callable[[Any, _Answer], None]]] = {
    outcome.Imported: _check_imported,
    outcome.PartlyImported: _check_partly_imported,
    outcome.Miscounted: _check_miscounted,
    outcome.Retry: _check_retry,
    outcome.Split: _check_split,
    outcome.Refused: _check_refused,
}


def _object_of(body: bytes) -> dict[str, Any]:
    parsed = json.loads(body.decode())
    return parsed if isinstance(parsed, dict) else {}
