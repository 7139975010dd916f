"""Pipelines in other languages use our transforms through Beam's expansion service."""

from __future__ import annotations

import json
import operator
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.external import ExternalTransform
from apache_beam.transforms.fully_qualified_named_transform import FullyQualifiedNamedTransform

from beam_mixpanel.emulator import Emulator

pytestmark = pytest.mark.engines

WRITE = "beam_mixpanel.yaml.WriteToMixpanel"
EVENTS = 500
NOW = int(time.time())
TIMEOUT_SECS = 240


class EngineLike(Protocol):
    name: str
    version: str
    flags: tuple[str, ...]


def _external(transform: str, service: str, **arguments: Any) -> ExternalTransform:
    """Make what `PythonExternalTransform` is in Java; a dict of several types is a row there, and here."""
    named = FullyQualifiedNamedTransform(transform, (), arguments)
    urn, payload = named.to_runner_api_parameter(None)
    return ExternalTransform(urn, payload.SerializeToString(), service)


def _write(service: str, emulator: Emulator, reference: str, **more: Any) -> ExternalTransform:
    return _external(
        WRITE,
        service,
        project_token=reference,
        api_host=emulator.url,
        mapping=beam.Row(event="Order Placed", user_id_column="customer", insert_id_columns=["order_id"]),
        **more,
    )


def _event(order_id: str, customer: str, time_ms: int, total: float) -> dict[str, Any]:
    ids = {"$insert_id": order_id, "distinct_id": customer, "$user_id": customer}
    return {"event": "Order Placed", "properties": {**ids, "time": time_ms, "total": total}}


def _dead_letters(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("dead*") for line in file.read_text().splitlines()]


@pytest.fixture(params=["fn_api_runner", "portable_runner"])
def engine(request: pytest.FixtureRequest) -> EngineLike:
    given: EngineLike = request.getfixturevalue(request.param)
    return given


def test_rows_become_events_and_dead_letters(
    tmp_path: Path, emulator: Emulator, token_reference: str, expansion_service: str, engine: EngineLike
) -> None:
    """Rows go to a worker of the service's choice: each is imported there, or comes back as a dead letter."""
    orders = [beam.Row(order_id=str(n), time=NOW - n, customer=f"c{n % 7}", total=n / 4) for n in range(1, EVENTS + 1)]
    orders.append(beam.Row(order_id="bad", time=0, customer="c1", total=1.0))
    with beam.Pipeline(options=PipelineOptions([*engine.flags])) as pipeline:
        written = (
            pipeline
            | beam.Create(orders)
            | _write(expansion_service, emulator, token_reference, error_handling={"output": "dead_letters"})
        )
        assert written.keys() == {"good", "dead_letters"}
        lines = written["dead_letters"] | beam.Map(operator.attrgetter("line"))
        lines | beam.io.WriteToText(str(tmp_path / "dead"))
    arrived = {event["properties"]["$insert_id"]: event for event in emulator.events()}
    assert len(emulator.events()) == len(arrived) == EVENTS
    assert arrived["9"] == _event("9", "c2", (NOW - 9) * 1000, 2.25)
    [letter] = _dead_letters(tmp_path)
    assert (letter["reason"], json.loads(letter["event"])["order_id"]) == ("time_before_1971", "bad")


def test_a_reader_and_the_writer_meet_in_the_pipeline_of_another(
    tmp_path: Path, emulator: Emulator, token_reference: str, expansion_service: str, engine: EngineLike
) -> None:
    """The batches that our readers give pass through a pipeline that cannot decode them."""
    rows = "".join(f"{n},{NOW - n},c1\n" for n in range(1, EVENTS + 1))
    (tmp_path / "orders.csv").write_text(f"order_id,time,customer\n{rows}")
    with beam.Pipeline(options=PipelineOptions([*engine.flags])) as pipeline:
        batches = pipeline | "Read" >> _external(
            "beam_mixpanel.yaml.ReadFromFilesBatched", expansion_service, path=str(tmp_path / "orders.csv")
        )
        _ = batches | "Write" >> _write(expansion_service, emulator, token_reference)
    assert {event["properties"]["$insert_id"] for event in emulator.events()} == {str(n) for n in range(1, EVENTS + 1)}


@pytest.mark.parametrize(
    ("transform", "arguments", "cure"),
    [
        (WRITE, {"regoin": "eu"}, "regoin"),
        (WRITE, {"project_token": "0123456789abcdef"}, "env:NAME"),
        ("apache_beam.Map", {"fn": "print"}, "not allowed by filter"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_runs(
    expansion_service: str, transform: str, arguments: dict[str, str], cure: str
) -> None:
    """An unknown argument, a plain secret, and what is none of our transforms: each says so to the other language."""
    with pytest.raises(RuntimeError, match=cure):
        _ = beam.Pipeline() | beam.Create([beam.Row(a=1)]) | _external(transform, expansion_service, **arguments)


def _java(class_path: str, job_service: str, **flags: str) -> list[str]:
    """Give the command of docs/other-languages.md; Beam's options in Java are written in camelCase."""
    return [
        *("java", "-cp", class_path, "OrdersToMixpanel", "--runner=PortableRunner", f"--jobEndpoint={job_service}"),
        *("--defaultEnvironmentType=LOOPBACK", "--environmentCacheMillis=10000"),
        *(f"--{re.sub('_(.)', lambda found: found[1].upper(), name)}={value}" for name, value in flags.items()),
    ]


def _go(program: Path, job_service: str, **flags: str) -> list[str]:
    """Give the command of docs/other-languages.md."""
    return [
        *(str(program), "--runner=universal", f"--endpoint={job_service}", "--environment_type=LOOPBACK"),
        *(f"--{name}={value}" for name, value in flags.items()),
    ]


@pytest.mark.parametrize("service", ["job_service", "flink_job_service"])
@pytest.mark.parametrize("language", ["java", "go"])
def test_a_pipeline_in_another_language_imports_its_rows(
    tmp_path: Path,
    emulator: Emulator,
    token_reference: str,
    expansion_service: str,
    language: str,
    service: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its rows arrive as events with their moments and numbers; the one without a time is a line for a replay."""
    command = {"java": _java, "go": _go}[language]
    job = command(
        request.getfixturevalue(f"{language}_example"),
        request.getfixturevalue(service),
        expansion_service=expansion_service,
        project_token=token_reference,
        api_host=emulator.url,
        dead_letters=f"{tmp_path}/dead",
    )
    started = time.monotonic()
    done = subprocess.run(job, capture_output=True, text=True, timeout=TIMEOUT_SECS)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    with capsys.disabled():
        print(f"\nA pipeline in {language}, {service}: {len(emulator.events())} events, {seconds:.1f} s")
    assert sorted(emulator.events(), key=lambda event: str(event["properties"]["$insert_id"])) == [
        _event("1", "c1", 1_790_848_800_000, 10.5),
        _event("2", "c2", 1_790_852_400_000, 3.0),
    ]
    [letter] = _dead_letters(tmp_path)
    assert (letter["reason"], json.loads(letter["event"])["order_id"]) == ("time_missing", "3")
