"""Makes the pictures of the three pages in docs/images: `.venv/bin/python scripts/screenshots.py [NAME…]`.

A name is `check`, `report` or `emulator`; all, which takes two minutes, where none is given. Look at each before it is
committed.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from beam_mixpanel.emulator import EmulatorProcess  # noqa: E402
from benchmarks.events import generate  # noqa: E402
from tests.browser import NARROW, WIDE, open_page  # noqa: E402
from tests.shop import shop_events  # noqa: E402

IMAGES = ROOT / "docs" / "images"
LOAD_SECS = 62
REASONS: list[dict[str, Any]] = [{"time": None}, {"distinct_id": "null"}, {"$insert_id": "a b"}]

VIEWS: tuple[tuple[int, Any], ...] = tuple((width, scheme) for width in (WIDE, NARROW) for scheme in ("light", "dark"))


def main() -> None:
    """Make those that are named."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or PAGES:
        PAGES[name]()


def _check() -> None:
    """Check a shop's events, some of which have something wrong with them."""
    with tempfile.TemporaryDirectory() as folder:
        _write_shop(Path(folder, "shop.ndjson"))
        _run("check_events", folder, "--input=shop.ndjson", "--report=report.html")
        for width, scheme in VIEWS:
            height = 1250 if width == WIDE else 1900
            with open_page(Path(folder, "report.html").as_uri(), width=width, height=height, scheme=scheme) as opened:
                opened.page.screenshot(path=IMAGES / f"check-{scheme}-{width}.png")


def _report() -> None:
    """Import the same events, at the pace of a server that answers slowly, and now and then not at all."""
    with tempfile.TemporaryDirectory() as folder, EmulatorProcess() as emulator:
        _write_shop(Path(folder, "shop.ndjson"))
        emulator.add_fault(kind="failed_records", variant="standard", count=3, times=1)
        emulator.add_fault(kind="status", status=503, times=9, probability=0.2)
        emulator.add_fault(kind="latency", secs=0.3, probability=0.4)
        options = (
            *("--mixpanel_project_token=env:MIXPANEL_PROJECT_TOKEN", f"--mixpanel_api_host={emulator.url}"),
            *("--mixpanel_max_events_per_sec=500", "--mixpanel_max_batch_events=50"),
            *("--dead_letters=out/dead", "--allow_dead_letters=1%", "--report=report.html"),
        )
        _run("files_to_mixpanel", folder, "--input=shop.ndjson", *options)
        for width, scheme in VIEWS:
            with open_page(Path(folder, "report.html").as_uri(), width=width, scheme=scheme) as opened:
                opened.page.screenshot(path=IMAGES / f"report-{scheme}-{width}.png", full_page=True)


def _run(pipeline: str, folder: str, *options: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MIXPANEL_PROJECT_TOKEN": "a-token"}
    command = [sys.executable, "-m", f"beam_mixpanel.pipelines.{pipeline}", *options]
    subprocess.run(command, cwd=folder, env=environment, check=True)


def _write_shop(path: Path) -> None:
    path.write_text("".join(f"{json.dumps(event)}\n" for event in shop_events()), encoding="utf-8")


def _emulator() -> None:
    """Send for a minute, then look, while events still come."""
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
        for width, scheme in VIEWS:
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
                session.post(f"{url}/import?strict=1", data=body, auth=("token", ""), timeout=5)
            except requests.RequestException:
                continue


def _batches(seed: int) -> Iterator[list[Any]]:
    draw, lines = random.Random(seed), generate(10_000_000, seed)
    while events := [json.loads(line) for line in islice(lines, draw.randrange(200, 1500))]:
        if draw.random() < 0.2:
            events[0]["properties"] |= draw.choice(REASONS)
        yield events


PAGES: dict[str, Callable[[], None]] = {"check": _check, "report": _report, "emulator": _emulator}


if __name__ == "__main__":
    main()
