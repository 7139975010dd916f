"""Rows from BigQuery, by Beam's own source; read through the Storage API they stay the Arrow batches that they come as.

Beam takes each Arrow batch apart into a dict for every row, value by value, which costs more than all that happens to
the row afterwards. So its source is given another way to read a stream, and nothing else: sessions, splitting, retries
of a stream, temporary tables of queries and their removal are Beam's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.iobase import SourceBundle
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.core.arguments import check_choice, check_names, check_text, optional
from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.transforms.coding import register_coders

try:
    from apache_beam.io.gcp import bigquery
    from apache_beam.io.gcp.bigquery import bq_storage
except ImportError:
    raise ImportError("BigQuery needs Google's clients: pip install 'beam-mixpanel[gcp]'") from None

DIRECT_READ: Final = "DIRECT_READ"
EXPORT: Final = "EXPORT"

register_coders()


class ReadFromBigQueryBatched(beam.PTransform):
    """Reads a table, or what a query gives, for `WriteToMixpanel` with a mapping.

    Bounded. A table is read as it was when the session, or the export, began.

    Args:
      table: `PROJECT.DATASET.TABLE`, `PROJECT:DATASET.TABLE`, or `DATASET.TABLE` in the pipeline's project. Views
        cannot be read as tables; query them.
      query: GoogleSQL instead of a table; its result is kept in a temporary table while it is read.
      method: `DIRECT_READ` through the Storage API, which gives Arrow batches and reads only the columns asked for;
        or `EXPORT` to Avro files under temp_location, which gives dicts.
      columns: to read by `DIRECT_READ`; None for all. `EXPORT` gives all columns.
      row_restriction: SQL condition on the rows, by `DIRECT_READ`.

    Raises:
      ValueError: an argument is wrong, or when it is applied, the pipeline lacks the option `project` or
        `temp_location`; the message says what to do.
    """

    def __init__(
        self,
        *,
        table: str | None = None,
        query: str | None = None,
        method: str = DIRECT_READ,
        columns: Sequence[str] | None = None,
        row_restriction: str | None = None,
    ) -> None:
        super().__init__()
        optional(check_text, "table", table, "PROJECT.DATASET.TABLE")
        optional(check_text, "query", query, "GoogleSQL")
        check_choice("method", method, (DIRECT_READ, EXPORT))
        selected = optional(check_names, "columns", columns, "columns")
        optional(check_text, "row_restriction", row_restriction, "a condition in SQL")
        if (not table) == (not query):
            raise ValueError("give a `table` or a `query`, and not both")
        if method == EXPORT and row_restriction is not None:
            raise ValueError(f"`row_restriction` needs the method {DIRECT_READ}; use a query instead")
        self._needs_project = table is None or not _project_of(table)
        self._what: dict[str, Any] = {"table": table} if table else {"query": query, "use_standard_sql": True}
        self._method = method
        self._selection: dict[str, Any] = {}
        if method == DIRECT_READ and selected is not None:
            self._selection["selected_fields"] = list(selected)
        if row_restriction is not None:
            self._selection["row_restriction"] = row_restriction

    def display_data(self) -> dict[str, Any]:
        """Say what is read and how; of a query only that there is one, since its text may hold values of people."""
        return {
            "table": str(self._what.get("table", "")),
            "query": "query" in self._what,
            "method": self._method,
            "columns": ", ".join(self._selection.get("selected_fields", ())) or "*",
        }

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Give `RowBatch`es, or dicts where the method is `EXPORT`."""
        self.check_options(begin.pipeline.options)
        if self._method == EXPORT:
            return begin | "Export" >> bigquery.ReadFromBigQuery(method=EXPORT, **self._what)
        batches: PCollection[RowBatch] = begin | "DirectRead" >> _ReadBatches(
            method=DIRECT_READ, use_native_datetime=True, **self._what, **self._selection
        )
        return batches

    def check_options(self, options: PipelineOptions) -> None:
        """See that a pipeline has the options that reading needs.

        Raises:
          ValueError: it lacks one.
        """
        options = options.view_as(GoogleCloudOptions)
        if not options.project and (self._needs_project or self._method == EXPORT):
            raise ValueError("BigQuery needs to know which project pays: give the pipeline option `project`")
        if not options.temp_location and self._method == EXPORT:
            raise ValueError(
                f"{EXPORT} needs a place for its files: give the pipeline option `temp_location` gs://BUCKET/PATH"
            )


def _project_of(table: str) -> str | None:
    try:
        project: str | None = bigquery.bigquery_tools.parse_table_reference(table).projectId
    except (ValueError, TypeError):
        raise ValueError(f"`table` must be PROJECT.DATASET.TABLE, got {table!r}") from None
    return project


class _ReadBatches(bigquery.ReadFromBigQuery):
    """Beam's transform with our source in the place of its own."""

    def _expand_direct_read(self, begin: PBegin) -> PCollection[RowBatch]:
        source = _BatchesSource(
            pipeline_options=begin.pipeline.options,
            method=self.method,
            use_native_datetime=True,
            unique_id=uuid.uuid4().hex,
            bigquery_dataset_labels=self.bigquery_dataset_labels,
            **self._kwargs,
        )
        batches = begin | "ReadBatches" >> beam.io.Read(source).with_output_types(RowBatch)
        if source.query is None:
            return batches
        project = begin.pipeline.options.view_as(GoogleCloudOptions).project
        details = {"project_id": project, "bigquery_dataset_labels": self.bigquery_dataset_labels}
        to_remove = beam.pvalue.AsList(begin.pipeline | "TemporaryDatasets" >> beam.Create([details]))
        return batches | "RemoveTemporaryDatasets" >> bigquery._PassThroughThenCleanupTempDatasets(to_remove)

    def _expand_output_type(self, batches: PCollection[RowBatch]) -> PCollection[RowBatch]:
        return batches


class _BatchesSource(bigquery._CustomBigQueryStorageSource):
    """Splits as Beam's does, into streams that are read in batches."""

    def split(self, *args: Any, **kwargs: Any) -> Iterator[SourceBundle]:
        for bundle in super().split(*args, **kwargs):
            table = self.table_reference
            place = "query" if self.query else f"{table.projectId}.{table.datasetId}.{table.tableId}"
            stream = _BatchesStream(f"bigquery:{place}", bundle.source.read_stream_name, self.timeout)
            yield bundle._replace(source=stream)


class _BatchesStream(bigquery._CustomBigQueryStorageStreamSource):
    """One stream of a read session."""

    def __init__(self, name: str, read_stream_name: str, timeout: float | None) -> None:
        super().__init__(read_stream_name, use_native_datetime=True, timeout=timeout)
        self._name = name

    def split(self, *_: Any, **__: Any) -> Iterator[SourceBundle]:
        """Give itself: the service splits streams, not we."""
        yield SourceBundle(weight=1.0, source=self, start_position=None, stop_position=None)

    def read_arrow(self) -> Iterator[RowBatch]:
        """Read batch by batch; the client goes on where a lost connection left off."""
        client = bq_storage.BigQueryReadClient()
        timeout = {} if self.timeout is None else {"timeout": self.timeout}
        schema: pa.Schema | None = None
        for response in client.read_rows(
            self.read_stream_name, retry_delay_callback=self.retry_delay_callback, **timeout
        ):
            if response.arrow_schema.serialized_schema:
                schema = pa.ipc.read_schema(pa.py_buffer(response.arrow_schema.serialized_schema))
            encoded = response.arrow_record_batch.serialized_record_batch
            if encoded:
                yield RowBatch(pa.ipc.read_record_batch(pa.py_buffer(encoded), schema), self._name, -1)
