"""Every documented limit, at its exact boundary, as a named rule that tells no value."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core import limits
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer
from beam_mixpanel.core.events.rules import RULES, Judge, Violation
from beam_mixpanel.core.events.shapes import Event

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
SECRET = "s3cret-value"
decode_typed = msgspec.json.Decoder(Event).decode


def event_with(name: Any = "Tested", **properties: Any) -> dict[str, Any]:
    """Give an event that is in form but for what the arguments change."""
    return {"event": name, "properties": {"time": NOW, "$insert_id": "id-1", "distinct_id": "ann"} | properties}


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {"event": event["event"], "properties": {key: v for key, v in event["properties"].items() if key != name}}


def filled(count: int, *, with_id: bool = True) -> dict[str, Any]:
    """Give an event of so many properties."""
    event = event_with() if with_id else without(event_with(), "$insert_id")
    more = count - len(event["properties"])
    return event_with(**{f"p{index}": index for index in range(more)}) if with_id else {
        "event": "Tested",
        "properties": event["properties"] | {f"p{index}": index for index in range(more)},
    }  # fmt: skip


def nested(levels: int, innermost: Any = 1) -> Any:
    """Give a value of so many nested lists and objects."""
    value = innermost
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


def sized(count: int) -> bytes:
    """Give an event in form whose JSON has so many bytes."""
    line = json.dumps(event_with(filler=""), separators=(",", ":"))
    return line.replace('"filler":""', f'"filler":"{"x" * (count - len(line))}"').encode()


def reasons(event: Any, form: Form = Form()) -> list[str]:
    """Give the reasons for which an event is refused, and see that every way of reading it agrees."""
    preparer = EventPreparer(form)
    line = event if isinstance(event, bytes) else json.dumps(event).encode()
    ways = [preparer.prepare_text(line, NOW), preparer.prepare_block(EventBlock(line + b"\n", "", 0), NOW)]
    if not isinstance(event, bytes):
        ways.append(preparer.prepare_object(event, NOW))
    found = [[letter.reason for letter in way.invalid] for way in ways]
    assert all(each == found[0] for each in found)
    assert all(way.read == 1 for way in ways)
    return found[0]


TRACK = Form(max_age_ms=limits.TRACK_MAX_AGE_MS)
COLUMNS = Form(InsertIdStrategy.parse("columns:order"))
LONG = "x" * 256
REFUSED: list[tuple[str, Any, Form]] = [
    ("invalid_json", b'{"event": "Tested", ', Form()),
    ("not_utf8", b'{"event": "Tested\xff", "time": 1700000000}', Form()),
    ("not_an_object", [event_with()], Form()),
    ("event_missing", event_with(""), Form()),
    ("event_missing", event_with(" \t"), Form()),
    ("event_missing", event_with(None), Form()),
    ("event_missing", event_with(7), Form()),
    ("event_missing", {"properties": {"time": NOW}}, Form()),
    ("event_too_long", event_with(LONG), Form()),
    ("properties_not_object", {"event": "Tested", "properties": [1], "time": NOW}, Form()),
    ("properties_not_object", {"event": "Tested", "properties": "", "time": NOW}, Form()),
    ("field_conflict", event_with(plan="a") | {"plan": "b"}, Form()),
    ("time_missing", without(event_with(), "time"), Form()),
    ("time_missing", event_with(time=None), Form()),
    ("time_missing", event_with(time=""), Form()),
    ("time_unreadable", event_with(time="soon"), Form()),
    ("time_unreadable", event_with(time=True), Form()),
    ("time_unreadable", event_with(time=[NOW]), Form()),
    ("time_unreadable", event_with(time=10**19), Form()),
    ("time_before_1971", event_with(time=limits.EARLIEST_TIME_MS - 1), Form()),
    ("time_before_1971", event_with(time="1970-12-31T23:59:59.999Z"), Form()),
    ("time_before_1971", event_with(time=-1), Form()),
    ("time_before_1971", event_with(time=0), Form()),
    ("time_in_future", event_with(time=NOW + HOUR_MS + 1), Form()),
    ("time_in_future", event_with(time=NOW / 1000 + 3601), Form()),
    ("time_too_old_for_track", event_with(time=NOW - limits.TRACK_MAX_AGE_MS - 1), TRACK),
    ("distinct_id_too_long", event_with(distinct_id=LONG), Form()),
    ("distinct_id_too_long", event_with(distinct_id=10**255), Form()),
    ("lone_surrogate", b'{"event":"\\ud800"}', Form()),
    ("id_not_text", event_with(distinct_id=["ann"]), Form()),
    ("id_not_text", event_with(**{"$user_id": {"a": 1}}), Form()),
    ("id_not_text", event_with(**{"$device_id": []}), Form()),
    ("insert_id_column_missing", without(event_with(), "$insert_id"), COLUMNS),
    ("too_many_properties", filled(255), Form()),
    ("too_many_properties", filled(254, with_id=False), Form()),
    ("too_many_keys", event_with(p={f"k{index}": 0 for index in range(255)}), Form()),
    ("too_many_keys", event_with(p=[[{f"k{index}": 0 for index in range(255)}]]), Form()),
    ("too_many_elements", event_with(p=[0] * 255), Form()),
    ("too_many_elements", event_with(p={"k": {"k": [0] * 255}}), Form()),
    ("nested_too_deep", event_with(p=nested(4)), Form()),
    ("nested_too_deep", event_with(p=[1, {"a": [[]]}]), Form()),
    ("nested_too_deep", b"[" * 100_000, Form()),
    ("event_too_large", sized(1_000_000), Form()),
]  # fmt: skip
ACCEPTED: list[tuple[Any, Form]] = [
    (event_with(LONG[:255]), Form()),
    (event_with("x"), Form()),
    (event_with("\U0001f600" * 255), Form()),
    (event_with(plan="a") | {"plan": "a"}, Form()),
    (event_with(time=limits.EARLIEST_TIME_MS), Form()),
    (event_with(time="1971-01-01"), Form()),
    (event_with(time=NOW + HOUR_MS), Form()),
    (event_with(time=NOW - limits.TRACK_MAX_AGE_MS), TRACK),
    (event_with(time=NOW - limits.TRACK_MAX_AGE_MS - 1), Form()),
    (event_with(distinct_id=LONG[:255]), Form()),
    (event_with(distinct_id=""), Form()),
    (without(event_with(), "distinct_id"), Form()),
    (event_with(distinct_id=None), Form()),
    (event_with(**{"$user_id": "null", "$device_id": "0"}), Form()),
    (event_with(order=1), COLUMNS),
    (filled(254), Form()),
    (filled(253, with_id=False), Form()),
    (event_with(p={f"k{index}": 0 for index in range(254)}), Form()),
    (event_with(p=[[{f"k{index}": 0 for index in range(254)}]]), Form()),
    (event_with(p=[0] * 254, q=[0] * 254), Form()),
    (event_with(p=nested(3)), Form()),
    (event_with(p=nested(2, [])), Form()),
    (event_with(p="[[[[{{{{" * 10 + "," * 300), Form()),
    (sized(999_999), Form()),
]


@pytest.mark.parametrize(("rule", "event", "form"), REFUSED, ids=[case[0] for case in REFUSED])
def test_one_beyond_a_limit_is_refused_by_its_rule(rule: str, event: Any, form: Form) -> None:
    """What lies just beyond a limit is refused with the rule's name, in a block, alone and as an object."""
    assert reasons(event, form) == [rule]


@pytest.mark.parametrize(("event", "form"), ACCEPTED)
def test_what_just_meets_a_limit_passes(event: Any, form: Form) -> None:
    """What lies exactly on a limit is sent."""
    assert reasons(event, form) == []


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title], ids=["lower", "upper", "title"])
@pytest.mark.parametrize("placeholder", sorted(limits.PLACEHOLDER_IDS))
def test_placeholders_are_refused_in_any_case(placeholder: str, spell: Any) -> None:
    """Each documented placeholder is refused as a `distinct_id`, however it is written; near ones pass."""
    assert reasons(event_with(distinct_id=spell(placeholder))) == ["distinct_id_placeholder"]
    assert reasons(event_with(distinct_id=spell(placeholder) + "x")) == []


@pytest.mark.parametrize("number", [0, -1, True, False, 0.0, -1.0])
def test_placeholders_are_refused_as_numbers_too(number: Any) -> None:
    """A number or a truth value whose text is a placeholder is one."""
    assert reasons(event_with(distinct_id=number)) == ["distinct_id_placeholder"]


def test_a_value_without_json_form_is_refused() -> None:
    """An object with a value of an unknown type is refused, and its dead letter still says what it was."""
    done = EventPreparer().prepare_object(event_with(p=1j), NOW)
    assert [(letter.reason, b"1j" in letter.event) for letter in done.invalid] == [("unsupported_value", True)]


def test_each_rule_has_a_source() -> None:
    """Each rule names the page that states it. That none is without an example, test_rules.py holds."""
    assert {case[0] for case in REFUSED} <= RULES.keys()
    assert all(rule.source.startswith("https://docs.mixpanel.com/") for rule in RULES.values())


@pytest.mark.parametrize(
    "event",
    [
        event_with(SECRET * 50),
        event_with(time=SECRET),
        event_with(distinct_id=[SECRET]),
        event_with(distinct_id=SECRET * 50),
        event_with(p=nested(4, SECRET)),
        event_with(p=[SECRET] * 255),
        event_with(a=SECRET) | {"a": SECRET + "2"},
        {"event": "Tested", "properties": SECRET},
        {"event": [SECRET], "properties": {"time": SECRET}},
        b'{"event": "%s' % SECRET.encode(),
        b'{"event": "Tested", "properties": {"a": "%s", "n": 1%s}}' % (SECRET.encode(), b"0" * 5000),
        b'"%s"' % SECRET.encode(),
    ],
)
def test_a_message_never_tells_a_value(event: Any) -> None:
    """Reason, field and message name rules and properties, and no value of the event."""
    line = event if isinstance(event, bytes) else json.dumps(event).encode()
    (letter,) = EventPreparer().prepare_text(line, NOW).invalid
    assert SECRET in letter.event.decode()
    assert SECRET not in repr(letter._replace(event=b""))


def test_every_fault_is_told() -> None:
    """An event with several faults names each of them; the first gives the reason."""
    event = {"event": "", "properties": {"time": "soon", "distinct_id": "null", "p": [0] * 255, "q": {"a": nested(3)}}}
    (letter,) = EventPreparer().prepare_object(event, NOW).invalid
    assert (letter.reason, letter.field, letter.stage) == ("event_missing", "event", "validate")
    assert letter.message.split("; ") == [
        "event must be a text that is not blank",
        "properties.p must have at most 254 elements",
        "properties.q.a.k[] nests deeper than 3 levels",
        "properties.time is neither epoch seconds, ms, us or ns nor ISO 8601",
        "properties.distinct_id is a placeholder that Mixpanel refuses",
    ]


def test_retention_is_a_warning() -> None:
    """An event older than the project keeps is sent and counted; one exactly as old is not counted."""
    preparer = EventPreparer(retention_days=10)
    old = NOW - 10 * 86_400_000
    block = b"".join(json.dumps(event_with(time=old - extra)).encode() + b"\n" for extra in (0, 1, 2))
    fast = preparer.prepare_block(EventBlock(block, "", 0), NOW)
    assert (len(fast.events), fast.past_retention) == (3, 2)
    moment = datetime.fromtimestamp(old / 1000, timezone.utc) - timedelta(seconds=1)
    slow = preparer.prepare_object(event_with(time=moment), NOW)
    assert (len(slow.events), slow.past_retention) == (1, 1)


NEAR_LIMIT = st.sampled_from([0, 1, 2, 253, 254, 255, 256])


@st.composite
def near_limit_values(draw: st.DrawFn, depth: int = 0) -> Any:
    """Give values with about as many elements and levels as are allowed."""
    kind = draw(st.sampled_from(["scalar", "list", "dict"] if depth < 5 else ["scalar"]))
    if kind == "scalar":
        return draw(st.sampled_from([1, "[,{", None, 1.5, True]))
    count = draw(NEAR_LIMIT if depth == 0 or draw(st.booleans()) else st.integers(0, 2))
    filler: list[Any] = [draw(near_limit_values(depth + 1)), *([0] * count)][:count]
    return filler if kind == "list" else {f"k{index}": item for index, item in enumerate(filler)}


@given(
    st.dictionaries(st.text(max_size=3), near_limit_values(), max_size=3), NEAR_LIMIT, st.sampled_from([0, 1, 255, 256])
)
def test_the_types_say_what_the_rules_say(values: dict[str, Any], fillers: int, name_chars: int) -> None:
    """The decoder that checks while it parses accepts exactly what `Judge.of_shape` finds nothing wrong with."""
    properties = values | {f"filler{index}": index for index in range(fillers)}
    event = {"event": "n" * name_chars, "properties": properties}
    try:
        decode_typed(json.dumps(event).encode())
        accepted = True
    except msgspec.ValidationError:
        accepted = False
    assert accepted is (Judge().of_shape(Event(**event), len(event["properties"])) == [])


def test_a_violation_of_the_whole_event_says_so() -> None:
    """Without a field, the message is about the event."""
    assert Violation("not_utf8", "").message == "the event is not valid UTF-8"


@pytest.mark.parametrize(
    "properties",
    [
        {"k" * 1_000_000: [[[[]] * 100] * 100]},
        {"p": [[[[]] * 100] * 100] * 10},
        {f"p{number}": [[[[]]]] for number in range(20_000)},
        {"p": {"k" * 1_000_000 + str(number): [[[]]] for number in range(3)}},
    ],
    ids=["long name", "many lists", "many properties", "long keys"],
)
def test_an_event_that_breaks_a_rule_a_million_times_is_told_in_short(properties: dict[str, Any]) -> None:
    """Neither time nor memory nor the dead letter grow with how often a rule is broken, nor with the names."""
    done = EventPreparer().prepare_object({"event": "Tested", "properties": {"time": NOW} | properties}, NOW)
    (letter,) = done.invalid
    assert letter.reason in ("nested_too_deep", "too_many_properties")
    assert len(letter.field) <= 1_000
    assert len(letter.message) <= 5_000


@pytest.mark.parametrize("key", [None, 10**5000, ("a", 1), b"a"], ids=["None", "int", "tuple", "bytes"])
def test_a_time_that_is_an_object_of_objects_is_refused(key: Any) -> None:
    """A time is read as it was given, whatever keys it has."""
    done = EventPreparer().prepare_object({"event": "Tested", "properties": {"time": {key: [[]]}}}, NOW)
    assert [letter.reason for letter in done.invalid] == ["time_unreadable"]
