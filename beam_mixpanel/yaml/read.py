"""The readers for Beam YAML; they hand their batches to `WriteToMixpanel`.

Beam reads the types of the arguments as they stand, so annotations are not postponed, and say Optional: Beam takes
`str | None` for anything.
"""

from collections.abc import Sequence
from typing import Any, Optional

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.databases.reading import SqlReading
from beam_mixpanel.transforms import read_sql
from beam_mixpanel.transforms.read_rows import ReadRowsFromFiles


class ReadEventsFromFiles(beam.PTransform):
    """Reads files of events or rows for `WriteToMixpanel`: NDJSON, JSON, CSV, TSV, Avro and Parquet, in batches.

    Args:
      path: a file name or glob, on any file system that Beam knows.
      format: `auto`, `ndjson`, `json`, `csv`, `tsv`, `avro` or `parquet`.
      columns: those that are needed; all where it is left out.
    """

    def __init__(
        self,
        *,
        path: str,
        format: str = "auto",
        columns: Optional[Sequence[str]] = None,
    ) -> None:
        super().__init__()
        self._read = ReadRowsFromFiles(path, format, columns=columns)

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Give batches."""
        return begin | "ReadFiles" >> self._read


class ReadRowsFromSql(beam.PTransform):
    """Reads a SQL database for `WriteToMixpanel`, in batches; where it is partitioned, several workers read at once.

    A part sees the database as it is when its reader begins: with one part, one state; with several, each its own,
    within bounds that are those of the launch.

    Args:
      connection: reference to the database's URL, `env:NAME`, `file:PATH` or `gcp-secret:...`; or `sqlite:///FILE`,
        `duckdb:///FILE`.
      table: `TABLE` or `SCHEMA.TABLE`.
      query: one SELECT, instead of a table.
      columns: those that are needed; all where it is left out.
      partition_column: of integers, dates or timestamps, whose ranges are read in parallel.
      partitions: how many ranges.
    """

    def __init__(
        self,
        *,
        connection: str,
        table: Optional[str] = None,
        query: Optional[str] = None,
        columns: Optional[Sequence[str]] = None,
        partition_column: Optional[str] = None,
        partitions: int = 8,
    ) -> None:
        super().__init__()
        with SqlReading(connection, table=table, query=query, share=False) as reading:
            if columns is not None:
                reading.choose(columns)
            if partition_column:
                reading.split(partition_column, partitions)
            self._read = read_sql.ReadRowsFromSql(reading)

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Give batches."""
        return begin | "ReadRows" >> self._read


class ReadRowsFromBigQuery(beam.PTransform):
    """Reads a table of BigQuery, or what a query gives, for `WriteToMixpanel`, in batches.

    Args:
      table: `PROJECT.DATASET.TABLE`.
      query: GoogleSQL, instead of a table.
      method: `DIRECT_READ`, or `EXPORT` to files under the pipeline's temp_location.
      columns: those that are needed, by `DIRECT_READ`; all where it is left out.
      row_restriction: SQL condition on the rows of a table, by `DIRECT_READ`.
    """

    def __init__(
        self,
        *,
        table: Optional[str] = None,
        query: Optional[str] = None,
        method: str = "DIRECT_READ",
        columns: Optional[Sequence[str]] = None,
        row_restriction: Optional[str] = None,
    ) -> None:
        super().__init__()
        from beam_mixpanel.transforms import read_bigquery

        self._read = read_bigquery.ReadRowsFromBigQuery(
            table=table, query=query, method=method, columns=columns, row_restriction=row_restriction
        )

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Give batches."""
        return begin | "ReadRows" >> self._read
