"""A stream on a real engine: an unbounded source and real timers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import EmulatorProcess
from tests.engines.counting_stream import BUFFERING_SECS, EVERY_MS

pytestmark = pytest.mark.engines

PROGRAM = Path(__file__).with_name("counting_stream.py")
PRISM_SECS = 30
TIMEOUT_SECS = 300


@contextlib.contextmanager
def _stream(
    emulator: EmulatorProcess, reference: str, engine: Any, secs: int, *more: str
) -> Iterator[subprocess.Popen[str]]:
    """Run the stream for the length of the block."""
    command = [sys.executable, str(PROGRAM), emulator.url, reference, str(secs), *engine.flags, *more]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as stream:
        try:
            yield stream
        finally:
            stream.terminate()


def _await_events(emulator: EmulatorProcess, stream: subprocess.Popen[str], least: int) -> None:
    until = time.monotonic() + TIMEOUT_SECS
    while (shown := emulator.stats()["unique_events"]) < least:
        assert stream.poll() is None, stream.communicate()[1]
        assert time.monotonic() < until, f"{shown} of {least} events have arrived"
        time.sleep(0.2)


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
