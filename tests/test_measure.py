"""What the benchmarks measure with."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.measure import descendants_cpu_secs

BURN_SECS = 0.3
BURN = f"import time\nwhile time.process_time() < {BURN_SECS}: pass"

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")


def test_the_cpu_time_of_what_was_started_is_counted_and_that_of_others_is_not() -> None:
    """A process that started another counts with it, alive or ended; this process's own time does not count."""
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\nprint()\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = descendants_cpu_secs()
        burnt_until = time.process_time() + BURN_SECS
        while time.process_time() < burnt_until:
            pass
        assert before >= BURN_SECS
        assert descendants_cpu_secs() - before < BURN_SECS / 2
