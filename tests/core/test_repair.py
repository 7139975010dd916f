"""Repairs of dead letters: what a function is given, and under which identity its events are sent."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.events.dead_letter import DeadLetter, RefusedLetter
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.prepare import EventPreparer, Preparation, identity_of
from beam_mixpanel.core.events.repair import as_given, refuse, repaired

NOW_MS = 1_700_000_000_000
SENT_MS = 1_690_000_000_000
FLAT = b'{"event":"e","time":"2023-07-22 00:00:00","n":1.50}'
NESTED = b'{"event":"e","properties":{"time":"2023-07-22 00:00:00","n":1.50,"$insert_id":"own"}}'


def letter(event: bytes, **facts: Any) -> DeadLetter:
    """Give a letter of an event that was sent."""
    return DeadLetter(event, "import", "http_503", source="f@7", insert_id="sent-id", time_ms=SENT_MS)._replace(**facts)


def prepare(*letters: DeadLetter) -> Preparation:
    done = Preparation()
    for each in letters:
        done.add(EventPreparer(Form()).prepare_dead_letter(each, NOW_MS))
    return done


def fixed(original: DeadLetter, *events: dict[str, Any]) -> list[DeadLetter]:
    result = repaired(original, events)
    assert isinstance(result, list)
    return result


def identities(*letters: DeadLetter) -> list[tuple[str, int]]:
    done = prepare(*letters)
    assert done.invalid == []
    return [identity_of(event.body) for event in done.events]


@pytest.mark.parametrize(
    ("original", "value"),
    [
        (b'{"a":0.1000000000000000055511,"b":12345678901234567890}', {"a": 0.1, "b": 12345678901234567890}),
        (b'\xef\xbb\xbf{"a":[1e999]}', {"a": [Decimal("1e999")]}),
        (b'{"distinct_id":12345678901234567890.0}', {"distinct_id": Decimal("12345678901234567890.0")}),
        (b"{'event': 'a'}", "{'event': 'a'}"),
        (b'["a"]', '["a"]'),
        (b'{"a":"\\ud800"}', '{"a":"\\ud800"}'),
        (b"[" * 100_000, "[" * 100_000),
        (b"", ""),
        (b"\xff{}", b"\xff{}"),
    ],
)
def test_a_function_is_given_fields_else_text_else_bytes(original: bytes, value: object) -> None:
    """A JSON object is a dict whose ids keep their digits; what is none is given as it was read."""
    assert as_given(original) == value
    assert type(as_given(original)) is type(value)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_VALUES, st.binary())
def test_what_is_left_as_it_was_keeps_its_very_bytes(value: Any, noise: bytes) -> None:
    """A function that changes nothing changes no byte and no field of a letter, whatever the event."""
    original = letter(json.dumps({"event": "e", "value": value}).encode())
    assert repaired(original, [as_given(original.event)]) == [original]  # type: ignore[list-item]
    assert isinstance(as_given(noise), (dict, str, bytes))


@pytest.mark.parametrize("original", [FLAT, NESTED])
def test_a_repaired_event_keeps_the_identity_it_was_sent_with(original: bytes) -> None:
    """In both shapes, and where the function changes the shape: id and time are those that were sent."""
    given_fields: Any = as_given(original)
    inside = given_fields.get("properties", {key: value for key, value in given_fields.items() if key != "event"})
    for changed in (
        {"event": "e", "properties": inside | {"more": 1}},
        {"event_name": "other", **inside},
    ):
        assert identities(*fixed(letter(original), changed)) == [("sent-id", SENT_MS)]


def test_an_identity_that_the_function_changes_is_the_functions() -> None:
    """The id and the time are looked at each alone; a removed id is made anew."""
    time, properties = "2023-07-22 00:00:00", {"n": 2}
    flat = {"event": "e", "properties": {"time": time, "$insert_id": "own", **properties}}
    assert identities(*fixed(letter(NESTED), flat)) == [("sent-id", SENT_MS)]
    other_id = {"event": "e", "properties": {"time": time, "$insert_id": "new", **properties}}
    assert identities(*fixed(letter(NESTED), other_id)) == [("new", SENT_MS)]
    other_time = {"event": "e", "properties": {"time": SENT_MS + 1, "$insert_id": "own", **properties}}
    assert identities(*fixed(letter(NESTED), other_time)) == [("sent-id", SENT_MS + 1)]
    ((made, sent_ms),) = identities(*fixed(letter(NESTED), {"event": "e", "properties": {"time": time, **properties}}))
    assert (len(made), sent_ms) == (32, SENT_MS)


def test_what_was_never_sent_has_the_identity_of_its_repaired_content() -> None:
    """A letter of an earlier stage names the id that it would have had; the repaired event is made its own."""
    never = letter(b'{"event":"e","properties":{"n":1}}', stage="validate", insert_id="", time_ms=0)
    event = {"event": "e", "properties": {"n": 1, "time": SENT_MS}}
    assert identities(*fixed(never, event)) == [
        identity_of(EventPreparer(Form()).prepare_object(event, NOW_MS).events.bodies[0])
    ]


def test_events_made_of_one_do_not_share_the_id_that_was_made_for_it() -> None:
    """Each gets an id of its own content and keeps the time that was sent; a stated id stays where it is stated."""
    base: Any = as_given(FLAT)
    parts = fixed(letter(FLAT), *(base | {"part": number} for number in range(3)))
    found = identities(*parts)
    assert len({insert_id for insert_id, _ in found}) == 3
    assert {time_ms for _, time_ms in found} == {SENT_MS}
    assert [part.source for part in parts] == ["f@7"] * 3
    own: Any = as_given(NESTED)["properties"]  # type: ignore[index]
    found = identities(*fixed(letter(NESTED), {"event": "e", **own, "n": 2}, {"event": "f", **own, "$insert_id": "g"}))
    assert [insert_id for insert_id, _ in found] == ["own", "g"]


def test_events_that_would_hide_each_other_are_refused() -> None:
    """Two events of one name, person, time and stated id would be one to Mixpanel: the whole letter is kept instead."""
    base: Any = as_given(NESTED)
    changed = {"event": "e", "properties": base["properties"] | {"n": 2}}
    result = repaired(letter(NESTED), [base, changed])
    assert isinstance(result, RefusedLetter)
    assert (result.letter.event, result.letter.reason) == (NESTED, "fix_failed")
    assert "one $insert_id" in result.letter.message
    assert "own" not in result.letter.message.split()
    other = {"event": "e", "properties": changed["properties"] | {"distinct_id": "someone"}}
    assert len(fixed(letter(NESTED), base, other)) == 2


@pytest.mark.parametrize(
    "value", [object(), "\ud800", 10**5000, {1: {2: object()}}], ids=["object", "surrogate", "digits", "nested"]
)
def test_an_event_without_a_json_form_is_refused_with_the_original(value: object) -> None:
    """What cannot be written keeps the text that was read, and the identity it was sent with."""
    result = repaired(letter(FLAT), [{"event": "e", "time": 1, "value": value}])
    assert isinstance(result, RefusedLetter)
    assert result.letter == letter(
        FLAT, stage="map", reason="fix_failed", message=result.letter.message, fate="invalid"
    )
    assert "has no JSON form" in result.letter.message


def test_an_endless_event_is_refused_with_the_original() -> None:
    """A dict that holds itself ends as a dead letter."""
    endless: dict[str, Any] = {"event": "e"}
    endless["properties"] = endless
    result = repaired(letter(FLAT), [endless])
    assert isinstance(result, RefusedLetter)
    assert result.letter.event == FLAT


def test_what_was_sent_keeps_its_identity_through_failures_of_any_stage() -> None:
    """A failed fix, then a failed check, then a replay: still the id and the time of the first request."""
    failed = refuse(letter(NESTED), "why").letter
    strict = EventPreparer(Form(max_age_ms=1000))
    (too_old,) = strict.prepare_dead_letter(failed, NOW_MS).invalid
    assert (too_old.stage, too_old.reason) == ("validate", "time_too_old_for_track")
    assert (too_old.event, too_old.source, too_old.insert_id, too_old.time_ms) == (NESTED, "f@7", "sent-id", SENT_MS)
    assert identities(too_old) == [("sent-id", SENT_MS)]


def test_letters_of_earlier_formats_keep_what_they_know() -> None:
    """A letter of stage import without the time keeps its id; one without either is made one."""
    assert identities(letter(FLAT, time_ms=0)) == [("sent-id", 1_689_984_000_000)]
    ((made, _),) = identities(letter(FLAT, time_ms=0, insert_id=""))
    assert len(made) == 32
