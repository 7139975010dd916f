"""A topic of Kafka into Mixpanel, on Flink, by Beam's KafkaIO."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import EmulatorProcess
from tests.engines.conftest import ENGINES, ROOT, _missing
from tests.engines.kafka import Kafka, kafka
from tests.engines.test_streams import CHECKPOINTS, HANGS_SECS, TIMEOUT_SECS, _Job
from tests.engines.waiting import await_true

pytestmark = pytest.mark.engines

PROGRAM = ROOT / "examples" / "python" / "kafka_to_mixpanel.py"
TOPIC = "events"
POISON = "no event"
FIRST, THEN = range(3_000), range(3_000, 5_000)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    jars = ENGINES / "kafka"
    if not jars.is_dir():
        _missing(f"there is no Kafka in {jars}")
    if shutil.which("java") is None:
        _missing("there is no java for Kafka")
    with kafka(jars, tmp_path_factory.mktemp("kafka")) as running:
        yield running


def _message(number: int) -> str:
    properties = {"time": 1_720_000_000_000 + number, "distinct_id": f"u{number % 7}", "number": number}
    return json.dumps({"event": "Ticked", "properties": properties})


def _numbers(emulator: EmulatorProcess) -> list[int]:
    return sorted(event["properties"]["number"] for event in emulator.events(deduplicated=True))


@contextlib.contextmanager
def _stream(
    emulator: EmulatorProcess, broker: Kafka, reference: str, dead_letters: Path, flags: Sequence[str]
) -> Iterator[subprocess.Popen[str]]:
    """Run the example for the length of the block."""
    command = [
        *(sys.executable, str(PROGRAM), f"--bootstrap_servers={broker.address}", f"--topic={TOPIC}"),
        *(f"--expansion_service={broker.expansion_service}", f"--mixpanel_project_token={reference}"),
        *(f"--mixpanel_api_host={emulator.url}", f"--dead_letters={dead_letters}", *flags, *CHECKPOINTS),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as stream:
        try:
            yield stream
        finally:
            stream.terminate()


def test_a_topic_survives_the_death_of_a_task_manager(
    token_reference: str, broker: Kafka, flink_cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Messages of before and after a TaskManager was killed under a request: each is shown once, or a dead letter."""
    engine, cluster = flink_cluster
    started = time.monotonic()
    broker.send(TOPIC, [*map(_message, FIRST), POISON])
    with (
        EmulatorProcess() as emulator,
        _stream(emulator, broker, token_reference, tmp_path / "dead", engine.flags) as stream,
    ):
        await_true("the first events", lambda: _numbers(emulator) == [*FIRST], TIMEOUT_SECS, stream)
        flowed, job = time.monotonic(), _Job(cluster)
        completed = job.completed()
        await_true("a checkpoint", lambda: job.completed() > completed, TIMEOUT_SECS, stream)
        emulator.add_fault(kind="hang", commit=True, secs=HANGS_SECS, times=1)
        broker.send(TOPIC, map(_message, THEN))
        await_true("a newer event", lambda: len(_numbers(emulator)) > len(FIRST), TIMEOUT_SECS, stream)
        cluster.task_managers[0].kill()
        cluster.add_task_manager()
        await_true("a restore", lambda: job.restored() > 0, TIMEOUT_SECS, stream)
        await_true("every event", lambda: _numbers(emulator) == [*FIRST, *THEN], TIMEOUT_SECS, stream)
        completed = job.completed()
        await_true("another checkpoint", lambda: job.completed() > completed, TIMEOUT_SECS, stream)
        stats = emulator.stats()
        with capsys.disabled():
            print(
                f"\n{engine.name} {engine.version}, parallelism {engine.parallelism}, Kafka, a TaskManager killed: "
                f"{len(FIRST):,} events after {flowed - started:.1f} s, all of {stats['unique_events']:,} in "
                f"{stats['requests']} requests, {stats['duplicates']} sent again, {time.monotonic() - started:.1f} s"
            )
        assert _numbers(emulator) == [*FIRST, *THEN]
    letters = [json.loads(line) for file in tmp_path.glob("dead-*") for line in file.read_text().splitlines()]
    assert {letter["event"] for letter in letters} == {POISON}
