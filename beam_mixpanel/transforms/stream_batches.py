"""Batches from a stream, kept in the global window, so that no event is ever late.

Beam's `GroupIntoBatches` counts elements and knows no bytes. Kept here are chunks: what a bundle brings is one element,
so the cost of state is shared by its events, and both limits of a batch hold. `auto_sharding` needs `GroupIntoBatches`,
which Dataflow replaces by its own; there, each event is an element.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import FastPrimitivesCoder
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, WindowFn

from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.transforms.batches import BatchLimits, DealToShardsFn
from beam_mixpanel.transforms.coding import EventChunkCoder, register_coders
from beam_mixpanel.transforms.windows import GLOBAL, ParDoInWindows, Places, in_global_window

register_coders()

_LARGE_EVENT_BYTES: Final = 5_000
"""With auto-sharding, events above this are grouped apart. 2,000 smaller ones hold at most 10 MB together."""
_LARGE_EVENTS: Final = 10
"""So many of the large ones are grouped at most: an event has at most 1 MB."""
_SMALL: Final = "Small"
_LARGE: Final = "Large"
_coder = EventChunkCoder()


class PackStream(beam.PTransform):
    """Groups the events of a stream under `num_shards` keys into batches within the limits.

    A batch leaves when it is full, or `max_buffering_secs` after its first event came. A key holds less than one batch,
    in events and in bytes, and keys are few, so state does not grow.

    The batches are in the global window with the default trigger, whatever the stream's windows, triggers and allowed
    lateness; `EventChunk.places` has the windows of each event.

    Args:
      limits: how large a batch may be.
      num_shards: how many keys; a key is handled serially on every runner.
      max_buffering_secs: how long an event may wait for its batch to fill.
      auto_sharding: let the runner split keys as it sees fit (`GroupIntoBatches.WithShardedKey`; Dataflow does).
      clock: seconds since the epoch.
    """

    def __init__(
        self,
        limits: BatchLimits,
        num_shards: int,
        max_buffering_secs: float,
        *,
        auto_sharding: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._limits = limits
        self._num_shards = num_shards
        self._max_buffering_secs = max_buffering_secs
        self._auto_sharding = auto_sharding
        self._clock = clock

    def expand(self, prepared: PCollection[EventChunk]) -> PCollection[EventChunk]:
        """Return batches within the limits."""
        if self._auto_sharding:
            return self._group_by_runner(prepared)
        windowfn = prepared.windowing.windowfn
        deal = ParDoInWindows(DealToShardsFn(self._limits, windowfn, self._num_shards), GLOBAL)
        label = prepared.pipeline._current_transform().full_label
        buffer = _buffer_fn(label, self._limits, self._max_buffering_secs, self._clock)
        return (
            prepared
            | "KeyByShard" >> deal.with_output_types(tuple[int, EventChunk])
            | "Buffer" >> beam.ParDo(buffer).with_output_types(EventChunk)
        )

    def _group_by_runner(self, prepared: PCollection[EventChunk]) -> PCollection[EventChunk]:
        """Group single events as the runner shards them, small and large ones apart: that bounds the bytes of a key."""
        key = ParDoInWindows(_KeyEventsFn(self._num_shards, prepared.windowing.windowfn), GLOBAL)
        keyed = prepared | "KeyByShard" >> key.with_outputs(_LARGE, main=_SMALL)
        batches = []
        for kind, most in ((_SMALL, self._limits.max_events), (_LARGE, min(_LARGE_EVENTS, self._limits.max_events))):
            keyed[kind].element_type = beam.typehints.Tuple[int, bytes]
            group = beam.GroupIntoBatches.WithShardedKey(
                most, max_buffering_duration_secs=self._max_buffering_secs, clock=self._clock
            )
            pack = beam.ParDo(_PackEncodedFn(self._limits)).with_output_types(EventChunk)
            # In a stage of its own: see `_buffer_fn`, and Beam's own timers have names that cannot be chosen.
            apart = keyed[kind] | f"Shuffle{kind}" >> beam.Reshuffle()
            batches.append(apart | f"Group{kind}" >> group | f"From{kind}" >> pack)
        return tuple(batches) | "Flatten" >> beam.Flatten()


class _Buffer(beam.DoFn):
    """Keeps the chunks of a key until they fill a batch, their time is over, or the stream ends; see `_buffer_fn`."""

    def __init__(self, limits: BatchLimits, max_buffering_secs: float, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._max_buffering_secs = max_buffering_secs
        self._clock = clock

    def _take(self, chunk: EventChunk, *, chunks: Any, held: Any, due: Any, end: Any) -> Iterator[EventChunk]:
        size = _state_bytes(chunk)
        if len(chunk) >= self._limits.max_events or size > self._limits.max_bytes // 2:
            yield from self._batches([chunk])  # worth a request of its own
            return
        events_held, bytes_held = held.read() or (0, 0)
        if events_held + len(chunk) < self._limits.max_events and bytes_held + size < self._limits.max_bytes:
            chunks.add(chunk)
            held.write((events_held + len(chunk), bytes_held + size))
            if not events_held:
                due.set(self._clock() + self._max_buffering_secs)
                end.set(GlobalWindow().max_timestamp())
            return
        *full, last = self._batches([*chunks.read(), chunk])
        yield from full
        chunks.clear()
        if not full or len(last) >= self._limits.max_events:
            yield last
            held.clear()
            due.clear()
        else:
            chunks.add(last)
            held.write((len(last), _state_bytes(last)))
            due.set(self._clock() + self._max_buffering_secs)

    def _emptied(self, chunks: Any, held: Any) -> Iterator[EventChunk]:
        yield from self._batches(chunks.read())
        chunks.clear()
        held.clear()

    def _batches(self, chunks: Iterable[EventChunk]) -> Iterator[EventChunk]:
        """Pack chunks; all batches but the last are full."""
        packer = self._limits.packer()
        for chunk in chunks:
            yield from packer.add(chunk)
        last = packer.flush()
        if last:
            yield last


def _buffer_fn(label: str, limits: BatchLimits, max_buffering_secs: float, clock: Callable[[], float]) -> beam.DoFn:
    """Make the step that buffers, with timers that carry the name of the step.

    Beam's FnApiRunner, and so its DirectRunner and embedded job service, keep the timers of a fused stage by their
    names alone (`BundleContextManager.get_buffer` in runners/portability/fn_api_runner/execution.py): with the same
    names, two sinks behind one source would take each other's timers, and what they hold would never leave.
    """
    name = hashlib.sha256(label.encode()).hexdigest()[:16]
    chunks_spec = BagStateSpec("chunks", _coder)
    held_spec = ReadModifyWriteStateSpec("held", FastPrimitivesCoder())  # how many events and bytes
    due_spec = TimerSpec(f"due-{name}", TimeDomain.REAL_TIME)
    end_spec = TimerSpec(f"end-{name}", TimeDomain.WATERMARK)

    class _BufferFn(_Buffer):
        def process(
            self,
            element: tuple[int, EventChunk],
            chunks: Any = beam.DoFn.StateParam(chunks_spec),
            held: Any = beam.DoFn.StateParam(held_spec),
            due: Any = beam.DoFn.TimerParam(due_spec),
            end: Any = beam.DoFn.TimerParam(end_spec),
        ) -> Iterator[EventChunk]:
            return self._take(element[1], chunks=chunks, held=held, due=due, end=end)

        @on_timer(due_spec)
        def time_is_over(
            self, chunks: Any = beam.DoFn.StateParam(chunks_spec), held: Any = beam.DoFn.StateParam(held_spec)
        ) -> Iterator[EventChunk]:
            """Emit what there is."""
            return self._emptied(chunks, held)

        @on_timer(end_spec)
        def stream_ended(
            self,
            chunks: Any = beam.DoFn.StateParam(chunks_spec),
            held: Any = beam.DoFn.StateParam(held_spec),
            due: Any = beam.DoFn.TimerParam(due_spec),
        ) -> Iterator[EventChunk]:
            """Emit what there is; a drain ends the global window."""
            due.clear()
            return self._emptied(chunks, held)

    return _BufferFn(limits, max_buffering_secs, clock)


def _state_bytes(chunk: EventChunk) -> int:
    """Return what a chunk weighs in state: what it sends, and the originals that dead letters would need."""
    return sum(map(len, chunk.bodies)) + sum(len(original) for original in chunk.originals if original)


class _KeyEventsFn(beam.DoFn):
    """Emits each event as a chunk of its own, written already: `GroupIntoBatches` would pickle a chunk."""

    def __init__(self, num_shards: int, windowfn: WindowFn) -> None:
        self._num_shards = num_shards
        self._windowfn = windowfn

    def setup(self) -> None:
        self._places = Places(self._windowfn)
        self._next = 0

    def process(self, events: EventChunk, element: Any = beam.DoFn.WindowedValueParam) -> Iterator[Any]:
        placed = self._places.place(events, element)
        for index in range(len(placed)):
            self._next = (self._next + 1) % self._num_shards
            encoded = _coder.encode(placed[index : index + 1])
            keyed = in_global_window((self._next, encoded), element.timestamp)
            yield keyed if len(encoded) <= _LARGE_EVENT_BYTES else beam.pvalue.TaggedOutput(_LARGE, keyed)


class _PackEncodedFn(beam.DoFn):
    """Packs what was grouped, and checks both limits anew: `GroupIntoBatches` knows no bytes."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits

    def process(self, group: tuple[Any, Iterable[bytes]]) -> Iterator[EventChunk]:
        packer = self._limits.packer()
        for encoded in group[1]:
            yield from packer.add(_coder.decode(encoded))
        last = packer.flush()
        if last:
            yield last
