"""Beam's checks of types while a pipeline runs find nothing wrong in the sink, however it is used."""

from __future__ import annotations

import time
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream as Stream

from beam_mixpanel import EventMapping, PrepareEvents, ProjectToken, WriteToMixpanel
from beam_mixpanel.emulator import Emulator

GOOD = {"event": "A", "properties": {"time": int(time.time()), "distinct_id": "u", "$insert_id": "id-1"}}
REJECTED = {"event": "B", "properties": {"time": int(time.time()), "distinct_id": "u", "$insert_id": "id-2"}}
INVALID = {"event": "A", "properties": {}}

_found: dict[str, list[Any]] = {}


def _keep(element: Any, name: str) -> None:
    _found.setdefault(name, []).append(element)


@pytest.fixture(params=["runtime_type_check", "performance_runtime_type_check"])
def flag(request: pytest.FixtureRequest) -> str:
    """The option that switches a check on."""
    _found.clear()
    return f"--{request.param}"


def _write(events: Any, flag: str, write: WriteToMixpanel, runner: str = "FnApiRunner") -> None:
    """Write with every output taken."""
    with beam.Pipeline(options=PipelineOptions([f"--runner={runner}", flag])) as pipeline:
        result = pipeline | events | write
        _ = result.receipts | "Receipts" >> beam.Map(_keep, "receipts")
        _ = result.dead_letters | "Letters" >> beam.Map(_keep, "letters")


@pytest.mark.parametrize("num_shards", [None, 2])
def test_bounded_input(num_shards: int | None, flag: str, emulator: Emulator, token_reference: str) -> None:
    """Good and invalid events, with and without shards."""
    token = ProjectToken.from_reference(token_reference)
    _write(
        beam.Create([GOOD, INVALID, "no JSON", b"{}"]),
        flag,
        WriteToMixpanel(token, api_host=emulator.url, num_shards=num_shards),
    )
    assert len(emulator.events()) == len(_found["receipts"]) == 1
    assert len(_found["letters"]) == 3


@pytest.mark.parametrize("auto_sharding", [True, False])
def test_a_stream(auto_sharding: bool, flag: str, emulator: Emulator, token_reference: str) -> None:
    """Batches in state, on the runner that has `TestStream`."""
    token = ProjectToken.from_reference(token_reference)
    stream = Stream().add_elements([GOOD, INVALID]).advance_watermark_to_infinity()
    write = WriteToMixpanel(token, api_host=emulator.url, auto_sharding=auto_sharding)
    _write(stream, flag, write, "BundleBasedDirectRunner")
    assert {event["event"] for event in emulator.events()} == {"A"}
    assert len(_found["letters"]) == 1


def test_what_mixpanel_refuses(flag: str, emulator: Emulator, token_reference: str) -> None:
    """Batches that were never confirmed."""
    emulator.add_fault(kind="status", status=503)
    token = ProjectToken.from_reference(token_reference)
    write = WriteToMixpanel(token, api_host=emulator.url, on_undelivered="dead_letter", retry_deadline_secs=0)
    _write(beam.Create([GOOD, REJECTED]), flag, write)
    assert {letter.fate for letter in _found["letters"]} == {"undelivered"}
    assert len(_found["letters"]) == 2


def test_without_anybody_who_takes_dead_letters(flag: str, emulator: Emulator, token_reference: str) -> None:
    """The job ends well where there are none."""
    write = WriteToMixpanel(ProjectToken.from_reference(token_reference), api_host=emulator.url)
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", flag])) as pipeline:
        _ = pipeline | beam.Create([GOOD]) | write
    assert len(emulator.events()) == 1


@pytest.mark.parametrize("mapping", [None, EventMapping(event="A", time_column="at")])
def test_prepare_events(mapping: EventMapping | None, flag: str) -> None:
    """Events, and rows with a mapping."""
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", flag])) as pipeline:
        rows = [GOOD, INVALID] if mapping is None else [{"at": int(time.time())}, {"at": None}]
        prepared = pipeline | beam.Create(rows) | PrepareEvents(mapping=mapping)
        _ = prepared.prepared | "Prepared" >> beam.Map(_keep, "prepared")
        _ = prepared.invalid | "Invalid" >> beam.Map(_keep, "invalid")
    assert [len(_found["prepared"]), len(_found["invalid"])] == [1, 1]
