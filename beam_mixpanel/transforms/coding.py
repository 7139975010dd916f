"""How elements travel where a runner must write them down."""

from __future__ import annotations

from apache_beam import coders

from beam_mixpanel.client.client import ImportReceipt
from beam_mixpanel.core.chunk import EventChunk
from beam_mixpanel.core.dead_letter import DeadLetter
from beam_mixpanel.core.prepare import EventBlock

_plain = coders.FastPrimitivesCoder()


class EventChunkCoder(coders.Coder):
    """Writes chunks without pickling, and tells their size without writing them.

    Runners estimate the size of some elements on every edge; Beam's own coder would pickle a whole chunk for that.
    """

    def encode(self, chunk: EventChunk) -> bytes:
        """Write a chunk."""
        return bytes(_plain.encode((chunk.bodies, chunk.originals, chunk.sources, chunk.offsets)))

    def decode(self, encoded: bytes) -> EventChunk:
        """Read a chunk."""
        return EventChunk(*_plain.decode(encoded))

    def estimate_size(self, chunk: EventChunk) -> int:
        """Guess from the first event."""
        return len(chunk) * (len(chunk.bodies[0]) + 50) if chunk else 0

    def is_deterministic(self) -> bool:
        """Equal chunks give equal bytes."""
        return True


def register_coders() -> None:
    """Make Beam use these coders; called where the types are used."""
    coders.registry.register_coder(EventChunk, EventChunkCoder)
    for row_type in (DeadLetter, EventBlock, ImportReceipt):
        coders.registry.register_coder(row_type, coders.RowCoder)
