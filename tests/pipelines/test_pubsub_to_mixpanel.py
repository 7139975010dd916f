"""`pubsub_to_mixpanel` as people run it: messages that Google's client pulls, events, and what cannot be imported."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apache_beam as beam
import pytest

pytest.importorskip("google.pubsub_v1", reason="needs the extra gcp")

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.launcher.command_line import read_settings
from beam_mixpanel.pipelines import pubsub_to_mixpanel
from tests.pubsub_service import PubSubServer

SUBSCRIPTION = "projects/a-project/subscriptions/orders"
MAPPING = ("--event=Ordered", "--time_column=at", "--user_id_column=customer", "--insert_id_columns=id")
PATIENCE_SECS = 60


@contextlib.contextmanager
def _job(folder: Path, messages: PubSubServer, url: str, token: str) -> Iterator[subprocess.Popen[str]]:
    """Run the pipeline for the length of the block."""
    command = [
        *(sys.executable, "-m", "beam_mixpanel.pipelines.pubsub_to_mixpanel", f"--subscription={SUBSCRIPTION}"),
        *(f"--mixpanel_api_host={url}", f"--mixpanel_project_token={token}"),
        *(f"--dead_letters={folder}/dead", "--mixpanel_max_buffering_secs=0.5", *MAPPING),
    ]
    environment = os.environ | {"PUBSUB_EMULATOR_HOST": messages.address}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as job:
        try:
            yield job
        finally:
            job.kill()


def _await(condition: Callable[[], object], job: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE_SECS
    while not condition():
        assert job.poll() is None, job.communicate()[1]
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.1)


def _order(number: int) -> bytes:
    return json.dumps(
        {"id": f"order-{number}", "at": "2026-10-01T10:00:00Z", "customer": "c", "total": number}
    ).encode()


def _letters(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in folder.glob("dead-*.jsonl") for line in file.read_text().splitlines()]


def test_messages_become_events_while_the_stream_flows(
    tmp_path: Path, emulator: Emulator, token_reference: str
) -> None:
    """Events arrive without the stream's end, what cannot be imported is in its file by then, and Ctrl-C ends it."""
    with PubSubServer() as messages, _job(tmp_path, messages, emulator.url, token_reference) as job:
        messages.publish(*map(_order, range(25)), b"no JSON")
        _await(lambda: len(emulator.events()) == 25, job)
        _await(lambda: _letters(tmp_path), job)
        messages.publish(_order(25))
        _await(lambda: len(emulator.events()) == 26, job)
        job.send_signal(signal.SIGINT)
        _, printed = job.communicate(timeout=PATIENCE_SECS)
    assert {event["properties"]["$insert_id"] for event in emulator.events()} == {f"order-{n}" for n in range(26)}
    [letter] = _letters(tmp_path)
    assert (letter["event"], letter["stage"]) == ("no JSON", "parse")
    assert len(messages.acknowledged) == 27
    assert "Traceback" not in printed, printed


def test_a_stream_is_batched_by_key(emulator: Emulator, token_reference: str, tmp_path: Path) -> None:
    """The graph has Beam's source and a stateful step, or `GroupIntoBatches`, sharded by the runner."""
    arguments = [
        *(f"--subscription={SUBSCRIPTION}", f"--mixpanel_api_host={emulator.url}"),
        *(f"--mixpanel_project_token={token_reference}", f"--dead_letters={tmp_path}/dead"),
    ]
    sharded = "beam:transform:group_into_batches_with_sharded_key:v1"
    for more in ([], ["--mixpanel_auto_sharding"]):
        settings = read_settings([*arguments, *more], pubsub_to_mixpanel.SOURCE.groups)
        pipeline = beam.Pipeline(options=settings.options)
        pubsub_to_mixpanel.build(pipeline, pubsub_to_mixpanel.SOURCE.open(settings))
        steps = pipeline.to_runner_api().components.transforms.values()
        assert (sharded in {step.spec.urn for step in steps}) == bool(more)
        assert any(step.unique_name == "WriteToMixpanel/Pack/Buffer" for step in steps) != bool(more)
        assert not any("GroupRemainders" in step.unique_name for step in steps)
        assert any(step.unique_name.startswith("ReadMessages/") for step in steps)


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ([], "give either --subscription"),
        ([f"--subscription={SUBSCRIPTION}", "--topic=projects/p/topics/t"], "give either --subscription"),
        (["--subscription=orders", "--dead_letters=dead"], 'must be in the form "projects/<project>/subscriptions'),
        ([f"--subscription={SUBSCRIPTION}"], "a stream needs --dead_letters PREFIX"),
        ([f"--subscription={SUBSCRIPTION}", "--runner=PrismRunner"], "does not run on PrismRunner"),
        ([f"--subscription={SUBSCRIPTION}", "--id_attribute=id"], "--id_attribute works on Dataflow only"),
    ],
)
def test_wrong_arguments_name_the_cure(arguments: list[str], cure: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before anything is read."""
    assert pubsub_to_mixpanel.run([*arguments, "--mixpanel_emulator"]) == 2
    assert cure in " ".join(capsys.readouterr().err.split())
