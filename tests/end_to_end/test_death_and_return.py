"""What comes of a job that is killed or asked to end, and of one that is run again."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import Emulator, EmulatorProcess
from beam_mixpanel.emulator.control import EmulatorControl

EVENTS = 6_000
BATCH_EVENTS = 100
NOW_MS = int(time.time() * 1000)


@pytest.fixture(scope="session")
def slow_emulator() -> Iterator[EmulatorProcess]:
    """A server in a process of its own that takes long enough for a job to be killed half-way."""
    with EmulatorProcess(latency_ms=60) as emulator:
        yield emulator


@pytest.fixture
def events(tmp_path: Path) -> list[dict[str, Any]]:
    """Events in two files, every other one without `$insert_id`, and no two alike."""
    events = []
    for number in range(EVENTS):
        properties = {"time": NOW_MS - 86_400_000 - number, "distinct_id": f"user-{number % 97}", "number": number}
        if number % 2:
            properties["$insert_id"] = f"id-{number:08d}"
        events.append({"event": "Tested", "properties": properties})
    for name, part in (("a", events[: EVENTS // 3]), ("b", events[EVENTS // 3 :])):
        (tmp_path / f"{name}.ndjson").write_text("".join(json.dumps(event) + "\n" for event in part))
    return events


def _start(folder: Path, url: str, reference: str, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "beam_mixpanel.pipelines.files_to_mixpanel", f"--input={folder}/*.ndjson"),
            f"--mixpanel_api_host={url}",
            f"--mixpanel_project_token={reference}",
            f"--mixpanel_max_batch_events={BATCH_EVENTS}",
            f"--summary={folder}/summary.json",
            *flags,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )


def _await_events(emulator: EmulatorControl, process: subprocess.Popen[str], least: int) -> None:
    """Wait until so many events have arrived."""
    while emulator.stats()["unique_events"] < least:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)


def _without_made_ids(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take off the ids that were made from content; put the events in order."""
    for event in events:
        if event["properties"]["number"] % 2 == 0:
            del event["properties"]["$insert_id"]
    return sorted(events, key=lambda event: event["properties"]["number"])


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_job_that_is_run_again_leaves_each_event_once(
    tmp_path: Path, token_reference: str, slow_emulator: EmulatorProcess, events: list[dict[str, Any]], seed: int
) -> None:
    """After SIGKILL at any moment of the import, a run to the end leaves exactly the input: each event, once."""
    slow_emulator.reset()
    least = random.Random(seed).randint(1, EVENTS * 2 // 3)
    killed = _start(tmp_path, slow_emulator.url, token_reference, "--mixpanel_max_concurrent_requests=4")
    _await_events(slow_emulator, killed, least)
    killed.kill()
    killed.communicate(timeout=10)
    assert killed.returncode == -signal.SIGKILL
    assert least <= slow_emulator.stats()["unique_events"] < EVENTS

    again = _start(tmp_path, slow_emulator.url, token_reference)
    _, printed = again.communicate(timeout=60)
    assert again.returncode == 0, printed
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["read"], summary["imported"], summary["balanced"]) == (EVENTS, EVENTS, True)
    stored = slow_emulator.events()
    assert len(stored) > EVENTS, "the first run had left nothing"
    exported = slow_emulator.events(deduplicated=True)
    assert _without_made_ids(exported) == events


@pytest.mark.portable
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "fault",
    [{"kind": "hang"}, {"kind": "status", "status": 503}],
    ids=["while requests hang", "while they are refused"],
)
def test_an_interrupted_job_ends_within_seconds_and_so_do_its_workers(
    tmp_path: Path,
    token_reference: str,
    emulator: Emulator,
    events: list[dict[str, Any]],
    worker_pool: str,
    fault: dict[str, Any],
    number: int,
) -> None:
    """On a portable runner too: exit code 1, words of advice, and soon nobody sends any more."""
    emulator.add_fault(**fault)
    process = _start(
        tmp_path,
        emulator.url,
        token_reference,
        *("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL"),
        f"--environment_config={worker_pool}",
    )
    while not (emulator.stats()["in_flight"] or emulator.requests()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    asked = time.monotonic()
    _, printed = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5
    assert process.returncode == 1
    by = " by SIGTERM" if number == signal.SIGTERM else ""
    assert f"interrupted{by}; run the job again" in printed
    assert "is not known here" in printed
    assert "Traceback" not in printed
    _await_silence(emulator)


def _await_silence(emulator: Emulator) -> None:
    """Wait until nothing has been in flight, nor has come, for a second; fail if that does not come to pass."""
    until = time.monotonic() + 10
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        assert time.monotonic() < until, "requests still arrive"
        count = len(emulator.requests())
        if count != seen or emulator.stats()["in_flight"]:
            seen, since = count, time.monotonic()
        time.sleep(0.05)
