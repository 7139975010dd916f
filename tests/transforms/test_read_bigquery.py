"""Reading BigQuery: Google's own client against a server that speaks the Storage API, and exports in Avro files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

pytest.importorskip("google.cloud.bigquery_storage_v1", reason="needs the extra gcp")

import fastavro
from apache_beam.io.gcp import bigquery
from apache_beam.io.gcp.internal.clients.bigquery import TableReference
from google.cloud.bigquery_storage_v1 import types

from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.transforms.coding import RowBatchCoder
from beam_mixpanel.transforms.prepare import PrepareEvents
from beam_mixpanel.transforms.read_bigquery import DIRECT_READ, EXPORT, ReadFromBigQueryBatched
from tests.bigquery_service import StorageServer

TABLE = "a-project:a_dataset.a_table"
ROWS = [{"event": f"E{number}", "time": 1_700_000_000 + number} for number in range(9)]
SCHEMA = pa.schema([("event", pa.string()), ("time", pa.int64())])
STREAMS = {"streams/1": [ROWS[:2], ROWS[2:5]], "streams/empty": [], "streams/2": [ROWS[5:6], [], ROWS[6:]]}


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    """A server that Beam's source is connected to."""
    with StorageServer(SCHEMA) as server:
        server.streams = dict(STREAMS)
        monkeypatch.setattr(bigquery.bq_storage, "BigQueryReadClient", server.client)
        yield server


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> mock.MagicMock:
    """In the place of Beam's client of the BigQuery API proper: tables, jobs, temporary datasets."""
    wrapper = mock.MagicMock()
    wrapper.return_value = wrapper.from_pipeline_options.return_value = wrapper
    wrapper.get_table.return_value.numBytes = 1000
    wrapper._get_temp_table.return_value = TableReference(projectId="payer", datasetId="temporary", tableId="result")
    monkeypatch.setattr(bigquery.bigquery_tools, "BigQueryWrapper", wrapper)
    return wrapper


def _pipeline(*flags: str) -> beam.Pipeline:
    return beam.Pipeline("FnApiRunner", PipelineOptions(["--project=payer", *flags]))


def _rows(rows: RowBatch) -> list[dict[str, Any]]:
    assert isinstance(rows, RowBatch)
    return [{**row, "source": rows.source, "first_row": rows.first_row} for row in rows.batch.to_pylist()]


def _expected(source: str) -> list[dict[str, Any]]:
    return [{**row, "source": source, "first_row": -1} for row in ROWS]


def test_a_table_is_read_in_batches(storage: StorageServer, jobs: mock.MagicMock) -> None:
    """All rows of all streams come once, as Arrow batches; streams and batches without rows do no harm."""
    with _pipeline() as pipeline:
        read = pipeline | ReadFromBigQueryBatched(table=TABLE)
        assert_that(read | beam.FlatMap(_rows), equal_to(_expected("bigquery:a-project.a_dataset.a_table")))
    assert sorted(storage.reads) == [(name, 0) for name in sorted(STREAMS)]
    jobs.create_temporary_dataset.assert_not_called()
    jobs._clean_up_beam_labelled_temporary_datasets.assert_not_called()


def test_a_session_asks_for_what_is_needed(storage: StorageServer, jobs: mock.MagicMock) -> None:
    """The one session asks for Arrow, the columns and the rows that are wanted, and no more."""
    columns = ["event", "time"]
    with _pipeline() as pipeline:
        _ = pipeline | ReadFromBigQueryBatched(table=TABLE, columns=columns, row_restriction="time > 5")
    [request] = storage.sessions
    session = request.read_session
    assert session.table == "projects/a-project/datasets/a_dataset/tables/a_table"
    assert session.data_format == types.DataFormat.ARROW
    assert list(session.read_options.selected_fields) == columns
    assert session.read_options.row_restriction == "time > 5"


def test_all_columns_are_read_where_none_are_named(storage: StorageServer, jobs: mock.MagicMock) -> None:
    """Without columns and restriction, the session names none."""
    with _pipeline() as pipeline:
        _ = pipeline | ReadFromBigQueryBatched(table="a_dataset.a_table")
    [request] = storage.sessions
    assert request.read_session.table == "projects/payer/datasets/a_dataset/tables/a_table"
    assert list(request.read_session.read_options.selected_fields) == []
    assert request.read_session.read_options.row_restriction == ""


def test_an_empty_table_gives_no_rows(storage: StorageServer, jobs: mock.MagicMock) -> None:
    """A session without streams is read, and the job ends well."""
    storage.streams = {}
    with _pipeline() as pipeline:
        assert_that(pipeline | ReadFromBigQueryBatched(table=TABLE), equal_to([]))
    assert len(storage.sessions) == 1
    assert storage.reads == []


def test_a_query_is_read_and_what_it_left_removed(storage: StorageServer, jobs: mock.MagicMock) -> None:
    """The query's rows come once, from its temporary table, whose dataset is removed after the last was read."""
    removed_after = []
    jobs._clean_up_beam_labelled_temporary_datasets.side_effect = lambda **_: removed_after.append(len(storage.reads))
    with _pipeline() as pipeline:
        read = pipeline | ReadFromBigQueryBatched(query="SELECT event, time FROM t", columns=["event"])
        assert_that(read | beam.FlatMap(_rows), equal_to(_expected("bigquery:query")))
    started = [call for call in jobs._start_query_job.call_args_list if not call.kwargs.get("dry_run")]
    assert [call.args[:3] for call in started] == [("payer", "SELECT event, time FROM t", False)]
    [request] = storage.sessions
    assert request.read_session.table == "projects/payer/datasets/temporary/tables/result"
    assert list(request.read_session.read_options.selected_fields) == ["event"]
    [made] = jobs.create_temporary_dataset.call_args_list
    jobs._clean_up_beam_labelled_temporary_datasets.assert_called_once_with(project_id="payer", labels=made.args[2])
    assert removed_after == [len(STREAMS)]


def test_a_lost_connection_costs_no_row(storage: StorageServer, jobs: mock.MagicMock) -> None:
    """A stream that breaks off is read on from where it broke; no row is missing and none comes twice."""
    storage.breaks = {"streams/1"}
    with _pipeline() as pipeline:
        read = pipeline | ReadFromBigQueryBatched(table=TABLE)
        assert_that(read | beam.FlatMap(_rows), equal_to(_expected("bigquery:a-project.a_dataset.a_table")))
    assert ("streams/1", 2) in storage.reads


def test_rows_travel_as_batches(storage: StorageServer, jobs: mock.MagicMock) -> None:
    """Table and query give collections whose type is `RowBatch`, so that the coder made for them is used."""
    for what in ({"table": TABLE}, {"query": "SELECT 1"}):
        assert (_pipeline() | ReadFromBigQueryBatched(**what)).element_type == RowBatch
    assert isinstance(coders.registry.get_coder(RowBatch), RowBatchCoder)


def test_marks_of_columns_travel() -> None:
    """A batch that is written down between workers keeps what its schema says of JSON."""
    schema = pa.schema([pa.field("j", pa.string(), metadata={"ARROW:extension:name": "google:sqlType:json"})])
    rows = RowBatch(pa.RecordBatch.from_pylist([{"j": "{}"}], schema), "bigquery:query", -1)
    travelled = RowBatchCoder().decode(RowBatchCoder().encode(rows))
    assert travelled == rows
    assert travelled.batch.schema.equals(schema, check_metadata=True)


@pytest.mark.parametrize("what", [{"table": TABLE}, {"query": "SELECT 1"}])
def test_rows_become_events(storage: StorageServer, jobs: mock.MagicMock, what: dict[str, str]) -> None:
    """With a mapping, what is read becomes events; none is lost and none is made up."""
    mapping = EventMapping(event="Read", time_column="time", insert_id_columns=("event",))
    with _pipeline() as pipeline:
        rows = pipeline | ReadFromBigQueryBatched(**what)
        done = rows | PrepareEvents(mapping=mapping, clock=lambda: 1_700_000_100)
        sent = done.prepared | beam.FlatMap(lambda chunk: [json.loads(event.body) for event in chunk])
        expected = [
            {"event": "Read", "properties": {"time": row["time"] * 1000, "$insert_id": row["event"]}} for row in ROWS
        ]
        assert_that(done.invalid, equal_to([]), label="invalid")
        assert_that(sent, equal_to(expected))


def _labels(pipeline: beam.Pipeline) -> list[str]:
    proto = pipeline.to_runner_api()
    return sorted({each.unique_name for each in proto.components.transforms.values() if each.unique_name})


@pytest.mark.parametrize("method", [DIRECT_READ, EXPORT])
@pytest.mark.parametrize("what", [{"table": TABLE}, {"query": "SELECT 1"}])
def test_labels_are_stable(tmp_path: Path, what: dict[str, str], method: str) -> None:
    """Building the same job again gives the same labels, which updates of a job and its metrics go by."""

    def labels() -> list[str]:
        pipeline = _pipeline(f"--temp_location={tmp_path}")
        _ = pipeline | "Read" >> ReadFromBigQueryBatched(**what, method=method)
        return _labels(pipeline)

    assert labels() == labels()
    step = {DIRECT_READ: "Read/DirectRead/ReadBatches", EXPORT: "Read/Export/Read"}[method]
    assert any(label.startswith(step) for label in labels())


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ({}, "a `table` or a `query`"),
        ({"table": TABLE, "query": "SELECT 1"}, "not both"),
        ({"table": ""}, "PROJECT.DATASET.TABLE, and is empty"),
        ({"table": "just_a_name"}, "PROJECT.DATASET.TABLE"),
        ({"table": TABLE, "method": "STREAM"}, "one of DIRECT_READ, EXPORT"),
        ({"table": TABLE, "method": EXPORT, "row_restriction": "a > 1"}, "use a query"),
    ],
)
def test_wrong_arguments_name_the_cure(arguments: dict[str, str], cure: str) -> None:
    """What cannot work is refused before a pipeline is built."""
    with pytest.raises(ValueError, match=cure):
        ReadFromBigQueryBatched(**arguments)


@pytest.mark.parametrize(
    ("arguments", "flags", "cure"),
    [
        ({"query": "SELECT 1"}, [], "option `project`"),
        ({"table": "a_dataset.a_table"}, [], "option `project`"),
        ({"table": TABLE, "method": EXPORT}, [], "option `project`"),
        ({"table": TABLE, "method": EXPORT}, ["--project=payer"], "option `temp_location`"),
    ],
)
def test_missing_options_name_the_cure(arguments: dict[str, str], flags: list[str], cure: str) -> None:
    """A job that could not pay, or would have no place for its files, is refused before it starts."""
    pipeline = beam.Pipeline("FnApiRunner", PipelineOptions(flags))
    with pytest.raises(ValueError, match=cure):
        _ = pipeline | ReadFromBigQueryBatched(**arguments)


def test_without_the_extra_the_cure_is_told() -> None:
    """Where Google's clients are not installed, the import says what to install."""
    script = """
import sys
sys.modules["google.cloud.bigquery_storage_v1"] = None
try:
    import beam_mixpanel.transforms.read_bigquery
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'beam-mixpanel[gcp]'" in done.stdout


AVRO = {
    "type": "record",
    "name": "Root",
    "fields": [{"name": "event", "type": ["null", "string"]}, {"name": "time", "type": ["null", "long"]}],
}


@pytest.mark.parametrize("what", [{"table": TABLE}, {"query": "SELECT 1"}])
def test_an_export_is_read_and_removed(tmp_path: Path, jobs: mock.MagicMock, what: dict[str, str]) -> None:
    """The Avro files that an export writes under temp_location give dicts, and are removed after they were read."""

    def export(destinations: list[str], *_: Any, **settings: Any) -> mock.MagicMock:
        assert settings["use_avro_logical_types"] is True
        for number, rows in enumerate([ROWS[:4], ROWS[4:]]):
            file = Path(destinations[0].replace("*", f"{number:012}"))
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as stream:
                fastavro.writer(stream, AVRO, rows)
        return mock.MagicMock()

    jobs.perform_extract_job.side_effect = export
    with _pipeline(f"--temp_location={tmp_path}") as pipeline:
        assert_that(pipeline | ReadFromBigQueryBatched(**what, method=EXPORT), equal_to(ROWS))
    assert jobs.perform_extract_job.call_count == 1
    assert jobs.create_temporary_dataset.call_count == jobs.clean_up_temporary_dataset.call_count == ("query" in what)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("what", [{"table": TABLE}, {"query": "SELECT 1"}])
def test_dataflow_takes_the_graph(what: dict[str, str]) -> None:
    """Dataflow's translation of the job holds the source with its splitting, and no row passes a shuffle after it."""
    options = PipelineOptions(
        [
            "--runner=DataflowRunner",
            "--project=p-12345",
            "--region=us-central1",
            "--temp_location=gs://a-bucket/tmp",
            "--staging_location=gs://a-bucket/staging",
            "--dry_run=True",
        ]
    )
    pipeline = beam.Pipeline(options=options)
    _ = pipeline | "Read" >> ReadFromBigQueryBatched(**what) | "Use" >> beam.Map(len)
    transforms = pipeline.run().job.proto_pipeline.components.transforms.values()
    names = [each.unique_name for each in transforms]
    assert any(name.startswith("Read/DirectRead/ReadBatches") for name in names)
    assert not any("GroupByKey" in name or "Reshuffle" in name for name in names)
    assert any("RemoveTemporaryDatasets" in name for name in names) == ("query" in what)
