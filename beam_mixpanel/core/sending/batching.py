"""Batches that Mixpanel accepts: at most so many events, at most so many bytes of JSON."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from beam_mixpanel.core.events.chunk import EventChunk, PreparedEvent


class BatchPacker:
    """Packs events into batches in order, as they come, losing none.

    Args:
      max_events: most events in a batch.
      max_bytes: most bytes in a body of uncompressed JSON, separators included.

    Raises:
      ValueError: a batch could hold no event.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        if max_events < 1:
            raise ValueError(f"a batch must hold at least 1 event, got max_events={max_events}")
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._pending = EventChunk()
        self._pending_bytes = 1  # two brackets, less the comma that the first event lacks

    def add(self, events: EventChunk) -> Iterator[EventChunk]:
        """Take more events.

        Yields:
          The batches that are full now: none could take the event that follows it.

        Raises:
          ValueError: an event alone exceeds max_bytes.
        """
        start = 0
        while start < len(events):
            room = self._max_events - len(self._pending)
            taken = events[start : start + room]
            size = sum(map(len, taken.bodies)) + len(taken)
            if self._pending_bytes + size > self._max_bytes:
                fitting, size = self._fitting(taken.bodies)
                taken = taken[:fitting]
            self._pending.extend(taken)
            self._pending_bytes += size
            start += len(taken)
            if len(self._pending) == self._max_events or (start < len(events) and len(taken) < room):
                yield self.flush()

    def flush(self) -> EventChunk:
        """Give what is pending, perhaps nothing, and begin anew."""
        batch, self._pending, self._pending_bytes = self._pending, EventChunk(), 1
        return batch

    def _fitting(self, bodies: list[bytes]) -> tuple[int, int]:
        """Give how many events still fit, and the bytes they take."""
        sizes = list(accumulate(len(body) + 1 for body in bodies))
        count = bisect_right(sizes, self._max_bytes - self._pending_bytes)
        if count:
            return count, sizes[count - 1]
        if not self._pending:
            raise ValueError(
                f"an event of {len(bodies[0])} bytes does not fit into a batch of {self._max_bytes} bytes; "
                "raise the limit on batch bytes"
            )
        return 0, 0


def pack_batches(events: Iterable[PreparedEvent], *, max_events: int, max_bytes: int) -> Iterator[EventChunk]:
    """Group prepared events into batches that Mixpanel accepts, in order, losing none.

    Args:
      events: each at most max_bytes - 2 bytes long.
      max_events: most events in a batch.
      max_bytes: upper bound on the uncompressed body, separators included.

    Yields:
      Non-empty batches; none could take the first event of the next.

    Raises:
      ValueError: an event alone exceeds max_bytes; validation should have refused it.

    Source: https://docs.mixpanel.com/reference/import-events
    """
    packer = BatchPacker(max_events=max_events, max_bytes=max_bytes)
    for event in events:
        yield from packer.add(EventChunk.of([event]))
    last = packer.flush()
    if last:
        yield last
