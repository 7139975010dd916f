"""What tests of all levels share."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import Emulator

TOKEN_VARIABLE = "TEST_MIXPANEL_TOKEN"


@pytest.fixture
def token_reference(monkeypatch: pytest.MonkeyPatch) -> str:
    """A reference to a project token that the emulator accepts."""
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token")
    return f"env:{TOKEN_VARIABLE}"


@pytest.fixture(scope="session")
def _emulator() -> Iterator[Emulator]:
    with Emulator(record_bodies=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: Emulator) -> Emulator:
    """The session's emulator, emptied and without faults or limits."""
    _emulator.reset()
    _emulator.clear_faults()
    return _emulator


def make_event(number: int, **properties: Any) -> dict[str, Any]:
    """Give a good event in Mixpanel's final form; another number, another event."""
    now_ms = int(time.time() * 1000)
    defaults = {
        "time": now_ms - 86_400_000 - number,
        "distinct_id": f"user-{number}",
        "$insert_id": f"id-{number:08d}",
        "number": number,
    }
    return {"event": "Tested", "properties": defaults | properties}


def write_ndjson(path: Path, events: list[Any]) -> Path:
    """Write events, or lines that are bytes already, as NDJSON."""
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def identity(event: dict[str, Any]) -> tuple[Any, ...]:
    """Give the four fields by which Mixpanel tells events apart."""
    properties = event["properties"]
    return event["event"], properties.get("distinct_id"), properties["time"], properties["$insert_id"]
