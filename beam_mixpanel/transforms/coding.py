"""How elements travel where a runner must write them down."""

from __future__ import annotations

from apache_beam import coders

from beam_mixpanel.client.client import ImportReceipt
from beam_mixpanel.core.chunk import EventChunk
from beam_mixpanel.core.dead_letter import DeadLetter
from beam_mixpanel.core.prepare import EventBlock
from beam_mixpanel.core.rows import RowBatch

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


class RowBatchCoder(coders.Coder):
    """Writes rows as an Arrow IPC stream."""

    def encode(self, rows: RowBatch) -> bytes:
        """Write a batch with its schema."""
        import pyarrow as pa

        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, rows.batch.schema) as writer:
            writer.write_batch(rows.batch)
        return bytes(_plain.encode((stream.getvalue().to_pybytes(), rows.source, rows.first_row)))

    def decode(self, encoded: bytes) -> RowBatch:
        """Read a batch."""
        import pyarrow as pa

        stream, source, first_row = _plain.decode(encoded)
        with pa.ipc.open_stream(stream) as reader:
            return RowBatch(reader.read_next_batch(), source, first_row)

    def estimate_size(self, rows: RowBatch) -> int:
        """Tell from Arrow's buffers."""
        return int(rows.batch.nbytes)

    def is_deterministic(self) -> bool:
        """Equal buffers give equal bytes, but equal rows may have different buffers."""
        return False


def register_coders() -> None:
    """Make Beam use these coders; called where the types are used."""
    coders.registry.register_coder(EventChunk, EventChunkCoder)
    coders.registry.register_coder(RowBatch, RowBatchCoder)
    for row_type in (DeadLetter, EventBlock, ImportReceipt):
        coders.registry.register_coder(row_type, coders.RowCoder)
