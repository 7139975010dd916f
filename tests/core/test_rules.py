"""One rule, one place: an entry of `RULES` is asked on every way that an event can take, and has an example here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pytest

from beam_mixpanel.core import limits
from beam_mixpanel.core.events import rewrite, skim
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.facts import EVERY_FACT, Fact
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation
from beam_mixpanel.core.events.rules import RULES, Judge, Part, Rule
from beam_mixpanel.core.events.shapes import Event
from beam_mixpanel.core.formats import csv_types
from beam_mixpanel.core.rows import by_column
from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping

NOW: Final = 1_700_000_000_000
GOOD: Final = {"event": "Bought", "time": NOW, "distinct_id": "ann", "$insert_id": "id-1", "x": "fine"}
"""A good event, flat. Its properties are columns of rows, too."""
TRACK: Final = Form(max_age_ms=limits.TRACK_MAX_AGE_MS)
BY_COLUMNS: Final = Form(InsertIdStrategy.parse("columns:order"))
Fields = dict[str, Any]


def line_of(fields: Fields) -> bytes:
    """Write an event in Mixpanel's shape; fields that are bytes are JSON as they stand."""
    properties = {name: value for name, value in fields.items() if name != "event"}
    event = {"event": fields["event"]} if "event" in fields else {}
    return json.dumps(event | {"properties": properties}, ensure_ascii=False).encode(errors="surrogatepass")


def as_lines(lines: list[bytes], form: Form) -> Preparation:
    return EventPreparer(form).prepare_block(EventBlock(b"\n".join(lines), "f", 0), NOW)


def in_form(events: list[Fields], form: Form) -> Preparation:
    """Lines that can be sent as they stand."""
    return as_lines([line_of(each) for each in events], form)


def rewritten(events: list[Fields], form: Form) -> Preparation:
    """Lines whose time is in seconds as text, where it can be, so that each is written anew."""
    return as_lines([line_of(_with_time_as_text(each)) for each in events], form)


def _with_time_as_text(event: Fields) -> Fields:
    return event | {"time": str(event["time"])} if type(event.get("time")) is int else event


def explained(events: list[Fields], form: Form) -> Preparation:
    """Lines whose `$user_id` is a float, which needs a closer look."""
    done = Preparation()
    for each in events:
        done.add(EventPreparer(form).prepare_text(line_of({"$user_id": 7.0} | each), NOW))
    return done


def as_dicts(events: list[Fields], form: Form) -> Preparation:
    done = Preparation()
    for each in events:
        properties = {name: value for name, value in each.items() if name != "event"}
        shaped = {"event": each["event"]} if "event" in each else {}
        done.add(EventPreparer(form).prepare_object(shaped | {"properties": properties}, NOW))
    return done


def as_rows(events: list[Fields], form: Form) -> Preparation:
    preparer = RowPreparer(EventMapping(), form)
    done = Preparation()
    for each in events:
        done.add(preparer.prepare_object({"event": None} | each, NOW))
    return done


def as_arrow(events: list[Fields], form: Form) -> Preparation:
    batch = pa.RecordBatch.from_pylist(_alike(events))
    return RowPreparer(EventMapping(), form).prepare_batch(RowBatch(batch, "f", 0), NOW)


def as_csv(events: list[Fields], form: Form) -> Preparation:
    return RowPreparer(EventMapping(), form).prepare_batch(RowBatch(_csv_batch(_alike(events)), "f", 0), NOW)


def _csv_batch(rows: list[Fields]) -> pa.RecordBatch:
    """Give rows as a CSV file gives them: text that is typed by rule."""
    typed = {csv_types.TYPED: csv_types.BY_RULE.encode()}
    schema = pa.schema([pa.field(name, pa.string(), metadata=typed) for name in rows[0]])
    columns = [[None if row[name] is None else str(row[name]) for row in rows] for name in rows[0]]
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=schema)


def _alike(events: list[Fields]) -> list[Fields]:
    """Give each row all columns, as a file has them."""
    columns = dict.fromkeys(name for each in events for name in each)
    return [{name: each.get(name) for name in columns} for each in events]


WAYS: Final[dict[str, Callable[[list[Fields], Form], Preparation]]] = {
    "line in form": in_form,
    "line rewritten": rewritten,
    "line explained": explained,
    "dict": as_dicts,
    "row": as_rows,
    "Arrow batch": as_arrow,
    "CSV by columns": as_csv,
}
OBJECTS: Final = ("dict", "row", "Arrow batch")
LINES: Final = ("line in form", "line rewritten", "line explained")
TYPED: Final = (*LINES, *OBJECTS)
"""The ways on which a field can be a list, an object or a float; the text of a CSV file is none."""


class Example(NamedTuple):
    """An event that breaks a rule, beside a good one.

    Attributes:
      change: what differs from the good event; a field that is `...` is left out.
      ways: the ways on which an event can be like that.
      form: the options.
      field: the field that the rule names.
    """

    change: Fields
    ways: tuple[str, ...] = tuple(WAYS)
    form: Form = Form()
    field: str = ""


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


EXAMPLES: Final[dict[str, Example]] = {
    "event_missing": Example({"event": " "}, field="event"),
    "event_too_long": Example({"event": "x" * 256}, field="event"),
    "time_missing": Example({"time": ...}, field="properties.time"),
    "time_unreadable": Example(
        {"time": "soon"}, ways=(*LINES, "dict", "row", "CSV by columns"), field="properties.time"
    ),
    "time_before_1971": Example({"time": limits.EARLIEST_TIME_MS - 1}, field="properties.time"),
    "time_in_future": Example({"time": NOW + limits.MAX_AHEAD_MS + 1}, field="properties.time"),
    "time_too_old_for_track": Example({"time": NOW - limits.TRACK_MAX_AGE_MS - 1}, form=TRACK, field="properties.time"),
    "distinct_id_placeholder": Example({"distinct_id": "NULL"}, field="properties.distinct_id"),
    "distinct_id_too_long": Example({"distinct_id": "x" * 256}, field="properties.distinct_id"),
    "id_not_text": Example({"$device_id": ["ann"]}, ways=(*LINES, "dict"), field="properties.$device_id"),
    "id_inexact": Example({"$device_id": 1e300}, ways=("dict",), field="properties.$device_id"),
    "insert_id_column_missing": Example(
        {"$insert_id": ...}, ways=(*LINES, "dict", "row"), form=BY_COLUMNS, field="order"
    ),
    "too_many_properties": Example({f"p{number}": number for number in range(251)}, field="properties"),
    "too_many_keys": Example(
        {"x": {f"k{number}": 0 for number in range(255)}}, ways=(*LINES, "dict", "row"), field="properties.x"
    ),
    "too_many_elements": Example({"y": [0] * 255}, ways=TYPED, field="properties.y"),
    "nested_too_deep": Example({"y": nested(4)}, ways=TYPED, field="properties.y[][][]"),
    "event_too_large": Example({"x": "x" * 1_000_000}),
}
"""By the name of the rule. Those of `Part.READING` are in `UNREADABLE`."""

UNREADABLE: Final[dict[str, bytes | Any]] = {
    "invalid_json": b'{"event": "Bought", ',
    "not_utf8": b'{"event": "Bought\xff", "time": 1700000000}',
    "lone_surrogate": b'{"event":"\\ud800", "time": 1700000000}',
    "not_an_object": b"[1]",
    "properties_not_object": b'{"event":"Bought","properties":[1]}',
    "field_conflict": b'{"event":"Bought","properties":{"time":1700000000,"x":1},"x":2}',
    "unsupported_value": {"event": "Bought", "time": NOW, "x": 1j},
    "line_too_long": EventBlock(b'{"event":"Bou', "f", 0, cut_line_bytes=9_000_000),
}
"""What cannot be read as an event at all, so that it cannot take all ways: a line, an object or a block."""


def test_ways_are_what_they_are_called() -> None:
    """Good events take the ways above as long as no rule is new: without this, the tests below would prove less."""
    line, seconds, float_id = (line_of(each) for each in (GOOD, _with_time_as_text(GOOD), {"$user_id": 7.0} | GOOD))
    assert skim.skim(line, [line]) == [NOW]
    assert skim.skim(seconds, [seconds]) == []
    writer = rewrite.Rewriter(Form())
    assert writer.rewrite(seconds, NOW) is not None
    assert writer.rewrite(float_id, NOW) is None
    for batch in (pa.RecordBatch.from_pylist([GOOD]), _csv_batch([GOOD])):
        plan = EventMapping().bind(batch.schema.names)
        assert by_column.ColumnarPreparer.can_prepare(plan, batch.schema, Form())
        done = by_column.ColumnarPreparer(plan, batch.schema, Form(), EventPreparer()).prepare(batch, NOW)
        assert (len(done.bodies), done.others) == (1, [])


def test_each_rule_has_an_example() -> None:
    """A rule that is added without an example fails here, and so does an example of a rule that is gone."""
    assert EXAMPLES.keys() | UNREADABLE.keys() == RULES.keys()
    read_or_made = {name for name, rule in RULES.items() if rule.is_broken is None}
    assert read_or_made == UNREADABLE.keys() | {"insert_id_column_missing"}
    assert {name for name, rule in RULES.items() if rule.part is Part.READING} == read_or_made


def violating(change: Fields) -> Fields:
    return {name: value for name, value in (GOOD | change).items() if value is not ...}


def good(number: int, form: Form = Form()) -> Fields:
    more = {"order": number} if form is BY_COLUMNS else {}
    return GOOD | {"$insert_id": f"id-{number}"} | more


@pytest.mark.parametrize(
    ("rule", "way"),
    [(rule, way) for rule, example in EXAMPLES.items() for way in WAYS if way in example.ways],
)
def test_a_rule_is_asked_on_every_way(rule: str, way: str) -> None:
    """What breaks a rule is one dead letter with the rule's name, field and words; good events beside it are sent."""
    example = EXAMPLES[rule]
    events = [good(2, example.form), violating(example.change), good(3, example.form)]
    done = WAYS[way](events, example.form)
    assert (len(done.events), len(done.invalid)) == (2, 1)
    (letter,) = done.invalid
    assert (letter.reason, letter.field) == (rule, example.field)
    assert letter.message == f"{example.field or 'the event'} {RULES[rule].message}"
    assert (letter.stage, letter.fate) == ("validate", "invalid")


@pytest.mark.parametrize("rule", UNREADABLE)
def test_what_cannot_be_read_names_its_rule(rule: str) -> None:
    """A line, an object or a block that is no event is one dead letter with the rule's name and words."""
    given = UNREADABLE[rule]
    preparer = EventPreparer()
    if isinstance(given, bytes):
        ways = [
            *(one.prepare_text(given, NOW) for one in (preparer, RowPreparer(EventMapping(map=dict)))),
            as_lines([line_of(good(2)), given, line_of(good(3))], Form()),
        ]
    elif isinstance(given, EventBlock):
        ways = [preparer.prepare_block(given, NOW)]
    else:
        ways = [one.prepare_object(given, NOW) for one in (preparer, RowPreparer(EventMapping()))]
    for done in ways:
        (letter,) = done.invalid
        assert letter.reason == rule
        assert RULES[rule].message in letter.message


@contextmanager
def added(name: str, rule: Rule) -> Iterator[None]:
    """Add a rule to the rules, and to nothing else."""
    RULES[name] = rule
    try:
        yield
    finally:
        del RULES[name]


DOCS: Final = limits.IMPORT_DOCS
NEW: Final[dict[str, tuple[Rule, Fields]]] = {
    "of the name": (
        Rule("may not start with zzz", DOCS, Part.NAME, lambda name: name.startswith("zzz")),
        {"event": "zzz top"},
    ),
    "of a property": (
        Rule(
            "may not be 7", DOCS, Part.EVENT, lambda event: event.properties.get("x") in (7, "7"), field="properties.x"
        ),
        {"x": "7"},
    ),
    "of the event": (
        Rule(
            "needs a plan", DOCS, Part.EVENT, lambda event: event.event == "Upgraded" and "plan" not in event.properties
        ),
        {"event": "Upgraded"},
    ),
    "of the time": (
        Rule("may not be odd", DOCS, Part.TIME, lambda given, time_ms, now_ms, max_age_ms: time_ms % 2 == 1),
        {"time": NOW - 1},
    ),
    "of an id": (
        Rule("may not be root", DOCS, Part.ID, lambda given, text: text == "root"),
        {"distinct_id": "root"},
    ),
    "of the distinct_id": (
        Rule("may not be root", DOCS, Part.DISTINCT_ID, lambda distinct_id: distinct_id == "root"),
        {"distinct_id": "root"},
    ),
    "of the number of properties": (
        Rule("must be at most 20", DOCS, Part.COUNT, lambda count: count > 20),
        {f"p{number}": number for number in range(20)},
    ),
    "of the size": (
        Rule("must have at most 2000 bytes", DOCS, Part.SIZE, lambda size: size > 2000),
        {"x": "x" * 2000},
    ),
}
"""Rules that nobody knows, one of each part, each with what breaks it."""
FIELDS: Final = {
    "of the name": "event",
    "of a property": "properties.x",
    "of the event": "",
    "of the time": "properties.time",
    "of an id": "properties.distinct_id",
    "of the distinct_id": "properties.distinct_id",
    "of the number of properties": "properties",
    "of the size": "",
}
"""The field that each names."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("new", NEW)
def test_a_rule_that_is_added_to_the_rules_alone_is_asked_on_every_way(new: str, way: str) -> None:
    """No way passes what a new rule refuses, whatever the way knows of it; and none refuses anything else."""
    rule, change = NEW[new]
    events = [good(2), violating(change), good(3)]
    assert (len(WAYS[way](events, Form()).events), new in RULES) == (3, False)
    with added("new_rule", rule):
        done = WAYS[way](events, Form())
    assert [(letter.reason, letter.field) for letter in done.invalid] == [("new_rule", FIELDS[new])]
    assert len(done.events) == 2


@pytest.mark.parametrize("way", TYPED)
def test_a_new_rule_on_nested_values_is_asked_where_there_are_some(way: str) -> None:
    """Lists and records are looked into on each way that can have them."""
    rule = Rule("may not be [13]", DOCS, Part.NESTED, lambda value, level: value == [13])
    events = [good(2) | {"y": [1]}, violating({"y": [13]}), good(3) | {"y": None}]
    assert len(WAYS[way](events, Form()).events) == 3
    with added("new_rule", rule):
        done = WAYS[way](events, Form())
    assert [(letter.reason, letter.field) for letter in done.invalid] == [("new_rule", "properties.y")]
    assert len(done.events) == 2


def test_messages_of_a_new_rule_are_its_own() -> None:
    """The words of a dead letter are those of the entry."""
    with added("new_rule", NEW["of a property"][0]):
        (letter,) = as_arrow([good(2), violating({"x": "7"})], Form()).invalid
    assert letter.message == "properties.x may not be 7"
    assert isinstance(letter, DeadLetter)


def test_every_way_knows_the_rules_that_there_are() -> None:
    """No rule of ours makes a fast way step aside, which would cost its speed unseen."""
    judge = Judge()
    for facts in (skim.FACTS | {Fact.TIME}, rewrite.FACTS, by_column.FACTS):
        assert judge.is_settled_by(facts)


@pytest.mark.parametrize("fact", sorted(EVERY_FACT, key=lambda fact: fact.name))
def test_each_fact_is_needed(fact: Fact) -> None:
    """A fast way that did not make sure of a fact would step aside: each is named by some rule."""
    assert not Judge().is_settled_by(EVERY_FACT - {fact})


def test_a_way_that_does_not_know_a_rule_steps_aside() -> None:
    """A rule without a fact is known to no fast way; one with a fact, to those which make sure of it."""
    with added("new_rule", Rule("", DOCS, Part.NAME, lambda name: False)):
        assert not Judge().is_settled_by(EVERY_FACT)
    with added("new_rule", Rule("", DOCS, Part.NAME, lambda name: False, fact=Fact.NAME)):
        assert Judge().is_settled_by(EVERY_FACT)


def test_judging_does_not_change_an_event() -> None:
    """A judge only looks."""
    event = Event("Bought", {"time": NOW, "x": [1, {"a": [2]}]})
    before = repr(event)
    judge = Judge()
    assert judge.of_shape(event, 2) == judge.of_event(event, 2) == []
    assert repr(event) == before
