"""`make bench-flink`: one TaskManager of Flink beside two, importing the same files."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks import events
from benchmarks.measure import CountingServer, counting_server, descendants_cpu_secs, machine
from tests.engines import conftest as engines

_FILES = 8
_TOKEN = {"MIXPANEL_BENCH_TOKEN": "token"}


class Measured(NamedTuple):
    """An import on Flink.

    Attributes:
      seconds: of the whole command.
      sending_secs: from the first event that arrived to the last.
      cpu_secs: of Flink, the workers, the command and the counting server in that time; not of others on the machine.
      all_cpu_secs: the same, of the whole command.
      requests: how many arrived.
    """

    seconds: float
    sending_secs: float
    cpu_secs: float
    all_cpu_secs: float
    requests: int


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure imports on Flink: by TaskManagers, and by options.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--task_managers", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--options",
        nargs="+",
        default=[""],
        help="each a variant: options of the pipeline without their dashes, with spaces between; '' for none",
    )
    arguments = parser.parse_args()
    console = Console(width=120, highlight=False)
    console.print(f"{arguments.count:,} events in {_FILES} files, {machine()}\n")
    table = Table(title="Flink", title_justify="left")
    table.add_column("options")
    for column in (
        *("TaskManagers", "events/s while sending", "seconds sending", "seconds in all"),
        *("CPU s per M while sending", "CPU s in all", "events a request"),
    ):
        table.add_column(column, justify="right")
    variants = list(itertools.product(arguments.options, arguments.task_managers))
    with tempfile.TemporaryDirectory() as folder, counting_server() as server:
        _write(Path(folder), arguments.count)
        for options, managers in variants * arguments.rounds:
            flags = [f"--{option}" for option in options.split()]
            measured = _measure(Path(folder), server, managers, arguments.count, flags)
            table.add_row(
                options or "none",
                str(managers),
                f"{arguments.count / measured.sending_secs:,.0f}",
                f"{measured.sending_secs:.1f}",
                f"{measured.seconds:.1f}",
                f"{measured.cpu_secs * 1e6 / arguments.count:.1f}",
                f"{measured.all_cpu_secs:.0f}",
                f"{arguments.count / measured.requests:,.0f}",
            )
    console.print(table)


def _write(folder: Path, count: int) -> None:
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / f"{number}.ndjson").open("wb")) for number in range(_FILES)]
        for number, event in enumerate(events.generate(count)):
            files[number % _FILES].write(event + b"\n")


def _measure(folder: Path, server: CountingServer, managers: int, count: int, flags: list[str]) -> Measured:
    with contextlib.ExitStack() as processes:
        work = Path(processes.enter_context(tempfile.TemporaryDirectory()))
        cluster = engines.FlinkCluster(engines.ENGINES / "flink", work, processes)
        cluster.start(task_managers=managers)
        pool = processes.enter_context(engines._worker_pool(work / "pool.log", **_TOKEN))
        address = processes.enter_context(
            engines._job_server(engines.ENGINES / "flink", work, f"localhost:{cluster.port}")
        )
        before, began, cpu = server.counts(), time.monotonic(), descendants_cpu_secs()
        job = subprocess.Popen(
            [
                *(sys.executable, "-m", "beam_mixpanel.pipelines.files_to_mixpanel", f"--input={folder}/*.ndjson"),
                *(f"--mixpanel_api_host={server.url}", "--mixpanel_project_token=env:MIXPANEL_BENCH_TOKEN"),
                *("--runner=PortableRunner", f"--job_endpoint={address}", f"--parallelism={managers}"),
                *(*engines._external(pool), f"--summary={work}/summary.json", *flags),
            ],
            env=os.environ | _TOKEN,
            stderr=subprocess.PIPE,
            text=True,
        )
        sending_secs, cpu_secs = _watch(server, before["events"], count, job)
        printed = job.communicate()[1]
        if job.returncode or not json.loads((work / "summary.json").read_text())["balanced"]:
            raise RuntimeError(printed)
        requests = server.counts()["requests"] - before["requests"]
        all_cpu_secs = descendants_cpu_secs() - cpu
        return Measured(time.monotonic() - began, sending_secs, cpu_secs, all_cpu_secs, requests)


def _watch(server: CountingServer, before: int, count: int, job: subprocess.Popen[str]) -> tuple[float, float]:
    """Give how long the events took to arrive, and the CPU time that all processes of this benchmark took meanwhile."""
    while server.counts()["events"] == before and job.poll() is None:
        time.sleep(0.1)
    began, cpu = time.monotonic(), descendants_cpu_secs()
    while server.counts()["events"] - before < count and job.poll() is None:
        time.sleep(0.1)
    return time.monotonic() - began, descendants_cpu_secs() - cpu


if __name__ == "__main__":
    main()
