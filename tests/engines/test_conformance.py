"""One pipeline, one input: every engine gives the same books, the same dead letters, the same events."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import pytest

from beam_mixpanel.emulator import Emulator, EmulatorProcess

pytestmark = pytest.mark.engines

GOOD = 6_000
TWICE = 500
REJECTED = 3
INVALID = (b'{"event":"A"', b'{"event":"A","properties":{}}', b"\xff\xfe", b"[]")
BOOKS = {
    "read": GOOD + TWICE + len(INVALID),
    "filtered": 0,
    "invalid": len(INVALID),
    "imported": GOOD + TWICE - REJECTED,
    "rejected": REJECTED,
    "undelivered": 0,
}
NOW_MS = int(time.time() * 1000)
TIMEOUT_SECS = 240


class EngineLike(Protocol):
    name: str
    version: str
    flags: tuple[str, ...]
    parallelism: int

    def _replace(self, *, flags: tuple[str, ...]) -> EngineLike: ...


def _lines() -> list[bytes]:
    """Give good events, half of them without `$insert_id`, some twice, and lines that are none."""
    events = []
    for number in range(GOOD):
        properties = {"time": NOW_MS - 86_400_000 - number, "distinct_id": f"user-{number % 97}", "number": number}
        if number % 2:
            properties["$insert_id"] = f"id-{number:08d}"
        events.append(json.dumps({"event": "Tested", "properties": properties}).encode())
    return events + events[:TWICE] + list(INVALID)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold the input in four files, so that an engine can share it out."""
    lines = _lines()
    for number in range(4):
        (tmp_path / f"{number}.ndjson").write_bytes(b"".join(line + b"\n" for line in lines[number::4]))
    return tmp_path


@pytest.fixture(params=["direct_runner", "fn_api_runner", "portable_runner", "prism", "flink", "flink_processes"])
def engine(request: pytest.FixtureRequest) -> EngineLike:
    given: EngineLike = request.getfixturevalue(request.param)
    return given


def _run(folder: Path, url: str, reference: str, engine: EngineLike) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "beam_mixpanel.pipelines.files_to_mixpanel", f"--input={folder}/*.ndjson"),
            f"--mixpanel_api_host={url}",
            f"--mixpanel_project_token={reference}",
            f"--dead_letters={folder}/dead",
            f"--summary={folder}/summary.json",
            *engine.flags,
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECS,
    )
    assert (folder / "summary.json").exists(), done.stderr
    return done.returncode, json.loads((folder / "summary.json").read_text()), done.stderr


def _dead_letters(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("dead-*.jsonl") for line in file.read_text().splitlines()]


def _original(letter: dict[str, Any]) -> bytes:
    if "event_base64" in letter:
        return base64.b64decode(letter["event_base64"])
    text: str = letter["event"]
    return text.encode()


def test_books_dead_letters_and_events_are_the_same_on_every_engine(
    folder: Path,
    emulator: Emulator,
    token_reference: str,
    engine: EngineLike,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 3, exact books from the engine's own counters, each dead letter once, and each other event stored."""
    emulator.add_fault(kind="failed_records", variant="standard", count=REJECTED, times=1)
    started = time.monotonic()
    code, summary, printed = _run(folder, emulator.url, token_reference, engine)
    seconds = time.monotonic() - started
    books = {fate: summary[fate] for fate in BOOKS}
    with capsys.disabled():
        print(
            f"\n{engine.name} {engine.version}, parallelism {engine.parallelism}: "
            f"{books['read']:,} events, {seconds:.1f} s, {books}"
        )
    assert (code, books, summary["balanced"]) == (3, BOOKS, True), printed
    assert summary["requests"] == len(emulator.requests())

    letters = _dead_letters(folder)
    assert Counter(letter["stage"] for letter in letters) == {"parse": 3, "validate": 1, "import": REJECTED}
    assert Counter(_original(letter) for letter in letters if letter["stage"] != "import") == Counter(INVALID)
    assert sum(summary["reasons"].values()) == len(letters)
    rejected = [
        json.loads(letter["event"])["properties"]["number"] for letter in letters if letter["stage"] == "import"
    ]
    arrived = Counter(event["properties"]["number"] for event in emulator.events())
    expected = Counter(range(GOOD)) + Counter(range(TWICE))
    assert arrived + Counter(rejected) == expected

    unique = {event["properties"]["number"] for event in emulator.events(deduplicated=True)}
    assert len(emulator.events(deduplicated=True)) == len(unique) == len(arrived)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_cap_for_the_whole_job_holds_over_tasks_side_by_side(
    folder: Path, token_reference: str, flink: EngineLike, shards: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """On Flink with four tasks of each step, no more than `--mixpanel_num_shards` requests are in flight together."""
    with EmulatorProcess(latency_ms=100) as emulator:
        flags = (*flink.flags, "--parallelism=4", "--mixpanel_max_batch_events=100", f"--mixpanel_num_shards={shards}")
        code, summary, printed = _run(folder, emulator.url, token_reference, flink._replace(flags=flags))
        assert (code, summary["imported"]) == (3, GOOD + TWICE), printed
        most = emulator.stats()["max_in_flight"]
    with capsys.disabled():
        print(f"\n{flink.name} {flink.version}, parallelism 4, {shards} shards: at most {most} requests in flight")
    assert 1 <= most <= shards
