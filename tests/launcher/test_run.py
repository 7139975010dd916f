"""How a job is run: what it changes in its process, and gives back."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import RunnerResult
from apache_beam.runners.runner import PipelineState

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.errors import UsageError
from beam_mixpanel.launcher.build import prepare_events
from beam_mixpanel.launcher.opened import Epilogue, Opened
from beam_mixpanel.launcher.run import Build, run_job
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.pipelines import files_to_mixpanel


def _run(folder: Path, build: Build, close: Callable[[], None] = lambda: None) -> int:
    """Run a pipeline of the test's own, from one event."""

    def open_event(settings: Settings) -> Opened:
        return Opened(beam.Create([{"event": "A", "time": 1_767_268_800}]), settings, Epilogue("a test", close=close))

    path = folder / "events.ndjson"
    path.write_text("{}\n")
    source = files_to_mixpanel.SOURCE._replace(open=open_event)
    return run_job(source, build, [f"--input={path}", "--mixpanel_emulator"])


def test_the_collector_is_calm_while_a_job_runs_and_as_before_afterwards(tmp_path: Path) -> None:
    """Python's collector would search all of Beam again and again; other code of the process is not to notice."""
    seen = tmp_path / "seen"

    def build(pipeline: beam.Pipeline, source: Opened) -> None:
        events = pipeline | source.rows
        _ = events | beam.Map(lambda _, file: file.write_text(str(gc.get_threshold())), seen)
        _ = events | prepare_events(source.settings)

    before = gc.get_threshold()
    _run(tmp_path, build)
    assert seen.read_text() == "(50000, 20, 100)"
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_a_pipeline_that_does_not_come_to_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """Beam makes a temporary folder for each pipeline, and removes it only after a run; sources hold connections."""
    made = []
    closed: list[str] = []

    def build(pipeline: beam.Pipeline, _: Opened) -> None:
        made.append(pipeline.local_tempdir)
        assert os.path.isdir(made[0])
        raise UsageError("it does not fit")

    assert _run(tmp_path, build, lambda: closed.append("the connection")) == 2
    assert not os.path.exists(made[0])
    assert closed == ["the connection"]


@pytest.mark.parametrize("state", [PipelineState.CANCELLED, PipelineState.DRAINED, PipelineState.FAILED])
def test_a_job_that_somebody_else_ended_is_no_success(
    tmp_path: Path,
    emulator: Emulator,
    token_reference: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    state: str,
) -> None:
    """Runners return the state of a cancelled job, too, without an error."""

    def cancelled(_: RunnerResult, duration: Any = None) -> str:
        return state

    monkeypatch.setattr(RunnerResult, "wait_until_finish", cancelled)
    path = tmp_path / "events.ndjson"
    path.write_text('{"event":"A","properties":{"time":1767268800,"distinct_id":"u"}}\n')
    destination = [f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}"]
    assert files_to_mixpanel.run([f"--input={path}", *destination]) == 1
    assert f"the job ended as {state}" in " ".join(capsys.readouterr().err.split())
