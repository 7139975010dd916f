"""`sql_to_mixpanel` as people run it: databases and flags in; events, books, a state and an exit code out."""

from __future__ import annotations

import json
import logging
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel import ReadFromSqlBatched, SqlReading
from beam_mixpanel.emulator import Emulator, EmulatorProcess
from beam_mixpanel.pipelines import check_events, sql_to_mixpanel
from benchmarks.private_postgres import PrivatePostgres

ROWS = 6_000
MAPPING = ("--event=Ordered", "--time_column=at", "--user_id_column=customer")


@pytest.fixture
def orders(postgres: PrivatePostgres) -> PrivatePostgres:
    """A table of orders, one every second."""
    postgres.execute(
        "DROP TABLE IF EXISTS orders CASCADE",
        "CREATE TABLE orders (id bigint PRIMARY KEY, at timestamptz, customer bigint, total numeric, items jsonb)",
        "INSERT INTO orders SELECT n, timestamptz '2026-01-01' + n * interval '1 second', 9007199254740993 + n % 97, "
        f"n / 8.0, jsonb_build_object('n', n) FROM generate_series(1, {ROWS}) n",
    )
    return postgres


class Job:
    """Runs the pipeline in a folder of its own and reads what it leaves."""

    def __init__(self, folder: Path, url: str, connection: str, token: str) -> None:
        self.folder = folder
        self.flags = [
            f"--connection={connection}",
            f"--mixpanel_api_host={url}",
            f"--mixpanel_project_token={token}",
            f"--summary={folder}/summary.json",
        ]

    def run(self, *flags: str) -> int:
        """Give the exit code."""
        return sql_to_mixpanel.run([*self.flags, *flags])

    def books(self) -> dict[str, Any]:
        """Read the summary."""
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        assert summary["balanced"]
        return {fate: summary[fate] for fate in ("read", "imported", "invalid", "filtered") if summary[fate]}

    def mark(self) -> Any:
        """Read what is remembered."""
        return json.loads((self.folder / "state.json").read_text())["mark"]


@pytest.fixture
def job(tmp_path: Path, emulator: Emulator, postgres_reference: str, token_reference: str) -> Job:
    return Job(tmp_path, emulator.url, postgres_reference, token_reference)


def _numbers(emulator: Emulator, key: str = "id") -> list[int]:
    return sorted(event["properties"][key] for event in emulator.events(deduplicated=True))


def test_a_table_becomes_events(job: Job, orders: PrivatePostgres, emulator: Emulator) -> None:
    """Every row of every part arrives once, each value exactly; the books balance."""
    assert job.run("--table=orders", *MAPPING, "--partition_column=id", "--partitions=4", "--insert_id_columns=id") == 0
    assert job.books() == {"read": ROWS, "imported": ROWS}
    assert len(emulator.events()) == ROWS
    event = next(event for event in emulator.events() if event["properties"]["$insert_id"] == "4001")
    assert event == {
        "event": "Ordered",
        "properties": {
            "time": 1_767_225_600_000 + 4_001_000,
            "distinct_id": str(9007199254740993 + 4001 % 97),
            "$user_id": str(9007199254740993 + 4001 % 97),
            "$insert_id": "4001",
            "total": 500.125,
            "items": {"n": 4001},
        },
    }


def test_workers_read_parts_in_one_snapshot(job: Job, orders: PrivatePostgres, emulator: Emulator) -> None:
    """Four workers at once, while a writer adds and moves rows: each row of the beginning once."""
    ended = threading.Event()

    def write() -> None:
        number = ROWS
        with orders.cursor() as cursor:
            while not ended.is_set():
                number += 1
                cursor.execute(f"INSERT INTO orders VALUES ({number}, now(), 1, 1, '{{}}')")
                cursor.execute(f"UPDATE orders SET id = -id WHERE id = {number % 1000}")

    writer = threading.Thread(target=write)
    with SqlReading(job.flags[0].partition("=")[2], table="orders") as reading:
        reading.split("id", 4)
        writer.start()
        options = PipelineOptions(direct_num_workers=4, direct_running_mode="multi_threading")
        with beam.Pipeline("FnApiRunner", options=options) as pipeline:
            ids = pipeline | ReadFromSqlBatched(reading) | beam.FlatMap(lambda rows: rows.batch["id"].to_pylist())
            _ = ids | beam.combiners.ToList() | beam.Map(_check_ids)
    ended.set()
    writer.join()
    assert orders.rows("SELECT count(*) FROM orders WHERE id < 0 OR id > 6000")[0][0] > 0


def _check_ids(ids: list[int]) -> None:
    assert sorted(ids) == list(range(1, ROWS + 1))


def test_a_query_with_columns_in_mixpanels_names_needs_no_mapping(
    job: Job, orders: PrivatePostgres, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns are found by name in what the query gives, and the choice is printed."""
    query = "SELECT 'Ordered' AS event, extract(epoch FROM at) AS time, customer AS distinct_id FROM orders LIMIT 3;"
    assert job.run(f"--query={query}") == 0
    assert len(emulator.events()) == 3
    assert "time from time" in capsys.readouterr().err


def test_a_check_sends_nothing(job: Job, orders: PrivatePostgres, emulator: Emulator) -> None:
    """Rows are checked, nothing is sent, and nothing is remembered."""
    orders.execute("UPDATE orders SET at = NULL WHERE id = 5")
    flags = ("--table=orders", *MAPPING, "--cursor_column=id", f"--state={job.folder}/state.json")
    report = (f"--report={job.folder}/r.html", f"--dead_letters={job.folder}/dead", "--allow_dead_letters=0")
    assert check_events.run(["sql", *job.flags, *flags, *report]) == 3
    assert job.books() == {"read": ROWS, "invalid": 1}
    assert emulator.requests() == []
    assert not (job.folder / "state.json").exists()
    letters = [json.loads(line) for path in job.folder.glob("dead-*") for line in path.read_text().splitlines()]
    assert [(letter["reason"], letter["source"]) for letter in letters] == [("time_missing", "sql:orders")]
    assert json.loads(letters[0]["event"])["id"] == 5


@pytest.mark.parametrize(
    ("flags", "cure"),
    [
        ((), "--table NAME"),
        (("--table=orders", "--query=SELECT 1"), "either"),
        (("--table=orders", "--input=x"), "unknown option --input"),
        (("--table=orders", "--partitions=4"), "--partition_column"),
        (("--table=orders", *MAPPING, "--partition_column=id", "--partitions=0"), "between 1 and 10000"),
        (("--table=orders", *MAPPING, "--partition_column=id", "--partitions=10001"), "between 1 and 10000"),
        (("--table=order",), "did you mean orders"),
        (("--table=orders", "--event=A", "--time_column=att"), "att"),
        (("--table=orders", *MAPPING, "--since=soon"), "2024-02-29T12:00:00Z"),
        (("--table=orders", *MAPPING, "--overlap=1h"), "--state FILE"),
        (("--table=orders", *MAPPING, "--state={folder}/state.json", "--overlap=tomorrow"), "90s"),
        (("--table=orders", *MAPPING, "--since=2026-02-01", "--until=2026-01-01"), "must be before until"),
        (("--table=orders", *MAPPING, "--state="), "is a variable empty?"),
        (
            ("--query=SELECT *, total::float8 AS t FROM orders", *MAPPING, "--cursor_column=t", "--state={folder}/s"),
            "not float; choose another",
        ),
        (("--table=orders", *MAPPING, "--state={folder}"), "is a folder"),
        (("--table=orders", *MAPPING, "--state={folder}/other.json"), "no state file"),
        (("--table=orders", "--connection=postgresql://app:hunter2@localhost/db"), "env:NAME"),
        (("--table=orders", "--connection=env:NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE is not set"),
        (("--table=orders", "--connection=env:WRONG_PASSWORD"), "user name or password"),
        (("--table=orders", "--connection=oracle"), "env:NAME"),
        (
            (
                "--table=orders",
                "--runner=DataflowRunner",
                "--project=p-123",
                "--region=us-central1",
                "--temp_location=gs://bucket/tmp",
            ),
            "gcp-secret:",
        ),
    ],
)
def test_wrong_arguments_are_exit_2_with_the_cure(
    job: Job,
    orders: PrivatePostgres,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    cure: str,
) -> None:
    """Each error names its cure, never a password, and nothing is sent."""
    (job.folder / "other.json").write_text("{}")
    monkeypatch.setenv("WRONG_PASSWORD", orders.url_of("hunter2"))
    assert job.run(*(flag.replace("{folder}", str(job.folder)) for flag in flags)) == 2
    error = capsys.readouterr().err
    assert cure in error
    assert "hunter2" not in error
    assert orders.password not in error
    assert emulator.requests() == []


def test_a_database_that_is_not_there_is_exit_1(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To try again may help, so it is a failure and no wrong argument."""
    monkeypatch.setenv("NOBODY", "postgresql://app:hunter2@127.0.0.1:1/db")
    assert job.run("--connection=env:NOBODY", "--table=orders") == 1
    error = capsys.readouterr().err
    assert "cannot connect to postgresql://127.0.0.1:1/db" in error
    assert "hunter2" not in error


def test_the_next_run_reads_what_is_new(
    job: Job, orders: PrivatePostgres, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three runs: all, nothing but the last row again, and what came since."""
    flags = ("--table=orders", *MAPPING, f"--state={job.folder}/state.json", "--include=id")
    assert job.run(*flags) == 0
    assert (job.books()["read"], job.mark()) == (ROWS, "2026-01-01T01:40:00+00:00")
    assert job.run(*flags) == 0
    assert job.books() == {"read": 1, "imported": 1}
    orders.execute(
        f"INSERT INTO orders SELECT n, timestamptz '2026-01-02' + n * interval '1 second', 1, 1, '{{}}' "
        f"FROM generate_series({ROWS + 1}, {ROWS + 5}) n"
    )
    assert job.run(*flags) == 0
    assert job.books() == {"read": 6, "imported": 6}
    assert _numbers(emulator) == list(range(1, ROWS + 6))
    assert "is remembered in" in capsys.readouterr().err


def test_late_rows_are_read_with_an_overlap(
    job: Job, orders: PrivatePostgres, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that came late, below the mark, is read by a run that begins before the mark; what it repeats is one."""
    flags = ("--table=orders", *MAPPING, f"--state={job.folder}/state.json", "--include=id")
    assert job.run(*flags) == 0
    orders.execute(f"INSERT INTO orders VALUES ({ROWS + 1}, timestamptz '2026-01-01 01:35:00', 1, 1, '{{}}')")
    assert job.run(*flags) == 0
    assert len(_numbers(emulator)) == ROWS
    assert "give --overlap" in capsys.readouterr().err
    assert job.run(*flags, "--overlap=10m") == 0
    assert "give --overlap" not in capsys.readouterr().err
    assert job.books()["read"] == 602
    assert _numbers(emulator) == list(range(1, ROWS + 2))


def test_nothing_new_is_success_but_an_empty_table_is_not(job: Job, orders: PrivatePostgres) -> None:
    """A recurring job that finds nothing ends well and remembers what it did before; another fails."""
    flags = ("--table=orders", *MAPPING, "--cursor_column=id", f"--state={job.folder}/state.json")
    assert job.run(*flags) == 0
    orders.execute("DELETE FROM orders")
    assert job.run(*flags) == 0
    assert (job.books(), job.mark()) == ({}, ROWS)
    (job.folder / "state.json").unlink()
    assert job.run(*flags) == 1
    assert job.run("--table=orders", *MAPPING) == 1


@pytest.mark.parametrize(
    "failing",
    [
        {"fault": {"kind": "status", "status": 401}, "code": 1},
        {"fault": {"kind": "failed_records", "variant": "standard", "times": 1}, "code": 3},
    ],
)
def test_a_run_that_did_not_end_well_is_not_remembered(
    job: Job, orders: PrivatePostgres, emulator: Emulator, failing: dict[str, Any]
) -> None:
    """After a failure, or with dead letters that were not allowed, the next run reads the same again."""
    flags = ("--table=orders", *MAPPING, "--cursor_column=id", f"--state={job.folder}/state.json")
    emulator.add_fault(**failing["fault"])
    assert job.run(*flags, f"--dead_letters={job.folder}/dead") == failing["code"]
    assert not (job.folder / "state.json").exists()
    emulator.clear_faults()
    assert job.run(*flags, "--include=id") == 0
    assert job.mark() == ROWS
    assert list(job.folder.glob("state.json*")) == [job.folder / "state.json"]


def test_a_state_of_another_job_is_refused(
    job: Job, orders: PrivatePostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """A state names its table and column; a job of others does not take it for its own."""
    state = f"--state={job.folder}/state.json"
    assert job.run("--table=orders", *MAPPING, "--cursor_column=id", state) == 0
    assert job.run("--table=orders", *MAPPING, "--cursor_column=at", state) == 2
    assert "belongs to id of orders" in capsys.readouterr().err


def test_a_state_of_another_database_is_refused(
    job: Job, orders: PrivatePostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """Staging's state would skip the first rows of production; `--since` takes it over; no secret is in the file."""
    file = job.folder / "state.json"
    flags = ("--table=orders", *MAPPING, "--include=id", "--cursor_column=id", f"--state={file}")
    connection = f"--connection={_copy_to_sqlite(job.folder)}"
    assert job.run(*flags, connection) == 0
    assert job.mark() == 2999
    left = file.read_text()
    assert job.run(*flags) == 2
    assert file.read_text() == left
    error = capsys.readouterr().err
    assert (
        f"was left by sqlite:///{job.folder}/orders.db, not by postgresql://127.0.0.1:{orders.port}/postgres" in error
    )
    assert "--since 2999" in error
    assert job.run(*flags, "--since=1") == 0
    assert job.books()["read"] == ROWS
    assert orders.password not in file.read_text()
    assert job.run(*flags) == 0
    assert job.books()["read"] == 1


def test_a_state_of_an_earlier_version_is_read_and_named(job: Job, orders: PrivatePostgres) -> None:
    """It names no database; the next one that is written does."""
    file = job.folder / "state.json"
    flags = ("--table=orders", *MAPPING, "--include=id", "--cursor_column=id", f"--state={file}")
    file.write_text(
        '{"format": 1, "source": "orders", "cursor_column": "id", "kind": "number", "mark": 5990}', encoding="utf-8"
    )
    assert job.run(*flags) == 0
    assert job.books()["read"] == 11
    assert json.loads(file.read_text())["database"] == f"postgresql://127.0.0.1:{orders.port}/postgres"


def test_a_state_of_another_project_is_refused(
    job: Job, orders: PrivatePostgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was imported into one project is in no other; the state names it without its token."""
    file = job.folder / "state.json"
    flags = ("--table=orders", *MAPPING, "--include=id", "--cursor_column=id", f"--state={file}")
    assert job.run(*flags) == 0
    left = file.read_text()
    assert json.loads(left)["destination"].startswith("the project with a token of SHA-256 ")
    monkeypatch.setenv("OTHER_TOKEN", "f" * 32)
    other = "--mixpanel_project_token=env:OTHER_TOKEN"
    assert job.run(*flags, other) == 2
    error = capsys.readouterr().err
    assert "was left by an import into the project" in error
    assert f"--since {ROWS}" in error
    assert "f" * 32 not in error
    assert file.read_text() == left
    assert job.run(*flags, other, "--since=1") == 0
    assert job.books()["read"] == ROWS
    assert "f" * 32 not in file.read_text()
    assert job.run(*flags, other) == 0


def test_a_trial_on_the_emulator_leaves_no_state(
    orders: PrivatePostgres, postgres_reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its emulator ends with the run, and the next run has to import the same rows into Mixpanel."""
    file = tmp_path / "state.json"
    flags = [
        f"--connection={postgres_reference}",
        "--table=orders",
        *MAPPING,
        "--cursor_column=id",
        f"--state={file}",
        "--mixpanel_emulator",
    ]
    assert sql_to_mixpanel.run(flags) == 0
    assert not file.exists()
    assert "is not written: the emulator keeps nothing" in capsys.readouterr().err


def test_a_backfill_does_not_move_the_state_back(
    job: Job, orders: PrivatePostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that `--until` ends early imports what it was asked for; the next one goes on where the last one was."""
    file = job.folder / "state.json"
    flags = ("--table=orders", *MAPPING, "--include=id", "--cursor_column=id", f"--state={file}")
    assert job.run(*flags) == 0
    left = file.read_text()
    assert job.run(*flags, "--since=10", "--until=20") == 0
    assert job.books()["read"] == 10
    assert file.read_text() == left
    assert f"stays at id = {ROWS}: --until" in capsys.readouterr().err
    file.unlink()
    assert job.run(*flags, "--until=20") == 0
    assert job.mark() == 19
    assert job.run(*flags, "--since=10", "--until=30") == 0
    assert job.mark() == 29


def test_a_row_of_the_future_does_not_end_a_recurring_import(
    job: Job, orders: PrivatePostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is read, and what comes after that run, before its time, is read by the next; a state of 2099 is refused."""
    file = job.folder / "state.json"
    allowed = (f"--dead_letters={job.folder}/dead", "--allow_dead_letters=1")
    flags = ("--table=orders", *MAPPING, "--include=id", f"--state={file}", *allowed)
    orders.execute(f"INSERT INTO orders VALUES ({ROWS + 1}, timestamptz '2099-01-01', 1, 1, '{{}}')")
    assert job.run(*flags) == 0
    assert job.books() == {"read": ROWS + 1, "imported": ROWS, "invalid": 1}
    assert "there are rows of the future, up to at = 2099-01-01" in capsys.readouterr().err
    orders.execute(f"INSERT INTO orders VALUES ({ROWS + 2}, now(), 1, 1, '{{}}')")
    assert job.run(*flags) == 0
    assert job.books() == {"read": 2, "imported": 1, "invalid": 1}
    state = json.loads(file.read_text())
    file.write_text(json.dumps({**state, "mark": "2099-01-01T00:00:00+00:00"}))
    assert job.run(*flags) == 2
    assert "which lies in the future" in capsys.readouterr().err


def test_dead_letters_that_hold_the_state_back_are_told(
    job: Job, orders: PrivatePostgres, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says where the state stays, and what moves it on."""
    flags = ("--table=orders", *MAPPING, "--include=id", "--cursor_column=id", f"--state={job.folder}/state.json")
    dead_letters = f"--dead_letters={job.folder}/dead"
    emulator.add_fault(kind="failed_records", variant="standard", times=1)
    assert job.run(*flags, dead_letters) == 3
    error = capsys.readouterr().err
    assert "state.json is not written" in error
    assert "--allow_dead_letters N" in error
    emulator.clear_faults()
    emulator.add_fault(kind="failed_records", variant="standard", times=1)
    assert job.run(*flags, dead_letters, "--allow_dead_letters=1000") == 0
    assert job.mark() == ROWS
    assert "is not written" not in capsys.readouterr().err


def test_a_table_that_has_gone_back_is_told(
    job: Job, orders: PrivatePostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is new then, which may be because an older copy was restored."""
    flags = ("--table=orders", *MAPPING, "--include=id", "--cursor_column=id", f"--state={job.folder}/state.json")
    assert job.run(*flags) == 0
    assert "greatest id" not in capsys.readouterr().err
    orders.execute("DELETE FROM orders WHERE id > 100")
    assert job.run(*flags) == 0
    assert f"remembers {ROWS}, but the greatest id is 100 now" in capsys.readouterr().err


def test_a_state_of_another_query_is_refused(
    job: Job, orders: PrivatePostgres, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same cursor column, it would skip what the other query has read; `--since` takes the file over."""
    flags = (*MAPPING, "--include=id", "--cursor_column=id", f"--state={job.folder}/state.json")
    assert job.run("--query=SELECT * FROM orders WHERE id > 5990", *flags) == 0
    assert job.run("--query=SELECT *\n  FROM orders WHERE id > 5990 ;\n", *flags) == 0
    assert job.books() == {"read": 1, "imported": 1}
    assert job.run("--query=SELECT * FROM orders WHERE id < 5", *flags) == 2
    assert "of another query" in (error := capsys.readouterr().err)
    assert "--since VALUE" in error
    assert job.run("--query=SELECT * FROM orders WHERE id < 5", *flags, "--since=1") == 0
    assert job.run("--query=SELECT * FROM orders WHERE id < 5", *flags) == 0
    assert _numbers(emulator) == [1, 2, 3, 4, *range(5991, 6001)]


def _copy_to_sqlite(folder: Path) -> str:
    with sqlite3.connect(folder / "orders.db") as file:
        file.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, at TEXT, customer INTEGER)")
        rows = [(number, f"2026-01-01 00:{number // 60:02d}:{number % 60:02d}", number) for number in range(1, 3000)]
        file.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    file.close()
    return f"sqlite:///{folder}/orders.db"


def test_sqlite_with_times_as_text(job: Job, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A file needs no reference; its texts serve as times and as marks, and the lack of a snapshot is told."""
    connection = _copy_to_sqlite(job.folder)
    flags = (f"--connection={connection}", "--table=orders", *MAPPING, f"--state={job.folder}/state.json")
    assert job.run(*flags, "--partition_column=id", "--include=id") == 0
    assert _numbers(emulator) == list(range(1, 3000))
    assert job.mark() == "2026-01-01 00:49:59"
    assert "shares no snapshot" in capsys.readouterr().err


@pytest.fixture(scope="session")
def slow_emulator() -> Iterator[EmulatorProcess]:
    """A server that takes long enough for a job to be killed half-way."""
    with EmulatorProcess(latency_ms=60) as emulator:
        yield emulator


def _start(job: Job, *flags: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "beam_mixpanel.pipelines.sql_to_mixpanel",
        *job.flags,
        "--mixpanel_max_batch_events=100",
        *flags,
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_killed_job_that_is_run_again_leaves_each_row_once(
    tmp_path: Path,
    orders: PrivatePostgres,
    slow_emulator: EmulatorProcess,
    postgres_reference: str,
    token_reference: str,
) -> None:
    """After SIGKILL half-way, the state is unchanged, and a run to the end leaves exactly the table: each row, once."""
    job = Job(tmp_path, slow_emulator.url, postgres_reference, token_reference)
    flags = ("--table=orders", *MAPPING, "--partition_column=id", "--partitions=4", "--include=id")
    flags = (*flags, "--cursor_column=id", f"--state={tmp_path}/state.json")
    killed = _start(job, *flags, "--mixpanel_max_concurrent_requests=4")
    while slow_emulator.stats()["unique_events"] < ROWS // 3:
        assert killed.poll() is None, killed.communicate()[1]
        time.sleep(0.005)
    killed.kill()
    killed.communicate(timeout=10)
    assert killed.returncode == -signal.SIGKILL
    assert ROWS // 3 <= slow_emulator.stats()["unique_events"] < ROWS
    assert not (tmp_path / "state.json").exists()

    again = _start(job, *flags)
    _, printed = again.communicate(timeout=60)
    assert again.returncode == 0, printed
    assert job.books() == {"read": ROWS, "imported": ROWS}
    assert job.mark() == ROWS
    assert len(slow_emulator.events()) > ROWS, "the first run had left nothing"
    exported = slow_emulator.events(deduplicated=True)
    assert sorted(event["properties"]["id"] for event in exported) == list(range(1, ROWS + 1))


def test_connections_that_are_lost_while_it_runs_cost_no_row(
    tmp_path: Path,
    orders: PrivatePostgres,
    slow_emulator: EmulatorProcess,
    postgres_reference: str,
    token_reference: str,
) -> None:
    """With all connections ended by the server half-way, the job goes on to the end; each row arrives, once."""
    slow_emulator.reset()
    job = Job(tmp_path, slow_emulator.url, postgres_reference, token_reference)
    orders.execute("ALTER TABLE orders ADD COLUMN wide text", "UPDATE orders SET wide = repeat('x', 3000)")
    running = _start(
        job, "--table=orders", *MAPPING, "--include=id", "--include=wide", "--mixpanel_max_concurrent_requests=4"
    )
    while slow_emulator.stats()["unique_events"] < 500:
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.005)
    ended = orders.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'beam_mixpanel'"
    )
    assert len(ended) == 2
    _, printed = running.communicate(timeout=90)
    assert running.returncode == 0, printed
    assert orders.password not in printed
    exported = slow_emulator.events(deduplicated=True)
    assert sorted(event["properties"]["id"] for event in exported) == list(range(1, ROWS + 1))
    books = job.books()
    assert books["imported"] == books["read"] > ROWS
    assert re.search(r"lost connections\W+1\W", printed)
    assert re.search(r"lost snapshots\W+1\W", printed)


@pytest.mark.parametrize("flags", [("--partition_column=id",), ()])
def test_an_interrupt_while_the_database_works_is_told_as_such(
    job: Job, orders: PrivatePostgres, flags: tuple[str, ...]
) -> None:
    """While bounds are looked for, and while rows are read: the driver makes a cancelled statement of the signal."""
    orders.execute("CREATE OR REPLACE VIEW slow AS SELECT orders.* FROM orders, (SELECT pg_sleep(60)) s")
    running = _start(job, "--table=slow", *MAPPING, *flags)
    asleep = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'beam_mixpanel' AND wait_event = 'PgSleep'"
    while not orders.rows(asleep):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, printed = running.communicate(timeout=50)
    assert running.returncode == 1
    assert "interrupted; run the job again" in printed


def test_the_password_is_nowhere(
    job: Job, orders: PrivatePostgres, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the job graph nor what is pickled, logged, printed or written holds it, whether the job fails or not."""
    caplog.set_level(logging.DEBUG)
    state = f"--state={job.folder}/state.json"
    assert job.run("--table=orders", *MAPPING, state, f"--dead_letters={job.folder}/dead") == 0
    assert job.run("--query=SELECT 1/(id-5000) AS time FROM orders", "--event=A") == 1
    pipeline = beam.Pipeline("FnApiRunner")
    with SqlReading(job.flags[0].partition("=")[2], table="orders") as reading:
        transform = ReadFromSqlBatched(reading)
        _ = pipeline | transform
        graph = pipeline.to_runner_api().SerializeToString()
        pickled = pickle.dumps(transform._fn)
        shown = repr(reading.connection) + str(reading.parts()) + str(vars(reading.connection))
    assert b"TEST_DATABASE_URL" in pickled
    printed = capfd.readouterr()
    places = [graph, pickled, *(text.encode() for text in (shown, printed.out, printed.err, caplog.text))]
    places += [path.read_bytes() for path in job.folder.rglob("*") if path.is_file()]
    assert "division by zero" in printed.err
    assert not any(orders.password.encode() in place for place in places)
