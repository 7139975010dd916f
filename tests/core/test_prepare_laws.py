"""Laws of preparing: blocks and single lines agree, twice is once, and nothing is lost or raised."""

from __future__ import annotations

import json
from datetime import timezone
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beam_mixpanel.core import limits
from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.dead_letter import DeadLetter, from_json_line, to_json_line
from beam_mixpanel.core.events.event import Form, bring_into_form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy, MadeInsertId, give_insert_id
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation
from beam_mixpanel.core.events.reading import read_fields
from beam_mixpanel.core.events.rewrite import Rewriter
from beam_mixpanel.core.events.rules import Judge, Violation
from beam_mixpanel.core.events.shapes import Event
from beam_mixpanel.core.events.skim import skim

NOW = 1_700_000_000_000
decode = msgspec.json.Decoder(float_hook=float).decode
PREPARER = EventPreparer()
TRACK = EventPreparer(Form(max_age_ms=limits.TRACK_MAX_AGE_MS))

TIMES = st.sampled_from(
    [
        *(NOW, NOW + limits.MAX_AHEAD_MS, NOW + limits.MAX_AHEAD_MS + 1, NOW - limits.TRACK_MAX_AGE_MS),
        *(limits.EARLIEST_TIME_MS, limits.EARLIEST_TIME_MS - 1, NOW // 1000, float(NOW), NOW / 1000, str(NOW)),
        *("soon", None, True, "2023-01-01", 10**25),
    ]
)
IDS = st.sampled_from(
    ["ann", "", "null", "NULL", "None", "x" * 255, "x" * 256, 7, 7.0, 2**70, None, True, [], "0", "é"]
)
INSERT_IDS = st.sampled_from(["id-1", "x" * 36, "x" * 37, "", "a b", "é", "\u0661", "nil", "N/A", "none", 5, None, [1]])
NAMES = st.sampled_from(["e", "", " ", "\u2003", "n" * 255, "n" * 256, "Zürich", None, 5, "\x00"])
TRICKY = st.sampled_from(["[[[[[[", "{{{{{{", "," * 300, '"', "\\", "\u2028", "\U0001f600", "}\n{", "\x7f"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TRICKY | st.text()
)
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.sampled_from([253, 254, 255, 256]).map(lambda count: [0] * count)
        | st.sampled_from([253, 254, 255]).map(lambda count: {f"k{index}": 0 for index in range(count)})
    ),
    max_leaves=6,
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Give events in form, and such as break one or two of its rules."""
    properties: dict[str, Any] = {"time": NOW, "$insert_id": "id-1", "distinct_id": "ann"}
    properties |= draw(st.dictionaries(st.text(max_size=5) | TRICKY, NESTED, max_size=3))
    if draw(st.integers(0, 9)) == 0:
        properties |= {f"f{index}": index for index in range(draw(st.integers(249, 256)))}
    strange = {"time": TIMES, "$insert_id": INSERT_IDS, "distinct_id": IDS, "$user_id": IDS, "$device_id": IDS}
    for key in draw(st.lists(st.sampled_from(sorted(strange)), max_size=2)):
        properties[key] = draw(strange[key])
    for key in draw(st.lists(st.sampled_from(sorted(properties)), max_size=1)):
        if draw(st.booleans()):
            del properties[key]
    event = {"event": draw(st.just("e") | NAMES), "properties": properties}
    if draw(st.integers(0, 5)) == 0:
        return {"event_name": "e"} | properties
    return event | draw(st.just({}) | st.dictionaries(st.sampled_from(["event", "plan", "time"]), SCALARS, max_size=1))


def as_line(event: Any, ascii_only: bool, spaced: bool) -> bytes:
    text = json.dumps(event, ensure_ascii=ascii_only, separators=None if spaced else (",", ":"))
    return text.encode(errors="surrogatepass")


GOOD_LINES = st.builds(as_line, events(), st.booleans(), st.booleans())
IN_FORM = st.dictionaries(st.text(max_size=5) | TRICKY, NESTED, max_size=3).map(
    lambda more: as_line(
        {"event": "e", "properties": more | {"time": NOW, "$insert_id": "id-1", "distinct_id": "ann"}}, False, False
    )
)


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """Give lines of which a few bytes were changed."""
    line = bytearray(draw(GOOD_LINES))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(line) - 1))
        patch = draw(
            st.sampled_from([b"", b'"', b"{", b"}", b",", b"\\", b"\\ud800", b"\xff", b"\x00", b"1e999", b"[]", b"9"])
        )
        line[place : place + draw(st.integers(0, 2))] = patch
    return bytes(line)


LINES = st.one_of(
    IN_FORM,
    GOOD_LINES,
    damaged_lines(),
    st.binary(max_size=30),
    st.sampled_from([b"", b" ", b"\r", b"null", b"[1]", b"{}", b"1e99999999999999999999", b"\xef\xbb\xbf{}"]),
).map(lambda line: line.replace(b"\n", b""))


def result(done: Preparation) -> tuple[list[Any], list[DeadLetter], int, int]:
    return list(done.events), done.invalid, done.repaired, done.past_retention


def one_by_one(
    preparer: EventPreparer, lines: list[bytes], offset: int
) -> tuple[list[Any], list[DeadLetter], int, int]:
    """Prepare each line as a block of its own, beside a line that keeps it from being skimmed."""
    prepared: list[Any] = []
    letters: list[DeadLetter] = []
    repaired = past_retention = 0
    for line in lines:
        done = preparer.prepare_block(EventBlock(line + b"\n\n", "f", offset), NOW)
        prepared += done.events
        letters += done.invalid
        repaired += done.repaired
        past_retention += done.past_retention
        offset += len(line) + 1
    return prepared, letters, repaired, past_retention


@given(
    st.lists(LINES, max_size=6) | st.lists(IN_FORM, max_size=6),
    st.integers(0, 10**12),
    st.booleans(),
    st.sampled_from([PREPARER, TRACK]),
)
def test_a_block_is_its_lines(lines: list[bytes], offset: int, ended: bool, preparer: EventPreparer) -> None:
    """Preparing many lines together gives what preparing each alone gives: bodies, originals, letters, offsets."""
    data = b"\n".join(lines) + b"\n" * (ended and bool(lines))
    together = preparer.prepare_block(EventBlock(data, "f", offset), NOW)
    assert result(together) == one_by_one(preparer, lines, offset)
    assert together.read == len([line for line in lines if line and not line.isspace()])


def into_form(event: Event, form: Form) -> tuple[MadeInsertId, list[Violation]]:
    """Bring an event into form, as the slow way does; return what that changed, and which rules on it are broken."""
    given = bring_into_form(event, form, NOW)
    violations = Judge().of_identity(event, given)
    made = give_insert_id(event, given.time, form.insert_id)
    return made._replace(changed=given.changed or made.changed), [*violations, *made.violations]


@given(st.lists(IN_FORM | GOOD_LINES | damaged_lines(), min_size=1, max_size=3))
@example([b'{"event":"e","properties":{"time":%d,"$insert_id":"i","n":%s}}' % (NOW, b"1" * 5000)])
@example([b'{"event":"e","properties":{"time":%d,"$insert_id":"i","n":{"\xff":1}}}' % NOW])
def test_what_is_skimmed_needs_no_change(lines: list[bytes]) -> None:
    """Whatever the quick look passes, the slow one finds in form and within every limit."""
    lines = [line.replace(b"\n", b"") for line in lines]
    times = skim(b"\n".join(lines), lines)
    if not times:
        return
    for line, time in zip(lines, times, strict=True):
        event = read_fields(decode(line))
        assert isinstance(event, Event)
        assert event.properties["time"] == time
        if time <= NOW + limits.MAX_AHEAD_MS:
            assert into_form(event, Form()) == (MadeInsertId(changed=False), [])
        assert Judge().of_shape(event, len(event.properties)) == []
        assert len(line) <= limits.MAX_EVENT_BYTES
        assert insert_ids.is_acceptable(event.properties["$insert_id"])


@given(st.lists(IN_FORM, min_size=1, max_size=3))
def test_a_body_in_form_is_seldom_looked_at_twice(lines: list[bytes]) -> None:
    """The quick look passes every event in form that is within the limits, so that the common case stays fast."""
    fine = [line for line in lines if not EventPreparer().prepare_text(line, NOW).invalid]
    assert len(skim(b"\n".join(fine), fine)) == len(fine)


FORMS = st.builds(
    Form,
    insert_id=st.sampled_from(["content", "columns:event,time", "mixpanel-import"]).map(InsertIdStrategy.parse),
    zone=st.sampled_from([timezone.utc, ZoneInfo("Europe/Paris")]),
    max_age_ms=st.sampled_from([None, limits.TRACK_MAX_AGE_MS]),
)
encode = msgspec.json.Encoder(order="sorted").encode


@given(GOOD_LINES | damaged_lines() | IN_FORM, FORMS)
@example(b'{"event":"e","event_name":"f","time":%d,"distinct_id":-7,"$user_id":0}' % (NOW // 1000), Form())
@example(b'{"event":null,"event_name":"f","time":"2023-01-01","n":%s}' % (b"1" * 4000), Form())
def test_what_is_rewritten_is_what_would_be_explained(line: bytes, form: Form) -> None:
    """Whatever the quick way writes, the slow one writes, too: the same bytes, within every limit."""
    rewritten = Rewriter(form).rewrite(line, NOW)
    if rewritten is None:
        return
    body, time_ms = rewritten
    event = read_fields(decode(line))
    assert isinstance(event, Event)
    assert Judge().of_shape(event, len(event.properties)) == []
    changes, violations = into_form(event, form)
    assert (violations, changes.repaired) == ([], False)
    if body == line:
        assert not changes.changed
    else:
        canonical = encode(event)
        assert body == (insert_ids.with_content_id(canonical) if changes.needs_id else canonical)
    assert len(event.properties) + changes.needs_id <= limits.MAX_PROPERTIES
    assert (event.properties["time"], json.loads(body)["properties"]["time"]) == (time_ms, time_ms)
    assert len(body) <= limits.MAX_EVENT_BYTES
    assert insert_ids.is_acceptable(json.loads(body)["properties"]["$insert_id"])


@pytest.mark.parametrize("time", [NOW, NOW // 1000, NOW / 1000, "2023-01-01T12:00:00Z", "2023-01-01 12:00", str(NOW)])
@pytest.mark.parametrize("ids", [{"$insert_id": "a-1"}, {"$insert_id": None}, {"distinct_id": 7, "$user_id": None}, {}])
@pytest.mark.parametrize("flat", [True, False])
def test_common_forms_are_rewritten_without_a_closer_look(time: Any, ids: dict[str, Any], flat: bool) -> None:
    """Times in any unit or as text, absent insert ids, numbers and nulls as ids, the flat shape: all stay fast."""
    properties = {"time": time, "plan": {"a": [1, 2.5]}} | ids
    line = json.dumps({"event": "e"} | (properties if flat else {"properties": properties})).encode()
    assert Rewriter(Form()).rewrite(line, NOW) is not None
    for strategy in ("columns:event,time", "mixpanel-import"):
        assert Rewriter(Form(InsertIdStrategy.parse(strategy))).rewrite(line, NOW) is not None


@given(GOOD_LINES | damaged_lines() | IN_FORM, st.sampled_from(["content", "columns:event,time", "mixpanel-import"]))
def test_preparing_twice_is_preparing_once(line: bytes, strategy: str) -> None:
    """A prepared body is in form: preparing it again, however ids are made, changes nothing."""
    first = EventPreparer(Form(InsertIdStrategy.parse(strategy))).prepare_text(line, NOW)
    for event in first.events:
        for preparer in (PREPARER, EventPreparer(Form(InsertIdStrategy.parse("mixpanel-import")))):
            again = preparer.prepare_text(event.body, NOW)
            assert [(each.body, each.original) for each in again.events] == [(event.body, None)]
            assert again.repaired == 0


@given(LINES | st.binary() | st.text())
def test_any_text_is_an_event_or_a_dead_letter(text: bytes | str) -> None:
    """No bytes and no text raise; each is exactly one event or one dead letter with these very bytes."""
    done = PREPARER.prepare_text(text, NOW)
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    assert done.read == len(done.events) + len(done.invalid) == 1
    assert [letter.event for letter in done.invalid] == [raw] * len(done.invalid)
    assert [event.original or event.body for event in done.events] == [raw] * len(done.events)
    for letter in done.invalid:
        assert from_json_line(to_json_line(letter)) == letter


KEYS = st.sampled_from(["event", "event_name", "properties", "time", "distinct_id", "$insert_id", "$user_id"])
ANY_KEY = KEYS | st.text(st.characters()) | st.none() | st.booleans() | st.integers() | st.floats() | st.binary()
ANY_VALUE = st.recursive(
    SCALARS | TIMES | IDS | INSERT_IDS | st.text(st.characters()) | st.binary() | st.decimals() | st.datetimes()
    | st.dates() | st.timedeltas() | st.uuids() | st.just(object()) | st.floats() | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_KEY, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)  # fmt: skip


@given(
    st.dictionaries(ANY_KEY, ANY_VALUE, max_size=5) | ANY_VALUE,
    st.sampled_from(["content", "mixpanel-import", "columns:event,distinct_id"]),
)
def test_any_object_is_an_event_or_a_dead_letter(value: Any, strategy: str) -> None:
    """No Python value and no dict with keys of any type raises; each is exactly one event or one dead letter."""
    done = EventPreparer(Form(InsertIdStrategy.parse(strategy))).prepare_object(value, NOW)
    assert done.read == 1
    for letter in done.invalid:
        assert from_json_line(to_json_line(letter)) == letter
    for event in done.events:
        again = PREPARER.prepare_text(event.body, NOW).events
        assert [(each.body, each.original) for each in again] == [(event.body, None)]


@given(st.dictionaries(ANY_KEY, ANY_VALUE, max_size=4))
def test_reading_a_shape_leaves_the_input_alone(fields: dict[Any, Any]) -> None:
    """Bringing an event into shape changes nothing of the object that was given."""
    before = repr(fields)
    shaped = read_fields(fields)
    assert isinstance(shaped, (Event, Violation))
    PREPARER.prepare_object(fields, NOW)
    assert repr(fields) == before
