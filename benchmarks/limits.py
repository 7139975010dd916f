"""`make bench-limits`: how much of a rate limit is used, and how many requests are refused.

Against a token bucket of one second, as one process and as four at once; against a rolling window, counted from the
end of the first one, which the burst at the start fills and blocks. Beside the pipeline: the documented backoff alone
(2 s doubling to 60 s plus 1 to 5 s, 20 threads).
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from isal import igzip
from rich.console import Console
from rich.table import Table

from beam_mixpanel.core.sending.backoff import delay_secs
from benchmarks import events
from benchmarks.measure import CountingServer, counting_server, machine, run

_RATE = 10_000
_TOKEN = {"MIXPANEL_BENCH_TOKEN": "token"}
_BATCH_EVENTS = 2000
_of_thread = threading.local()

Way = Callable[[list[Path], str], None]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure the use of a rate limit.")
    parser.add_argument("--count", type=int, default=600_000)
    parser.add_argument("--window_secs", type=float, default=60)
    parser.add_argument("--windows", type=int, default=3, help="how many windows' worth of events to send")
    parser.add_argument("--only_pipeline", action="store_true")
    parser.add_argument("--only_windows", action="store_true")
    arguments = parser.parse_args()
    console = Console(width=100, highlight=False)
    ways: dict[str, Way] = {"pipeline": _pipelines}
    if not arguments.only_pipeline:
        ways["documented backoff alone"] = _backoff_scripts
    table = Table(title=f"Server that accepts {_RATE:,} events/s; {machine()}", title_justify="left")
    for column in ("limit", "senders", "way", "events", "limit used", "answered 429", "seconds"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for senders in () if arguments.only_windows else (1, 4):
            files = _files(Path(folder), arguments.count, senders)
            for name, way in ways.items():
                _bucket_row(table, files, arguments.count, name, way)
        in_windows = int(_RATE * arguments.window_secs * arguments.windows)
        for senders in (1, 4):
            files = _files(Path(folder), in_windows, senders)
            for name, way in ways.items():
                _window_row(table, files, in_windows, name, way, arguments.window_secs)
    console.print(table)


def _files(folder: Path, count: int, senders: int) -> list[Path]:
    files = []
    for number in range(senders):
        path = folder / f"{count}-{senders}-{number}.ndjson"
        with path.open("wb") as file:
            events.write(file, count // senders, seed=number)
        files.append(path)
    return files


def _bucket_row(table: Table, files: list[Path], count: int, name: str, way: Way) -> None:
    with counting_server(f"--events_per_sec={_RATE}") as server:
        counts = _send(way, files, server, count)
    ideal = (count - _RATE) / _RATE
    _add(table, "bucket of 1 s", files, name, counts, ideal / counts["secs"])


def _window_row(table: Table, files: list[Path], count: int, name: str, way: Way, window_secs: float) -> None:
    with counting_server(f"--events_per_sec={_RATE}", f"--window_secs={window_secs}") as server:
        counts = _send(way, files, server, count)
    in_first = sum(sent for at, sent, admitted in counts["timeline"] if admitted and at <= window_secs)
    used = (count - in_first) / (_RATE * (counts["secs"] - window_secs))
    _add(table, f"rolling {window_secs:g} s, after the first", files, name, counts, used)


def _send(way: Way, files: list[Path], server: CountingServer, count: int) -> dict[str, Any]:
    way(files, server.url)
    counts = server.counts()
    if counts["events"] != count:
        raise RuntimeError(f"{counts['events']} events were accepted, expected {count}")
    return counts


def _add(table: Table, limit: str, files: list[Path], name: str, counts: dict[str, Any], used: float) -> None:
    table.add_row(
        limit,
        str(len(files)),
        name,
        f"{counts['events']:,}",
        f"{used:.1%}",
        f"{counts['refused'] / counts['requests']:.1%}",
        f"{counts['secs']:.1f}",
    )


def _pipelines(files: list[Path], url: str) -> None:
    """Run a pipeline a file, all at once."""
    with ThreadPoolExecutor(len(files)) as threads:
        list(threads.map(lambda file: run(_arguments(file, url), environment=_TOKEN), files))


def _arguments(file: Path, url: str) -> list[str]:
    return [
        "-m",
        "beam_mixpanel.pipelines.files_to_mixpanel",
        f"--input={file}",
        f"--mixpanel_api_host={url}",
        "--mixpanel_project_token=env:MIXPANEL_BENCH_TOKEN",
        "--mixpanel_retry_deadline_secs=3600",
    ]


def _backoff_scripts(files: list[Path], url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-m", "benchmarks.limits_backoff", str(file), url]) for file in files
    ]
    if any([process.wait() for process in processes]):
        raise RuntimeError("a script failed")


def send_with_backoff_alone(file: Path, url: str) -> None:
    """Import a file as the documentation suggests: full speed on 20 threads, and backoff on 429."""
    with ThreadPoolExecutor(20) as threads, file.open("rb") as lines:
        slots = threading.Semaphore(40)
        while batch := [line.rstrip() for _, line in zip(range(_BATCH_EVENTS), lines, strict=False)]:
            slots.acquire()
            body = igzip.compress(b"[%s]" % b",".join(batch), 1)
            threads.submit(_post_until_accepted, url, body).add_done_callback(lambda _: slots.release())


def _post_until_accepted(url: str, body: bytes) -> None:
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
    attempt = 0
    while True:
        attempt += 1
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        answer = _of_thread.session.post(f"{url}/import?strict=1", data=body, headers=headers, timeout=60)
        if answer.status_code == 200:
            return
        time.sleep(delay_secs(attempt, retry_after_secs=None, uniform=random.uniform))


if __name__ == "__main__":
    main()
