"""Waiting for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


def await_true(what: str, holds: Callable[[], bool], secs: float, job: subprocess.Popen[str] | None = None) -> None:
    """Ask until something holds; fail where it takes longer, or where the job ends first, with the job's words."""
    until = time.monotonic() + secs
    while not holds():
        assert job is None or job.poll() is None, job.communicate()[1]
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.2)
