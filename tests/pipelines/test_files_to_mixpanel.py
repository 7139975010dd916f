"""The pipelines as people run them: flags in; requests, books, dead letters and an exit code out."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import check_events, files_to_mixpanel, replay_dead_letters

NOW_MS = int(time.time() * 1000)


def _event(number: int, **properties: Any) -> dict[str, Any]:
    defaults = {
        "time": NOW_MS - 86_400_000 - number,
        "distinct_id": f"user-{number}",
        "$insert_id": f"id-{number:08d}",
        "number": number,
    }
    return {"event": "Tested", "properties": defaults | properties}


class Job:
    """Runs a pipeline in a folder of its own and reads what it leaves."""

    def __init__(self, folder: Path, reference: str) -> None:
        self.folder = folder
        self.reference = reference

    def input(self, *lines: dict[str, Any] | bytes, name: str = "events.ndjson") -> Path:
        """Write a file of events, or of lines as they are."""
        path = self.folder / name
        content = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"".join(line + b"\n" for line in content))
        return path

    def run(self, emulator: Emulator, *flags: str, pipeline: Any = files_to_mixpanel) -> tuple[int, dict[str, Any]]:
        """Give the exit code and the summary."""
        summary = self.folder / "summary.json"
        summary.unlink(missing_ok=True)
        code = pipeline.run(
            [
                f"--mixpanel_api_host={emulator.url}",
                f"--mixpanel_project_token={self.reference}",
                f"--summary={summary}",
                *flags,
            ]
        )
        return code, json.loads(summary.read_text()) if summary.exists() else {}

    def dead_letters(self, prefix: str) -> list[dict[str, Any]]:
        """Read the dead letters written under a prefix."""
        files = sorted(self.folder.glob(f"{prefix}-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def job(tmp_path: Path, token_reference: str) -> Job:
    return Job(tmp_path, token_reference)


def _books(summary: dict[str, Any]) -> dict[str, int]:
    fates = ("read", "filtered", "invalid", "imported", "rejected", "undelivered")
    assert summary["balanced"] == (summary["read"] == sum(summary[fate] for fate in fates[1:]))
    return {fate: summary[fate] for fate in fates if summary[fate]}


def test_all_events_imported_is_exit_0(job: Job, emulator: Emulator) -> None:
    """Every event of every file arrives, the books balance, the exit code is 0."""
    events = [_event(number) for number in range(5_000)]
    job.input(*events[:2_000], name="a.ndjson")
    (job.folder / "b.ndjson.gz").write_bytes(gzip.compress(job.input(*events[2_000:], name="b.txt").read_bytes()))
    code, summary = job.run(emulator, f"--input={job.folder}/a.ndjson", f"--input={job.folder}/*.gz")
    assert (code, _books(summary)) == (0, {"read": 5_000, "imported": 5_000})
    assert sorted(emulator.events(), key=lambda event: event["properties"]["number"]) == events
    assert summary["requests"] == len(emulator.requests()) == 3
    assert summary["reasons"] == {}


def test_dead_letters_are_exit_3_and_keep_the_original_text(job: Job, emulator: Emulator) -> None:
    """Invalid and rejected events are written with their original text; the others arrive."""
    good, rejected = _event(1), _event(2)
    invalid, nonsense = b'{"event":"A","properties":{"x":"\xc3\xa9"}}', b"\xff\xfe"
    file = job.input(rejected, good, invalid, nonsense)
    emulator.add_fault(kind="failed_records", variant="standard", times=1)
    code, summary = job.run(emulator, f"--input={file}", f"--dead_letters={job.folder}/dead")
    assert (code, _books(summary)) == (3, {"read": 4, "invalid": 2, "imported": 1, "rejected": 1})
    letters = {letter["stage"]: letter for letter in job.dead_letters("dead")}
    assert set(letters) == {"parse", "validate", "import"}
    assert letters["validate"]["event"].encode() == invalid
    assert letters["parse"]["event_base64"] == "//4="
    assert json.loads(letters["import"]["event"]) == rejected
    assert (letters["import"]["insert_id"], letters["import"]["http_status"]) == ("id-00000002", 400)
    assert letters["import"]["source"] == f"{file}@0"
    assert sum(summary["reasons"].values()) == 3
    assert emulator.events() == [good]


def test_without_dead_letters_the_first_bad_event_fails_the_job(
    job: Job, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, with the reason and how to go on; the summary does not claim to balance."""
    code, summary = job.run(emulator, f"--input={job.input({'event': 'A', 'properties': {}})}")
    assert (code, summary["balanced"]) == (1, False)
    error = capsys.readouterr().err
    assert "time_missing" in error
    assert "--dead_letters" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("allowed", "code"), [("1", 3), ("2", 0), ("50%", 0), ("49%", 3)])
def test_allowed_dead_letters_count_as_success(job: Job, emulator: Emulator, allowed: str, code: int) -> None:
    """`--allow_dead_letters` takes a number or a share of the events read."""
    file = job.input(_event(1), _event(2), b"{", b"[]")
    flags = (f"--dead_letters={job.folder}/dead", f"--allow_dead_letters={allowed}")
    assert job.run(emulator, f"--input={file}", *flags)[0] == code


def test_a_green_job_that_imported_nothing_does_not_exist(job: Job, emulator: Emulator) -> None:
    """No events, or none but dead letters, is never exit code 0."""
    assert job.run(emulator, f"--input={job.input(name='empty.ndjson')}")[0] == 1
    flags = (f"--dead_letters={job.folder}/dead", "--allow_dead_letters=100%")
    assert job.run(emulator, f"--input={job.input(b'{')}", *flags)[0] == 1


def test_a_check_sends_nothing_and_needs_no_credentials(job: Job, emulator: Emulator) -> None:
    """It counts what would be imported, keeps the rest, and is red where more is refused than was allowed."""
    file = job.input(_event(1), b"{", {"event": "A", "properties": {}})
    summary = job.folder / "summary.json"
    flags = [f"--input={file}", f"--report={job.folder}/r.html", f"--summary={summary}"]
    assert check_events.run([*flags, f"--dead_letters={job.folder}/dead"]) == 0
    assert check_events.run([*flags, "--allow_dead_letters=2"]) == 0
    assert check_events.run([*flags, "--allow_dead_letters=1"]) == 3
    written = json.loads(summary.read_text())
    assert (written["read"], written["invalid"], written["valid"], written["imported"]) == (3, 2, 1, 0)
    assert len(job.dead_letters("dead")) == 2
    assert emulator.requests() == []


def test_replay_empties_the_dead_letters_after_the_cause_is_gone(job: Job, emulator: Emulator) -> None:
    """What Mixpanel rejected once arrives on replay, as the same event, and leaves no new dead letters."""
    events = [_event(number) for number in range(20)]
    del events[3]["properties"]["$insert_id"]
    emulator.add_fault(kind="failed_records", variant="standard", count=20, times=1)
    code, summary = job.run(emulator, f"--input={job.input(*events)}", f"--dead_letters={job.folder}/dead")
    assert (code, _books(summary)) == (3, {"read": 20, "rejected": 20})
    flags = (f"--input={job.folder}/dead-*", f"--dead_letters={job.folder}/again")
    code, summary = job.run(emulator, *flags, pipeline=replay_dead_letters)
    assert (code, _books(summary)) == (0, {"read": 20, "imported": 20})
    assert job.dead_letters("again") == []
    arrived = sorted(emulator.events(), key=lambda event: event["properties"]["number"])
    del arrived[3]["properties"]["$insert_id"]
    assert arrived == events


def test_dead_letters_of_dead_letters_do_not_nest(job: Job, emulator: Emulator) -> None:
    """A replayed event that fails again keeps its original text and place; a line that is none becomes one."""
    first = job.run(emulator, f"--input={job.input(b'{', name='a.ndjson')}", f"--dead_letters={job.folder}/one")
    assert first[0] == 3
    job.input(b'{"event":"not a letter"}', name="one-extra.jsonl")
    flags = (f"--input={job.folder}/one-*", f"--dead_letters={job.folder}/two")
    code, summary = job.run(emulator, *flags, pipeline=replay_dead_letters)
    assert (code, _books(summary)) == (3, {"read": 2, "invalid": 2})
    letters = sorted(job.dead_letters("two"), key=lambda letter: letter["event"])
    assert [letter["event"] for letter in letters] == ["{", '{"event":"not a letter"}']
    assert letters[0]["source"] == f"{job.folder}/a.ndjson@0"


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_exit_1_within_seconds(
    job: Job, emulator: Emulator, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job ends at once and says what to do; nothing becomes a dead letter."""
    emulator.add_fault(kind="status", status=status)
    started = time.monotonic()
    code, _ = job.run(emulator, f"--input={job.input(_event(1))}", f"--dead_letters={job.folder}/dead")
    assert (code, time.monotonic() - started < 10) == (1, True)
    assert "role" in capsys.readouterr().err
    assert job.dead_letters("dead") == []


def test_progress_without_a_terminal_and_the_books_are_printed(
    job: Job, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The books are printed to stderr, and stdout stays empty."""
    job.run(emulator, f"--input={job.input(_event(1))}")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "imported" in printed.err
    assert "balanced" in printed.err


def test_the_embedded_emulator_takes_the_events(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    """`--mixpanel_emulator` needs neither host nor credentials."""
    assert files_to_mixpanel.run([f"--input={job.input(_event(1), _event(1))}", "--mixpanel_emulator"]) == 0
    assert "shows 1 events, each once" in capsys.readouterr().err


def test_raw_exports_are_brought_into_form(job: Job, emulator: Emulator) -> None:
    """Flat lines, times in seconds, numeric ids and absent `$insert_id`s all become Mixpanel's form."""
    line = b'{"event_name":"A","time":%d,"distinct_id":1234567890123456789,"n":12345678901234567890123}'
    file = job.input(line % (NOW_MS // 1000 - 5))
    code, _ = job.run(emulator, f"--input={file}")
    (event,) = emulator.events()
    assert code == 0
    assert event["event"] == "A"
    assert event["properties"]["distinct_id"] == "1234567890123456789"
    assert event["properties"]["n"] == 12345678901234567890123
    assert event["properties"]["time"] == (NOW_MS // 1000 - 5) * 1000
    assert len(event["properties"]["$insert_id"]) == 32


@pytest.mark.parametrize("flags", [("--direct_num_workers=2", "--direct_running_mode=multi_processing")])
def test_worker_processes_keep_the_books(job: Job, emulator: Emulator, flags: tuple[str, ...]) -> None:
    """With workers in other processes the counts and the events are the same."""
    events = [_event(number) for number in range(3_000)]
    code, summary = job.run(emulator, f"--input={job.input(*events, b'{')}", f"--dead_letters={job.folder}/d", *flags)
    assert (code, _books(summary)) == (3, {"read": 3_001, "invalid": 1, "imported": 3_000})
    assert sorted(emulator.events(), key=lambda event: event["properties"]["number"]) == events


def test_a_cap_for_the_whole_job_holds_over_worker_processes(job: Job, emulator: Emulator) -> None:
    """With `--mixpanel_num_shards=2`, three workers have no more than two requests in flight together."""
    emulator.add_fault(kind="latency", secs=0.05)
    files = [
        job.input(*map(_event, range(start, start + 500)), name=f"{start}.ndjson") for start in range(0, 3000, 500)
    ]
    flags = ("--direct_num_workers=3", "--direct_running_mode=multi_processing", "--mixpanel_max_batch_events=50")
    inputs = (f"--input={file}" for file in files)
    code, summary = job.run(emulator, *inputs, *flags, "--mixpanel_num_shards=2")
    assert (code, summary["imported"], len(emulator.events())) == (0, 3_000, 3_000)
    assert emulator.stats()["max_in_flight"] <= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_ends_within_seconds_and_says_so(job: Job, emulator: Emulator, number: int) -> None:
    """Requests in flight are abandoned, what is known is told, and the exit code says that it failed."""
    emulator.add_fault(kind="hang")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "beam_mixpanel.pipelines.files_to_mixpanel",
            f"--input={job.input(_event(1))}",
            f"--mixpanel_api_host={emulator.url}",
            f"--mixpanel_project_token={job.reference}",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not emulator.stats()["in_flight"]:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    asked = time.monotonic()
    _, error = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5
    assert process.returncode == 1
    by = " by SIGTERM" if number == signal.SIGTERM else ""
    assert f"interrupted{by}; run the job again" in error
    assert "balanced" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("flags", [("--insert_id_columns=number",), ("--mixpanel_time_zone=Asia/Tokyo",)])
def test_a_replay_sends_the_same_events_whatever_its_options(
    job: Job, emulator: Emulator, flags: tuple[str, ...]
) -> None:
    """An event whose answer was lost is replayed under the id and the time it was sent with: nothing doubles."""
    lines = [b'{"event":"A","time":"2026-01-02 03:04:05","distinct_id":"u","number":%d}' % n for n in range(9)]
    emulator.add_fault(kind="status", status=503, commit=True)
    settings = (f"--dead_letters={job.folder}/dead", "--mixpanel_retry_deadline_secs=0")
    undelivered = "--mixpanel_on_undelivered=dead_letter"
    assert job.run(emulator, f"--input={job.input(*lines)}", *settings, undelivered, *flags)[0] == 3
    emulator.clear_faults()
    assert job.run(emulator, f"--input={job.folder}/dead-*", pipeline=replay_dead_letters)[0] == 0
    assert len(emulator.events()) == 18
    assert len(emulator.events(deduplicated=True)) == 9


@pytest.mark.parametrize("checks", [False, True], ids=["import", "check"])
def test_redacted_properties_leave_in_no_way(job: Job, emulator: Emulator, checks: bool) -> None:
    """`--redact` takes properties out of what is sent, of dead letters, and of what replaying them sends and keeps."""
    lines = [_event(1, email="ca-na-ry", phone="ca-na-ry"), _event(2, time="soon", email="ca-na-ry"), b"{ca-na-ry"]
    flags = [f"--input={job.input(*lines)}", f"--dead_letters={job.folder}/d"]
    redact = ("--redact=email", "--redact", "phone")
    if checks:
        report = (f"--report={job.folder}/r.html", "--show_values")
        assert check_events.run([*flags, *redact, *report, "--allow_dead_letters=0"]) == 3
        assert "ca-na-ry" not in (job.folder / "r.json").read_text()
    else:
        emulator.add_fault(kind="status", status=503, times=1)
        flags += ["--mixpanel_retry_deadline_secs=0", "--mixpanel_on_undelivered=dead_letter"]
        assert job.run(emulator, *flags, *redact)[0] == 3
    letters = job.dead_letters("d")
    assert len(letters) == (2 if checks else 3)
    again = job.run(
        emulator, f"--input={job.folder}/d-*", f"--dead_letters={job.folder}/e", *redact, pipeline=replay_dead_letters
    )
    assert again[0] == 3
    left = [*letters, *job.dead_letters("e"), *emulator.events(), *emulator.requests()]
    assert "ca-na-ry" not in json.dumps(left)
    assert [event["properties"]["number"] for event in emulator.events()] == [1] * (not checks)
