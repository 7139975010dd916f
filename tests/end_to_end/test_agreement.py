"""Our verdict and the emulator's, two independent readings of Mixpanel's pages, agree but for what the docs list."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_mixpanel import ProjectToken
from beam_mixpanel.client.client import MixpanelClient
from beam_mixpanel.client.results import BatchResult
from beam_mixpanel.core import limits
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation
from beam_mixpanel.core.events.rules import RULES
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.emulator.rules import Context
from beam_mixpanel.emulator.validation import IdentityEventError, MalformedJSONError, check_import, check_track

DOCS = Path(__file__).parents[2] / "docs" / "validation.md"
NOW = int(time.time() * 1000)
HOUR = 3_600_000
DAY = 24 * HOUR
PREPARER = EventPreparer()
IN_TEXT: frozenset[str] = frozenset(RULES) - {"unsupported_value", "line_too_long", "time_too_old_for_track"}


def event(name: Any = "e", **properties: Any) -> dict[str, Any]:
    """Give an event in form but for what the arguments change."""
    return {"event": name, "properties": {"time": NOW, "$insert_id": "id-1", "distinct_id": "ann"} | properties}


def line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def with_raw(name: str, text: bytes) -> bytes:
    """Give an event in form with one property written as told."""
    return line(event(**{name: "@"})).replace(b'"@"', text)


def filled(count: int) -> bytes:
    return line(event(**{f"p{index}": 0 for index in range(count - 3)}))


def keyed(count: int) -> dict[str, int]:
    return {f"k{index}": index for index in range(count)}


def nested(levels: int) -> Any:
    return 1 if levels == 0 else [nested(levels - 1)] if levels % 2 else {"k": nested(levels - 1)}


def sized(count: int) -> bytes:
    return line(event(filler="x" * (count - len(line(event(filler=""))))))


def prepare(text: bytes, preparer: EventPreparer = PREPARER) -> Preparation:
    return preparer.prepare_block(EventBlock(text, "f", 0), NOW)


def refused_by_us(text: bytes, preparer: EventPreparer = PREPARER) -> str:
    """Give the rule for which we refuse a line; empty if we pass it."""
    done = prepare(text, preparer)
    assert done.read == 1
    return done.invalid[0].reason if done.invalid else ""


def refused_by_emulator(text: bytes) -> str:
    """Give the words with which the emulator refuses a line; empty if it takes it."""
    try:
        checked = check_import([text], Context(NOW))
    except MalformedJSONError as error:
        return str(error)
    return checked.refusals[0].message if checked.refusals else ""


def documented() -> dict[str, tuple[str, str]]:
    """Read the table of rules: what the emulator does with the original, and the source."""
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([^|]+) \| (\S+) \|$", DOCS.read_text(), re.MULTILINE)
    return {rule: (verdict, source) for rule, verdict, source in rows}


REFUSED = {
    "invalid_json": [b'{"event":"e"', with_raw("a", b"NaN"), with_raw("a", b"Infinity"), with_raw("a", b"01")],
    "not_utf8": [with_raw("a", b'"\xff"'), with_raw("a", b'"\xed\xa0\x80"'), with_raw("a", b'{"\xc0\x80":1}')],
    "lone_surrogate": [with_raw("a", rb'"\ud800"'), with_raw("a", rb'["\udc00\ud800"]')],
    "not_an_object": [b"[]", b"null", b"7", b'"e"'],
    "event_missing": [line(event(name)) for name in (None, "", " \t", "\u2003", 7, {})],
    "event_too_long": [line(event("n" * 256)), line(event("é" * 256))],
    "properties_not_object": [line({"event": "e", "properties": given}) for given in ([], "a", 7, False)],
    "field_conflict": [line(event(plan=1) | {"plan": 2})],
    "time_missing": [line(event(time=given)) for given in (None, "")] + [line({"event": "e", "properties": {}})],
    "time_unreadable": [line(event(time=given)) for given in ("soon", True, [], {}, 10**19, "2023-02-30")],
    "time_before_1971": [line(event(time=given)) for given in (0, -1, 31_535_999, 31_535_999_999, -NOW, "1970-12-31")],
    "time_in_future": [line(event(time=given)) for given in (NOW + HOUR + 1, NOW // 1000 + 3602, 9_999_999_999)],
    "distinct_id_placeholder": [
        line(event(distinct_id=given))
        for text in sorted(limits.PLACEHOLDER_IDS)
        for given in (text, text.upper())
    ] + [line(event(distinct_id=given)) for given in (0, -1, True, False)],
    "distinct_id_too_long": [line(event(distinct_id="x" * 256))],
    "id_inexact": [with_raw("distinct_id", text) for text in (b"1e5000", b"1e-99999999", b"1e99999999999999999999")],
    "id_not_text": [line(event(distinct_id=given)) for given in ([], [1], {}, {"a": 1})],
    "insert_id_column_missing": [line({"event": "e", "properties": {"time": NOW}})],
    "too_many_properties": [filled(255), filled(256)],
    "too_many_keys": [line(event(a=keyed(255))), line(event(a=[{"b": keyed(255)}]))],
    "too_many_elements": [line(event(a=[0] * 255)), line(event(a={"b": [["x"] * 255]}))],
    "nested_too_deep": [line(event(a=nested(levels))) for levels in (4, 5, 50)],
    "event_too_large": [sized(limits.MAX_EVENT_BYTES + 1)],
}  # fmt: skip
"""For each rule lines that break it alone."""

ALLOWED = {
    "a name of 255": line(event("n" * 255)),
    "a name of 255 letters in 510 bytes": line(event("é" * 255)),
    "now": line(event(time=NOW)),
    "now in seconds": line(event(time=NOW // 1000)),
    "one hour ahead": line(event(time=NOW + HOUR)),
    "1971 in milliseconds": line(event(time=limits.EARLIEST_TIME_MS)),
    "1971 in seconds": line(event(time=limits.EARLIEST_TIME_MS // 1000)),
    "an empty distinct_id": line(event(distinct_id="")),
    "a distinct_id of 255": line(event(distinct_id="x" * 255)),
    "an insert id of 36": line(event(**{"$insert_id": "x" * 36})),
    "254 properties": filled(254),
    "254 keys": line(event(a=keyed(254))),
    "254 elements": line(event(a=[0] * 254)),
    "3 levels": line(event(a=nested(3))),
    "999,999 bytes": sized(limits.MAX_EVENT_BYTES),
    "a number past all doubles": with_raw("a", b"1e400"),
    "an integer of 4300 digits": with_raw("a", b"9" * 4300),
    "a repeated key": with_raw("a", b'1,"a":2'),
    "NUL": line(event(a="\0")),
}
"""What stands just inside a limit, or is odd but permitted: in form, so both judges take it as it stands."""

REPAIRED = {
    "microseconds": line(event(time=NOW * 1000)),
    "nanoseconds": line(event(time=NOW * 10**6)),
    "a fraction": line(event(time=NOW / 1000)),
    "ISO 8601": line(event(time="2023-11-14T22:13:20Z")),
    "digits": line(event(time=str(NOW))),
    "no insert id": line({"event": "e", "properties": {"time": NOW}}),
    "insert id of 37": line(event(**{"$insert_id": "x" * 37})),
    "insert id with other characters": line(event(**{"$insert_id": "a b"})),
    "insert id beyond ASCII": line(event(**{"$insert_id": "\u0661"})),
    "empty insert id": line(event(**{"$insert_id": ""})),
    "placeholder as insert id": line(event(**{"$insert_id": "null"})),
    "number as insert id": line(event(**{"$insert_id": 7})),
    "list as insert id": line(event(**{"$insert_id": [1]})),
    "number as id": line(event(distinct_id=7)),
    "null as id": line(event(distinct_id=None)),
    "flat": line({"event": "e", "time": NOW, "distinct_id": "ann"}),
}
"""What the emulator refuses as it stands, and we bring into form."""


def test_the_docs_list_every_rule_with_its_source() -> None:
    """docs/validation.md has one row for each rule of `RULES`, with the rule's own source."""
    assert {rule: source for rule, (_, source) in documented().items()} == {
        rule: each.source for rule, each in RULES.items()
    }


def test_every_rule_has_lines_that_break_it() -> None:
    """The examples below cover each rule that a line of text can break."""
    assert set(REFUSED) == IN_TEXT


@pytest.mark.parametrize("rule", sorted(IN_TEXT))
def test_what_we_refuse_the_emulator_refuses(rule: str) -> None:
    """A line that breaks a rule is refused by us for that rule, and by the emulator as docs/validation.md says."""
    with_columns = EventPreparer(Form(InsertIdStrategy.parse("columns:plan")))
    verdict, _ = documented()[rule]
    assert verdict.startswith(("refuses", "takes"))
    for text in REFUSED[rule]:
        preparer = with_columns if rule == "insert_id_column_missing" else PREPARER
        assert refused_by_us(text, preparer) == rule, text[:300]
        assert bool(refused_by_emulator(text)) == verdict.startswith("refuses"), text[:300]


@pytest.mark.parametrize("key", ["$user_id", "$device_id"])
@pytest.mark.parametrize(("rule", "value"), [("id_inexact", b"1e5000"), ("id_not_text", b"[1]")])
def test_other_ids_are_held_to_more_than_documented(key: str, rule: str, value: bytes) -> None:
    """`$user_id` and `$device_id` that cannot be text are refused by us and taken by the emulator, as the docs say."""
    assert refused_by_us(with_raw(key, value)) == rule
    assert refused_by_emulator(with_raw(key, value)) == ""
    assert "takes as the others" in documented()[rule][0]


def test_endless_integers_are_refused_as_no_json() -> None:
    """An integer of more than 4300 digits is refused by us and taken by the emulator, as the docs say."""
    text = with_raw("a", b"9" * 4301)
    assert refused_by_us(text) == "invalid_json"
    assert refused_by_emulator(text) == ""
    assert "4300 digits" in documented()["invalid_json"][0]


def test_what_stands_on_a_line_too_long_the_emulator_refuses() -> None:
    """A line that the reader cuts is refused by us unread, and the emulator would refuse so large an event."""
    head = EventBlock(b'{"event":"e"', "f", 0, 9_000_000, "00" * 32)
    assert PREPARER.prepare_block(head, NOW).invalid[0].reason == "line_too_long"
    assert refused_by_emulator(sized(9_000_000))
    assert documented()["line_too_long"][0].startswith("refuses")


def test_too_old_for_track_is_what_the_emulator_drops() -> None:
    """What we refuse as too old for /track, the emulator drops silently; what we pass, it keeps."""
    track = EventPreparer(Form(max_age_ms=limits.TRACK_MAX_AGE_MS))
    at, past = (line(event(time=NOW - 5 * DAY - late, token="t")) for late in (0, 1))
    assert refused_by_us(past, track) == "time_too_old_for_track"
    assert sum(check_track([past], Context(NOW)).dropped.values()) == 1
    assert refused_by_us(at, track) == ""
    assert len(check_track([at], Context(NOW)).events) == 1
    assert documented()["time_too_old_for_track"][0].startswith("drops")


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_both_take_what_stands_inside_a_limit(name: str) -> None:
    """An event exactly at a limit is passed, and the emulator takes the original and what we make of it."""
    done = prepare(ALLOWED[name])
    assert not done.invalid
    assert refused_by_emulator(ALLOWED[name]) == refused_by_emulator(done.events.bodies[0]) == ""


@pytest.mark.parametrize("name", sorted(REPAIRED))
def test_what_we_repair_the_emulator_refuses_before_and_takes_after(name: str) -> None:
    """A repair is needed, and enough."""
    done = prepare(REPAIRED[name])
    assert not done.invalid
    assert refused_by_emulator(REPAIRED[name])
    assert refused_by_emulator(done.events.bodies[0]) == ""


@pytest.mark.parametrize("name", ["$identify", "$create_alias", "$merge"])
def test_identity_events_depend_on_the_project(name: str) -> None:
    """We pass them; a project with Simplified ID Merge refuses the batch, one with Original ID Merge takes them."""
    bodies = prepare(line(event(name))).events.bodies
    with pytest.raises(IdentityEventError):
        check_import(bodies, Context(NOW))
    assert len(check_import(bodies, Context(NOW, original_id_merge=True)).events) == 1


TIMES = (
    st.sampled_from([NOW, NOW + HOUR, limits.EARLIEST_TIME_MS, 10**10, 10**13, 10**16, 10**19, 0])
    .flatmap(lambda bound: st.integers(-2, 2).map(lambda step: bound + step))
    .flatmap(lambda moment: st.sampled_from([moment, moment // 1000, moment / 1000, str(moment), -moment]))
) | st.sampled_from([None, "", "soon", True, "2023-11-14", "1970-12-31T23:59:59.999Z", 1e300, [NOW]])
PLACEHOLDERS = st.sampled_from(sorted(limits.PLACEHOLDER_IDS)).flatmap(
    lambda text: st.sampled_from([text, text.upper(), text.title(), f" {text}"])
)
LENGTHS = st.sampled_from([0, 1, 35, 36, 37, 127, 128, 254, 255, 256])
TEXTS = st.builds(lambda letter, count: letter * count, st.sampled_from("xé\u2003-_\U0001f600"), LENGTHS)
IDS = PLACEHOLDERS | TEXTS | st.sampled_from([7, 7.0, 0, -1, 2**53, 2.0**53, 2**70, True, None, [], {}, [1]])
COUNTS = st.integers(252, 257)
DEEP = st.integers(1, 6).flatmap(
    lambda levels: st.sampled_from([nested(levels), [nested(levels), 0], {"a": nested(levels)}, [[]] * levels])
)
VALUES = (
    DEEP
    | TEXTS
    | COUNTS.flatmap(lambda count: st.sampled_from([[0] * count, keyed(count), {"a": {"b": [0] * count}}]))
    | st.sampled_from([2**53 + 1, 2**64, -(2**63), 10**400, 1e308, -0.0, None, True, "\0", "\ud800", "\u2028", "\x7f"])
)  # fmt: skip
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "time": TIMES,
        "$insert_id": IDS,
        "distinct_id": IDS,
        "$user_id": IDS,
        "$device_id": IDS,
        "a": VALUES,
        "b": VALUES,
    },
)
RAW = st.sampled_from([b"@", b"NaN", b"-Infinity", b"1e400", b'1,"@":2', b'"\xff"', rb'"\ud800"', b"9" * 4300, b"{}}"])


@st.composite
def boundary_lines(draw: st.DrawFn) -> bytes:
    """Give events that lie at one or more of the limits, on either side."""
    given = event(draw(st.just("e") | TEXTS), **draw(CHANGES))
    if draw(st.integers(0, 5)) == 0:
        given["properties"] |= keyed(draw(COUNTS) - len(given["properties"]))
    for key in draw(st.lists(st.sampled_from(["time", "$insert_id", "distinct_id"]), max_size=1)):
        del given["properties"][key]
    if draw(st.integers(0, 9)) == 0:
        text = line(given | {"properties": given["properties"] | {"@": "@@"}})
        return text.replace(b'"@@"', draw(RAW))
    return line(given)


LISTED_RULES = {rule for rule, (verdict, _) in documented().items() if not verdict.startswith("refuses")}


@settings(max_examples=400, deadline=None)
@given(boundary_lines())
def test_the_judges_agree_at_every_boundary(text: bytes) -> None:
    """What we pass the emulator takes; what we refuse it refuses, unless docs/validation.md lists the difference."""
    done = prepare(text)
    for body in done.events.bodies:
        assert refused_by_emulator(body) == ""
    for letter in done.invalid:
        listed = letter.reason in LISTED_RULES or letter.field in ("properties.$user_id", "properties.$device_id")
        assert refused_by_emulator(text) or listed, letter.reason


@pytest.fixture
def import_batch(emulator: Emulator, token_reference: str) -> Callable[[list[bytes]], BatchResult]:
    """Send a batch through the real client to the real emulator."""
    return lambda bodies: MixpanelClient(ProjectToken.from_reference(token_reference), host=emulator.url).import_batch(
        bodies
    )


def test_what_we_pass_is_imported_over_http(import_batch: Callable[[list[bytes]], BatchResult]) -> None:
    """Every event at the inner side of a limit, and every repaired one, is confirmed by the server in one request."""
    passed = [body for text in (*ALLOWED.values(), *REPAIRED.values()) for body in prepare(text).events.bodies]
    assert len(passed) == len(ALLOWED) + len(REPAIRED)
    result = import_batch(passed)
    assert (result.imported, result.failures, len(result.receipts)) == (len(passed), [], 1)


@pytest.mark.parametrize("rule", sorted(IN_TEXT))
def test_what_we_refuse_is_rejected_over_http(rule: str, import_batch: Callable[[list[bytes]], BatchResult]) -> None:
    """The original of what we refuse is rejected when it is sent all the same, as docs/validation.md says."""
    verdict, _ = documented()[rule]
    for text in REFUSED[rule][-4:] if rule != "time_in_future" else [line(event(time=NOW + DAY))]:
        result = import_batch([text])
        assert result.imported == verdict.startswith("takes"), text[:300]
        assert len(result.failures) == verdict.startswith("refuses"), text[:300]
