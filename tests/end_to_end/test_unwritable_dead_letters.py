"""Dead letters that cannot be written, and what a job leaves beside them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import files_to_mixpanel
from beam_mixpanel.transforms.dead_letters import remove_unfinished

NOW_MS = int(time.time() * 1000)
# Not preexec_fn: between fork and exec it would run beside the threads of gRPC, which this process may have. -B: else
# bytecode is written, and cut off, too, and breaks every later run.
WITH_SMALL_FILES = """
import os, resource, sys
most_bytes = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
os.execv(sys.executable, [sys.executable, "-B", "-m", "beam_mixpanel.pipelines.files_to_mixpanel", *sys.argv[2:]])
"""
CURE = "give --dead_letters a place that can be written to"


@pytest.fixture
def flags(tmp_path: Path, token_reference: str, emulator: Emulator) -> list[str]:
    """What a run needs, for a file of 40 good and 40 invalid events."""
    events = [
        {"event": "Tested", "properties": {"time": NOW_MS, "distinct_id": "u", "number": number, "pad": "x" * 100}}
        for number in range(80)
    ]
    for event in events[40:]:
        del event["properties"]["time"]
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    (tmp_path / "letters").mkdir()
    return [
        f"--input={tmp_path}/events.ndjson",
        f"--dead_letters={tmp_path}/letters/dead",
        f"--summary={tmp_path}/summary.json",
        f"--mixpanel_api_host={emulator.url}",
        f"--mixpanel_project_token={token_reference}",
    ]


@pytest.mark.parametrize("most_bytes", [500, 8_000], ids=["at the first", "half-way"])
def test_a_full_disk_fails_the_job_and_names_the_cure(tmp_path: Path, flags: list[str], most_bytes: int) -> None:
    """Where a dead letter finds no room the job fails, with exit code 1 and no trace, and leaves no half file."""
    flags = [flag for flag in flags if not flag.startswith("--summary")]
    run = subprocess.run(
        [sys.executable, "-c", WITH_SMALL_FILES, str(most_bytes), *flags],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1, run.stderr
    assert "File too large" in run.stderr
    assert CURE in run.stderr
    assert "run the job again" in run.stderr
    assert "Traceback" not in run.stderr
    assert list((tmp_path / "letters").iterdir()) == []


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


def _replace(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    folder.write_text("a file where a folder was")


@pytest.mark.parametrize("spoil", [_remove, _replace])
def test_a_folder_that_goes_away_drops_no_dead_letter(
    tmp_path: Path,
    flags: list[str],
    emulator: Emulator,
    engine: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
) -> None:
    """Where the folder is taken away after letters were written, the job fails with the cure; it does not end green."""
    folder = tmp_path / "letters"

    def spoil_at_the_first_request() -> None:
        while not emulator.requests():
            time.sleep(0.01)
        spoil(folder)

    emulator.add_fault(kind="status", status=503, times=1, headers={"Retry-After": "1"})
    emulator.add_fault(kind="failed_records", count=20)
    thread = Thread(target=spoil_at_the_first_request, daemon=True)
    thread.start()
    code = files_to_mixpanel.run([*flags, *engine])
    thread.join()
    printed = capsys.readouterr().err
    assert code == 1, printed
    assert CURE in printed
    assert json.loads((tmp_path / "summary.json").read_text())["balanced"] is False


def test_a_job_leaves_no_temporary_files(
    tmp_path: Path, flags: list[str], emulator: Emulator, engine: tuple[str, ...]
) -> None:
    """What a job that fails wrote and did not commit is removed; the files of other runs stay, and their letters."""
    others = [".dead-20260101T000000000000-0-abc.jsonl.unfinished", "dead-20260101T000000000000-0.jsonl", ".dead-note"]
    for name in others:
        (tmp_path / "letters" / name).write_text("{}\n")
    emulator.add_fault(kind="status", status=401)
    assert files_to_mixpanel.run([*flags, *engine]) == 1
    assert {path.name for path in (tmp_path / "letters").iterdir()} == set(others)


def test_only_the_run_that_is_named_is_cleaned_up(tmp_path: Path) -> None:
    """A prefix that another's begins with does not stand for the other; a folder that is gone is no error."""
    names = [f".dead-{run}.jsonl.unfinished" for run in ("1-0-a", "1-1-b", "12-0-c")]
    for name in (*names, "dead-1-0-d.jsonl"):
        (tmp_path / name).write_text("{}\n")
    remove_unfinished(f"{tmp_path}/dead-1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[2], "dead-1-0-d.jsonl"]
    remove_unfinished(f"{tmp_path}/gone/dead-1")
    remove_unfinished("gs://a-bucket/dead-1")
