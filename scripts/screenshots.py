"""Makes the pictures of the emulator's page in docs/images: `.venv/bin/python scripts/screenshots.py` (a minute)."""

from __future__ import annotations

import gzip
import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from beam_mixpanel.emulator import EmulatorProcess  # noqa: E402
from benchmarks.events import generate  # noqa: E402
from tests.browser import NARROW, WIDE, open_page  # noqa: E402

IMAGES = ROOT / "docs" / "images"
LOAD_SECS = 62
REASONS: list[dict[str, Any]] = [{"time": None}, {"distinct_id": "null"}, {"$insert_id": "a b"}]


def main() -> None:
    """Send for a minute, then look, while events still come."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with EmulatorProcess(rate_limit=30_000, rolling_limit=1_800_000) as emulator:
        done = threading.Event()
        senders = [threading.Thread(target=_send, args=(emulator.url, seed, done)) for seed in range(3)]
        for sender in senders:
            sender.start()
        time.sleep(LOAD_SECS / 2)
        emulator.add_fault(kind="status", status=503, times=12)
        emulator.add_fault(kind="truncated", times=3)
        time.sleep(LOAD_SECS / 2)
        emulator.add_fault(kind="latency", secs=2, times=40, probability=0.05)
        for width in (WIDE, NARROW):
            for scheme in ("light", "dark"):
                _take(emulator.url, width, scheme)
        done.set()
        for sender in senders:
            sender.join()


def _take(url: str, width: int, scheme: Any) -> None:
    with open_page(url, width=width, height=1150 if width == WIDE else 2250, scheme=scheme) as opened:
        opened.page.wait_for_selector("#events details")
        opened.page.screenshot(path=IMAGES / f"emulator-{scheme}-{width}.png")


def _send(url: str, seed: int, done: threading.Event) -> None:
    draw, batches = random.Random(seed), _batches(seed)
    with requests.Session() as session:
        session.headers.update({"Content-Type": "application/json", "Content-Encoding": "gzip"})
        body = b""
        while not done.wait(draw.uniform(0.02, 0.25 + 0.15 * (time.time() % 20 > 14))):
            if not body or draw.random() < 0.9:
                body = gzip.compress(json.dumps(next(batches)).encode(), 1)
            try:
                session.post(f"{url}/import?strict=1", data=body, auth=("user", "secret"), timeout=5)
            except requests.RequestException:
                continue


def _batches(seed: int) -> Iterator[list[Any]]:
    draw, lines = random.Random(seed), generate(10_000_000, seed)
    while events := [json.loads(line) for line in islice(lines, draw.randrange(200, 1500))]:
        if draw.random() < 0.2:
            events[0]["properties"] |= draw.choice(REASONS)
        yield events


if __name__ == "__main__":
    main()
