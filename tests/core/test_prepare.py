"""Preparing events: what is in form passes byte for byte, and no input whatever goes missing."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from beam_mixpanel.core.events.chunk import PreparedEvent
from beam_mixpanel.core.events.dead_letter import from_json_line, to_json_line
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation, identity_of

NOW = 1_700_000_000_000
GOOD = b'{"event":"e","properties":{"time":1686668880123,"$insert_id":"id-1","distinct_id":"ann"}}'
NEEDS_ID = b'{"event":"e","properties":{"time":1686668880}}'


def block(data: bytes, offset: int = 0, form: Form = Form()) -> Preparation:
    return EventPreparer(form).prepare_block(EventBlock(data, "f", offset), NOW)


def with_value(value: bytes) -> bytes:
    """Give an event in form with one more property, `n`."""
    return GOOD.replace(b'"ann"', b'"ann","n":' + value)


@pytest.mark.parametrize(
    "line",
    [
        GOOD,
        b" \t" + GOOD + b" \r",
        with_value(b'"\\u0000 \\ud83d\\ude00 \xf0\x9f\x98\x80"'),
        with_value(b"[1e5,1E5,1.10,-0,-0.0,0.1000000000000000055511151231257827]"),
        with_value(b"18446744073709551617"),
        with_value(b"1" * 4300),
        with_value(b"1e999"),
        with_value(b"-1e99999999999999999999"),
        with_value(b"1e-99999999999999999999"),
        with_value(b'1,"n":2'),
        GOOD.replace(b'"time":', b'"time":"soon","time":'),
        b'{"event":"x",' + GOOD[1:],
        b'{"properties":{},' + GOOD[1:],
        GOOD.replace(b'"event"', b'"\\u0065vent"'),
    ],
)
def test_what_is_in_form_passes_byte_for_byte(line: bytes) -> None:
    """A good event is sent with its very bytes, alone or among others: exact digits, last duplicate, white space."""
    expected = PreparedEvent(line, None, "f", 0)
    assert list(block(line + b"\n").events) == [expected]
    assert block(line + b"\n" + NEEDS_ID).events[0] == expected
    assert EventPreparer().prepare_text(line, NOW, source="f").events[0] == expected._replace(offset=-1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (with_value(b'"\\ud800"'), "lone_surrogate"),
        (with_value(b'"\\udc00 \\ud800"'), "lone_surrogate"),
        (with_value(b'{"\\ud800":1}'), "lone_surrogate"),
        (with_value(b'"\xff"'), "not_utf8"),
        (with_value(b'"\xed\xa0\x80"'), "not_utf8"),
        (with_value(b'"\xc0\xaf"'), "not_utf8"),
        (with_value(b'"\xe2\x82"'), "not_utf8"),
        (with_value(b'{"\xff":1}'), "not_utf8"),
        (with_value(b'"\x00"'), "invalid_json"),
        (with_value(b'"\t"'), "invalid_json"),
        (with_value(b"NaN"), "invalid_json"),
        (with_value(b"-Infinity"), "invalid_json"),
        (with_value(b"01"), "invalid_json"),
        (with_value(b"1."), "invalid_json"),
        (with_value(b"[1,]"), "invalid_json"),
        (with_value(b"'a'"), "invalid_json"),
        (with_value(b"1" * 4301), "invalid_json"),
        (with_value(b"[" * 100_000 + b"]" * 100_000), "nested_too_deep"),
        (b"[" * 100_000, "nested_too_deep"),
        (b'{"a":' * 100_000, "nested_too_deep"),
        (GOOD + GOOD, "invalid_json"),
        (GOOD + b" " + GOOD, "invalid_json"),
        (GOOD + b"x", "invalid_json"),
        (GOOD[:-1], "invalid_json"),
        (b"\x00", "invalid_json"),
        (b"\xef\xbb\xbf", "invalid_json"),
        (b"\xff\xfe{\x00}\x00", "not_utf8"),
        (GOOD[:-1] + b"\xff", "not_utf8"),
        (b"[" * 100_000 + b"\xff", "not_utf8"),
        (with_value(b'"\\ud83d\\ude00",'), "invalid_json"),
        (with_value(b'["\\ud83d\\ude00",NaN]'), "invalid_json"),
        (with_value(b'"\\ud800",'), "invalid_json"),
        (b"null", "not_an_object"),
        (b"1", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"[" + GOOD + b"]", "not_an_object"),
        (b"{}", "event_missing"),
    ],
)
def test_bad_text_becomes_a_dead_letter_with_its_very_bytes(line: bytes, reason: str) -> None:
    """Whatever is wrong with a line, its bytes are kept, through the dead letter's file, too; the next line is fine."""
    done = block(line + b"\n" + GOOD + b"\n", offset=7)
    (letter,) = done.invalid
    assert (letter.reason, letter.source, letter.fate) == (reason, "f@7", "invalid")
    assert letter.event == from_json_line(to_json_line(letter)).event == line
    assert list(done.events) == [PreparedEvent(GOOD, None, "f", 8 + len(line))]


@pytest.mark.parametrize(
    "data",
    [
        GOOD + GOOD + b"\n\n",
        GOOD + b" " + GOOD + b"\n\n",
        b"\n" + GOOD + GOOD,
        b" \n" + GOOD + b"\r" + GOOD,
        GOOD[:12] + b"\n" + GOOD[12:] + GOOD,
        GOOD[:26] + b"\n" + GOOD[26:] + GOOD,
        GOOD[:-1] + b"\n}" + GOOD,
        GOOD + GOOD[:-1] + b"\n}",
    ],
)
def test_one_line_is_one_event(data: bytes) -> None:
    """Two events on a line, or one over two lines, are no events, even where events and lines are as many."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    done = block(data)
    assert [letter.event for letter in done.invalid] == [line for line in lines if line != GOOD]
    assert all(event.body == GOOD for event in done.events)
    assert done.read == len(lines)


def test_blank_lines_are_no_events_but_count_as_bytes() -> None:
    """Empty lines, CRLF and a missing last newline leave the count right, and the offsets point at the events."""
    data = b"\n" + GOOD + b"\r\n\r\n  \n" + NEEDS_ID + b"\nbad\n\n" + GOOD
    done = block(data, offset=1000)
    assert done.read == 4
    assert [event.offset - 1000 for event in done.events] == [1, data.index(NEEDS_ID), data.rindex(GOOD)]
    assert done.invalid[0].source == f"f@{1000 + data.index(b'bad')}"
    assert block(b"").read == block(b"\n").read == block(b"\r\n \n").read == 0


def test_a_changed_event_remembers_what_it_was() -> None:
    """Where the body differs from the text that was read, the text goes with it; its origin names the place."""
    (event,) = block(NEEDS_ID + b"\n", offset=5).events
    assert event.original == NEEDS_ID
    assert event.origin == "f@5"
    assert json.loads(event.body)["properties"]["time"] == 1_686_668_880_000
    assert PreparedEvent(b"", None, "f", -1).origin == "f"
    assert PreparedEvent(b"", None, "", 3).origin == ""


def test_a_byte_order_mark_is_dropped() -> None:
    """The mark that some editors put at a file's beginning costs no event."""
    (event,) = block(b"\xef\xbb\xbf" + GOOD + b"\n").events
    assert json.loads(event.body) == json.loads(GOOD)
    assert event.original == b"\xef\xbb\xbf" + GOOD


def test_an_event_over_several_lines_leaves_on_one() -> None:
    """Text that was given whole may hold newlines; the body does not, so that it can stand in NDJSON."""
    pretty = json.dumps(json.loads(GOOD), indent=2).encode()
    for text in (pretty, pretty.replace(b'"ann"', b'"ann", "n": 1e999'), pretty.decode()):
        (event,) = EventPreparer().prepare_text(text, NOW).events
        assert b"\n" not in event.body


@pytest.mark.parametrize("strategy", ["content", "columns:n", "columns:time", "mixpanel-import"])
@pytest.mark.parametrize(
    "event",
    [
        {"event": "\ud800", "time": NOW},
        {"event": "\ud800", "time": NOW, "$insert_id": "bad id"},
        {"event": "e", "time": NOW, "n": "\ud800"},
        {"event": "e", "time": NOW, "n": ["\udfff"]},
        {"event": "e", "time": NOW, "n": {"\ud800"}},
        {"event": "e", "time": NOW, "n": {("\ud800",): 1}},
        {"event": "e", "time": NOW, "n": 1, "\ud800": 1},
        {"event": "e", "time": NOW, "n": 1, "\ud800": [[[[1]]]]},
        {"event": "e", "time": NOW, "\ud800": 1, "properties": {"\ud800": 2}},
        {"event": "e", "time": NOW, "$insert_id": "\ud800"},
        {"event": "e", "time": NOW, "n": 1, "distinct_id": "\ud800"},
    ],
)
def test_lone_surrogates_in_python_text_are_refused_by_name(event: Any, strategy: str) -> None:
    """Text that has no UTF-8 makes an event invalid however ids are made, and its dead letter can be written."""
    form = Form(InsertIdStrategy.parse(strategy))
    (letter,) = EventPreparer(form).prepare_object(event, NOW).invalid
    assert letter.reason in ("not_utf8", "nested_too_deep", "field_conflict", "insert_id_column_missing")
    assert from_json_line(to_json_line(letter)) == letter


def test_lone_surrogates_in_a_python_line_are_refused_by_name() -> None:
    """JSON text given as `str` with a lone surrogate is invalid, and kept."""
    text = GOOD.decode().replace("ann", "\ud800")
    (letter,) = EventPreparer().prepare_text(text, NOW).invalid
    assert letter.reason in ("not_utf8", "invalid_json")
    assert letter.event.decode(errors="surrogatepass") == text


@pytest.mark.parametrize("huge", [b"1e999", b"-1.5E+400", b"1" + b"0" * 400 + b".5"])
def test_a_number_past_all_doubles_keeps_its_digits(huge: bytes) -> None:
    """Such a number is passed on as a number, never as infinity, null or text, for Mixpanel to judge."""
    assert block(with_value(huge) + b"\n").events[0].body == with_value(huge)
    flat = b'{"event":"e","time":1686668880123,"n":%s}' % huge
    (event,) = EventPreparer().prepare_text(flat, NOW).events
    assert json.loads(event.body, parse_float=Decimal)["properties"]["n"] == Decimal(huge.decode())


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (b"7.0", "7"),
        (b"9007199254740993.0", "9007199254740993"),
        (b"1234567890123456789.0", "1234567890123456789"),
        (b"12345678901234567890.0", "12345678901234567890"),
        (b"1E19", "10000000000000000000"),
        (b"123456789.123456789012", "123456789.123456789012"),
    ],
)
def test_ids_written_as_floats_lose_no_digit(given: bytes, sent: str) -> None:
    """An id that is a JSON number with a fraction or exponent becomes its exact digits, in either shape."""
    flat = b'{"event":"e","time":1686668880123,"distinct_id":%s}' % given
    for line in (GOOD.replace(b'"ann"', given), flat):
        (event,) = EventPreparer().prepare_text(line, NOW).events
        assert json.loads(event.body)["properties"]["distinct_id"] == sent


@pytest.mark.parametrize("time", [b"1e400", b"1e9999999", b"1e99999999999999999999", b"-1e999", b"1" * 5000])
def test_an_absurd_time_is_invalid(time: bytes) -> None:
    """A time of any size is answered."""
    line = GOOD.replace(b"1686668880123", time)
    assert len(block(line + b"\n").invalid) == 1
    assert len(EventPreparer().prepare_text(line, NOW).invalid) == 1


@pytest.mark.parametrize("value", [None, 5, "text", [], [("event", "e")], object(), int, float("nan"), b"\xff"])
def test_what_is_no_row_is_invalid(value: Any) -> None:
    """An element without fields is a dead letter, not an exception."""
    (letter,) = EventPreparer().prepare_object(value, NOW, source="table").invalid
    assert (letter.reason, letter.source) == ("not_an_object", "table")


def test_nesting_without_end_is_invalid() -> None:
    """Objects that are very deep or contain themselves, wherever they stand, are dead letters."""
    endless: dict[str, Any] = {}
    endless["a"] = endless
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"a": deep}
    for event in (
        {"event": "e", "time": NOW, "a": deep},
        {"event": "e", "time": NOW, "a": endless},
        {"event": "e", "time": endless},
        {"event": endless, "time": NOW, "$insert_id": "bad id"},
        {"event": "e", "time": NOW, "$insert_id": endless},
        {"event": "e", "properties": endless},
        endless,
    ):
        assert len(EventPreparer().prepare_object(event, NOW).invalid) == 1


def test_the_identity_of_a_body_can_be_read() -> None:
    """A prepared body tells its `$insert_id` and its time."""
    assert identity_of(GOOD) == ("id-1", 1686668880123)


def test_a_line_that_is_too_long_is_one_dead_letter() -> None:
    """It holds the line's head and place, and tells its length and hash; replaying it sends nothing."""
    head = b'{"event":"A","properties":{"time":1700000000000}}' + b" " * 50
    preparer = EventPreparer()
    done = preparer.prepare_block(EventBlock(head, "f", 7, 9_000_000, "ab" * 32), NOW)
    (letter,) = done.invalid
    assert (letter.stage, letter.reason, letter.fate) == ("parse", "line_too_long", "invalid")
    assert (letter.event, letter.source, done.read) == (head, "f@7", 1)
    assert "9000000 bytes, SHA-256 " + "ab" * 32 in letter.message
    again = preparer.prepare_dead_letter(letter, NOW)
    assert (again.invalid, list(again.events)) == ([letter], [])
