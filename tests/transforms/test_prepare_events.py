"""`PrepareEvents` and the readers, on the in-process runner."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from beam_mixpanel import DeadLetter, PrepareEvents, ReadFromNdjson, ReadFromNdjsonBatched
from beam_mixpanel.core.events.prepare import EventBlock

NOW_SECS = 1_760_000_000.0
TIME_MS = 1_750_000_000_123
GOOD = b'{"event":"A","properties":{"time":1750000000123,"distinct_id":"u","$insert_id":"i-1"}}'


def _clock() -> float:
    return NOW_SECS


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))


def _counters(result: Any) -> dict[str, int]:
    counters = result.metrics().query(MetricsFilter().with_namespace("beam_mixpanel"))["counters"]
    return {counter.key.metric.name: counter.committed for counter in counters}


class FlatRow(NamedTuple):
    event_name: str
    timestamp_ms: int
    time: Any
    user_id: int


def _prepare(elements: list[Any], **options: Any) -> tuple[list[bytes], list[DeadLetter], dict[str, int]]:
    """Run `PrepareEvents` over the elements; give what came out, through real files of neither runner nor network."""
    bodies: list[bytes] = []
    letters: list[DeadLetter] = []
    with _pipeline() as pipeline:
        prepared = pipeline | beam.Create(elements, reshuffle=False) | PrepareEvents(clock=_clock, **options)
        _ = prepared.prepared | "Bodies" >> beam.Map(lambda chunk: [event.body for event in chunk]) | _Collect("b")
        _ = prepared.invalid | "Letters" >> _Collect("l")
    for kind, value in _COLLECTED:
        bodies.extend(value) if kind == "b" else letters.append(value)
    _COLLECTED.clear()
    return bodies, letters, _counters(pipeline.result)


_COLLECTED: list[tuple[str, Any]] = []


class _Collect(beam.PTransform):
    """Collects elements in this process, where the in-process runner works."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def expand(self, elements: Any) -> Any:
        kind = self._kind
        return elements | f"Collect{kind}" >> beam.Map(_collect, kind)


def _collect(value: Any, kind: str) -> None:
    _COLLECTED.append((kind, value))


@pytest.mark.parametrize(
    "element",
    [
        GOOD,
        GOOD.decode(),
        EventBlock(GOOD + b"\n", "file", 0),
        DeadLetter(GOOD, "import", "http_503"),
    ],
    ids=["bytes", "str", "block", "dead letter"],
)
def test_event_in_form_is_passed_on_byte_for_byte(element: Any) -> None:
    """An event that needs no change leaves as the bytes it came as."""
    bodies, letters, counters = _prepare([element])
    assert (bodies, letters) == ([GOOD], [])
    assert counters == {"read": 1, "prepared": 1}


@pytest.mark.parametrize(
    "element",
    [
        {"event": "A", "properties": {"time": TIME_MS // 1000, "distinct_id": 7}},
        {"event": "A", "time": "2025-06-15T15:06:40Z", "distinct_id": Decimal(7)},
        beam.Row(event="A", time=datetime.datetime.fromisoformat("2025-06-15T15:06:40"), distinct_id="7"),
        b'{"event_name":"A","time":1750000000,"distinct_id":7}',
    ],
    ids=["dict", "flat dict", "Row", "flat JSON"],
)
def test_every_shape_becomes_the_same_event(element: Any) -> None:
    """The same event gives the same bytes, whatever shape it came in."""
    bodies, letters, _ = _prepare([element])
    assert letters == []
    assert bodies == [
        b'{"event":"A","properties":{"distinct_id":"7","time":1750000000000,'
        b'"$insert_id":"ccf08ccbc96bfe20dc10a25d7ab034b3"}}'
    ]


def test_named_tuples_are_flat_events() -> None:
    """A NamedTuple's fields become properties."""
    bodies, letters, _ = _prepare([FlatRow("A", 5, TIME_MS, 12345678901234567890123)])
    assert letters == []
    assert b'"timestamp_ms":5' in bodies[0]
    assert b'"user_id":12345678901234567890123' in bodies[0]


def test_invalid_events_become_dead_letters_with_the_original() -> None:
    """What Mixpanel would refuse ends as a dead letter: original bytes, rule, field, place in the file."""
    bad = b'{"event":"A","properties":{"distinct_id":"u","$insert_id":"i"}}'
    block = EventBlock(b"\n".join([GOOD, b"", bad, b"{nonsense"]), "events.ndjson", 1000)
    bodies, letters, counters = _prepare([block])
    assert bodies == [GOOD]
    assert [(letter.event, letter.stage, letter.reason, letter.field, letter.source) for letter in letters] == [
        (bad, "validate", "time_missing", "properties.time", f"events.ndjson@{1000 + len(GOOD) + 2}"),
        (b"{nonsense", "parse", "invalid_json", "", f"events.ndjson@{1000 + len(GOOD) + len(bad) + 3}"),
    ]
    assert counters == {
        "read": 3,
        "prepared": 1,
        "invalid": 2,
        "reason/time_missing": 1,
        "reason/invalid_json": 1,
    }


def test_repaired_ids_and_old_events_are_counted() -> None:
    """A refused `$insert_id` is replaced and counted; so is an event older than the project keeps."""
    repaired = GOOD.replace(b"i-1", b"not accepted!")
    _, letters, counters = _prepare([GOOD, repaired], retention_days=1)
    assert letters == []
    assert counters == {"read": 2, "prepared": 2, "repaired_insert_ids": 1, "past_retention": 2}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"insert_id": "mixpanel-import"}, b'"$insert_id":"1150573110"'),
        ({"mapping": {"insert_id_columns": ["order"]}}, b'"$insert_id":"9"'),
        ({"time_zone": "Europe/Paris"}, b'"time":1749992800000'),
    ],
)
def test_options_change_what_they_say(options: dict[str, Any], expected: bytes) -> None:
    """Each option of the form has its effect."""
    element = {"event": "A", "time": "2025-06-15 15:06:40", "distinct_id": "u", "order": 9}
    plain, _, _ = _prepare([element])
    bodies, letters, _ = _prepare([element], **options)
    assert letters == []
    assert bodies != plain
    assert expected in bodies[0] or "mixpanel-import" in str(options)


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"insert_id": "random"}, "must be content"),
        ({"time_zone": "Mars/Olympus"}, "IANA"),
        ({"retention_days": 0}, "between 1"),
    ],
)
def test_misuse_is_refused_with_the_cure(options: dict[str, Any], cure: str) -> None:
    """Wrong arguments are refused where the transform is made."""
    with pytest.raises(ValueError, match=cure):
        PrepareEvents(**options)


def test_windows_are_kept() -> None:
    """Prepared events and dead letters stay in their element's window."""
    with _pipeline() as pipeline:
        prepared = (
            pipeline
            | beam.Create([(5, GOOD), (65, b"{")])
            | beam.Map(lambda pair: TimestampedValue(pair[1], pair[0]))
            | beam.WindowInto(FixedWindows(60))
            | PrepareEvents(clock=_clock)
        )
        starts = [
            pcollection | f"Start{n}" >> beam.Map(lambda _, window=beam.DoFn.WindowParam: int(window.start))
            for n, pcollection in enumerate(prepared)
        ]
        assert_that(starts[0], equal_to([0]), "prepared", reify_windows=False)
        assert_that(starts[1], equal_to([60]), "invalid", reify_windows=False)


def test_lines_of_a_file_are_read_once_wherever_it_is_split(tmp_path: Path) -> None:
    """However small the ranges, each line of each file comes out once; a file matched twice is read once."""
    lines = [b'{"n":%d}' % number for number in range(500)]
    (tmp_path / "a.ndjson").write_bytes(b"\n".join(lines))
    with _pipeline() as pipeline:
        blocks = pipeline | ReadFromNdjsonBatched(
            [str(tmp_path / "*.ndjson"), str(tmp_path / "a.*")], range_bytes=97, block_bytes=64
        )
        read = blocks | beam.FlatMap(lambda block: [line for line in block.data.split(b"\n") if line])
        assert_that(read, equal_to(lines))


def test_single_lines_can_be_read_and_changed(tmp_path: Path) -> None:
    """`ReadFromNdjson` gives bytes line by line, without blank lines."""
    (tmp_path / "a.ndjson").write_bytes(b"one\n\ntwo\r\n  \nthree")
    with _pipeline() as pipeline:
        assert_that(pipeline | ReadFromNdjson(str(tmp_path / "a.ndjson")), equal_to([b"one", b"two\r", b"three"]))
