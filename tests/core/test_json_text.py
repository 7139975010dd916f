"""What is wrong with text is decided from its bytes: no version of a JSON library changes a dead letter's reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.events import reading
from beam_mixpanel.core.events.dead_letter import DeadLetter, from_json_line, to_json_line
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation
from beam_mixpanel.core.json.text import UNREADABLE, fault_of, is_utf8
from beam_mixpanel.core.rows.batches import RowList
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping

NOW = 1_700_000_000_000
GOOD = b'{"event":"e","properties":{"time":1686668880123,"$insert_id":"id-1","distinct_id":"ann"}}'

INVALID = {
    "a byte that never occurs": b"\xff",
    "a continuation alone": b"\x80",
    "Latin-1": b"caf\xe9",
    "a character cut off": b"\xe2\x82",
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xc0\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "past the last character": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
}
PLACES = {
    "a property": GOOD.replace(b'"ann"', b'"ann","n":"@"'),
    "a key": GOOD.replace(b'"ann"', b'"ann","@":1'),
    "deep in a property": GOOD.replace(b'"ann"', b'"ann","n":[{"a":["@"]}]'),
    "the event's name": GOOD.replace(b'"e"', b'"@"'),
    "an id": GOOD.replace(b'"ann"', b'"@"'),
    "the $insert_id": GOOD.replace(b'"id-1"', b'"@"'),
    "the time": GOOD.replace(b"1686668880123", b'"@"'),
    "beside the properties": b'{"n":"@",' + GOOD[1:],
    "a flat event": b'{"event":"e","time":1686668880,"n":"@"}',
    "an event without id": b'{"event":"e","properties":{"time":1686668880,"n":"@"}}',
    "outside of text": GOOD[:-1] + b"@}",
    "behind the event": GOOD + b"@",
    "nothing else": b"@",
}


def of_block(line: bytes, preparer: EventPreparer) -> Preparation:
    return preparer.prepare_block(EventBlock(line, "f", 0), NOW)


def of_block_among_others(line: bytes, preparer: EventPreparer) -> Preparation:
    done = preparer.prepare_block(EventBlock(b"\n".join((GOOD, line, GOOD, b"")), "f", 0), NOW)
    assert [event.body for event in done.events] == [GOOD, GOOD]
    return done


def of_text(line: bytes, preparer: EventPreparer) -> Preparation:
    return preparer.prepare_text(line, NOW)


def of_letter(line: bytes, preparer: EventPreparer) -> Preparation:
    letter = DeadLetter(line, "import", "http_503", insert_id="id-1", time_ms=1686668880123)
    return preparer.prepare_dead_letter(from_json_line(to_json_line(letter)), NOW)


WAYS: list[Callable[[bytes, EventPreparer], Preparation]] = [of_block, of_block_among_others, of_text, of_letter]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("invalid", INVALID)
def test_bytes_that_are_not_utf8_are_told_by_every_way(
    way: Callable[[bytes, EventPreparer], Preparation], place: str, invalid: str
) -> None:
    """One dead letter, `not_utf8`, with the very bytes: wherever they are, and whatever way the event takes."""
    line = PLACES[place].replace(b"@", INVALID[invalid])
    for form in (Form(), Form(insert_id=InsertIdStrategy("mixpanel_import"))):
        (letter,) = way(line, EventPreparer(form)).invalid
        assert (letter.stage, letter.reason, letter.event) == ("parse", "not_utf8", line)
        assert letter.message == "the event is not valid UTF-8"


@pytest.mark.parametrize("place", PLACES)
def test_a_redacted_property_hides_nothing_of_the_reason(place: str) -> None:
    """With properties to redact the reason is the same."""
    line = PLACES[place].replace(b"@", b"\xff")
    (letter,) = of_block(line, EventPreparer(Form(redact=frozenset({"n", "secret"})))).invalid
    assert letter.reason == "not_utf8"


@pytest.mark.parametrize(
    "event",
    [
        {"event": "e", "time": 1686668880, "n": "\ud800"},
        {"event": "e", "time": 1686668880, "\ud800": 1},
        {"event": "e", "time": 1686668880, "n": {"\ud800"}},
        {"event": "e", "time": 1686668880, "n": {("\ud800",): 1}},
        {"event": "e\ud800", "time": 1686668880},
        {"event": "e", "properties": {"time": 1686668880, "distinct_id": "\ud800"}},
        {"event": "e", "properties": {"time": 1686668880, "$insert_id": "\ud800"}},
    ],
)
@pytest.mark.parametrize("kind", ["content", "mixpanel_import"])
def test_objects_whose_text_has_no_utf8_are_told(event: dict[str, Any], kind: Any) -> None:
    """A text that holds half of a surrogate pair is one dead letter, `not_utf8`, for whatever id would be made."""
    for redact in (frozenset[str](), frozenset({"secret"})):
        preparer = EventPreparer(Form(insert_id=InsertIdStrategy(kind), redact=redact))
        (letter,) = preparer.prepare_object(event, NOW).invalid
        assert letter.reason == "not_utf8"
        assert from_json_line(to_json_line(letter)) == letter


def test_bytes_in_an_object_are_no_text() -> None:
    """Bytes in an object need not be UTF-8: they are sent as base64, as every row's bytes are."""
    row = {"event": "e", "time": 1686668880, "n": b"\xff"}
    assert b'"n":"/w=="' in EventPreparer().prepare_object(row, NOW).events[0].body


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("invalid", INVALID)
def test_rows_that_are_not_utf8_are_told(place: str, invalid: str) -> None:
    """A line that is to be a row is told by the same reason, in a block and alone."""
    line = PLACES[place].replace(b"@", INVALID[invalid])
    preparer = RowPreparer(EventMapping(event="e", time_column="time"))
    for done in (preparer.prepare_block(EventBlock(line, "f", 0), NOW), preparer.prepare_text(line, NOW)):
        assert [(letter.reason, letter.event) for letter in done.invalid] == [("not_utf8", line)]


@pytest.mark.parametrize("invalid", INVALID)
def test_a_json_column_that_is_not_utf8_is_told(invalid: str) -> None:
    """A column of JSON that no reader takes is the dead letter that the mapping says, whatever class was raised."""
    mapping = EventMapping(event="e", time_column="t", json_columns=("j",))
    rows = RowList([{"t": 1686668880, "j": b'{"a":"' + INVALID[invalid] + b'"}'}], "f", 0)
    done = RowPreparer(mapping).prepare_rows(rows, NOW)
    assert [letter.reason for letter in done.invalid] == ["json_column_invalid"]


ERRORS = [
    msgspec.DecodeError("Invalid UTF-8 encoded string"),
    msgspec.ValidationError("Expected `object`"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ValueError("surrogate"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":"\xff"}', "not_utf8"),
        (b'{"a":"\\ud800"}', "lone_surrogate"),
        (b'\xef\xbb\xbf{"a":"\\udc00"}', "lone_surrogate"),
        (b'{"a":"\\ud83d\\ude00",}', "invalid_json"),
        (b'{"a":', "invalid_json"),
    ],
)
def test_the_reason_hangs_on_no_class_and_no_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, line: bytes, reason: str
) -> None:
    """Whichever of its classes a JSON reader raises, in whatever words, the reason is the same."""

    def fail(text: bytes) -> NoReturn:
        raise error

    monkeypatch.setattr(reading, "decode_exact", fail)
    letter = reading.parse_object(line)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == reason


def test_errors_are_told_by_the_class_that_msgspec_documents() -> None:
    """What this version of msgspec raises is among what is caught."""
    for line in (b'{"a":"\xff"}', b"{", b'{"a":1e999}', b"[" * 100_000, b"1" * 5_000):
        with pytest.raises(UNREADABLE):
            msgspec.json.decode(line)


@given(st.binary(max_size=20) | st.text(max_size=10).map(str.encode))
def test_every_text_of_an_event_is_utf8_or_says_so(value: bytes) -> None:
    """A line is `not_utf8` exactly where its bytes are not, and only what is UTF-8 is sent."""
    done = of_block(GOOD.replace(b'"ann"', b'"ann","n":"' + value.replace(b"\n", b"") + b'"'), EventPreparer())
    assert all(is_utf8(event.body) for event in done.events)
    assert all((letter.reason == "not_utf8") != is_utf8(letter.event) for letter in done.invalid)


@given(st.text(st.characters(), max_size=5) | st.text(st.characters(categories=["Cs"]), max_size=3))
def test_a_lone_surrogate_is_told_from_a_pair(text: str) -> None:
    """Escapes are `lone_surrogate` exactly where they are no pairs: two halves that meet are one character."""
    line = json.dumps({"a": text}).encode()
    read = json.loads(line)["a"]
    expected = "invalid_json" if is_utf8(read.encode(errors="surrogatepass")) else "lone_surrogate"
    assert fault_of(line) == expected
