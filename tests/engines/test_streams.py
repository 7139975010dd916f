"""A stream on real engines: an unbounded source, real timers, and the death of a process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import EmulatorProcess
from tests.engines.counting_stream import BUFFERING_SECS, EVERY_MS
from tests.engines.waiting import await_true

pytestmark = pytest.mark.engines

PROGRAM = Path(__file__).with_name("counting_stream.py")
PRISM_SECS = 30
TIMEOUT_SECS = 300
WITHOUT_END_SECS = 3600
HANGS_SECS = 5
CHECKPOINTS = ("--checkpointing_interval=2000", "--finish_bundle_before_checkpointing")
"""Without the second, what a bundle gives that a checkpoint ends waits for the next bundle, and none may ever come."""


@contextlib.contextmanager
def _stream(
    emulator: EmulatorProcess, reference: str, engine: Any, secs: int, *more: str, first_ms: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run the stream for the length of the block, with the first event due now, or then."""
    first_ms = first_ms or _now_ms()
    command = [sys.executable, str(PROGRAM), emulator.url, reference, str(first_ms), str(secs), *engine.flags, *more]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as stream:
        try:
            yield stream
        finally:
            stream.terminate()


def _now_ms() -> int:
    return int(time.time() * 1000)


def _await(what: str, holds: Callable[[], bool], stream: subprocess.Popen[str]) -> None:
    await_true(what, holds, TIMEOUT_SECS, stream)


def _await_events(emulator: EmulatorProcess, stream: subprocess.Popen[str], least: int) -> None:
    _await(f"{least} events", lambda: emulator.stats()["unique_events"] >= least, stream)


def _events(secs: int) -> int:
    return secs * 1000 // EVERY_MS


def _tell(capsys: pytest.CaptureFixture[str], engine: Any, emulator: EmulatorProcess, more: str = "") -> None:
    stats = emulator.stats()
    with capsys.disabled():
        print(
            f"\n{engine.name} {engine.version}, parallelism {engine.parallelism}, stream{more}: "
            f"{stats['unique_events']:,} events in {stats['requests']} requests, {stats['duplicates']} sent again, "
            f"{stats['secs_first_to_last']:.1f} s"
        )


def test_a_stream_on_prism(token_reference: str, prism: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each event arrives once while the stream flows, in batches that fill for the buffering time, and the job ends."""
    events = _events(PRISM_SECS)
    with EmulatorProcess() as emulator, _stream(emulator, token_reference, prism, PRISM_SECS) as stream:
        _await_events(emulator, stream, events // 3)
        assert stream.poll() is None
        _, printed = stream.communicate(timeout=TIMEOUT_SECS)
        assert stream.returncode == 0, printed
        _tell(capsys, prism, emulator)
        assert {event["properties"]["number"] for event in emulator.events()} == set(range(events))
        assert emulator.stats()["duplicates"] == 0
        assert emulator.stats()["requests"] <= 2 * (PRISM_SECS / BUFFERING_SECS + 2)


class _Job:
    """The only job of a cluster that still runs, as Flink's REST interface tells of it."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        [self.id] = [job["id"] for job in cluster.ask("jobs")["jobs"] if job["status"] == "RUNNING"]

    def _checkpoints(self) -> Any:
        return self._cluster.ask(f"jobs/{self.id}/checkpoints")

    def completed(self) -> int:
        """Count the checkpoints that were completed."""
        return int(self._checkpoints()["counts"]["completed"])

    def restored(self) -> int:
        """Count how often the job began anew from a checkpoint."""
        return int(self._checkpoints()["counts"]["restored"])

    def restored_from(self) -> int:
        """Give the number of the checkpoint that the job last began from."""
        return int(self._checkpoints()["latest"]["restored"]["id"])

    def stop(self, folder: Path) -> str:
        """End the job with a savepoint; give its place."""
        order = {"target-directory": folder.as_uri(), "cancel-job": True}
        asked = self._cluster.ask(f"jobs/{self.id}/savepoints", "POST", order)["request-id"]
        path = f"jobs/{self.id}/savepoints/{asked}"
        await_true("the savepoint", lambda: self._cluster.ask(path)["status"]["id"] == "COMPLETED", TIMEOUT_SECS)
        return str(self._cluster.ask(path)["operation"]["location"])


def _numbers(emulator: EmulatorProcess) -> list[int]:
    """Give the numbers that Mixpanel would show."""
    return [event["properties"]["number"] for event in emulator.events(deduplicated=True)]


def test_a_stream_survives_the_death_of_a_task_manager(
    token_reference: str, flink_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed under a request, and another started: the stream goes on from a checkpoint, and no number is missing.

    The events of that request were stored before the death; they are sent again, and shown once.
    """
    engine, cluster = flink_cluster
    started = time.monotonic()
    with (
        EmulatorProcess() as emulator,
        _stream(emulator, token_reference, engine, WITHOUT_END_SECS, *CHECKPOINTS) as stream,
    ):
        _await_events(emulator, stream, 1)
        job, began = _Job(cluster), time.monotonic()
        _await("checkpoints", lambda: job.completed() >= 3, stream)
        emulator.add_fault(kind="hang", commit=True, secs=HANGS_SECS, times=1)
        checkpoints, before = job.completed(), max(_numbers(emulator))
        _await("events after that", lambda: max(_numbers(emulator)) > before, stream)
        cluster.task_managers[0].kill()
        killed, before = time.monotonic(), max(_numbers(emulator))
        cluster.add_task_manager()
        _await("a restore", lambda: job.restored() > 0, stream)
        _await("newer events", lambda: max(_numbers(emulator)) > before, stream)
        flows = time.monotonic()
        expected = range(max(_numbers(emulator)) + _events(5))
        _await("every number", lambda: set(expected) <= set(_numbers(emulator)), stream)
        restored_from = job.restored_from()
        _await("another checkpoint", lambda: job.completed() > checkpoints + 1, stream)
        with capsys.disabled():
            print(
                f"\n{engine.name} {engine.version}, parallelism {engine.parallelism}, stream, a TaskManager killed: "
                f"first event after {began - started:.1f} s, killed after {checkpoints} checkpoints and number "
                f"{before:,}, restored from checkpoint {restored_from}, flows again after {flows - killed:.1f} s, "
                f"all of {len(expected):,} numbers, {emulator.stats()['duplicates']} sent again, "
                f"{time.monotonic() - started:.1f} s in all"
            )
        numbers, sent_again = _numbers(emulator), emulator.stats()["duplicates"]
    assert len(numbers) == len(set(numbers))
    assert sent_again > 0


def test_a_stream_goes_on_from_a_savepoint(
    token_reference: str, flink_cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped with a savepoint and begun from it: no number is missing, and each is shown once."""
    engine, cluster = flink_cluster
    started, first_ms = time.monotonic(), _now_ms()
    with EmulatorProcess() as emulator:
        with _stream(emulator, token_reference, engine, WITHOUT_END_SECS, *CHECKPOINTS, first_ms=first_ms) as stream:
            _await_events(emulator, stream, 1)
            savepoint = _Job(cluster).stop(tmp_path)
        before = max(_numbers(emulator))
        flags = (*CHECKPOINTS, f"--savepoint_path={savepoint}")
        with _stream(emulator, token_reference, engine, WITHOUT_END_SECS, *flags, first_ms=first_ms) as stream:
            _await("newer events", lambda: max(_numbers(emulator)) > before, stream)
            assert _Job(cluster).restored() == 1
            expected = range(max(_numbers(emulator)) + _events(5))
            _await("every number", lambda: set(expected) <= set(_numbers(emulator)), stream)
        with capsys.disabled():
            print(
                f"\n{engine.name} {engine.version}, parallelism {engine.parallelism}, stream, stopped with a savepoint "
                f"after number {before:,} and begun from it: all of {len(expected):,} numbers, "
                f"{emulator.stats()['duplicates']} sent again, {time.monotonic() - started:.1f} s in all"
            )
        numbers = _numbers(emulator)
    assert len(numbers) == len(set(numbers))
