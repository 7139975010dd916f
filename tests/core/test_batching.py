"""Batches: in order, complete, within both limits, and as full as they can be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.events.chunk import EventChunk, PreparedEvent
from beam_mixpanel.core.sending.batching import BatchPacker, pack_batches
from beam_mixpanel.core.sending.encoding import encode_json

SIZES = st.lists(st.integers(1, 18), max_size=40)
LIMITS = st.tuples(st.integers(1, 7), st.integers(20, 60))


def events_of(sizes: list[int]) -> list[PreparedEvent]:
    """Give events of these sizes, each to be told from the others."""
    return [PreparedEvent(bytes([65 + size]) * size, None, "f", place) for place, size in enumerate(sizes)]


def greedy(sizes: list[int], max_events: int, max_bytes: int) -> list[list[int]]:
    """Pack the obvious way: measure the real body before taking the next event."""
    batches: list[list[int]] = []
    for size in sizes:
        if (
            batches
            and len(batches[-1]) < max_events
            and len(encode_json([b"x" * s for s in [*batches[-1], size]])) <= max_bytes
        ):
            batches[-1].append(size)
        else:
            batches.append([size])
    return batches


@given(SIZES, LIMITS)
def test_batches_are_what_the_obvious_way_gives(sizes: list[int], bounds: tuple[int, int]) -> None:
    """Joined they are the input; each is within both limits; none could take the first event of the next."""
    max_events, max_bytes = bounds
    events = events_of(sizes)
    batches = list(pack_batches(events, max_events=max_events, max_bytes=max_bytes))
    assert [event for batch in batches for event in batch] == events
    assert [[len(body) for body in batch.bodies] for batch in batches] == greedy(sizes, max_events, max_bytes)
    for batch in batches:
        assert 0 < len(batch) <= max_events
        assert len(encode_json(batch.bodies)) <= max_bytes
    for batch, following in pairwise(batches):
        larger = encode_json([*batch.bodies, following.bodies[0]])
        assert len(batch) == max_events or len(larger) > max_bytes


@given(SIZES, LIMITS, st.lists(st.integers(0, 12), max_size=20))
def test_how_events_arrive_does_not_matter(sizes: list[int], bounds: tuple[int, int], cuts: list[int]) -> None:
    """Chunks of any sizes, empty ones too, are packed as single events are."""
    max_events, max_bytes = bounds
    events = events_of(sizes)
    packer = BatchPacker(max_events=max_events, max_bytes=max_bytes)
    batches: list[EventChunk] = []
    start = 0
    for cut in [*cuts, len(events)]:
        batches += packer.add(EventChunk.of(events[start : start + cut]))
        start += cut
    batches += [batch for batch in [packer.flush()] if batch]
    assert batches == list(pack_batches(events, max_events=max_events, max_bytes=max_bytes))
    assert len(packer.flush()) == 0


def test_a_batch_is_given_as_soon_as_it_is_full() -> None:
    """A batch with the most events goes on at once; one that bytes fill waits until an event does not fit."""
    packer = BatchPacker(max_events=2, max_bytes=100)
    assert [len(batch) for batch in packer.add(EventChunk.of(events_of([1, 1, 1])))] == [2]
    assert [len(batch) for batch in packer.add(EventChunk.of(events_of([96])))] == [2]
    assert list(packer.add(EventChunk.of(events_of([98])))) == []
    assert [len(batch) for batch in packer.add(EventChunk.of(events_of([1])))] == [1]


def test_an_event_that_fits_exactly_is_a_batch() -> None:
    """An event of max_bytes - 2 bytes is a batch of max_bytes; one byte more is an error that tells the cure."""
    (batch,) = pack_batches(events_of([98]), max_events=9, max_bytes=100)
    assert len(encode_json(batch.bodies)) == 100
    with pytest.raises(ValueError, match="raise the limit on batch bytes"):
        list(pack_batches(events_of([1, 99]), max_events=9, max_bytes=100))


@pytest.mark.parametrize("max_events", [0, -1])
def test_a_batch_must_hold_an_event(max_events: int) -> None:
    """A limit below one event is an error, rather than a loop without end."""
    with pytest.raises(ValueError, match="at least 1 event"):
        BatchPacker(max_events=max_events, max_bytes=100)


@given(SIZES, st.integers(0, 40), st.integers(0, 40))
def test_a_chunk_is_a_sequence_of_events(sizes: list[int], start: int, stop: int) -> None:
    """A chunk behaves as the list of its events; slices share nothing with it, and its text tells no content."""
    events = events_of(sizes)
    chunk = EventChunk.of(events)
    assert list(chunk) == events == [chunk[place] for place in range(len(chunk))]
    part = chunk[start:stop]
    assert part == events[start:stop]
    part.extend(EventChunk.of(events))
    assert list(chunk) == events
    assert repr(chunk) == f"EventChunk({len(events)} events)"
    assert (chunk == 5) is False
