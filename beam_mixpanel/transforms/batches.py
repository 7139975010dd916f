"""Batches from the prepared events of a bounded input: packed inside the bundle and across bundles, or by key."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import WindowFn
from apache_beam.utils.timestamp import MAX_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.core.sending.batching import BatchPacker
from beam_mixpanel.transforms.coding import register_coders
from beam_mixpanel.transforms.windows import GLOBAL, ParDoInWindows, Places, in_global_window

register_coders()

_REMAINDERS: Final = "remainders"
_REMAINDER_KEYS: Final = 8
"""Each bundle leaves less than one batch; on eight keys thousands of bundles still pack well."""


class BatchLimits(NamedTuple):
    """How large a batch may be; see `WriteToMixpanel`."""

    max_events: int
    max_bytes: int

    def packer(self) -> BatchPacker:
        """Return a packer of batches within these limits."""
        return BatchPacker(max_events=self.max_events, max_bytes=self.max_bytes)


class PackInBundles(beam.PTransform):
    """Packs batches inside each bundle, and what is left over across bundles.

    Bounded input. Full batches go on in the same stage, without a shuffle; only the rest of a bundle, less than one
    batch, is grouped with others. Returns two PCollections rather than one, since a Flatten before the sender would
    make a runner hold every batch back. Both are in the global window; `EventChunk.places` has the windows of each
    event.
    """

    def __init__(self, limits: BatchLimits) -> None:
        super().__init__()
        self._limits = limits

    def expand(self, prepared: PCollection[EventChunk]) -> tuple[PCollection[EventChunk], PCollection[EventChunk]]:
        """Return the full batches, and those made of remainders."""
        pack = ParDoInWindows(_PackBatchesFn(self._limits, prepared.windowing.windowfn), GLOBAL)
        outputs = prepared | "InBundles" >> pack.with_outputs(_REMAINDERS, main="full")
        # Set here, since type hints for tags would be checked against every output under --runtime_type_check.
        outputs["full"].element_type = EventChunk
        outputs[_REMAINDERS].element_type = beam.typehints.Tuple[int, EventChunk]
        packed = (
            outputs[_REMAINDERS]
            | "GroupRemainders" >> beam.GroupByKey()
            | "FromRemainders" >> beam.ParDo(_PackChunksFn(self._limits)).with_output_types(EventChunk)
        )
        return outputs["full"], packed


class PackByShard(beam.PTransform):
    """Groups all events of a bounded input under `num_shards` keys, in the global window.

    A key is handled serially on every runner, so a sender that is fused behind this and waits for its own requests has
    at most `num_shards` of them in flight in the whole job.
    """

    def __init__(self, limits: BatchLimits, num_shards: int) -> None:
        super().__init__()
        self._limits = limits
        self._num_shards = num_shards

    def expand(self, prepared: PCollection[EventChunk]) -> PCollection[EventChunk]:
        """Return batches within the limits."""
        deal = DealToShardsFn(self._limits, prepared.windowing.windowfn, self._num_shards)
        return (
            prepared
            | "DealToShards" >> ParDoInWindows(deal, GLOBAL).with_output_types(tuple[int, EventChunk])
            | "GroupByShard" >> beam.GroupByKey()
            | "FromShards" >> beam.ParDo(_PackChunksFn(self._limits)).with_output_types(EventChunk)
        )


class _PackInBundleFn(beam.DoFn):
    """What packing inside a bundle shares: one packer, since events of all windows share batches."""

    def __init__(self, limits: BatchLimits, windowfn: WindowFn) -> None:
        self._limits = limits
        self._windowfn = windowfn

    def setup(self) -> None:
        self._places = Places(self._windowfn)

    def start_bundle(self) -> None:
        self._packer = self._limits.packer()
        self._earliest = MAX_TIMESTAMP

    def _full(self, events: EventChunk, element: WindowedValue) -> Iterator[WindowedValue]:
        """Take events; yield the batches that are full now, in the global window."""
        self._earliest = min(self._earliest, element.timestamp)
        for batch in self._packer.add(self._places.place(events, element)):
            yield in_global_window(batch, element.timestamp)

    def _rest(self) -> Iterator[WindowedValue]:
        """Yield what is left; its timestamp holds the watermark back as its earliest event does."""
        rest = self._packer.flush()
        if rest:
            yield in_global_window(rest, self._earliest)


class _PackBatchesFn(_PackInBundleFn):
    def start_bundle(self) -> None:
        super().start_bundle()
        self._key = random.randrange(_REMAINDER_KEYS)  # noqa: S311 - any spread will do

    def process(self, events: EventChunk, element: Any = beam.DoFn.WindowedValueParam) -> Iterator[WindowedValue]:
        return self._full(events, element)

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        for rest in self._rest():
            yield TaggedOutput(_REMAINDERS, rest.with_value((self._key, rest.value)))


class DealToShardsFn(_PackInBundleFn):
    """Packs inside the bundle and deals the batches out to the shards, so that few, large elements are shuffled.

    Emits a shard's number with a batch, in the global window.
    """

    def __init__(self, limits: BatchLimits, windowfn: WindowFn, num_shards: int) -> None:
        super().__init__(limits, windowfn)
        self._num_shards = num_shards

    def start_bundle(self) -> None:
        """Begin with any shard."""
        super().start_bundle()
        self._next = random.randrange(self._num_shards)  # noqa: S311 - any spread will do

    def process(self, events: EventChunk, element: Any = beam.DoFn.WindowedValueParam) -> Iterator[WindowedValue]:
        """Take events; emit the batches that are full now."""
        for batch in self._full(events, element):
            yield batch.with_value(self._deal(batch.value))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Emit the rest."""
        for rest in self._rest():
            yield rest.with_value(self._deal(rest.value))

    def _deal(self, batch: EventChunk) -> tuple[int, EventChunk]:
        self._next = (self._next + 1) % self._num_shards
        return self._next, batch


class _PackChunksFn(beam.DoFn):
    """Packs what was grouped, since groups are of any size."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits

    def process(self, group: tuple[int, Iterable[EventChunk]]) -> Iterator[EventChunk]:
        packer = self._limits.packer()
        for chunk in group[1]:
            yield from packer.add(chunk)
        last = packer.flush()
        if last:
            yield last
