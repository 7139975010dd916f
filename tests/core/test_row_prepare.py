"""Rows on their way to events: every row has one fate, and what cannot be sent is kept whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from beam_mixpanel.core import user_function
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation
from beam_mixpanel.core.rows.batches import RowBatch, RowList
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.user_function import Failure
from beam_mixpanel.errors import UserFunctionError

NOW_MS = 1_720_000_000_000
TIME = 1_700_000_000_000
SECRET = "hunter2"


class Row(NamedTuple):
    name: str
    at: int
    n: int


def explode(row: dict[str, Any]) -> Any:
    """Make of a row what its `do` says."""
    event = {"event": row.get("name", "A"), "time": TIME, "n": row.get("n")}
    row["n"] = "changed"
    results: dict[str, Any] = {
        "skip": None,
        "none": [],
        "two": [event, {**event, "n": 2}],
        "yield": (made for made in (event, {"event": "B", "properties": {"time": TIME}})),
        "late": _fails_late(event),
        "text": json.dumps(event),
        "mixed": [event, 5],
        "bad": [event, {"event": "", "time": TIME}],
        "": event,
    }
    if row.get("do") == "fail":
        raise KeyError(SECRET)
    return results[row.get("do", "")]


def _fails_late(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield event
    raise ValueError(SECRET)


def prepare(*rows: Any, **mapping: Any) -> Preparation:
    preparer = RowPreparer(EventMapping(**mapping))
    return preparer.prepare_rows(RowList(list(rows), "table", 10), NOW_MS)


def sent(done: Preparation) -> list[Any]:
    return [json.loads(event.body) for event in done.events]


@pytest.mark.parametrize(
    ("do", "names", "filtered"),
    [
        ("", [("A", 1)], 0),
        ("skip", [], 1),
        ("none", [], 1),
        ("two", [("A", 1), ("A", 2)], 0),
        ("yield", [("A", 1), ("B", None)], 0),
    ],
)
def test_a_function_makes_events(do: str, names: list[Any], filtered: int) -> None:
    """One, several, or none; a row that it skips counts as filtered."""
    done = prepare({"do": do, "n": 1}, map=explode)
    assert [(event["event"], event["properties"].get("n")) for event in sent(done)] == names
    assert (done.filtered, done.invalid, done.read) == (filtered, [], len(names) + filtered)


@pytest.mark.parametrize(
    ("do", "stage", "reason"),
    [
        ("fail", "map", "map_failed"),
        ("late", "map", "map_failed"),
        ("text", "map", "map_gave_no_event"),
        ("mixed", "map", "map_gave_no_event"),
        ("bad", "validate", "event_missing"),
    ],
)
def test_what_a_function_does_wrong_costs_its_row_alone(do: str, stage: str, reason: str) -> None:
    """The row is kept as it was read, the message names type and line but no value, the next row is fine."""
    row = {"do": do, "n": 1}
    done = prepare(row, {"n": 3}, map=explode)
    (letter,) = done.invalid
    assert (letter.stage, letter.reason, letter.source) == (stage, reason, "table#10")
    assert json.loads(letter.event) == {"do": do, "n": 1}
    assert SECRET not in repr(letter)
    assert sent(done)[-1]["properties"]["n"] == 3


def test_a_module_that_raises_and_a_function_that_exits_are_told_apart_from_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the user's module names its type; a function that ends the program fails on its value alone."""
    (tmp_path / "broken_functions.py").write_text("x = 1 /\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserFunctionError, match="it raised SyntaxError"):
        user_function.load("broken_functions:f")
    failure = user_function.call(sys.exit, 3)
    assert isinstance(failure, Failure)
    assert failure.message == "the function raised SystemExit"


def test_messages_of_functions_name_the_line() -> None:
    """The line that raised can be found."""
    failure = user_function.call(explode, {"do": "fail"})
    assert isinstance(failure, Failure)
    assert failure.message.startswith("the function raised KeyError in explode, line ")


def test_filters_and_tags_apply_to_what_a_function_makes() -> None:
    """Names, times and tags serve beside a function, in either shape of event."""
    rows = [{"name": name} for name in "AB"]
    assert [event["event"] for event in sent(prepare(*rows, map=explode, skip_events=("B",)))] == ["A"]
    assert prepare(*rows, map=explode, from_time=TIME + 1).filtered == 2
    done = prepare({"do": "yield", "n": 1}, map=explode, tags={"t": 1})
    assert [event["properties"]["t"] for event in sent(done)] == [1, 1]
    (letter,) = prepare({"n": 1}, map=explode, tags={"n": 2}).invalid
    assert letter.reason == "property_twice"


@pytest.mark.parametrize(
    ("reference", "cure"),
    [
        ("no_such_module:f", "PYTHONPATH"), ("json:no_such", "has no no_such"), ("json:__doc__", "is no function"),
        ("json", "give module:function"), (":f", "give module:function"), (".json:loads", "it raised TypeError"),
    ],
)  # fmt: skip
def test_a_function_that_is_not_there_is_told_at_once(reference: str, cure: str) -> None:
    """Before a row is read, with what to do."""
    with pytest.raises(UserFunctionError, match=cure):
        user_function.load(reference)
    assert user_function.load("json:decoder.JSONDecoder").__name__ == "JSONDecoder"


def test_the_function_of_a_mapping_is_looked_for_before_a_row_is_read() -> None:
    """A preparer whose mapping names no function cannot be made."""
    with pytest.raises(UserFunctionError, match="has no no_such"):
        RowPreparer(EventMapping(map="json:no_such"))


def test_lines_are_rows_and_kept_as_they_were() -> None:
    """A line that cannot be mapped keeps its bytes and its place; one that is no JSON object, too."""
    lines = [b'{"name":"A", "at":%d}' % TIME, b"", b'{"name":"A",  "at":"soon"}', b"[1]", b'{"name":"B","at":null}']
    done = RowPreparer(EventMapping(event_column="name", time_column="at", time_unit="ms")).prepare_block(
        EventBlock(b"\r\n".join(lines) + b"\n", "f", 100), NOW_MS
    )
    assert [event.origin for event in done.events] == ["f@100"]
    assert [(letter.stage, letter.reason, letter.source) for letter in done.invalid] == [
        ("map", "time_unreadable", f"f@{100 + len(lines[0]) + 4}"),
        ("parse", "not_an_object", f"f@{100 + len(lines[0]) + len(lines[2]) + 6}"),
        ("validate", "time_missing", f"f@{100 + len(lines[0]) + len(lines[2]) + 11}"),
    ]
    assert [letter.event.strip() for letter in done.invalid] == lines[2:]
    assert done.read == 4


@pytest.mark.parametrize("row", [{"name": "A", "at": TIME, "n": 1}, Row("A", TIME, 1)])
def test_rows_of_python_are_rows(row: Any) -> None:
    """Dicts and NamedTuples are mapped alike; what has no fields is invalid."""
    preparer = RowPreparer(EventMapping(event_column="name", time_column="at"))
    assert sent(preparer.prepare_object(row, NOW_MS))[0]["properties"]["n"] == 1
    assert [letter.reason for letter in preparer.prepare_object(5, NOW_MS).invalid] == ["not_an_object"]


def test_a_row_of_other_keys_is_mapped_by_its_own() -> None:
    """Rows may differ in their columns; a row where two give one property is kept, and the job goes on."""
    done = prepare(
        {"name": "A", "at": TIME, "a": 1},
        {"at": TIME, "name": "B", "b": 2},
        {"name": "C", "at": TIME, "a": 1, "X": 2},
        {"name": "D", "at": TIME, 5: 1},
        event_column="name",
        time_column="at",
        rename={"a": "X"},
    )
    assert [(event["event"], event["properties"].get("X")) for event in sent(done)] == [("A", 1), ("B", None)]
    assert [(letter.stage, letter.reason, letter.source) for letter in done.invalid] == [
        ("map", "mapping_does_not_fit", "table#12"),
        ("map", "mapping_does_not_fit", "table#13"),
    ]


def test_rows_with_keys_without_number_need_no_memory() -> None:
    """Plans are kept for a thousand sets of columns only."""
    preparer = RowPreparer(EventMapping(event="A", time_column="t"))
    for number in range(2500):
        assert preparer.prepare_object({"t": TIME, f"k{number}": 1}, NOW_MS).read == 1
    assert len(preparer._plans) <= 1000


def test_a_kept_row_gives_the_same_event_again() -> None:
    """The time's zone is in the dead letter, so that a replay in another zone reads the same moment."""
    moment = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    mapping = EventMapping(event_column="name", time_column="at")
    (letter,) = RowPreparer(mapping).prepare_object({"name": "", "at": moment}, NOW_MS).invalid
    assert json.loads(letter.event) == {"name": "", "at": "2024-01-01T00:00:00+09:00"}
    mended = letter._replace(event=letter.event.replace(b'""', b'"A"'))
    (event,) = sent(RowPreparer(mapping).prepare_dead_letter(mended, NOW_MS))
    assert event["properties"]["time"] == 1_704_034_800_000


def test_what_was_sent_is_replayed_as_an_event() -> None:
    """A letter of the import stage holds the event, not the row, and is not mapped again."""
    body = b'{"event":"A","properties":{"time":%d,"$insert_id":"i-1"}}' % TIME
    letter = DeadLetter(body, "import", "http_503", insert_id="i-1", time_ms=TIME)
    done = RowPreparer(EventMapping(event="B", time_column="at")).prepare_dead_letter(letter, NOW_MS)
    assert [event.body for event in done.events] == [body]


@pytest.mark.parametrize(
    ("row", "mapping", "kept"),
    [
        (b'{"a":"hunter2","t":"soon"}', {"rename": {"a": "Secret"}}, {"t": "soon"}),
        (b'{"p":{"a":"hunter2"},"t":"soon"}', {"flatten": True, "rename": {"p.a": "Secret"}}, {"t": "soon"}),
        (b'{"p":{"Secret":"hunter2"},"t":"soon"}', {"spread_columns": ("p",)}, {"t": "soon"}),
        (b'{"Secret":"hunter2"', {}, None),
    ],
)
def test_lines_are_kept_without_what_is_redacted(row: bytes, mapping: dict[str, Any], kept: Any) -> None:
    """A line that cannot be sent keeps no column that gives, or may hold, a redacted property."""
    form = Form(redact=frozenset({"Secret"}))
    preparer = RowPreparer(EventMapping(event="A", time_column="t", time_unit="s", **mapping), form)
    (letter,) = preparer.prepare_text(row, NOW_MS).invalid
    assert SECRET not in repr(letter)
    if kept is not None:
        given = json.loads(letter.event)
        assert {name: value for name, value in given.items() if name != "$insert_id"} == kept


def test_nothing_is_kept_of_a_functions_row_where_properties_are_redacted() -> None:
    """A function may make the redacted property of any column, so that the row is told by its hash alone."""
    preparer = RowPreparer(EventMapping(map=explode), Form(redact=frozenset({"n"})))
    (letter,) = preparer.prepare_object({"do": "fail", "x": SECRET}, NOW_MS).invalid
    assert letter.event.startswith(b'"withheld: ')
    (event,) = sent(preparer.prepare_object({"n": 1}, NOW_MS))
    assert "n" not in event["properties"]


def test_a_line_that_was_cut_is_one_dead_letter() -> None:
    """What is too long to be held is no row, and its letter stays one when it is replayed."""
    preparer = RowPreparer(EventMapping(event="A", time_column="t"))
    block = EventBlock(b'{"t":1}', "f", 0, cut_line_bytes=10**9, cut_line_sha256="0" * 64)
    (letter,) = preparer.prepare_block(block, NOW_MS).invalid
    assert letter.reason == "line_too_long"
    assert preparer.prepare_dead_letter(letter, NOW_MS).invalid == [letter]


def test_batches_that_do_not_bind_are_mapped_row_by_row() -> None:
    """One file of many may lack a column that the mapping names: it is null there, and the other columns arrive."""
    batch = pa.RecordBatch.from_pylist([{"name": "A", "at": TIME, "b": 1}])
    preparer = RowPreparer(EventMapping(event_column="name", time_column="at", rename={"a": "X"}))
    (event,) = sent(preparer.prepare_batch(RowBatch(batch, "f", 0), NOW_MS))
    assert event["properties"]["b"] == 1


EXPORTED = [
    {"event": f"E{number}", "properties": {"time": TIME + number, "distinct_id": "u", "n": {"deep": number}}}
    for number in range(20)
]
"""In Mixpanel's shape, more than enough to be prepared column by column."""


def _ways(mapping: EventMapping, form: Form = Form()) -> list[Preparation]:
    """Prepare the same events from lines, objects of JSON, and an Arrow batch."""
    preparer = RowPreparer(mapping, form)
    lines = "\n".join(map(json.dumps, EXPORTED)).encode()
    batch = pa.RecordBatch.from_pylist(EXPORTED)
    return [
        preparer.prepare_block(EventBlock(lines, "f", 0), NOW_MS),
        preparer.prepare_rows(RowList(EXPORTED, "f", 0), NOW_MS),
        preparer.prepare_batch(RowBatch(batch, "f", 0), NOW_MS),
    ]


def test_events_in_mixpanels_shape_need_no_column_named() -> None:
    """Filters and tags do not make rows of events: the rest arrive as they do without a mapping, from any format."""
    as_events = EventPreparer().prepare_block(EventBlock("\n".join(map(json.dumps, EXPORTED)).encode(), "f", 0), NOW_MS)
    for done in _ways(EventMapping(skip_events=("E1*",))):
        assert sent(done) == [event for event in sent(as_events) if not event["event"].startswith("E1")]
        assert (done.filtered, done.invalid) == (11, [])
    for done in _ways(EventMapping(tags={"source": "export"}, from_time=TIME + 19)):
        (event,) = sent(done)
        assert event["properties"].items() >= {"time": TIME + 19, "n": {"deep": 19}, "source": "export"}.items()


def test_a_named_column_makes_rows_of_what_looks_like_events() -> None:
    """Who names a column means columns: `properties` is one of them."""
    row = {"event": "A", "properties": {"a": 1}, "at": TIME}
    (event,) = sent(prepare(row, time_column="at"))
    assert event["properties"]["properties"] == {"a": 1}
    (event,) = sent(prepare(row | {"time": TIME}))
    assert "properties" not in event["properties"]
    assert event["properties"]["a"] == 1


def test_events_that_are_only_tagged_keep_nothing_redacted() -> None:
    """Sent and kept alike are without it, and the dead letter is the event as it was otherwise."""
    form = Form(redact=frozenset({"n"}))
    assert all("n" not in event["properties"] for done in _ways(EventMapping(), form) for event in sent(done))
    row = {"event": "A", "properties": {"time": "soon", "$insert_id": "i", "n": SECRET, "m": 1}}
    (letter,) = RowPreparer(EventMapping(tags={"a": 1}), form).prepare_object(row, NOW_MS).invalid
    assert json.loads(letter.event) == {"event": "A", "properties": {"time": "soon", "$insert_id": "i", "m": 1}}
