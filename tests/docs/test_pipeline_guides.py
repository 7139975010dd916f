"""The guides for people with a pipeline of their own: their programs and tests are run as files, by processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beam_mixpanel.emulator import Emulator
from tests.docs.blocks import ROOT, Block, blocks_of

ADD = Path("docs/how-to/add-to-your-pipeline.md")
TEST = Path("docs/how-to/test-your-pipeline.md")
_TO_THE_EMULATOR = """
import os, runpy, sys
from beam_mixpanel.transforms import write
write.resolve_host = lambda *_: os.environ["EMULATOR"]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program as it stands in the docs, with the emulator in Mixpanel's place."""
PATIENCE_SECS = 120


def _blocks(page: Path, test: str, language: str) -> list[Block]:
    """Give the blocks of a page that name a test of this file."""
    named = f"tests/docs/test_pipeline_guides.py::{test}"
    blocks = [block for block in blocks_of(page) if block.comment("tested by ") == named and block.language == language]
    assert blocks, f"no block of {page} is tested by {test}"
    return blocks


def _write_files(blocks: list[Block], folder: Path) -> list[str]:
    """Write blocks into files, each under the name in its first line."""
    names = []
    for block in blocks:
        found = re.match(r"# (\w+\.py)\n", block.text)
        assert found, f"{block.place} names no file"
        (folder / found[1]).write_text(block.text)
        names.append(found[1])
    return names


def _environment(**variables: str) -> dict[str, str]:
    # Settings of the pytest that runs this file are not for the one that a guide runs.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return inherited | {"PYTHONPATH": str(ROOT), "MIXPANEL_SERVICE_ACCOUNT": "user:secret"} | variables


@contextmanager
def _program(folder: Path, emulator: Emulator, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of the docs for the length of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _TO_THE_EMULATOR, *arguments],
        cwd=folder,
        env=_environment(EMULATOR=emulator.url, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def _letters(folder: Path, pattern: str) -> list[dict[str, object]]:
    return [json.loads(line) for file in folder.glob(pattern) for line in file.read_text().splitlines()]


def _await(condition: Callable[[], object], program: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE_SECS
    while not condition():
        assert program.poll() is None, program.communicate()[0]
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.1)


def test_the_tests_of_the_guide_pass(tmp_path: Path) -> None:
    """The project of the guide, file by file: its tests are collected from all its files, and pass."""
    test = "test_the_tests_of_the_guide_pass"
    names = _write_files(_blocks(TEST, test, "python"), tmp_path)
    [command] = _blocks(TEST, test, "sh")
    assert command.text.strip() == "python -m pytest"
    done = subprocess.run(
        [sys.executable, *shlex.split(command.text)[1:], "-q", "-rA", "-p", "no:cacheprovider", "--rootdir=."],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * PATIENCE_SECS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = set(re.findall(r"^PASSED (\w+\.py)::", done.stdout, re.MULTILINE))
    assert passed == {name for name in names if name.startswith("test_")}


def test_the_stream_of_the_guide_imports_messages(tmp_path: Path, emulator: Emulator) -> None:
    """Messages of Pub/Sub become events while the stream flows, and one that is not JSON is kept."""
    pytest.importorskip("google.pubsub_v1", reason="needs the extra gcp")
    from tests.pubsub_service import PubSubServer

    blocks = _blocks(ADD, "test_the_stream_of_the_guide_imports_messages", "python")
    assert _write_files(blocks, tmp_path) == ["stream.py"]
    (tmp_path / "dead").mkdir()
    order = b'{"order_id": "o-1", "ordered_at": "2026-10-01T10:00:00Z", "customer": "c-1"}'
    with (
        PubSubServer() as messages,
        _program(tmp_path, emulator, "stream.py", PUBSUB_EMULATOR_HOST=messages.address) as stream,
    ):
        messages.publish(order, b"no JSON")
        _await(emulator.events, stream)
        _await(lambda: _letters(tmp_path, "dead/orders-*.jsonl"), stream)
    [event] = emulator.events()
    assert event["event"] == "Order Placed"
    assert event["properties"]["$user_id"] == "c-1"
    [letter] = _letters(tmp_path, "dead/orders-*.jsonl")
    assert (letter["event"], letter["stage"]) == ("no JSON", "parse")


def test_the_job_of_the_guide_takes_options(tmp_path: Path, emulator: Emulator) -> None:
    """The guide's command runs the guide's program, with the options of both."""
    test = "test_the_job_of_the_guide_takes_options"
    assert _write_files(_blocks(ADD, test, "python"), tmp_path) == ["job.py"]
    [command] = _blocks(ADD, test, "sh")
    (tmp_path / "events").mkdir()
    event = {"event": "A", "properties": {"time": 1790848800, "distinct_id": "u"}}
    (tmp_path / "events" / "a.ndjson").write_text(json.dumps(event) + "\n{}\n")
    arguments = shlex.split(command.text.replace("\\\n", " "))
    assert arguments[:2] == ["python", "job.py"]
    with _program(tmp_path, emulator, *arguments[1:]) as job:
        printed, _ = job.communicate(timeout=PATIENCE_SECS)
        assert job.returncode == 0, printed
    assert "to eu" in printed
    [imported] = emulator.events()
    assert imported["properties"]["source"] == "job"
    [letter] = _letters(tmp_path, "out/dead-*.jsonl")
    assert letter["fate"] == "invalid"
    assert emulator.requests()[-1]["query"]["project_id"] == "1234567"


def test_the_replay_of_the_guide_imports_what_was_kept(tmp_path: Path, emulator: Emulator) -> None:
    """A dead letter whose cause is gone is imported, and one whose is not is kept again."""
    [block] = _blocks(ADD, "test_the_replay_of_the_guide_imports_what_was_kept", "python")
    begin = (
        "import apache_beam as beam\n"
        "from beam_mixpanel import ServiceAccount, WriteDeadLetters, WriteToMixpanel\n"
        'account = ServiceAccount.from_reference("env:MIXPANEL_SERVICE_ACCOUNT", project_id=1234567)\n'
    )
    (tmp_path / "replay.py").write_text(begin + block.text)
    (tmp_path / "out").mkdir()
    good = {"event": '{"event": "A", "time": 1790848800}', "stage": "import", "reason": "http_503"}
    bad = {"event": '{"event": "A"}', "stage": "validate", "reason": "time_missing"}
    (tmp_path / "out" / "dead-1.jsonl").write_text("".join(json.dumps(letter) + "\n" for letter in (good, bad)))
    with _program(tmp_path, emulator, "replay.py") as replay:
        printed, _ = replay.communicate(timeout=PATIENCE_SECS)
        assert replay.returncode == 0, printed
    assert len(emulator.events()) == 1
    [letter] = _letters(tmp_path, "out/again-*.jsonl")
    assert letter["reason"] == "time_missing"
