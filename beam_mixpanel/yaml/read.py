"""The readers for Beam YAML; they hand their batches to `WriteToMixpanel`.

Beam reads the types of the arguments as they stand, so annotations are not postponed, and say Optional: Beam takes
`str | None` for anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Optional

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.core.formats.csv_format import CsvFormat
from beam_mixpanel.core.formats.kinds import AUTO, DELIMITED, JSON, NDJSON
from beam_mixpanel.databases.reading import SqlReading
from beam_mixpanel.databases.url import Connection
from beam_mixpanel.secrets import SecretReference
from beam_mixpanel.transforms import read_files, read_sql
from beam_mixpanel.yaml.values import named_by, value_of, values_of

_DEFAULT_PARTITIONS: Final = 8
_CSV_KEYS: Final[Mapping[str, Any]] = {
    "delimiter": str,
    "columns": Sequence[str],
    "encoding": str,
    "types": Mapping[str, Any],
    "text": bool,
}
"""The fields of `CsvFormat`."""


class ReadFromFilesBatched(beam.PTransform):
    """Reads files of events or rows in any format for `WriteToMixpanel`, in batches.

    Args:
      path: a file name or glob, on any file system that Beam knows.
      format: the name of a format, or `auto`.
      columns: those that are needed; all where it is left out.
      csv: how CSV and TSV files are written: `delimiter`, `columns` of files without a header, `encoding`, `types` by
        column, and `text: true` to type no column by rule.
      ndjson_as_rows: give lines of JSON as rows, and not as events.
      extended_json: JSON and NDJSON are MongoDB's extended JSON, as `mongoexport` writes it; lines are rows.
    """

    def __init__(
        self,
        *,
        path: str,
        format: str = "auto",
        columns: Optional[Sequence[str]] = None,
        csv: Optional[Mapping[str, Any]] = None,
        ndjson_as_rows: bool = False,
        extended_json: bool = False,
    ) -> None:
        values = values_of(ReadFromFilesBatched, locals())
        super().__init__()
        if csv is not None and format not in (AUTO, *DELIMITED):
            raise ValueError(f"csv has no effect with format: {format}; leave one of them out")
        if ndjson_as_rows and format not in (AUTO, NDJSON.name):
            raise ValueError(f"ndjson_as_rows has no effect with format: {format}; leave one of them out")
        if extended_json and format not in (AUTO, JSON.name, NDJSON.name):
            raise ValueError(f"extended_json has no effect with format: {format}; leave one of them out")
        values["csv"] = _csv_format(values["csv"] or {})
        self._read = read_files.ReadFromFilesBatched(values.pop("path"), values.pop("format"), **values)

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Return batches."""
        return begin | "ReadFiles" >> self._read


class ReadFromSqlBatched(beam.PTransform):
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
      partitions: how many ranges (default 8); needs `partition_column`.
    """

    def __init__(
        self,
        *,
        connection: str,
        table: Optional[str] = None,
        query: Optional[str] = None,
        columns: Optional[Sequence[str]] = None,
        partition_column: Optional[str] = None,
        partitions: Optional[int] = None,
    ) -> None:
        values = values_of(ReadFromSqlBatched, locals())
        super().__init__()
        if values["partitions"] is not None and values["partition_column"] is None:
            raise ValueError("partitions needs partition_column, whose ranges are read in parallel")
        # The form of the reference alone; a database that cannot be reached is no fault of this key.
        named_by("connection", lambda: Connection(values["connection"]))
        with SqlReading(values["connection"], table=values["table"], query=values["query"], share=False) as reading:
            if values["columns"] is not None:
                reading.choose(values["columns"])
            if values["partition_column"] is not None:
                reading.split(values["partition_column"], values["partitions"] or _DEFAULT_PARTITIONS)
            self._read = read_sql.ReadFromSqlBatched(reading)

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Return batches."""
        return begin | "ReadRows" >> self._read


class ReadFromMongoDBBatched(beam.PTransform):
    """Reads a collection of MongoDB for `WriteToMixpanel`, in batches; several workers read at once.

    Args:
      connection: reference to the URL, `env:NAME`, `file:PATH` or `gcp-secret:...`.
      database: the database's name.
      collection: the collection's name.
      filter: which documents, as for `find`; values may be extended JSON, such as `{$date: "2024-01-01T00:00:00Z"}`.
      columns: the fields that are needed; all where it is left out.
      partitions: how many ranges of `_id` (default 8, and more for large collections).
    """

    def __init__(
        self,
        *,
        connection: str,
        database: str,
        collection: str,
        filter: Optional[Mapping[str, Any]] = None,
        columns: Optional[Sequence[str]] = None,
        partitions: Optional[int] = None,
    ) -> None:
        values = values_of(ReadFromMongoDBBatched, locals())
        super().__init__()
        from beam_mixpanel.transforms import read_mongodb

        named_by("connection", lambda: SecretReference(values["connection"]))
        self._read = read_mongodb.ReadFromMongoDBBatched(values.pop("connection"), **values)

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Return batches."""
        return begin | "ReadDocuments" >> self._read


class ReadFromBigQueryBatched(beam.PTransform):
    """Reads a table of BigQuery, or what a query gives, for `WriteToMixpanel`, in batches.

    Args:
      table: `PROJECT.DATASET.TABLE`.
      query: GoogleSQL, instead of a table.
      method: `DIRECT_READ`, or `EXPORT` to files under the pipeline's temp_location.
      columns: those that are needed, by `DIRECT_READ`; all where it is left out, and by `EXPORT`.
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
        values = values_of(ReadFromBigQueryBatched, locals())
        super().__init__()
        from beam_mixpanel.transforms import read_bigquery

        if values["method"] == read_bigquery.EXPORT and values["columns"] is not None:
            raise ValueError("columns has no effect with method: EXPORT, which reads all; use a query instead")
        self._read = read_bigquery.ReadFromBigQueryBatched(**values)

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Return batches."""
        return begin | "ReadRows" >> self._read


def _csv_format(settings: Mapping[str, Any]) -> CsvFormat:
    unknown = [key for key in settings if key not in _CSV_KEYS]
    if unknown:
        raise ValueError(f"csv has no key {unknown[0]}; it takes {', '.join(_CSV_KEYS)}")
    given = {key: value_of(_CSV_KEYS[key], f"csv.{key}", value) for key, value in settings.items() if value is not None}
    csv = CsvFormat(**given)
    named_by("csv", csv.check)
    return csv
