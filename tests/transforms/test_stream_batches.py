"""Batches of a stream, on Beam's `TestStream`, whose clocks move only as a test says."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.transforms import trigger
from apache_beam.transforms.window import FixedWindows, GlobalWindow, IntervalWindow, TimestampedValue

from beam_mixpanel.core.chunk import EventChunk
from beam_mixpanel.transforms.batches import BatchLimits
from beam_mixpanel.transforms.stream_batches import PackStream

LIMITS = BatchLimits(max_events=4, max_bytes=1_000)
BUFFERING_SECS = 5


def _start() -> float:
    """Be the clock of the batches: `TestStream` begins at 0, and what is tested happens before it moves."""
    return 0.0


def _chunk(*names: str) -> EventChunk:
    chunk = EventChunk()
    for name in names:
        chunk.append(name.encode(), None, "file", 7)
    return chunk


class Seen(NamedTuple):
    """A batch as it left, with its window, and its timestamp in seconds."""

    events: EventChunk
    window: Any
    timestamp: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(body.decode() for body in self.events.bodies))


class _See(beam.DoFn):
    """Notes batches as they leave: the runner works in this process."""

    seen: list[Seen] = []  # noqa: RUF012 - shared with the tests on purpose

    def process(
        self, batch: EventChunk, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> None:
        self.seen.append(Seen(batch, window, timestamp.micros // 1_000_000))


def _pipeline() -> beam.Pipeline:
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    return beam.Pipeline("BundleBasedDirectRunner", options=options)


def _pack(num_shards: int = 1, **options: Any) -> PackStream:
    return PackStream(LIMITS, num_shards, BUFFERING_SECS, clock=_start, **options)


def _batches(stream: Stream, pack: PackStream, *before: beam.PTransform) -> list[Seen]:
    """Run a stream to its end, and give the batches in the order in which they left."""
    _See.seen.clear()
    with _pipeline() as pipeline:
        events = pipeline | stream
        for transform in before:
            events |= transform
        _ = events | pack | beam.ParDo(_See())
    return list(_See.seen)


@pytest.mark.parametrize("auto_sharding", [False, True])
def test_a_busy_stream_makes_full_batches_at_once(auto_sharding: bool) -> None:
    """Neither the watermark nor the processing time has to move."""
    stream = Stream().add_elements([_chunk(*"abcdefgh")])
    batches = _batches(stream, _pack(auto_sharding=auto_sharding))
    assert [batch.names for batch in batches] == [("a", "b", "c", "d"), ("e", "f", "g", "h")]


def test_a_half_empty_batch_leaves_when_its_time_is_over() -> None:
    """After the buffering time, not before, and without the watermark."""
    stream = (
        Stream()
        .add_elements([_chunk("a", "b")])
        .advance_processing_time(BUFFERING_SECS - 1)
        .add_elements([_chunk("c")])
        .advance_processing_time(1)
        .add_elements([_chunk("d")])
        .advance_processing_time(1)
    )
    assert [batch.names for batch in _batches(stream, _pack())] == [("a", "b", "c"), ("d",)]


def test_events_far_behind_the_watermark_are_not_dropped() -> None:
    """Beam drops late elements of windows that have ended; batches keep them, in those very windows."""
    stream = (
        Stream()
        .advance_watermark_to(0)
        .add_elements([TimestampedValue(_chunk("early"), 5)])
        .advance_watermark_to(1_000)
        .add_elements([TimestampedValue(_chunk("late"), 6), TimestampedValue(_chunk("now"), 1_001)])
        .advance_processing_time(BUFFERING_SECS)
    )
    batches = _batches(stream, _pack(), beam.WindowInto(FixedWindows(60)))
    assert sorted((batch.names, batch.window, batch.timestamp) for batch in batches) == [
        (("early", "late"), IntervalWindow(0, 60), 6),
        (("now",), IntervalWindow(960, 1020), 1_001),
    ]


@pytest.mark.parametrize(("allowed_lateness", "kept"), [(0, []), (600, ["early"])])
def test_what_is_grouped_by_window_after_a_batch_needs_allowed_lateness(allowed_lateness: int, kept: list[str]) -> None:
    """A batch may leave after its window has ended: docs/streaming.md says what a step behind it needs then."""
    stream = (
        Stream()
        .advance_watermark_to(0)
        .add_elements([TimestampedValue(_chunk("early"), 5)])
        .advance_watermark_to(100)
        .advance_processing_time(BUFFERING_SECS)
        .advance_watermark_to_infinity()
    )
    _Grouped.names.clear()
    with _pipeline() as pipeline:
        windowed = pipeline | stream | beam.WindowInto(FixedWindows(60), allowed_lateness=allowed_lateness)
        keyed = windowed | _pack() | beam.Map(lambda batch: (0, batch.bodies[0].decode()))
        _ = keyed | beam.GroupByKey() | beam.ParDo(_Grouped())
    assert _Grouped.names == kept


class _Grouped(beam.DoFn):
    """Notes what was grouped: the runner works in this process."""

    names: list[str] = []  # noqa: RUF012 - shared with the test on purpose

    def process(self, group: Any) -> None:
        self.names.extend(group[1])


def test_the_windowing_is_that_of_the_events() -> None:
    """Triggers and accumulation are as they were before, too."""
    events = (
        _pipeline()
        | Stream().add_elements([_chunk("a")])
        | beam.WindowInto(
            FixedWindows(60),
            trigger=trigger.Repeatedly(trigger.AfterCount(3)),
            accumulation_mode=trigger.AccumulationMode.DISCARDING,
        )
    )
    batches = events | _pack()
    assert batches.windowing == events.windowing
    assert not batches.is_bounded


def test_batches_keep_both_limits_and_every_event() -> None:
    """`GroupIntoBatches` knows no bytes; the batches do, and what an event came with stays with it."""
    names = [f"{number:0400d}" for number in range(10)]
    stream = Stream().add_elements([_chunk(*names)]).advance_processing_time(BUFFERING_SECS)
    batches = _batches(stream, _pack(num_shards=3))
    assert Counter(name for batch in batches for name in batch.names) == Counter(names)
    assert all(len(batch.events) <= 2 for batch in batches)
    assert {event[1:] for batch in batches for event in batch.events} == {(None, "file", 7)}


def test_events_of_the_global_window_keep_it() -> None:
    """And the batch has the timestamp of its latest event."""
    events = [TimestampedValue(_chunk("a"), 3), TimestampedValue(_chunk("b"), 2)]
    stream = Stream().add_elements(events).advance_processing_time(BUFFERING_SECS)
    [batch] = _batches(stream, _pack())
    assert (batch.names, batch.window, batch.timestamp) == (("a", "b"), GlobalWindow(), 3)


def test_what_is_left_of_a_stream_that_ends_leaves_with_it() -> None:
    """A stream that is drained ends the global window, and that empties every key without waiting for its time."""
    stream = Stream().add_elements([_chunk("a")]).advance_watermark_to_infinity()
    assert [batch.names for batch in _batches(stream, _pack())] == [("a",)]
