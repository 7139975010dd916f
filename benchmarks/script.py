"""What the pipeline is measured against: the import script that a user would write by hand, and write well.

orjson, batches of 2000, gzip by ISA-L at level 1, requests with one session a thread, 20 threads. It checks nothing but
the status, and it retries nothing.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import requests
from isal import igzip

_BATCH_EVENTS = 2000
_THREADS = 20
_of_thread = threading.local()


def _send(url: str, events: list[Any]) -> int:
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
    body = igzip.compress(orjson.dumps(events), 1)
    answer = _of_thread.session.post(
        url,
        data=body,
        auth=("token", ""),
        headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        timeout=60,
    )
    answer.raise_for_status()
    return int(answer.json()["num_records_imported"])


def main() -> None:
    """Import a file: `python -m benchmarks.script FILE URL`."""
    parser = argparse.ArgumentParser(description="Import NDJSON as a hand-written script would.")
    parser.add_argument("file")
    parser.add_argument("url")
    arguments = parser.parse_args()
    url = f"{arguments.url}/import?strict=1"
    imported = 0
    waiting: deque[Future[int]] = deque()
    with ThreadPoolExecutor(_THREADS) as threads, Path(arguments.file).open("rb") as file:
        batch = []
        for line in file:
            batch.append(orjson.loads(line))
            if len(batch) == _BATCH_EVENTS:
                waiting.append(threads.submit(_send, url, batch))
                batch = []
                if len(waiting) >= 2 * _THREADS:
                    imported += waiting.popleft().result()
        if batch:
            waiting.append(threads.submit(_send, url, batch))
        imported += sum(future.result() for future in waiting)
    sys.stdout.write(f"{imported} imported\n")


if __name__ == "__main__":
    main()
