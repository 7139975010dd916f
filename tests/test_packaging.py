"""What a release promises beside its code: the image's constraints, the metadata, clean temporary folders."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def _pins() -> dict[str, str]:
    """Give the versions that the image of the templates installs."""
    lines = (ROOT / "templates" / "constraints.txt").read_text().splitlines()
    pins = (re.match(r"([\w.-]+)(?:\[[^]]*])?==([^\s;\\]+)", line) for line in lines)
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}


def test_constraints_of_the_image_are_within_our_bounds() -> None:
    """Every dependency that the image installs is pinned, to a version that our metadata allow."""
    pins = _pins()
    wrong = []
    for text in metadata("beam-mixpanel").get_all("Requires-Dist") or []:
        need = Requirement(text)
        wanted = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("gcp", "sql"))
        pin = pins.get(canonicalize_name(need.name))
        if wanted and (pin is None or pin not in need.specifier):
            wrong.append(f"{text}: {pin}")
    assert wrong == []


def test_a_run_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    """A finished import has cleared whatever it made in TMPDIR."""
    events, scratch = tmp_path / "events.ndjson", tmp_path / "scratch"
    scratch.mkdir()
    events.write_text('{"event": "A", "time": "2026-01-02T03:04:05Z", "distinct_id": "u"}\n')
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.files_to_mixpanel", f"--input={events}", "--mixpanel_emulator"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    assert done.returncode == 0, done.stderr
    assert "shows 1 events, each once" in done.stderr
    assert list(scratch.iterdir()) == []
