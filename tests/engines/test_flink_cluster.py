"""Flink as a session cluster of processes, and the death of one of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import EmulatorProcess
from tests.engines.waiting import await_true

pytestmark = pytest.mark.engines

EVENTS = 40_000
NOW_MS = int(time.time() * 1000)
TIMEOUT_SECS = 400


def _write_events(folder: Path) -> None:
    """Write events, half of them without `$insert_id`, in eight files that two TaskManagers can share."""
    for file in range(8):
        with (folder / f"{file}.ndjson").open("w") as lines:
            for number in range(file, EVENTS, 8):
                properties = {"time": NOW_MS - 86_400_000 - number, "distinct_id": f"user-{number % 97}", "n": number}
                if number % 3:
                    properties["$insert_id"] = f"id-{number:08d}"
                lines.write(json.dumps({"event": "Tested", "properties": properties}) + "\n")


def _await_events(emulator: EmulatorProcess, job: subprocess.Popen[str], least: int) -> None:
    await_true(f"{least} events", lambda: emulator.stats()["unique_events"] >= least, TIMEOUT_SECS, job)


def _failures(cluster: Any) -> list[str]:
    """Name what failed in the latest job, as Flink tells it; a busy machine may lose a task that nobody killed."""
    job = max(cluster.ask("jobs/overview")["jobs"], key=lambda job: job["start-time"])
    entries = cluster.ask(f"jobs/{job['jid']}/exceptions")["exceptionHistory"]["entries"]
    return [entry["exceptionName"] for entry in entries]


@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "a TaskManager killed"])
def test_each_event_is_shown_once(
    tmp_path: Path, token_reference: str, flink_cluster: Any, kill: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """On two TaskManagers, and when one is killed half-way: the job ends, and the export has each event once.

    Nothing is sent again where nothing failed.
    """
    engine, cluster = flink_cluster
    _write_events(tmp_path)
    with EmulatorProcess(latency_ms=300) as emulator:
        started = time.monotonic()
        job = subprocess.Popen(
            [
                *(sys.executable, "-m", "beam_mixpanel.pipelines.files_to_mixpanel", f"--input={tmp_path}/*.ndjson"),
                *(f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}"),
                *("--mixpanel_max_batch_events=100", "--mixpanel_max_concurrent_requests=4"),
                f"--summary={tmp_path}/summary.json",
                *engine.flags,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        if kill:
            _await_events(emulator, job, EVENTS // 10)
            cluster.task_managers[0].kill()
            assert emulator.stats()["unique_events"] < EVENTS
        _, printed = job.communicate(timeout=TIMEOUT_SECS)
        assert job.returncode == 0, printed
        summary = json.loads((tmp_path / "summary.json").read_text())
        shown = Counter(event["properties"]["n"] for event in emulator.events(deduplicated=True))
        copies = emulator.stats()["events_accepted"] - EVENTS
        failures = _failures(cluster)
    with capsys.disabled():
        print(
            f"\n{engine.name} {engine.version}, parallelism {engine.parallelism}, killed: {kill}: {EVENTS:,} events, "
            f"{time.monotonic() - started:.1f} s, {copies:,} sent again, read {summary['read']:,}, "
            f"imported {summary['imported']:,}, failures that Flink saw: {failures or 'none'}"
        )
    assert shown == Counter(range(EVENTS))
    assert (summary["read"], summary["imported"], summary["balanced"]) == (EVENTS, EVENTS, True)
    assert (copies > 0) <= bool(failures)
    assert (copies > 0) >= kill
