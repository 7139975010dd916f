"""Measures what the emulator's page costs: `python -m benchmarks.emulator_page [--events N]`.

Bodies are made beforehand; a few threads send them to an emulator process, first alone, then while something polls as
the page does.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import requests
from isal import igzip

from beam_mixpanel.emulator import EmulatorProcess
from benchmarks.events import generate

BATCH_EVENTS = 2000
THREADS = 2
POLLED = ("stats", "faults", "events?limit=50&event=play&id=")
SEARCHES = {
    "latest 50, no filter": "events?limit=50",
    "a common name": "events?limit=50&event=purchase",
    "an id of one event among the oldest": "events?limit=50&id={oldest}",
    "an id of no event": "events?limit=50&id=no-such-id",
    "a name that is only a part of ids": "events?limit=50&event=user-",
    "statistics": "stats",
}


def main() -> None:
    """Print events per second with and without the page, then how long searches take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    bodies = make_bodies(given.events)
    for _ in range(given.rounds):
        for polling in (False, True):
            with EmulatorProcess() as emulator:
                rate = send_all(emulator.url, bodies, polling=polling)
                print(f"page {'open' if polling else 'closed'}: {rate:,.0f} events/s", flush=True)
    with EmulatorProcess() as emulator:
        send_all(emulator.url, bodies, polling=False)
        for name, seconds in search_times(emulator.url).items():
            print(f"{name}: {1000 * seconds:,.0f} ms")


def make_bodies(events: int) -> list[bytes]:
    """Make compressed requests of up to 2,000 events each."""
    lines, bodies = generate(events), []
    while batch := list(islice(lines, BATCH_EVENTS)):
        bodies.append(igzip.compress(b"[" + b",".join(batch) + b"]", 1))
    return bodies


def send_all(url: str, bodies: list[bytes], *, polling: bool) -> float:
    """Send all; return the events per second."""
    done = threading.Event()
    poller = threading.Thread(target=_poll, args=(url, done))
    if polling:
        poller.start()
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        sent = sum(threads.map(lambda share: _send(url, bodies[share::THREADS]), range(THREADS)))
    seconds = time.monotonic() - began
    done.set()
    if polling:
        poller.join()
    return sent / seconds


def search_times(url: str) -> dict[str, float]:
    """Return the seconds that each search takes, of three the middle one."""
    with urllib.request.urlopen(f"{url}/_emulator/export") as answer:
        oldest = json.loads(answer.readline())["properties"]["$insert_id"]
    times = {}
    for name, query in SEARCHES.items():
        times[name] = sorted(_timed(url, query.format(oldest=oldest)) for _ in range(3))[1]
    return times


def _send(url: str, bodies: list[bytes]) -> int:
    sent = 0
    with requests.Session() as session:
        session.headers.update({"Content-Type": "application/json", "Content-Encoding": "gzip"})
        for body in bodies:
            answer: dict[str, Any] = session.post(f"{url}/import?strict=1", data=body, auth=("token", "")).json()
            sent += answer["num_records_imported"]
    return sent


def _poll(url: str, done: threading.Event) -> None:
    while not done.wait(1):
        for what in POLLED:
            _timed(url, what)


def _timed(url: str, what: str) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(f"{url}/_emulator/{what}") as answer:
        answer.read()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
