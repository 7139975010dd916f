"""`bigquery_to_mixpanel` as people run it: rows that Google's clients read; events, books, a state and an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest

pytest.importorskip("google.cloud.bigquery_storage_v1", reason="needs the extra gcp")

import fastavro
from apache_beam.io.gcp import bigquery as beam_bigquery
from apache_beam.io.gcp.internal.clients.bigquery import TableReference
from google.cloud import bigquery

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import bigquery_to_mixpanel, check_events
from tests.bigquery_service import JobServer, StorageServer

TABLE = "a-project.a_dataset.orders"
FIRST_MICROS = 1_767_225_600_000_000
FIELDS = [
    {"name": "id", "type": "INTEGER"},
    {"name": "at", "type": "TIMESTAMP"},
    {"name": "customer", "type": "STRING"},
    {"name": "items", "type": "JSON"},
    {"name": "secret_note", "type": "STRING"},
]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("at", pa.timestamp("us", "UTC")),
        ("customer", pa.string()),
        pa.field("items", pa.string(), metadata={"ARROW:extension:name": "google:sqlType:json"}),
    ]
)
ROWS = [
    {"id": 2**60 + number, "at": FIRST_MICROS + number, "customer": f"c{number}", "items": '{"n":1}'}
    for number in range(9)
]
MAPPING = ("--event=Ordered", "--time_column=at", "--user_id_column=customer", "--exclude=secret_*")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobServer]:
    """What answers before the job."""
    with JobServer(FIELDS) as server:
        monkeypatch.setattr(bigquery, "Client", server.client)
        yield server


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    """What the job reads."""
    with StorageServer(SCHEMA) as server:
        server.streams = {"streams/1": [ROWS[:4], ROWS[4:]], "streams/2": []}
        monkeypatch.setattr(beam_bigquery.bq_storage, "BigQueryReadClient", server.client)
        yield server


@pytest.fixture(autouse=True)
def jobs(monkeypatch: pytest.MonkeyPatch) -> mock.MagicMock:
    """In the place of Beam's client of tables, jobs and temporary datasets."""
    wrapper = mock.MagicMock()
    wrapper.return_value = wrapper.from_pipeline_options.return_value = wrapper
    wrapper.get_table.return_value.numBytes = 1000
    wrapper._get_temp_table.return_value = TableReference(projectId="payer", datasetId="temporary", tableId="result")
    monkeypatch.setattr(beam_bigquery.bigquery_tools, "BigQueryWrapper", wrapper)
    return wrapper


class Job:
    """Runs the pipeline in a folder of its own and reads what it leaves."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.folder = folder
        self.flags = [
            "--project=payer",
            f"--mixpanel_api_host={url}",
            f"--mixpanel_project_token={token}",
            f"--summary={folder}/summary.json",
            *MAPPING,
        ]

    def run(self, *flags: str) -> int:
        """Give the exit code."""
        return bigquery_to_mixpanel.run([*self.flags, *flags])

    def books(self) -> dict[str, Any]:
        """Read the summary."""
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        assert summary["balanced"]
        return {fate: summary[fate] for fate in ("read", "imported", "invalid", "filtered") if summary[fate]}


@pytest.fixture
def job(tmp_path: Path, emulator: Emulator, token_reference: str) -> Job:
    return Job(tmp_path, emulator.url, token_reference)


def test_a_table_becomes_events(
    job: Job, asked: JobServer, storage: StorageServer, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row once and exact; only the columns that the mapping needs are asked for, and what was chosen is told."""
    assert job.run(f"--table={TABLE}") == 0
    assert job.books() == {"read": 9, "imported": 9}
    events = {event["properties"]["id"]: event for event in emulator.events()}
    assert len(events) == 9
    for row in ROWS:
        properties = events[row["id"]]["properties"]
        assert events[row["id"]]["event"] == "Ordered"
        assert (properties["time"], properties["$user_id"]) == (row["at"] // 1000, row["customer"])
        assert properties["items"] == {"n": 1}
    [session] = storage.sessions
    assert session.read_session.table == "projects/a-project/datasets/a_dataset/tables/orders"
    assert list(session.read_session.read_options.selected_fields) == ["id", "at", "customer", "items"]
    assert "time from at" in capsys.readouterr().err
    assert asked.queries == []


def test_a_query_becomes_events(job: Job, asked: JobServer, storage: StorageServer, jobs: mock.MagicMock) -> None:
    """As it was written."""
    assert job.run("--query=SELECT * FROM d.t") == 0
    assert job.books() == {"read": 9, "imported": 9}
    [started] = [call for call in jobs._start_query_job.call_args_list if not call.kwargs.get("dry_run")]
    assert started.args[1] == "SELECT * FROM d.t"


def test_nothing_is_sent_on_request(job: Job, asked: JobServer, storage: StorageServer, emulator: Emulator) -> None:
    """`beam-mixpanel check bigquery` reads and checks every row."""
    flags = (f"--table={TABLE}", f"--report={job.folder}/report.html")
    assert check_events.run(["bigquery", *job.flags, *flags]) == 0
    assert job.books()["read"] == 9
    assert emulator.events() == []


def test_rows_that_cannot_be_sent_are_dead_letters(job: Job, asked: JobServer, storage: StorageServer) -> None:
    """They show the row and where it came from."""
    storage.streams = {"s": [[ROWS[0], ROWS[1] | {"at": None}]]}
    assert job.run(f"--table={TABLE}", f"--dead_letters={job.folder}/dead") == 3
    assert job.books() == {"read": 2, "imported": 1, "invalid": 1}
    [letter] = [json.loads(line) for file in job.folder.glob("dead-*") for line in file.read_text().splitlines()]
    assert (letter["reason"], letter["source"]) == ("time_missing", f"bigquery:{TABLE}")
    assert json.loads(letter["event"]) == {"id": 2**60 + 1, "at": None, "customer": "c1", "items": {"n": 1}}


def test_only_what_is_new_is_read(job: Job, asked: JobServer, storage: StorageServer, emulator: Emulator) -> None:
    """The first run remembers the newest value, with which the next begins; one that fails moves nothing."""
    state = job.folder / "state.json"
    flags = (f"--table={TABLE}", f"--state={state}")
    asked.answers = [str(FIRST_MICROS + 8)]
    assert job.run(*flags) == 0
    assert asked.queries == [f"SELECT MAX(`at`) FROM `{TABLE}`"]
    newest = "TIMESTAMP '2026-01-01 00:00:00.000008+00:00'"
    assert _restriction(storage) == f"(`at` <= {newest} OR `at` IS NULL)"
    assert json.loads(state.read_text())["mark"] == "2026-01-01T00:00:00.000008+00:00"
    remembered = state.read_text()

    asked.answers = [str(FIRST_MICROS + 5_000_000)]
    emulator.add_fault(kind="status", status=503)
    assert job.run(*flags, "--overlap=1s", "--mixpanel_retry_deadline_secs=1") != 0
    later = "TIMESTAMP '2026-01-01 00:00:05+00:00'"
    assert _restriction(storage) == f"`at` >= TIMESTAMP '2025-12-31 23:59:59.000008+00:00' AND `at` <= {later}"
    assert state.read_text() == remembered

    emulator.clear_faults()
    storage.streams = {}
    asked.answers = [str(FIRST_MICROS + 8)]
    assert job.run(*flags) == 0
    assert _restriction(storage) == f"`at` >= {newest} AND `at` <= {newest}"


def test_a_state_of_another_project_is_refused(
    job: Job, asked: JobServer, storage: StorageServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table without project is that of the project that pays; a whole name is the same whoever pays."""
    state = job.folder / "state.json"
    asked.answers = [str(FIRST_MICROS + 8)] * 4
    flags = ("--table=a_dataset.orders", f"--state={state}")
    assert job.run(*flags) == 0
    assert job.run(*flags, "--project=production") == 2
    assert "was left by bigquery://payer, not by bigquery://production" in capsys.readouterr().err
    state.unlink()
    assert job.run(f"--table={TABLE}", f"--state={state}") == 0
    assert job.run(f"--table={TABLE}", f"--state={state}", "--project=production") == 0


def _restriction(storage: StorageServer) -> str:
    restriction: str = storage.sessions[-1].read_session.read_options.row_restriction
    return restriction


def test_bounds_of_a_query_are_put_around_it(
    job: Job, asked: JobServer, storage: StorageServer, jobs: mock.MagicMock
) -> None:
    """An upper bound is exclusive; what is remembered is the newest value below it."""
    asked.answers = [str(FIRST_MICROS + 8_000_000), str(FIRST_MICROS + 8)]
    bounds = ("--since=2026-01-01", "--until=2026-01-01T00:00:01Z", f"--state={job.folder}/state.json")
    assert job.run("--query=SELECT * FROM d.t;", *bounds) == 0
    inner = "(\nSELECT * FROM d.t\n)"
    where = "`at` >= TIMESTAMP '2026-01-01 00:00:00+00:00' AND `at` < TIMESTAMP '2026-01-01 00:00:01+00:00'"
    assert asked.queries == [f"SELECT MAX(`at`) FROM {inner}", f"SELECT MAX(`at`) FROM {inner} WHERE {where}"]
    [started] = [call for call in jobs._start_query_job.call_args_list if not call.kwargs.get("dry_run")]
    assert started.args[1] == f"SELECT * FROM {inner} WHERE {where}"
    assert json.loads((job.folder / "state.json").read_text())["mark"] == "2026-01-01T00:00:00.000008+00:00"


def test_an_empty_table_is_a_failure_the_first_time_only(job: Job, asked: JobServer, storage: StorageServer) -> None:
    """A green job that imported nothing is one that looked for what is new."""
    storage.streams = {}
    asked.answers = [None, None]
    assert job.run(f"--table={TABLE}", f"--state={job.folder}/state.json") == 1
    assert job.run(f"--table={TABLE}", "--since=2026-01-01") == 0
    assert _restriction(storage) == "`at` IS NOT NULL"


AVRO = {
    "type": "record",
    "name": "Root",
    "fields": [
        {"name": "id", "type": ["null", "long"]},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "customer", "type": ["null", "string"]},
        {"name": "items", "type": ["null", {"type": "string", "sqlType": "JSON"}]},
        {"name": "secret_note", "type": ["null", "string"]},
    ],
}


@pytest.mark.parametrize("since", [[], ["--since=2026-01-01"]])
def test_an_export_gives_the_same_events(
    job: Job, asked: JobServer, storage: StorageServer, jobs: mock.MagicMock, emulator: Emulator, since: list[str]
) -> None:
    """JSON columns are read as JSON; bounds make a query of a table."""

    def export(destinations: list[str], *_: Any, **__: Any) -> mock.MagicMock:
        file = Path(destinations[0].replace("*", "000000000000"))
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as stream:
            fastavro.writer(stream, AVRO, ROWS)
        return mock.MagicMock()

    assert job.run(f"--table={TABLE}") == 0
    by_direct_read = sorted(map(json.dumps, emulator.events()))
    emulator.reset()
    jobs.perform_extract_job.side_effect = export
    asked.answers = [str(FIRST_MICROS + 8)]
    method = ("--bigquery_method=EXPORT", f"--temp_location={job.folder}/temp")
    assert job.run(f"--table={TABLE}", *method, *since) == 0
    assert sorted(map(json.dumps, emulator.events())) == by_direct_read
    queries = [call.args[1] for call in jobs._start_query_job.call_args_list if not call.kwargs.get("dry_run")]
    newest = "TIMESTAMP '2026-01-01 00:00:00.000008+00:00'"
    where = f"`at` >= TIMESTAMP '2026-01-01 00:00:00+00:00' AND `at` <= {newest}"
    assert queries == ([f"SELECT * FROM `{TABLE}` WHERE {where}"] if since else [])


@pytest.mark.parametrize(
    ("flags", "cure"),
    [
        ([], "give either --table NAME or --query"),
        ([f"--table={TABLE}", "--query=SELECT 1"], "give either --table NAME or --query"),
        (["--table=just_a_name"], "PROJECT.DATASET.TABLE"),
        ([f"--table={TABLE}", "--time_column=when"], "id, at, customer, items, secret_note"),
        ([f"--table={TABLE}", "--bigquery_method=EXPORT"], "--temp_location gs://BUCKET/PATH"),
        ([f"--table={TABLE}", "--overlap=1d"], "--overlap needs --state"),
        ([f"--table={TABLE}$20260101", "--since=2026-01-01"], "not one partition"),
        ([f"--table={TABLE}", "--partitions=4"], "unknown option --partitions"),
    ],
)
def test_wrong_options_name_the_cure(
    job: Job, asked: JobServer, storage: StorageServer, capsys: pytest.CaptureFixture[str], flags: list[str], cure: str
) -> None:
    """Exit code 2, before a session is made."""
    assert job.run(*flags) == 2
    assert cure in capsys.readouterr().err.replace("\n", " ")
    assert storage.sessions == []
