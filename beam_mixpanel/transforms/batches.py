"""Batches from the prepared events of a bounded input: packed inside the bundle and across bundles, or by key."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import BoundedWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_mixpanel.core.batching import BatchPacker
from beam_mixpanel.core.chunk import EventChunk
from beam_mixpanel.transforms.coding import register_coders

register_coders()

_REMAINDERS: Final = "remainders"
_REMAINDER_KEYS: Final = 8
"""Each bundle leaves less than one batch; on eight keys thousands of bundles still pack well."""


class BatchLimits(NamedTuple):
    """How large a batch may be; see `WriteToMixpanel`."""

    max_events: int
    max_bytes: int


class PackInBundles(beam.PTransform):
    """Packs batches inside each bundle, and what is left over across bundles.

    Bounded input. Full batches go on in the same stage, without a shuffle; only the rest of a bundle, less than one
    batch, is grouped with others of its window. Gives two PCollections rather than one, since a Flatten before the
    sender would make a runner hold every batch back.
    """

    def __init__(self, limits: BatchLimits) -> None:
        super().__init__()
        self._limits = limits

    def expand(self, prepared: PCollection[EventChunk]) -> tuple[PCollection[EventChunk], PCollection[EventChunk]]:
        """Give the full batches, and those made of remainders."""
        step = beam.ParDo(_PackBatchesFn(self._limits)).with_output_types(
            EventChunk, **{_REMAINDERS: tuple[int, EventChunk]}
        )
        outputs = prepared | "PackBatches" >> step.with_outputs(_REMAINDERS, main="full")
        packed = (
            outputs[_REMAINDERS]
            | "GroupRemainders" >> beam.GroupByKey()
            | "PackRemainders" >> beam.ParDo(_PackGroupFn(self._limits)).with_output_types(EventChunk)
        )
        return outputs["full"], packed


class PackByShard(beam.PTransform):
    """Groups all events of a bounded input under `num_shards` keys.

    A key is handled serially on every runner, so a sender that is fused behind this and waits for its own requests has
    at most `num_shards` of them in flight in the whole job.
    """

    def __init__(self, limits: BatchLimits, num_shards: int) -> None:
        super().__init__()
        self._limits = limits
        self._num_shards = num_shards

    def expand(self, prepared: PCollection[EventChunk]) -> PCollection[EventChunk]:
        """Give batches within the limits."""
        deal = beam.ParDo(_PackForShardsFn(self._limits, self._num_shards))
        return (
            prepared
            | "PackBatches" >> deal.with_output_types(tuple[int, EventChunk])
            | "GroupByShard" >> beam.GroupByKey()
            | "PackShards" >> beam.ParDo(_PackGroupFn(self._limits)).with_output_types(EventChunk)
        )


class _PackPerWindowFn(beam.DoFn):
    """What packing inside a bundle shares: a packer for each window, emptied when the bundle ends."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits

    def start_bundle(self) -> None:
        self._packers: dict[BoundedWindow, BatchPacker] = {}

    def _full(self, events: EventChunk, window: BoundedWindow) -> Iterator[EventChunk]:
        """Take events; give the batches of their window that are full now."""
        packer = self._packers.get(window)
        if packer is None:
            packer = self._packers[window] = BatchPacker(**self._limits._asdict())
        return packer.add(events)

    def _rests(self) -> Iterator[tuple[BoundedWindow, EventChunk]]:
        """Give what is left in each window."""
        for window, packer in self._packers.items():
            rest = packer.flush()
            if rest:
                yield window, rest


class _PackBatchesFn(_PackPerWindowFn):
    def start_bundle(self) -> None:
        super().start_bundle()
        self._key = random.randrange(_REMAINDER_KEYS)  # noqa: S311 - any spread will do

    def process(self, events: EventChunk, window: Any = beam.DoFn.WindowParam) -> Iterator[EventChunk]:
        yield from self._full(events, window)

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        for window, rest in self._rests():
            yield TaggedOutput(_REMAINDERS, WindowedValue((self._key, rest), window.max_timestamp(), (window,)))


class _PackForShardsFn(_PackPerWindowFn):
    """Packs inside the bundle and deals the batches out to the shards, so that few, large elements are shuffled."""

    def __init__(self, limits: BatchLimits, num_shards: int) -> None:
        super().__init__(limits)
        self._num_shards = num_shards

    def start_bundle(self) -> None:
        super().start_bundle()
        self._next = random.randrange(self._num_shards)  # noqa: S311 - any spread will do

    def process(self, events: EventChunk, window: Any = beam.DoFn.WindowParam) -> Iterator[tuple[int, EventChunk]]:
        for batch in self._full(events, window):
            yield self._deal(batch)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for window, rest in self._rests():
            yield WindowedValue(self._deal(rest), window.max_timestamp(), (window,))

    def _deal(self, batch: EventChunk) -> tuple[int, EventChunk]:
        self._next = (self._next + 1) % self._num_shards
        return self._next, batch


class _PackGroupFn(beam.DoFn):
    """Packs what was grouped, since groups are of any size."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits

    def process(self, group: tuple[int, Iterable[EventChunk]]) -> Iterator[EventChunk]:
        packer = BatchPacker(**self._limits._asdict())
        for chunk in group[1]:
            yield from packer.add(chunk)
        last = packer.flush()
        if last:
            yield last
