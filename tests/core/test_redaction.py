"""`--redact`: a named property is in nothing that leaves, whatever way an event takes."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from beam_mixpanel.core.events.dead_letter import DeadLetter, to_json_line
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation
from beam_mixpanel.core.events.redaction import Redaction, check_redacted, withhold
from beam_mixpanel.core.limits import MAX_EVENT_BYTES, TRACK_MAX_AGE_MS
from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping

NOW = 1_700_000_000_000
CANARY = "ca-na-ry-7"
"""The value of what is redacted; it stands in no other place."""
NAMES = ["email", "a b", 'quo"te', "back\\slash", "sl/ash", "Zürich", "\U0001f600", "distinct_id", "$user_id", "token"]
STRATEGIES = ["content", "mixpanel-import", "columns:event,email"]

_decode = msgspec.json.Decoder().decode


def preparer(*names: str, strategy: str = "content", max_age_ms: int | None = None) -> EventPreparer:
    form = Form(InsertIdStrategy.parse(strategy), max_age_ms=max_age_ms, redact=check_redacted(names))
    return EventPreparer(form)


def everything(done: Preparation) -> bytes:
    """Give all that may leave: bodies, originals that are kept, and dead letters as they are written."""
    parts = [*done.events.bodies, *(original for original in done.events.originals if original)]
    parts += [part for letter in done.invalid for part in (to_json_line(letter), letter.event)]
    return b"\n".join(parts)


def escape(key: str, style: int) -> str:
    """Write a key in one of the ways that JSON permits."""
    if style == 0:
        return json.dumps(key, ensure_ascii=False)
    if style == 1:
        return json.dumps(key)
    units = key.encode("utf-16-be").hex()
    escaped = "".join("\\u" + units[place : place + 4] for place in range(0, len(units), 4))
    return f'"{escaped}"' if style == 2 else json.dumps(key, ensure_ascii=False).replace("/", "\\/")


VALUES = st.sampled_from(
    [
        CANARY,
        [CANARY],
        {"nested": [CANARY]},
        {CANARY: 1},
        [[[[[CANARY]]]]],
        [CANARY] * 300,
        "x" * MAX_EVENT_BYTES + CANARY,
    ]
)
OTHERS = st.dictionaries(
    st.sampled_from(["plan", "emai", "emails", "\\", "a\\u0065", "e"]),
    st.sampled_from(
        ["email", '"email":', "\\", "\\u0065mail", 1, 1.5, None, ["email"], {"email": "nested stays"}, "é"]
    ),
    max_size=3,
)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@st.composite
def lines(draw: st.DrawFn, name: str) -> bytes:
    """Write an event with a redacted property, in any shape, good or bad, spelled in any way."""
    fields = draw(OTHERS) | {"time": draw(st.sampled_from([NOW, NOW // 1000, "soon", None, NOW * 2]))}
    fields |= draw(st.sampled_from([{"distinct_id": "ann"}, {"distinct_id": "null"}, {"$user_id": [1]}, {}]))
    fields |= draw(st.sampled_from([{}, {"$insert_id": "id-1"}, {"$insert_id": "a b"}, {"$insert_id": None}]))
    fields.pop(name, None)
    written = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in fields.items()]
    for _ in range(draw(st.integers(1, 2))):
        secret = f"{escape(name, draw(st.integers(0, 3)))}{draw(st.sampled_from(['', ' ']))}:{json.dumps(draw(VALUES))}"
        written.insert(draw(st.integers(0, len(written))), secret)
    joined = ",".join(written)
    event = draw(st.sampled_from(['"event":"e"', '"event_name":"e"', '"event":5', '"event":" "']))
    inside = f'{{{event},"properties":{{{joined}}}}}'
    beside = f'{{{joined},{event},"properties":{{"time":{NOW},"$insert_id":"id-1"}}}}'
    twice = f'{{"properties":{{{joined}}},{event},"properties":{{"time":{NOW},"$insert_id":"id-1"}}}}'
    flat = f"{{{event},{joined}}}"
    odd = f'{{{event},"properties":[{{{joined}}}]}}'
    text = draw(st.sampled_from([inside, inside, beside, twice, flat, odd, f"[{inside}]", json.dumps(inside)]))
    line = text.encode()
    damage = draw(st.sampled_from([None, None, b"\xff", b"}", b"\x00", b"'"]))
    if damage is not None:
        place = draw(st.integers(0, len(line)))
        line = line[:place] + damage + line[place:]
        # Within a text it makes another key, which is not to be redacted.
        assume(not _is_json(line))
    return draw(st.sampled_from([line, line, line, b"\xef\xbb\xbf" + line, line[1:], text.encode("utf-16")]))


NAMED_LINES = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), lines(name)))
GOOD = b'{"event":"e","properties":{"time":1686668880123,"$insert_id":"id-1","distinct_id":"ann"}}'


def with_property(text: bytes) -> bytes:
    return GOOD.replace(b'"ann"', b'"ann",' + text)


@given(NAMED_LINES, st.sampled_from(STRATEGIES), st.booleans())
@example(("email", with_property(b'"\\u0065mail":"ca-na-ry-7"')), "content", True)
@example(("email", with_property(b'"email":"ca-na-ry-7"')), "content", True)
@example(("sl/ash", with_property(b'"sl\\/ash":"ca-na-ry-7"')), "content", True)
@example(("email", b'{"properties":{"email":"ca-na-ry-7"},' + GOOD[1:]), "content", True)
@example(("email", b"{'event': 'e', 'email': 'ca-na-ry-7'}"), "content", False)
@example(("email", b'mail":"ca-na-ry-7"}}'), "content", False)
def test_no_output_holds_a_redacted_property(named: tuple[str, bytes], strategy: str, among_others: bool) -> None:
    """However a line spells, places or breaks it: no body, kept original, dead letter or message holds the value."""
    name, line = named
    line = line.replace(b"\n", b"")
    data = b"\n".join([GOOD, line, GOOD]) if among_others else line
    prepare = preparer(name, strategy=strategy)
    done = prepare.prepare_block(EventBlock(data, "f", 0), NOW)
    assert CANARY.encode() not in everything(done)
    assert done.read == (3 if among_others else 1)
    for letter in done.invalid:
        old = letter._replace(event=line, stage="import", insert_id="id-1", time_ms=NOW)
        for again in (letter, old):
            replayed = prepare.prepare_dead_letter(again, NOW)
            assert CANARY.encode() not in everything(replayed)
            assert replayed.read == 1


class _Row(NamedTuple):
    event: str
    time: Any
    email: str


class _Named(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "event",
    [
        {"event": "e", "properties": {"time": NOW, "email": CANARY}},
        {"event": "e", "email": CANARY, "properties": {"time": NOW}},
        {"event": "e", "time": NOW, "email": CANARY},
        {"event": "e", "time": NOW, _Named("email"): CANARY},
        _Row("e", NOW, CANARY),
        {"event": "e", "properties": _Row("e", NOW, CANARY)},
        {"event": "e", "properties": {"email": CANARY}},
        {"event": "e", "time": "soon", "email": CANARY},
        {"event": "e", "time": object(), "email": CANARY},
        {"event": "e", "time": NOW, "other": object(), "email": CANARY},
        {"event": "e", "time": datetime(2023, 1, 1), "email": object(), "x": Decimal("NaN")},
        {"event": "e", "time": NOW, "email": CANARY, "\ud800": 1},
        {"event": "e", "time": NOW, "email": CANARY, object(): 1},
        {"event": "e", "properties": [{"email": CANARY}]},
        {"event": "e", "properties": f"email={CANARY}"},
        _Row("", None, CANARY),
        [{"email": CANARY}],
        CANARY.encode,
        {"event": "e", "time": NOW, "email": json.loads('{"a":' * 900 + f'"{CANARY}"' + "}" * 900)},
    ],
    ids=range(19),
)
def test_objects_are_redacted(event: Any) -> None:
    """Dicts in both shapes, Rows and what is no event at all: neither body nor dead letter holds the value."""
    done = preparer("email").prepare_object(event, NOW)
    assert CANARY.encode() not in everything(done)
    assert done.read == 1


def test_everything_else_is_sent_as_it_was() -> None:
    """Other properties stay, also those of the same name deeper inside and values that look like the name."""
    line = with_property(b'"email":"x","n":12345678901234567890123,"note":"email","deep":{"email":"y"}')
    (event,) = preparer("email").prepare_text(line, NOW).events
    expected = json.loads(line)
    del expected["properties"]["email"]
    assert json.loads(event.body) == expected
    assert event.original is None


def test_lines_without_the_name_pass_byte_for_byte() -> None:
    """A block that cannot hold the property is sent as it stands, as without `--redact`."""
    line = with_property(b'"emails":"an email","path":"C:\\\\temp"')
    done = preparer("email").prepare_block(EventBlock(line + b"\n", "f", 7), NOW)
    assert [tuple(event) for event in done.events] == [(line, None, "f", 7)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("value", [b'"a@b"', b"7", b"null", b'["x"]'])
@pytest.mark.parametrize("name", ["email", "distinct_id"])
def test_the_insert_id_is_made_from_the_whole_event(strategy: str, value: bytes, name: str) -> None:
    """The id is what it would be without `--redact`, so that two events do not become one and a re-run doubles none."""
    line = b'{"event":"e","time":1686668880,"%s":%s,"email":"v"}' % (name.encode(), value)
    plain = EventPreparer(Form(InsertIdStrategy.parse(strategy))).prepare_text(line, NOW)
    redacted = preparer(name, "email", strategy=strategy).prepare_text(line, NOW)
    ids = [[json.loads(body)["properties"]["$insert_id"] for body in done.events.bodies] for done in (plain, redacted)]
    assert ids[0] == ids[1]
    assert len(ids[0]) + len(plain.invalid) == len(ids[1]) + len(redacted.invalid) == 1


def test_limits_are_those_of_what_is_sent() -> None:
    """An event that is too large or too deep only by a redacted property is good."""
    for value in (json.dumps("x" * MAX_EVENT_BYTES), "[" * 50 + "]" * 50, json.dumps([0] * 300)):
        line = b'{"event":"e","time":1686668880,"email":%s}' % value.encode()
        assert preparer().prepare_text(line, NOW).invalid
        assert len(preparer("email").prepare_text(line, NOW).events) == 1


def test_dead_letters_keep_the_rest_and_stay_apart() -> None:
    """Two bad events that differ in the redacted property keep all else as it was written, under ids of their own."""
    bad = [b'{"event":"e","properties":{"time":1686668880123,"n":1.10,"email":"%d"}}' % n for n in (1, 2)]
    track = preparer("email", max_age_ms=TRACK_MAX_AGE_MS)
    letters = [track.prepare_text(line, NOW).invalid[0] for line in bad]
    for letter in letters:
        assert letter.reason == "time_too_old_for_track"
        assert letter.event.startswith(b'{"event":"e","properties":{"time":1686668880123,"n":1.10,"$insert_id":"')
    replayed = [preparer("email").prepare_dead_letter(letter, NOW).events[0].body for letter in letters]
    assert len({json.loads(body)["properties"]["$insert_id"] for body in replayed}) == 2
    objects = [track.prepare_object(json.loads(line), NOW).invalid[0].event for line in bad]
    assert len({json.loads(text)["properties"]["$insert_id"] for text in objects}) == 2


def test_an_own_insert_id_is_kept_in_dead_letters() -> None:
    """An event that brings its id keeps it in its dead letter."""
    line = b'{"event":"e","$insert_id":"mine","email":"x"}'
    assert preparer("email").prepare_text(line, NOW).invalid[0].event == b'{"event":"e","$insert_id":"mine"}'
    (letter,) = preparer("email").prepare_object(json.loads(line), NOW).invalid
    assert letter.event == b'{"event":"e","$insert_id":"mine"}'


def test_what_cannot_be_read_is_withheld_and_still_found() -> None:
    """A line that is no JSON object keeps its place, length and SHA-256; replaying the letter changes nothing."""
    line = b'{"email":"ca-na-ry-7"'
    done = preparer("email").prepare_block(EventBlock(GOOD + b"\n" + line, "f", 0), NOW)
    (letter,) = done.invalid
    assert letter.event.decode() == f'"withheld: {len(line)} bytes, SHA-256 {hashlib.sha256(line).hexdigest()}"'
    assert (letter.source, letter.reason) == (f"f@{len(GOOD) + 1}", "invalid_json")
    (again,) = preparer("email").prepare_dead_letter(letter, NOW).invalid
    assert again.event == letter.event == withhold(letter.event)


def test_without_redaction_unreadable_lines_are_kept_whole() -> None:
    """Nothing is withheld unless something is to be redacted."""
    assert EventPreparer().prepare_text(b"{", NOW).invalid[0].event == b"{"


def test_a_replayed_letter_keeps_the_identity_it_was_sent_with() -> None:
    """A letter of an event that was sent before keeps id and time, and loses the property."""
    letter = DeadLetter(with_property(b'"email":"x"'), "import", "http_503", insert_id="sent-as", time_ms=NOW - 5)
    (event,) = preparer("email").prepare_dead_letter(letter, NOW).events
    properties = json.loads(event.body)["properties"]
    assert properties == {"$insert_id": "sent-as", "time": NOW - 5, "distinct_id": "ann"}


ROW = {"event": "e", "time": NOW // 1000, "user_id": "ann", "mail": CANARY, "note": "kept", "more": "{}"}
MAPPINGS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mail", {}, {}),
    ("email", {"rename": {"mail": "email"}}, {}),
    ("mail", {"exclude": ["mail"]}, {}),
    ("email", {"spread_columns": ["more"]}, {"mail": "", "more": json.dumps({"email": CANARY})}),
    ("email", {"spread_columns": ["more"]}, {"mail": "", "more": f"{{{CANARY}"}),
    ("more.email", {"flatten": True, "json_columns": ["more"]}, {"mail": "", "more": json.dumps({"email": CANARY})}),
    ("distinct_id", {}, {"mail": "", "user_id": CANARY}),
    ("distinct_id", {"distinct_id_column": "mail"}, {}),
    ("distinct_id", {"time_column": "nowhere"}, {"user_id": CANARY}),
    ("mail", {"time_column": "nowhere"}, {}),
    ("mail", {"insert_id_columns": ["mail", "event"]}, {}),
    ("mail", {"insert_id_columns": ["note", "none"]}, {"none": None}),
]


@pytest.mark.parametrize(("name", "mapping", "changes"), MAPPINGS, ids=range(len(MAPPINGS)))
@pytest.mark.parametrize("time", [NOW // 1000, "soon"], ids=["good", "bad"])
def test_rows_are_redacted(name: str, mapping: dict[str, Any], changes: dict[str, Any], time: Any) -> None:
    """Rows with a mapping, one by one and by column: what becomes a redacted property is neither sent nor kept."""
    row = ROW | changes | {"time": str(time)}
    prepare = RowPreparer(EventMapping.from_dict(mapping), Form(redact=check_redacted([name])))
    one = prepare.prepare_object(row, NOW)
    batch = prepare.prepare_batch(RowBatch(pa.RecordBatch.from_pylist([row, row]), "f", 0), NOW)
    for done, rows in ((one, 1), (batch, 2)):
        assert done.read == rows
        assert CANARY.encode() not in everything(done)
    assert "kept" in everything(one).decode() or "withheld" in everything(one).decode()


def test_batches_without_the_property_are_prepared_by_column() -> None:
    """Rows that have no redacted property give what they give without `--redact`."""
    batch = RowBatch(pa.RecordBatch.from_pylist([ROW]), "f", 0)
    plain, redacted = (RowPreparer(EventMapping(), Form(redact=names)) for names in (frozenset(), frozenset(["other"])))
    assert list(plain.prepare_batch(batch, NOW).events) == list(redacted.prepare_batch(batch, NOW).events)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("time", "refuses an event without"),
        ("$insert_id", "appear twice"),
        ("event", "name"),
        ("event_name", "name"),
        ("properties", "holds all"),
        ("", "names of properties"),
        ("\ud800", "name properties"),
        (7, "names of properties"),
    ],
)
def test_what_an_event_needs_cannot_be_redacted(name: Any, why: str) -> None:
    """The error says why."""
    with pytest.raises((TypeError, ValueError), match=why):
        check_redacted([name])
    with pytest.raises(TypeError, match="list"):
        check_redacted("email")


@given(st.sampled_from(NAMES), st.integers(0, 3), st.text(max_size=9))
def test_a_key_is_found_however_it_is_written(name: str, style: int, value: str) -> None:
    """`may_concern` says no only if the parsed text has no such key."""
    text = f"{{{escape(name, style)}:{json.dumps(value)}}}".encode()
    assert _decode(text) == {name: value}
    assert Redaction(frozenset([name])).may_concern(text)
    assert Redaction(frozenset([*NAMES])).may_concern(text)


@pytest.mark.parametrize("head", [b'{"event":"e","properties":{"email":"' + b"a@b " * 9, b'{"email":"a@b"}   '])
def test_the_head_of_a_line_that_is_too_long_is_redacted(head: bytes) -> None:
    """Neither the dead letter nor a replay of one that was kept without redaction holds the property."""
    block = EventBlock(head, "f", 0, 9_000_000, "ab" * 32)
    kept = EventPreparer().prepare_block(block, NOW).invalid[0]
    for done in (preparer("email").prepare_block(block, NOW), preparer("email").prepare_dead_letter(kept, NOW)):
        (letter,) = done.invalid
        assert letter.reason == "line_too_long"
        assert "9000000 bytes" in letter.message
        assert b"a@b" not in to_json_line(letter)
