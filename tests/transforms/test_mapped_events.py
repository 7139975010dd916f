"""Mappings in pipelines: rows of every kind, through `PrepareEvents` and `WriteToMixpanel`."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from beam_mixpanel import EventMapping, PrepareEvents, ProjectToken, RowBatch, RowList, WriteToMixpanel
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.errors import MappingError, UserFunctionError

NOW_SECS = 1_720_000_000.0
TIME_MS = 1_700_000_000_000
ROW = {"name": "A", "at": TIME_MS, "uid": "u", "n": 1}
SKIPPED = {"name": "B", "at": TIME_MS, "uid": "u", "n": 2}
MAPPING = EventMapping(event_column="name", time_column="at", distinct_id_column="uid", skip_events=("B",))


class Tuple(NamedTuple):
    name: str
    at: int
    uid: str
    n: int


def _clock() -> float:
    return NOW_SECS


def _counters(result: Any) -> dict[str, int]:
    counters = result.metrics().query(MetricsFilter().with_namespace("beam_mixpanel"))["counters"]
    return {counter.key.metric.name: counter.committed for counter in counters}


def _lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize(
    "elements",
    [
        [ROW, SKIPPED],
        [beam.Row(**ROW), beam.Row(**SKIPPED)],
        [Tuple(**ROW), Tuple(**SKIPPED)],
        [_lines(ROW), _lines(SKIPPED)],
        [_lines(ROW).decode(), _lines(SKIPPED).decode()],
        [EventBlock(_lines(ROW, SKIPPED), "f", 0)],
        [RowList([ROW, SKIPPED], "t", 0)],
        [RowBatch(pa.RecordBatch.from_pylist([ROW, SKIPPED]), "t", 0)],
    ],
    ids=["dicts", "Rows", "NamedTuples", "bytes", "str", "block", "RowList", "RowBatch"],
)
def test_every_kind_of_row_becomes_the_same_event(elements: list[Any]) -> None:
    """Rows give equal bytes whatever holds them; those that the mapping leaves out are counted as filtered."""
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        prepared = pipeline | beam.Create(elements) | PrepareEvents(mapping=MAPPING, clock=_clock)
        bodies = prepared.prepared | beam.FlatMap(lambda chunk: [event.body for event in chunk])
        assert_that(
            bodies,
            equal_to(
                [
                    b'{"event":"A","properties":{"distinct_id":"u","n":1,"time":1700000000000,'
                    b'"$insert_id":"65f2af9bf654a7e326e02cbaed23a194"}}'
                ]
            ),
        )
        assert_that(prepared.invalid, equal_to([]), "invalid")
    assert _counters(pipeline.result) == {"read": 2, "prepared": 1, "filtered": 1}


IN_SHAPE = {"event": "A", "properties": {"time": TIME_MS, "distinct_id": "u", "order": 7}}
WITHOUT = {"event": "A", "properties": {"time": TIME_MS, "distinct_id": "u"}}


@pytest.mark.parametrize(
    "elements",
    [
        [IN_SHAPE, WITHOUT],
        [_lines(IN_SHAPE), _lines(WITHOUT)],
        [EventBlock(_lines(IN_SHAPE, WITHOUT), "f", 0)],
        [EventBlock(_lines(*[IN_SHAPE] * 20, WITHOUT), "f", 0)],
        [RowList([IN_SHAPE, WITHOUT], "t", 0)],
        [RowBatch(pa.RecordBatch.from_pylist([IN_SHAPE, WITHOUT]), "t", 0)],
    ],
    ids=["dicts", "bytes", "block", "block of many", "RowList", "RowBatch"],
)
def test_columns_of_an_id_are_properties_of_events_in_mixpanels_shape(elements: list[Any]) -> None:
    """Alone, `insert_id_columns` takes no event for a row: its `$insert_id` is a hash of these properties."""
    form = Form(InsertIdStrategy("columns", ("order",)))
    (expected,) = EventPreparer(form).prepare_object(IN_SHAPE, int(NOW_SECS * 1000)).events.bodies
    mapping = {"insert_id_columns": ["order"]}
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        prepared = pipeline | beam.Create(elements) | PrepareEvents(mapping=mapping, clock=_clock)
        bodies = prepared.prepared | beam.FlatMap(lambda chunk: [event.body for event in chunk]) | beam.Distinct()
        assert_that(bodies, equal_to([expected]))
        reasons = prepared.invalid | beam.Map(lambda letter: letter.reason)
        assert_that(reasons, equal_to(["insert_id_column_missing"]), "invalid")


def test_rows_of_sources_need_no_mapping() -> None:
    """Batches and lists of rows are mapped by the names of their columns where nothing else is said."""
    rows = [{"event_name": "A", "timestamp": TIME_MS, "insert_id": "i-1"}]
    elements = [RowList(rows, "t", 0), RowBatch(pa.RecordBatch.from_pylist(rows), "t", 0)]
    body = b'{"event":"A","properties":{"$insert_id":"i-1","time":1700000000000}}'
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        prepared = pipeline | beam.Create(elements) | PrepareEvents(clock=_clock)
        bodies = prepared.prepared | beam.FlatMap(lambda chunk: [event.body for event in chunk])
        assert_that(bodies, equal_to([body, body]))


def test_a_function_of_the_program_can_map() -> None:
    """In Python, `map` takes the function itself, to its workers, too."""

    def to_events(row: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"event": "A", "time": TIME_MS, "$insert_id": f"i-{number}"} for number in range(row["n"])]

    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        prepared = pipeline | beam.Create([{"n": 2}, {"n": 0}, {}]) | PrepareEvents(
            mapping=EventMapping(map=to_events), clock=_clock
        )  # fmt: skip
        assert_that(prepared.invalid | beam.Map(lambda letter: (letter.stage, letter.reason, letter.event)),
                    equal_to([("map", "map_failed", b"{}")]))  # fmt: skip
    assert _counters(pipeline.result) == {
        "read": 4, "prepared": 2, "filtered": 1, "invalid": 1, "reason/map_failed": 1,
    }  # fmt: skip


def test_misuse_is_told_where_the_transform_is_made() -> None:
    """A mapping that contradicts itself, or names a function that is not there, never reaches a runner."""
    with pytest.raises(MappingError):
        EventMapping(event="A", event_column="b")
    with pytest.raises(UserFunctionError):
        PrepareEvents(mapping=EventMapping(map="no_such_module:f"))


def test_write_takes_a_mapping(emulator: Emulator, token_reference: str) -> None:
    """What arrives at the server is the mapped event; what does not map is a dead letter with its row."""
    recent = {**ROW, "at": "2026-01-02T03:04:05Z"}
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        result = (
            pipeline
            | beam.Create([RowList([recent, SKIPPED, {"name": "C", "at": None}], "t", 7)])
            | WriteToMixpanel(ProjectToken.from_reference(token_reference), api_host=emulator.url, mapping=MAPPING)
        )
        letters = result.dead_letters | beam.Map(lambda letter: (letter.event, letter.reason, letter.source))
        assert_that(letters, equal_to([(b'{"name":"C","at":null}', "time_missing", "t#9")]))
    (event,) = emulator.events()
    assert event["event"] == "A"
    assert event["properties"].pop("$insert_id")
    assert event["properties"] == {"distinct_id": "u", "n": 1, "time": 1_767_323_045_000}
    counters = _counters(pipeline.result)
    assert {name: counters[name] for name in ("read", "filtered", "invalid", "imported")} == {
        "read": 3, "filtered": 1, "invalid": 1, "imported": 1,
    }  # fmt: skip
