"""`make bench`: the pipeline as a process beside a hand-written script, and the stages alone, in one run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import events
from benchmarks.measure import Cost, counting_server, machine, median, run
from benchmarks.stages import STAGES

_TOKEN = {"MIXPANEL_BENCH_TOKEN": "token"}


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description="Measure the pipeline beside a hand-written script.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000, help="events of the largest file; 0 to leave it out")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    console = Console(width=100, highlight=False)
    console.print(f"{arguments.count:,} events, median of {arguments.rounds} rounds, {machine()}\n")
    with tempfile.TemporaryDirectory() as folder:
        for form in ("ready", "raw"):
            file = Path(folder) / f"{form}.ndjson"
            _make(file, arguments.count, form)
            console.print(_compare(file, arguments.count, arguments.rounds, form))
        ready = Path(folder) / "ready.ndjson"
        console.print(_floor(ready, arguments.count, arguments.rounds))
        console.print(_growth(ready, arguments.count, arguments.large, arguments.rounds))


def _make(path: Path, count: int, form: str) -> None:
    with path.open("wb") as file:
        events.write(file, count, form=form)


def _pipeline(file: Path, url: str, *more: str) -> Cost:
    return run(
        [
            "-m",
            "beam_mixpanel.pipelines.files_to_mixpanel",
            f"--input={file}",
            f"--mixpanel_api_host={url}",
            "--mixpanel_project_token=env:MIXPANEL_BENCH_TOKEN",
            *more,
        ],
        environment=_TOKEN,
    )


def _two_workers(file: Path, url: str) -> Cost:
    return _pipeline(file, url, "--direct_num_workers=2", "--direct_running_mode=multi_processing")


def _script(file: Path, url: str) -> Cost:
    return run(["-m", "benchmarks.script", str(file), url])


def _compare(file: Path, count: int, rounds: int, form: str) -> Table:
    table = _table(f"Events {'in final form' if form == 'ready' else 'that must be rewritten'}", "server answers after")
    for latency_ms in (0, 100):
        with counting_server(f"--latency_ms={latency_ms}") as server:
            ways = {"script": _script, "pipeline": _pipeline, "pipeline, 2 workers": _two_workers}
            costs: dict[str, list[Cost]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, way in ways.items():
                    costs[name].append(way(file, server.url))
            expected = count * rounds * len(ways)
            counted = server.counts()["events"]
            if counted != expected:
                raise RuntimeError(f"{counted} events arrived, expected {expected}")
        for name, measured in costs.items():
            _add(table, name, f"{latency_ms} ms", measured, count, median(costs["script"]))
    return table


def _floor(file: Path, count: int, rounds: int) -> Table:
    table = Table(title="The stages alone, one thread, each with those before it", title_justify="left")
    for column in ("up to", "CPU s per M events", "more than the stage before"):
        table.add_column(column, justify="right")
    before = 0.0
    with counting_server() as server:
        for stage in STAGES:
            cost = median([run(["-m", "benchmarks.stages", str(file), server.url, stage]) for _ in range(rounds)])
            per_million = cost.cpu_secs * 1e6 / count
            table.add_row(stage, f"{per_million:.2f}", f"{per_million - before:.2f}")
            before = per_million
    return table


def _growth(ready: Path, count: int, large: int, rounds: int) -> Table:
    table = Table(title="From one event to many: the start, and memory that does not grow", title_justify="left")
    table.add_column("")
    for column in ("events", "seconds", "events/s", "CPU s", "peak MB"):
        table.add_column(column, justify="right")
    one = ready.with_name("one.ndjson")
    _make(one, 1, "ready")
    files = {1: one, count: ready}
    if large:
        files[large // count * count] = big = ready.with_name("large.ndjson")
        events.repeat(ready, big, large // count)
    with counting_server() as server:
        for name, way in (("script", _script), ("pipeline", _pipeline)):
            for events_of, file in files.items():
                cost = median([way(file, server.url) for _ in range(rounds)])
                table.add_row(
                    name,
                    f"{events_of:,}",
                    f"{cost.seconds:.1f}",
                    f"{events_of / cost.seconds:,.0f}",
                    f"{cost.cpu_secs:.1f}",
                    f"{cost.peak_mb:.0f}",
                )
    return table


def _table(title: str, condition: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in (condition, "events/s", "x", "CPU s per M", "x", "peak MB"):
        table.add_column(column, justify="right")
    return table


def _add(table: Table, name: str, condition: str, costs: Sequence[Cost], count: int, script: Cost) -> None:
    cost = median(costs)
    table.add_row(
        name,
        condition,
        f"{count / cost.seconds:,.0f}",
        f"{script.seconds / cost.seconds:.2f}",
        f"{cost.cpu_secs * 1e6 / count:.1f}",
        f"{cost.cpu_secs / script.cpu_secs:.2f}",
        f"{cost.peak_mb:.0f}",
    )


if __name__ == "__main__":
    main()
