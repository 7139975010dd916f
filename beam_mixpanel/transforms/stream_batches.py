"""Batches from a stream: by Beam's `GroupIntoBatches`, in the global window, so that no event is ever late."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindows, WindowFn
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from beam_mixpanel.core.batching import pack_batches
from beam_mixpanel.core.chunk import EventChunk, PreparedEvent
from beam_mixpanel.transforms.batches import BatchLimits
from beam_mixpanel.transforms.coding import register_coders

register_coders()

_Placed = tuple[bytes | str | int | None, ...]
"""The fields of a `PreparedEvent`, then its timestamp in microseconds and its window, as its coder writes it: what
Beam's coders write without pickling."""


class PackStream(beam.PTransform):
    """Groups the events of a stream under `num_shards` keys into batches within the limits.

    A batch leaves when it is full, or `max_buffering_secs` after its first event came. State holds less than one batch
    a key, and keys are few, so it does not grow.

    Beam drops late elements where state is kept in windows, silently. So the grouping is done in the global window, the
    windows travel with the events, and each batch is given back in the window that its events had.

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
        group = beam.GroupIntoBatches.WithShardedKey if auto_sharding else beam.GroupIntoBatches
        self._group = group(limits.max_events, max_buffering_duration_secs=max_buffering_secs, clock=clock)

    def expand(self, prepared: PCollection[EventChunk]) -> PCollection[EventChunk]:
        """Give batches within the limits, each of one window."""
        windowing = prepared.windowing
        key = beam.ParDo(_KeyEventsFn(self._num_shards, windowing.windowfn)).with_output_types(tuple[int, _Placed])
        batches: PCollection[EventChunk] = (
            prepared
            | "KeyByShard" >> key
            | "GlobalWindow" >> beam.WindowInto(GlobalWindows())
            | "GroupIntoBatches" >> self._group
            | "PackGroups" >> beam.ParDo(_PackGroupFn(self._limits, windowing.windowfn)).with_output_types(EventChunk)
        )
        batches._windowing = windowing  # as Beam's Reshuffle gives windows back
        return batches


class _KeyEventsFn(beam.DoFn):
    def __init__(self, num_shards: int, windows: WindowFn) -> None:
        self._num_shards = num_shards
        self._windows = windows

    def setup(self) -> None:
        self._coder = self._windows.get_window_coder()

    def process(
        self, events: EventChunk, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[tuple[int, _Placed]]:
        place = (timestamp.micros, self._coder.encode(window))
        for event in events:
            yield random.randrange(self._num_shards), (*event, *place)  # noqa: S311 - any spread will do


class _PackGroupFn(beam.DoFn):
    """Packs what was grouped, window by window, and checks both limits anew: `GroupIntoBatches` knows no bytes."""

    def __init__(self, limits: BatchLimits, windows: WindowFn) -> None:
        self._limits = limits
        self._windows = windows

    def setup(self) -> None:
        self._coder = self._windows.get_window_coder()

    def process(self, group: tuple[Any, Iterable[Any]]) -> Iterator[WindowedValue]:
        by_window: dict[bytes, list[PreparedEvent]] = {}
        latest: dict[bytes, int] = {}
        for *event, micros, encoded in group[1]:
            by_window.setdefault(encoded, []).append(PreparedEvent(*event))
            latest[encoded] = max(micros, latest.get(encoded, micros))
        for encoded, events in by_window.items():
            window = self._coder.decode(encoded)
            for batch in pack_batches(events, **self._limits._asdict()):
                yield WindowedValue(batch, Timestamp(micros=latest[encoded]), (window,))
