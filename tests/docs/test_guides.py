"""The guides' commands, run as a reader runs them: by a shell, in a fresh folder, against an emulator."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from beam_mixpanel.emulator import Emulator
from tests.docs.blocks import ROOT, blocks_of

_VARIES = re.compile(r"seconds|events/s|\bsent\b|\d s +\d+%|in flight|^[┌├└┏┡]|…")
"""Lines of output that differ from run to run, or say nothing."""
_NOT_HERE = ("make setup", "MIXPANEL_SERVICE_ACCOUNT", "beam-mixpanel emulator --port")
"""What is there already, or needs an account."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the `.venv` of the guides, which is the one that runs the tests."""
    programs = {"python": "", "beam-mixpanel": " -m beam_mixpanel.cli"}
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, arguments in programs.items():
        path = tmp_path / ".venv" / "bin" / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n')
        path.chmod(0o755)
    return tmp_path


def _steps(page: str) -> Iterator[tuple[str, str]]:
    """Give each command block of a page with the output that the page shows for it."""
    blocks = [block for block in blocks_of(Path("docs", page)) if block.language in ("sh", "text")]
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language == "sh":
            yield block.text, following.text if following and following.language == "text" else ""


def _run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "TOKEN": "any-token", "COLUMNS": "80"}
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _words(text: str) -> str:
    return " ".join(text.split())


def test_the_tutorial_says_what_happens(folder: Path) -> None:
    """Each command of the tutorial gives the output that the page shows; in the end each order is there once."""
    with Emulator() as emulator:
        for script, shown in _steps("tutorial.md"):
            if any(text in script for text in _NOT_HERE):
                continue
            done = _run(script.replace("http://127.0.0.1:8080", emulator.url), folder)
            said = _words(done.stdout + done.stderr)
            told = "--dead_letters" in script  # exit code 3, as the page says
            assert done.returncode == (3 if told else 0), f"{script}\n{done.stdout}{done.stderr}"
            missing = [line for line in shown.splitlines() if not _VARIES.search(line) and _words(line) not in said]
            assert missing == [], f"{script}\nsaid\n{done.stdout}{done.stderr}"
        ids = [event["properties"]["$insert_id"] for event in emulator.events(deduplicated=True)]
        assert sorted(ids) == ["1001", "1002", "1003", "1004", "1005"]
        assert len(emulator.events()) > len(ids)


def test_a_warehouse_of_segment_is_one_command(folder: Path) -> None:
    """The guide's command imports a table in the form that Segment writes, under Segment's own ids."""
    with closing(sqlite3.connect(folder / "segment.db")) as database:
        database.execute("CREATE TABLE order_completed (id, event, event_text, timestamp, user_id, received_at, total)")
        row = ("m-1", "order_completed", "Order Completed", "2026-10-01T10:00:00Z", "u-1", "2026-10-01T10:00:01Z", 9)
        database.execute("INSERT INTO order_completed VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        database.commit()
    [script] = [script for script, _ in _steps("how-to/from-segment.md") if "segment_warehouse" in script]
    with Emulator() as emulator:
        script = re.sub(r"'postgresql:[^']*'", "sqlite:///segment.db", script)
        script = script.replace("shop.order_completed", "order_completed")
        script = script.replace("--mixpanel_region eu", f"--mixpanel_api_host {emulator.url}")
        done = _run(f"mkdir state\nexport MIXPANEL_SERVICE_ACCOUNT=user:secret\n{script}", folder)
        assert done.returncode == 0, done.stderr
        [event] = emulator.events()
        assert event["event"] == "Order Completed"
        assert event["properties"]["$insert_id"] == "m-1"
