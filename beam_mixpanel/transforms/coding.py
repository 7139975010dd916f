"""How elements travel where a runner must write them down."""

from __future__ import annotations

import uuid
from itertools import groupby
from typing import Any, Final, get_type_hints

from apache_beam import coders
from apache_beam.typehints.schemas import SCHEMA_REGISTRY, named_tuple_to_schema

from beam_mixpanel.client.results import ImportReceipt
from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.rows.batches import RowBatch

_plain = coders.FastPrimitivesCoder()
_ROW_TYPES: Final = (DeadLetter, EventBlock, ImportReceipt)
_SCHEMA_ID: Final = "_beam_schema_id"
"""Where Beam keeps the id of a type's schema."""


class EventChunkCoder(coders.Coder):
    """Writes chunks without pickling, and tells their size without writing them.

    Runners estimate the size of some elements on every edge; Beam's own coder would pickle a whole chunk for that.
    """

    def encode(self, chunk: EventChunk) -> bytes:
        """Write a chunk; neighbours mostly share a place, so each run of equal places is written once."""
        runs = [(place, len(list(equal))) for place, equal in groupby(chunk.places)]
        return bytes(_plain.encode((chunk.bodies, chunk.originals, chunk.sources, chunk.offsets, runs)))

    def decode(self, encoded: bytes) -> EventChunk:
        """Read a chunk."""
        bodies, originals, sources, offsets, runs = _plain.decode(encoded)
        places = [place for place, length in runs for _ in range(length)]
        return EventChunk(bodies=bodies, originals=originals, sources=sources, offsets=offsets, places=places)

    def estimate_size(self, chunk: EventChunk) -> int:
        """Guess from the first event."""
        if chunk:
            return len(chunk) * (len(chunk.bodies[0]) + 50)
        return 0

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
    for row_type in _ROW_TYPES:
        if _SCHEMA_ID not in vars(row_type):
            _give_schema(row_type)
        coders.registry.register_coder(row_type, coders.RowCoder)


def _give_schema(row_type: Any) -> None:
    """Tell Beam the types of the fields, and give the schema the same id in every process.

    Beam reads annotations as they stand, and takes postponed ones for anything: Python's pickle then stands in the
    schema, which neither other languages nor SQL can read. An id made by chance, Beam's default, is unknown to a worker
    in another process, which makes a type of its own of the rows: no `EventBlock`, but a row like any other.
    """
    hints = get_type_hints(row_type)
    fields = ",".join(f"{name}:{hints[name].__name__}" for name in row_type._fields)
    row_type.__annotations__ = hints
    setattr(row_type, _SCHEMA_ID, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{row_type.__qualname__}({fields})")))
    SCHEMA_REGISTRY.add(row_type, named_tuple_to_schema(row_type))
