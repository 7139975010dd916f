"""`import mongodb` as people run it: a collection and flags in; events, books, a state and an exit code out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.yaml.yaml_transform import expand_pipeline
from bson import json_util
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from pymongo.database import Database

from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.launcher.mongodb import _columns_to_read
from beam_mixpanel.pipelines import check_events, files_to_mixpanel, mongodb_to_mixpanel
from beam_mixpanel.yaml import PROVIDERS

AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
MAPPING = ("--event=Ordered", "--time_column=at", "--user_id_column=customer", "--insert_id_columns=_id")


def _orders(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "_id": ObjectId(f"{number:024x}"),
            "at": AT + timedelta(seconds=number),
            "customer": f"c{number % 7}",
            "status": ("paid", "open")[number % 2],
            "total": Decimal128(f"{number}.50"),
            "items": [{"sku": "a", "n": number}],
        }
        for number in range(first, first + count)
    ]


class Job:
    """Runs the pipeline in a folder of its own and reads what it leaves."""

    def __init__(self, folder: Path, url: str, connection: str, token: str, database: str) -> None:
        self.folder = folder
        self.destination = [f"--mixpanel_api_host={url}", f"--mixpanel_project_token={token}"]
        self.source = [f"--connection={connection}", f"--database={database}", "--collection=orders"]
        self.state = f"--state={folder}/state.json"

    def run(self, *flags: str, source: Sequence[str] | None = None) -> int:
        """Return the exit code."""
        given = self.source if source is None else source
        return mongodb_to_mixpanel.run([*given, *self.destination, f"--summary={self.folder}/summary.json", *flags])

    def books(self) -> dict[str, Any]:
        """Read the summary."""
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        assert summary["balanced"]
        return {fate: summary[fate] for fate in ("read", "imported", "invalid", "filtered") if summary[fate]}

    def mark(self) -> Any:
        """Read what is remembered."""
        return json.loads((self.folder / "state.json").read_text())["mark"]


@pytest.fixture
def job(tmp_path: Path, emulator: Emulator, reference: str, token_reference: str, database: Database[Any]) -> Job:
    return Job(tmp_path, emulator.url, reference, token_reference, database.name)


def _ids(emulator: Emulator) -> list[int]:
    return sorted(int(event["properties"]["$insert_id"], 16) for event in emulator.events(deduplicated=True))


def test_documents_become_events(job: Job, database: Database[Any], emulator: Emulator) -> None:
    """Each document that the filter means arrives once, each value exactly; the books balance."""
    database.orders.insert_many(_orders(3_000))
    assert job.run(*MAPPING, '--filter={"status": "paid"}', "--partitions=3") == 0
    assert job.books() == {"read": 1_500, "imported": 1_500}
    assert _ids(emulator) == list(range(0, 3_000, 2))
    [event] = [each for each in emulator.events() if each["properties"]["$insert_id"] == f"{1000:024x}"]
    assert event == {
        "event": "Ordered",
        "properties": {
            "time": 1_767_225_600_000 + 1_000_000,
            "distinct_id": "c6",
            "$user_id": "c6",
            "$insert_id": f"{1000:024x}",
            "status": "paid",
            "total": 1000.5,
            "items": [{"sku": "a", "n": 1000}],
        },
    }


def test_an_event_has_the_id_of_its_export(
    job: Job, database: Database[Any], emulator: Emulator, tmp_path: Path
) -> None:
    """From the database, and from an export in either form, as lines or as an array: the same events, by their ids."""
    documents = [{**each, "_id": number} for number, each in enumerate(_orders(50))]
    database.orders.insert_many(documents)
    assert job.run(*MAPPING[:3]) == 0
    expected = {event["properties"]["$insert_id"] for event in emulator.events()}
    assert len(expected) == 50
    for options in (json_util.CANONICAL_JSON_OPTIONS, json_util.RELAXED_JSON_OPTIONS):
        lines = [json_util.dumps(each, json_options=options) for each in documents]
        (tmp_path / "export.json").write_text(f"[{','.join(lines)}]")
        (tmp_path / "export.ndjson").write_text("\n".join(lines))
        for name in ("export.json", "export.ndjson"):
            emulator.reset()
            flags = [f"--input={tmp_path}/{name}", "--extended_json", *job.destination, *MAPPING[:3]]
            assert files_to_mixpanel.run(flags) == 0
            assert {event["properties"]["$insert_id"] for event in emulator.events()} == expected
            [first] = [event for event in emulator.events() if event["properties"]["_id"] == 7]
            assert first["properties"]["total"] == 7.5


def test_extended_json_is_read_where_it_is_asked_for(job: Job, emulator: Emulator, tmp_path: Path) -> None:
    """Without the option a file means what it always did; other formats refuse the option."""
    (tmp_path / "a.ndjson").write_text('{"n": {"$numberLong": "5"}, "at": 1767225600}\n')
    flags = [f"--input={tmp_path}/a.ndjson", *job.destination, "--event=E", "--time_column=at"]
    assert files_to_mixpanel.run(flags) == 0
    assert emulator.events()[0]["properties"]["n"] == {"$numberLong": "5"}
    emulator.reset()
    assert files_to_mixpanel.run([*flags, "--extended_json"]) == 0
    assert emulator.events()[0]["properties"]["n"] == 5


@pytest.mark.parametrize("flags", [(), ("--input_format=csv",)])
def test_extended_json_of_csv(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: Any) -> None:
    """A format that holds none refuses the option, whether it is named or detected."""
    (tmp_path / "a.csv").write_text("at,n\n1767225600,1\n")
    arguments = [f"--input={tmp_path}/a.csv", *job.destination, "--event=E", "--time_column=at", "--extended_json"]
    assert files_to_mixpanel.run([*arguments, *flags]) == 2
    assert "--extended_json has no effect on files of format csv" in capsys.readouterr().err


def test_only_what_is_new(job: Job, database: Database[Any], emulator: Emulator) -> None:
    """A run with a state reads from where the last one ended; nothing new is exit code 0."""
    database.orders.insert_many(_orders(100))
    assert job.run(*MAPPING, job.state) == 0
    assert job.mark() == "2026-01-01T00:01:39+00:00"
    database.orders.insert_many(_orders(50, 100))
    assert job.run(*MAPPING, job.state) == 0
    assert job.books() == {"read": 51, "imported": 51}
    assert _ids(emulator) == list(range(150))
    assert job.run(*MAPPING, job.state, "--overlap=10s") == 0
    assert job.books() == {"read": 11, "imported": 11}
    database.orders.delete_many({})
    assert job.run(*MAPPING, job.state) == 0
    assert job.books() == {}
    assert job.mark() == "2026-01-01T00:02:29+00:00"


def test_bounds(job: Job, database: Database[Any], emulator: Emulator) -> None:
    """A run from one value up to another; the filter holds besides."""
    database.orders.insert_many(_orders(100))
    flags = ("--since=2026-01-01T00:00:10Z", "--until=2026-01-01T00:00:20Z", '--filter={"status": "paid"}')
    assert job.run(*MAPPING, *flags) == 0
    assert _ids(emulator) == [10, 12, 14, 16, 18]


@pytest.mark.parametrize(
    ("values", "more", "mark"),
    [
        ([1, 2.5, 3], [4], 3),
        ([1.5, 2.25], [2.75], "2.25"),
        ([Decimal128("0.1"), Decimal128("0.3")], [Decimal128("0.5")], "0.3"),
        (["2026-01", "2026-02"], ["2026-03"], "2026-02"),
        ([ObjectId("1" * 24), ObjectId("2" * 24)], [ObjectId("3" * 24)], "2" * 24),
        ([1, None, float("inf"), "x"[:0] or 2], [3], 2),
    ],
)
def test_cursors_of_other_types(
    job: Job, database: Database[Any], emulator: Emulator, values: list[Any], more: list[Any], mark: Any
) -> None:
    """Numbers, text and ObjectIds serve, too; what is null or infinite is read while there is no lower bound."""
    flags = ("--event=E", "--time_column=at", "--insert_id_columns=n", "--cursor_column=seq", job.state)
    documents = [{"n": f"n{n}", "at": AT, "seq": each} for n, each in enumerate([*values, *more])]
    database.orders.insert_many(documents[: len(values)])
    assert job.run(*flags) == 0
    assert job.books()["imported"] == len(values)
    assert job.mark() == mark
    database.orders.insert_many(documents[len(values) :])
    assert job.run(*flags) == 0
    assert job.books()["imported"] == 1 + len(more)


def test_a_state_of_another_filter(job: Job, database: Database[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """It could skip documents, and is refused."""
    database.orders.insert_many(_orders(10))
    assert job.run(*MAPPING, job.state) == 0
    assert job.run(*MAPPING, job.state, '--filter={"status": "open"}') == 2
    assert "give each job a file of its own" in capsys.readouterr().err


def test_mixed_ids_are_announced(job: Job, database: Database[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Before the job it is said that one part is read, and every document is."""
    documents = _orders(20)
    for number in range(10):
        documents[number]["_id"] = number
    database.orders.insert_many(documents)
    assert job.run("--event=E", "--time_column=at") == 0
    assert job.books() == {"read": 20, "imported": 20}
    assert "it is read in one part" in capsys.readouterr().err


def test_an_empty_collection(job: Job, database: Database[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A job that reads nothing fails, and says what there was."""
    database.create_collection("orders")
    assert job.run(*MAPPING) == 1
    assert "no document is found" in capsys.readouterr().err


def test_dead_letters_can_be_replayed(job: Job, database: Database[Any], emulator: Emulator, tmp_path: Path) -> None:
    """A document that gives no event is kept whole, without a word of the connection."""
    database.orders.insert_many([*_orders(3), {"_id": 1, "at": "soon", "customer": "c"}])
    assert job.run(*MAPPING, f"--dead_letters={tmp_path}/dead", "--allow_dead_letters=1") == 0
    assert job.books() == {"read": 4, "imported": 3, "invalid": 1}
    [letters] = [path.read_text() for path in tmp_path.glob("dead-*") if path.stat().st_size]
    letter = json.loads(letters)
    assert json.loads(letter["event"])["at"] == "soon"
    assert "127.0.0.1" not in letters


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ((), "give --connection REF"),
        (("--connection=env:TEST_MONGODB_URL",), "give --database NAME and --collection NAME"),
        (("--connection=mongodb://a:hidden@b", "--database=d", "--collection=c"), "expected a reference"),
        (("--connection=env:NOWHERE_AT_ALL", "--database=d", "--collection=c"), "NOWHERE_AT_ALL is not set"),
        (("--connection=env:WRONG_URL", "--database=d", "--collection=c"), "must have the form mongodb://USER"),
        (("--connection=env:TEST_MONGODB_URL", "--database=d", "--collection=c", "--filter={a"), "--filter must be"),
        (
            ("--connection=env:TEST_MONGODB_URL", "--database=d", "--collection=c", '--filter={"$bad": 1}'),
            "refuses: unknown top level operator: $bad",
        ),
        (
            ("--connection=env:TEST_MONGODB_URL", "--database=d", "--collection=c", "--partitions=0"),
            "--partitions must",
        ),
    ],
)
def test_wrong_options(
    job: Job,
    source: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database: Database[Any],
) -> None:
    """Each is refused before the job, in terms of flags, and no URL is repeated."""
    monkeypatch.setenv("WRONG_URL", "postgresql://a:hidden@b/c")
    database.client.d.c.insert_one({"_id": ObjectId()})
    assert job.run(*MAPPING, source=source) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "hidden" not in err


def test_a_collection_that_is_not_there(job: Job, database: Database[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that are."""
    database.oders.insert_one({"_id": 1})
    assert job.run(*MAPPING) == 2
    assert "there is no collection 'orders'" in (err := capsys.readouterr().err)
    assert "oders" in err


def test_a_server_that_is_not_there(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: Database[Any]
) -> None:
    """The message names the host, and neither user nor password; it is worth another try, so it is exit code 1."""
    monkeypatch.setenv("GONE", "mongodb://reader:hi%21dden@127.0.0.1:9/?serverSelectionTimeoutMS=200")
    source = ("--connection=env:GONE", "--database=d", "--collection=c")
    assert job.run(*MAPPING, source=source) == 1
    err = capsys.readouterr().err
    assert "127.0.0.1:9" in err
    assert not any(secret in err for secret in ("hi%21dden", "hi!dden", "reader"))


def test_a_check(job: Job, database: Database[Any], tmp_path: Path) -> None:
    """`check mongodb` looks at every document and sends nothing."""
    database.orders.insert_many(_orders(100))
    flags = [*job.source, *MAPPING, f"--report={tmp_path}/report.html"]
    assert check_events.run(["mongodb", *flags]) == 0
    assert (tmp_path / "report.html").exists()


def test_beam_yaml(job: Job, reference: str, database: Database[Any], emulator: Emulator, token_reference: str) -> None:
    """The same name in Beam YAML, its filter with values of extended JSON."""
    database.orders.insert_many(_orders(20))
    document = f"""
    providers: [{{include: "{PROVIDERS}"}}]
    pipeline:
        type: chain
        transforms:
          - type: ReadFromMongoDBBatched
            config:
              connection: {reference}
              database: {database.name}
              collection: orders
              filter: {{status: paid, at: {{$gte: {{$date: "2026-01-01T00:00:10Z"}}}}}}
              columns: [_id, at, customer]
          - type: WriteToMixpanel
            config:
              project_token: {token_reference}
              api_host: {emulator.url}
              mapping: {{event: Ordered, time_column: at, user_id_column: customer, insert_id_columns: _id}}
    """
    with beam.Pipeline("FnApiRunner") as pipeline:
        expand_pipeline(pipeline, document)
    assert _ids(emulator) == [10, 12, 14, 16, 18]


ROLES = {
    "time_column": "at",
    "distinct_id_column": "d",
    "user_id_column": "u",
    "device_id_column": "v",
    "insert_id_columns": ("_id",),
}


@pytest.mark.parametrize(
    ("mapping", "columns", "exclude"),
    [
        (EventMapping(), None, []),
        (EventMapping(event="E", time_column="at"), None, []),
        (EventMapping(event="E", time_column="at", exclude=("big", "at", "x*")), None, ["big"]),
        (EventMapping(event="E", include=("a",), time_column="at"), None, []),
        (EventMapping(event="E", include=("a", "b.c"), **ROLES), ["at", "d", "u", "v", "_id", "a", "b.c", "b"], []),
        (EventMapping(event="E", include=("a*",), **ROLES), None, []),
    ],
)
def test_what_is_left_out(mapping: EventMapping, columns: list[str] | None, exclude: list[str]) -> None:
    """Documents are narrowed only where no field of a later one could be missed."""
    assert _columns_to_read(mapping) == (columns, exclude)
