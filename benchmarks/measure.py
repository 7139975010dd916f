"""Runs a program as a user would and measures it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """What a process took.

    Attributes:
      seconds: wall time, start-up included.
      cpu_secs: user and system time, of its children too.
      peak_mb: largest resident size of the process.
    """

    seconds: float
    cpu_secs: float
    peak_mb: float


def run(arguments: Sequence[str], *, environment: dict[str, str] | None = None) -> Cost:
    """Run a Python module or file to its end.

    Raises:
      RuntimeError: it ended with an error; its output is in the message.
    """
    return run_program([sys.executable, *arguments], environment=environment)


def run_program(command: Sequence[str], *, environment: dict[str, str] | None = None, cwd: Path | None = None) -> Cost:
    """Run any program to its end.

    Raises:
      RuntimeError: it ended with an error; its output is in the message.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | (environment or {}),
        cwd=cwd,
    )
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)} failed:\n{output.decode(errors='replace')}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def median(costs: Sequence[Cost]) -> Cost:
    """Give the median of each measure."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


class CountingServer:
    """A `counting_server` process and what it counted."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> dict[str, Any]:
        """Ask what arrived."""
        with urllib.request.urlopen(self.url) as answer:
            counts: dict[str, Any] = json.load(answer)
        return counts


@contextlib.contextmanager
def counting_server(*options: str) -> Iterator[CountingServer]:
    """Run a `counting_server` for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.counting_server", *options], stdout=subprocess.PIPE, text=True
    )
    try:
        yield CountingServer(process.stdout.readline().strip() if process.stdout else "")
    finally:
        process.kill()
        process.wait()


def descendants_cpu_secs(ancestor: int | None = None) -> float:
    """Read the CPU time so far of what a process started, and of what that started; where there is no /proc, 0.

    The process is this one unless its id is given.

    The time of a process that has ended is with the one that waited for it.
    """
    ticks: dict[int, int] = {}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # After the name, which may hold anything: state, parent, ...; 14 to 17 of man proc are the times.
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            ticks[pid] = sum(int(field) for field in fields[11:15])
            children[int(fields[1])].append(pid)
    found = list(children[ancestor or os.getpid()])
    for pid in found:
        found.extend(children[pid])
    return sum(ticks[pid] for pid in found) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Describe where this was measured."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return f"{os.cpu_count()} cores ({model}), {platform.system()}, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
