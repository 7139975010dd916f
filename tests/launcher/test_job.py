"""How a job is run: what it changes in its process, and gives back."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import apache_beam as beam

from beam_mixpanel.errors import UsageError
from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.job import run_job


def test_the_collector_is_calm_while_a_job_runs_and_as_before_afterwards(tmp_path: Path) -> None:
    """Python's collector would search all of Beam again and again; other code of the process is not to notice."""
    seen = tmp_path / "seen"

    def build(pipeline: beam.Pipeline, settings: Settings) -> None:
        events = pipeline | beam.Create([{"event": "A", "time": 1_767_268_800}])
        _ = events | beam.Map(lambda _, file: file.write_text(str(gc.get_threshold())), seen)
        _ = events | settings.prepare_events()

    path = tmp_path / "events.ndjson"
    path.write_text("{}\n")
    before = gc.get_threshold()
    assert run_job("test", "", build, [f"--input={path}", "--validate_only"]) == 0
    assert seen.read_text() == "(50000, 20, 100)"
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_a_pipeline_that_does_not_come_to_run_leaves_no_folder_behind(tmp_path: Path) -> None:
    """Beam makes a temporary folder for each pipeline, and removes it only after a run."""
    made = []

    def build(pipeline: beam.Pipeline, settings: Settings) -> None:
        made.append(pipeline.local_tempdir)
        assert os.path.isdir(made[0])
        raise UsageError("it does not fit")

    path = tmp_path / "events.ndjson"
    path.write_text("{}\n")
    assert run_job("test", "", build, [f"--input={path}", "--validate_only"]) == 2
    assert not os.path.exists(made[0])
