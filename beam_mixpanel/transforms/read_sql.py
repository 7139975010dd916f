"""Rows of a SQL database, in batches or one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.core.arguments import wrong_type
from beam_mixpanel.core.rows.batches import RowBatch, RowList
from beam_mixpanel.databases.reading import Part, SqlReading, read_part
from beam_mixpanel.databases.url import Connection
from beam_mixpanel.metrics import Ledger
from beam_mixpanel.transforms.coding import register_coders
from beam_mixpanel.transforms.unbatch import RowsOrError

register_coders()


class ReadFromSqlBatched(beam.PTransform):
    """Reads a table or query in batches of rows, its parts in parallel where the runner has several workers.

    Bounded. Each row is read once, in the snapshot and bounds of the reading; a part whose connection is lost is read
    again from its beginning, as is one whose bundle the runner retries. What is read twice becomes the same events
    with the same ids. The job graph holds the reference to the connection, not the connection, and the queries.

    Args:
      reading: what to read; keep it open until the pipeline has ended.

    Raises:
      TypeError: `reading` is no `SqlReading`.
      DatabaseError: when the job runs, the database cannot be read.
    """

    def __init__(self, reading: SqlReading) -> None:
        super().__init__()
        if not isinstance(reading, SqlReading):
            raise wrong_type("reading", "a SqlReading, such as SqlReading('env:DATABASE_URL', table='orders')", reading)
        self._name = reading.name
        self._parts = reading.parts()
        self._connection = reading.connection
        self._fn = _ReadPartFn(reading.connection, reading.snapshot)

    def display_data(self) -> dict[str, Any]:
        """Say what is read, and from where by its reference, which holds no password."""
        return {
            "connection": self._connection.shown,
            "source": self._name,
            "parts": len(self._parts),
        }

    def expand(self, begin: PBegin) -> PCollection[RowBatch | RowList]:
        """Share the parts out and read them."""
        return (
            begin
            | "Parts" >> beam.Create([tuple(part) for part in self._parts])
            | "ShareOut" >> beam.Reshuffle()
            | "ReadParts" >> beam.ParDo(self._fn).with_output_types(RowBatch | RowList)
        )


class ReadFromSql(beam.PTransform):
    """Reads a table or query row by row, as dicts, for steps of your own that look at each row.

    As `ReadFromSqlBatched`, which is several times faster into `WriteToMixpanel`; values as in `UnbatchRows`.

    Args:
      reading: what to read; keep it open until the pipeline has ended.

    Raises:
      TypeError: `reading` is no `SqlReading`.
      DatabaseError: when the job runs, the database cannot be read.
    """

    def __init__(self, reading: SqlReading) -> None:
        super().__init__()
        self._read = ReadFromSqlBatched(reading)

    def display_data(self) -> dict[str, Any]:
        """Say what is read, and from where by its reference, which holds no password."""
        return self._read.display_data()

    def expand(self, begin: PBegin) -> PCollection[dict[str, Any]]:
        """Read batches, and take them apart."""
        return begin | "ReadBatches" >> self._read | "Rows" >> RowsOrError()


class _ReadPartFn(beam.DoFn):
    def __init__(self, connection: Connection, snapshot: str) -> None:
        self._connection = connection
        self._snapshot = snapshot

    def setup(self) -> None:
        self._ledger = Ledger()

    def process(self, part: tuple[str, str]) -> Iterator[Any]:
        name, sql = part
        for rows in read_part(self._connection, Part(name, sql), self._snapshot, count=self._count):
            if isinstance(rows, pa.RecordBatch):
                yield RowBatch(rows, name, -1)
            else:
                yield RowList(rows, name, -1)

    def _count(self, name: str) -> None:
        self._ledger.count(name, 1)
