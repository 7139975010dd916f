"""Mappings on the command line: flags, a file, a preset, a function; what arrives, and what the books say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import check_events, files_to_mixpanel, replay_dead_letters

DATA = Path(__file__).parent.parent / "data" / "presets"
ROWS = [
    {"action": "Buy", "at": "02/01/2026 03:04", "uid": 7, "plan": "pro", "mail": "x@example.com"},
    {"action": "Ping", "at": "02/01/2026 03:05", "uid": 7},
    {"action": "Buy", "at": "2026-01-02", "uid": 8},
]
FLAGS = (
    "--event_column=action",
    "--time_column=at",
    "--time_format=%d/%m/%Y %H:%M",
    "--user_id_column=uid",
    "--exclude=mail",
    "--rename=plan=Plan",
    "--tag=n=5",
    "--skip_event=P*",
)
YAML = """
event_column: action
time_column: at
time_format: '%d/%m/%Y %H:%M'
user_id_column: uid
exclude: mail
rename: {plan: Plan}
tags: {n: 5}
skip_events: [P*]
"""


class Job:
    def __init__(self, folder: Path, reference: str, emulator: Emulator) -> None:
        self.folder = folder
        self.emulator = emulator
        self.destination = (f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={reference}")

    def input(self, *rows: dict[str, Any]) -> str:
        path = self.folder / "rows.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    def run(self, *flags: str, pipeline: Any = files_to_mixpanel) -> tuple[int, dict[str, int]]:
        summary = self.folder / "summary.json"
        code = pipeline.run([*self.destination, f"--summary={summary}", f"--dead_letters={self.folder}/dead", *flags])
        books = json.loads(summary.read_text()) if summary.exists() else {}
        fates = ("read", "filtered", "invalid", "imported", "rejected", "undelivered")
        return code, {fate: books[fate] for fate in fates if books.get(fate)}

    def letters(self) -> list[dict[str, Any]]:
        files = sorted(self.folder.glob("dead-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def job(tmp_path: Path, token_reference: str, emulator: Emulator) -> Job:
    return Job(tmp_path, token_reference, emulator)


@pytest.mark.parametrize("way", ["flags", "file", "both"])
def test_rows_arrive_as_the_mapping_says(job: Job, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By flags, by a file, or by a file that flags correct: one event, one filtered row, one dead letter, balanced."""
    file = job.folder / "mapping.yaml"
    file.write_text(YAML if way == "file" else YAML.replace("tags: {n: 5}", "tags: {old: 1}"))
    flags = {"flags": FLAGS, "file": (f"--mapping={file}",), "both": (f"--mapping={file}", "--tag=n=5")}[way]
    code, books = job.run(f"--input={job.input(*ROWS)}", *flags)
    assert (code, books) == (3, {"read": 3, "filtered": 1, "invalid": 1, "imported": 1})
    (event,) = job.emulator.events()
    assert event["properties"].pop("$insert_id")
    assert event == {
        "event": "Buy",
        "properties": {"distinct_id": "7", "$user_id": "7", "Plan": "pro", "n": 5, "time": 1_767_323_040_000},
    }
    (letter,) = job.letters()
    assert json.loads(letter["event"]) == ROWS[2]
    assert (letter["stage"], letter["reason"], letter["field"]) == ("map", "time_unreadable", "at")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mapping:")]
    assert said == [
        "mapping: event from action; time from at; distinct_id from uid; $user_id from uid; $insert_id made from the "
        "content; properties: Plan (from plan), n (tag)"
    ]


def test_rows_are_replayed_through_the_mapping(job: Job) -> None:
    """After the mapping is mended, the dead letters of rows arrive."""
    assert job.run(f"--input={job.input(*ROWS)}", *FLAGS)[0] == 3
    mended = [flag for flag in FLAGS if "format" not in flag]
    flags = (f"--input={job.folder}/dead-*", f"--dead_letters={job.folder}/again")
    assert job.run(*mended, *flags, pipeline=replay_dead_letters) == (0, {"read": 1, "imported": 1})
    assert [event["properties"]["$user_id"] for event in job.emulator.events()] == ["7", "8"]


def test_a_preset_is_one_flag(job: Job) -> None:
    """A vendor's export needs its name and no more."""
    code, books = job.run(f"--input={DATA}/segment.ndjson", "--preset=segment", "--tag=source=segment")
    assert (code, books) == (0, {"read": 3, "filtered": 1, "imported": 2})
    assert {event["properties"]["source"] for event in job.emulator.events()} == {"segment"}


def test_a_function_maps(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--map` takes a function of a module on the path; what it raises is a dead letter with the row."""
    (job.folder / "my_events.py").write_text(
        "def to_events(row):\n"
        "    if row['action'] == 'Ping':\n"
        "        return None\n"
        "    return {'event': row['action'], 'time': 1767323045000, 'share': 100 / len(row['plan'])}\n"
    )
    monkeypatch.syspath_prepend(job.folder)
    code, books = job.run(f"--input={job.input(*ROWS)}", "--map=my_events:to_events")
    assert (code, books) == (3, {"read": 3, "filtered": 1, "invalid": 1, "imported": 1})
    assert job.emulator.events()[0]["properties"]["share"] == 100 / 3
    (letter,) = job.letters()
    assert json.loads(letter["event"]) == ROWS[2]
    assert letter["message"] == "the function raised KeyError in to_events, line 4"


def test_a_check_maps_without_sending(job: Job) -> None:
    """The check counts what would be imported, filtered and invalid."""
    summary = job.folder / "summary.json"
    flags = (f"--input={job.input(*ROWS)}", f"--report={job.folder}/r.html", f"--summary={summary}")
    assert check_events.run([*FLAGS, *flags, "--allow_dead_letters=0"]) == 3
    written = json.loads(summary.read_text())
    assert [written[name] for name in ("read", "filtered", "invalid", "valid")] == [3, 1, 1, 1]
    assert job.emulator.requests() == []


def test_a_column_that_the_first_lines_lack_is_told(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of JSON may each have other keys, so this is a warning, with the keys that there are."""
    job.run(f"--input={job.input(*ROWS)}", *FLAGS, "--include=paln", "--include=plan")
    assert "warning: in the first rows, there is no column 'paln'; did you mean plan?" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["lines", "array"])
def test_a_tag_leaves_events_in_mixpanels_shape_as_they_are(
    job: Job, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What only adds something, or leaves some out, does not make rows of events; it serves beside their shape."""
    events = [
        {"event": name, "properties": {"time": 1_790_000_000, "distinct_id": "u", "$insert_id": name, "deep": {"a": 1}}}
        for name in ("Buy", "Ping")
    ]
    path = job.folder / "events.json"
    path.write_text(json.dumps(events) if form == "array" else "".join(json.dumps(event) + "\n" for event in events))
    code, books = job.run(f"--input={path}", "--tag=source=backfill", "--skip_event=P*")
    assert (code, books) == (0, {"read": 2, "filtered": 1, "imported": 1})
    assert "events in Mixpanel's shape" in capsys.readouterr().err
    (sent,) = job.emulator.events()
    assert sent["properties"].pop("source") == "backfill"
    assert sent["properties"].pop("time") in (1_790_000_000, 1_790_000_000_000)
    assert sent == {"event": "Buy", "properties": {"distinct_id": "u", "$insert_id": "Buy", "deep": {"a": 1}}}


def test_empty_flags_are_as_if_they_were_absent(job: Job) -> None:
    """Job schedulers render templates with values that may be empty."""
    row = {"event": "A", "time": 1_790_000_000, "distinct_id": "u"}
    flags = ("--preset=", "--event=", "--tag=", "--include=", "--insert_id_columns=", "--mapping=", "--map=")
    assert job.run(f"--input={job.input(row)}", *flags) == (0, {"read": 1, "imported": 1})


def test_a_format_that_cannot_be_told_is_a_wrong_argument(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2 and the option that tells it, before a job is begun."""
    path = job.folder / "notes"
    path.write_text("hello\nworld\n")
    assert job.run(f"--input={path}")[0] == 2
    assert "--input_format" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "cure"),
    [
        (("--time_unit=min",), "one of auto, s, ms, us, ns"),
        (("--tag=x",), "NAME=VALUE"),
        (("--preset=ga5",), "use one of amplitude"),
        (("--map=no_such_module:f",), "PYTHONPATH"),
        (("--map=f",), "module:function"),
        (("--event=A", "--event_column=b"), "not both"),
        (("--mapping=/no/such/file",), "cannot read --mapping"),
        (("--mapping={folder}/list.yaml",), "keys and values"),
        (("--mapping={folder}/typo.yaml",), "did you mean event_column"),
    ],
)
def test_a_wrong_mapping_is_exit_2_with_the_cure(
    job: Job, flags: tuple[str, ...], cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is read or sent under a mapping that cannot be meant."""
    (job.folder / "list.yaml").write_text("[a]")
    (job.folder / "typo.yaml").write_text("event_colunm: a")
    arguments = [flag.replace("{folder}", str(job.folder)) for flag in flags]
    assert job.run(f"--input={job.input(*ROWS)}", *arguments)[0] == 2
    assert cure in capsys.readouterr().err.replace("\n", " ")
    assert job.emulator.requests() == []
