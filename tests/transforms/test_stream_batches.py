"""Batches of a stream, on Beam's `TestStream`, whose clocks move only as a test says."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.transforms import trigger
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindow,
    GlobalWindows,
    IntervalWindow,
    TimestampedValue,
    WindowFn,
)

from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.transforms.batches import BatchLimits
from beam_mixpanel.transforms.stream_batches import PackStream, _buffer_fn, _state_bytes
from beam_mixpanel.transforms.windows import GLOBAL, Places

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
    """A batch as it left, with its window."""

    events: EventChunk
    window: Any

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(body.decode() for body in self.events.bodies))

    def placed(self, windowfn: WindowFn) -> dict[str, tuple[Any, ...]]:
        """Return the timestamp of each event, in seconds, and its windows."""
        back = (
            Places(windowfn).put_back(body.decode(), place)
            for body, place in zip(self.events.bodies, self.events.places, strict=True)
        )
        return {element.value: (element.timestamp.micros // 1_000_000, *element.windows) for element in back}


class _See(beam.DoFn):
    """Notes batches as they leave: the runner works in this process."""

    seen: list[Seen] = []  # noqa: RUF012 - shared with the tests on purpose

    def process(self, batch: EventChunk, window: Any = beam.DoFn.WindowParam) -> None:
        self.seen.append(Seen(batch, window))


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
    [batch] = _batches(stream, _pack(), beam.WindowInto(FixedWindows(60)))
    assert batch.window == GlobalWindow()
    assert batch.placed(FixedWindows(60)) == {
        "early": (5, IntervalWindow(0, 60)),
        "late": (6, IntervalWindow(0, 60)),
        "now": (1_001, IntervalWindow(960, 1020)),
    }


@pytest.mark.parametrize("auto_sharding", [False, True])
def test_windowing_and_triggers_of_the_events_do_not_act_on_batches(auto_sharding: bool) -> None:
    """Batches are in the global window with the default trigger; a trigger upstream holds nothing back."""
    windowed = beam.WindowInto(
        FixedWindows(60),
        trigger=trigger.Repeatedly(trigger.AfterCount(3)),
        accumulation_mode=trigger.AccumulationMode.ACCUMULATING,
    )
    batches = _pipeline() | Stream().add_elements([_chunk("a")]) | windowed | _pack(auto_sharding=auto_sharding)
    assert batches.windowing == GLOBAL
    assert not batches.is_bounded
    stream = Stream().add_elements([_chunk("a")]).advance_processing_time(BUFFERING_SECS)
    assert [batch.names for batch in _batches(stream, _pack(auto_sharding=auto_sharding), windowed)] == [("a",)]


@pytest.mark.parametrize("auto_sharding", [False, True])
def test_batches_keep_both_limits_and_every_event(auto_sharding: bool) -> None:
    """`GroupIntoBatches` knows no bytes; the batches do, and what an event came with stays with it."""
    names = [f"{number:0400d}" for number in range(10)]
    stream = Stream().add_elements([_chunk(*names)]).advance_processing_time(BUFFERING_SECS)
    batches = _batches(stream, _pack(num_shards=3, auto_sharding=auto_sharding))
    assert Counter(name for batch in batches for name in batch.names) == Counter(names)
    assert all(len(batch.events) <= 2 for batch in batches)
    assert {event[1:] for batch in batches for event in batch.events} == {(None, "file", 7)}


def test_events_of_the_global_window_keep_it() -> None:
    """And each event its own timestamp."""
    events = [TimestampedValue(_chunk("a"), 3), TimestampedValue(_chunk("b"), 2)]
    stream = Stream().add_elements(events).advance_processing_time(BUFFERING_SECS)
    [batch] = _batches(stream, _pack())
    assert batch.placed(GlobalWindows()) == {"a": (3, GlobalWindow()), "b": (2, GlobalWindow())}


def test_what_does_not_fit_begins_the_next_batch() -> None:
    """The rest of a chunk waits for the next events, for its own time."""
    stream = (
        Stream()
        .add_elements([_chunk(*"abc")])
        .advance_processing_time(BUFFERING_SECS - 1)
        .add_elements([_chunk(*"de")])
        .add_elements([_chunk(*"fg")])
    )
    assert [batch.names for batch in _batches(stream, _pack())] == [("a", "b", "c", "d"), ("e", "f", "g")]


def test_the_bytes_that_a_key_holds_are_bounded() -> None:
    """Originals, which dead letters would need, count: they are in the state, too."""
    chunks = []
    for name in "abcd":
        chunk = EventChunk()
        chunk.append(name.encode(), b"x" * 400, "file", 7)
        chunks.append(chunk)
    stream = Stream()
    for chunk in chunks:
        stream = stream.add_elements([chunk])
    assert [batch.names for batch in _batches(stream, _pack())] == [("a", "b", "c"), ("d",)]


def test_what_is_left_of_a_stream_that_ends_leaves_with_it() -> None:
    """A stream that is drained ends the global window, and that empties every key without waiting for its time."""
    stream = Stream().add_elements([_chunk("a")]).advance_watermark_to_infinity()
    assert [batch.names for batch in _batches(stream, _pack())] == [("a",)]


@pytest.mark.parametrize("auto_sharding", [False, True])
def test_streams_side_by_side_lose_nothing(auto_sharding: bool) -> None:
    """Beam's FnApiRunner fuses them into one stage, and keeps timers there by their names alone."""
    names = [f"small-{number}" for number in range(6)] + [f"large-{number}".ljust(9_000) for number in range(6)]
    _See.seen.clear()
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        events = pipeline | beam.Create(names) | beam.Map(_chunk)
        events.is_bounded = False
        for sink in range(3):
            pack = PackStream(BatchLimits(50, 200_000), 2, BUFFERING_SECS, auto_sharding=auto_sharding)
            _ = events | f"Pack {sink}" >> pack | f"See {sink}" >> beam.ParDo(_See())
    assert Counter(name for batch in _See.seen for name in batch.names) == Counter(names * 3)


class _Bag:
    """State of one key, which remembers how large it became."""

    def __init__(self) -> None:
        self.chunks: list[EventChunk] = []
        self.most = 0

    def read(self) -> list[EventChunk]:
        return list(self.chunks)

    def add(self, chunk: EventChunk) -> None:
        self.chunks.append(chunk)
        self.most = max(self.most, sum(map(_state_bytes, self.chunks)))

    def clear(self) -> None:
        self.chunks = []


class _Cell:
    def __init__(self) -> None:
        self.value: Any = None

    def read(self) -> Any:
        return self.value

    def write(self, value: Any) -> None:
        self.value = value

    def clear(self) -> None:
        self.value = None


class _Timer:
    def set(self, _: Any) -> None:
        pass

    def clear(self) -> None:
        pass


@pytest.mark.parametrize("size", [100, 100_000, 1_000_000])
@pytest.mark.parametrize("together", [1, 7])
def test_a_key_holds_less_than_a_batch_of_bytes(size: int, together: int) -> None:
    """2,000 events of 100 kB are 200 MB; of them at most 10 MB are held."""
    limits = BatchLimits(2_000, 10_000_000)
    buffer = _buffer_fn("a", limits, BUFFERING_SECS, _start)
    bag, held, count = _Bag(), _Cell(), 0
    event = b"x" * size
    for _ in range(2_000):
        chunk = EventChunk([event] * together, [None] * together, [""] * together, [-1] * together)
        taken = buffer.process((0, chunk), bag, held, _Timer(), _Timer())
        count += sum(map(len, taken))
    assert bag.most <= limits.max_bytes
    at_once = size * together > limits.max_bytes // 2
    assert (bag.most == 0) == at_once
    assert count + sum(map(len, bag.chunks)) == 2_000 * together


def test_the_bytes_that_auto_sharding_holds_are_bounded() -> None:
    """Large events leave ten at a time, at once, while small ones wait for their number."""
    names = [f"{number}".ljust(100_000) for number in range(25)] + [f"{number}".ljust(1_000) for number in range(100)]
    stream = Stream().add_elements([_chunk(*names)]).advance_processing_time(BUFFERING_SECS)
    pack = PackStream(BatchLimits(2_000, 10_000_000), 1, BUFFERING_SECS, clock=_start, auto_sharding=True)
    batches = _batches(stream, pack)
    assert Counter(name for batch in batches for name in batch.names) == Counter(names)
    assert sorted(len(batch.events) for batch in batches) == [5, 10, 10, 100]
