"""The demonstration: import 100,000 events into an emulator, twice, and prove that each is there once."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import requests
from rich.console import Console

from beam_mixpanel.emulator import EmulatorProcess
from beam_mixpanel.pipelines import files_to_mixpanel
from benchmarks.events import write

_TOKEN = "MIXPANEL_DEMO_TOKEN"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


def main() -> int:
    """Run the demonstration; 0 if it proves what it should."""
    parser = argparse.ArgumentParser(description="Import generated events into an emulator, twice.")
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder, EmulatorProcess() as emulator:
        file = Path(folder) / "events.ndjson"
        console.rule(f"1. {count:,} events in {file.name}, emulator at {emulator.url}")
        with file.open("wb") as out:
            write(out, count)
        for number, title in ((2, "Import them"), (3, "Import the same file again, as after a crash")):
            console.rule(f"{number}. {title}")
            code = _import(file, emulator.url)
            if code:
                return code
        console.rule("4. What Mixpanel would show")
        return _prove(file, emulator.url, count, console)


def _import(file: Path, url: str) -> int:
    return files_to_mixpanel.run(
        [f"--input={file}", f"--mixpanel_api_host={url}", f"--mixpanel_project_token=env:{_TOKEN}"]
    )


def _prove(file: Path, url: str, count: int, console: Console) -> int:
    copies = sum(1 for _ in _exported(url, deduplicated=False))
    shown = sorted(map(_canonical, _exported(url, deduplicated=True)))
    with file.open("rb") as lines:
        expected = sorted(map(_canonical, lines))
    console.print(f"copies stored by the server    {copies:>9,}")
    console.print(f"events shown, de-duplicated    {len(shown):>9,}")
    same = shown == expected and copies == 2 * count
    console.print(f"equal to the file, each once   {'yes' if same else '[bold red]NO[/]':>9}")
    return 0 if same else 1


def _exported(url: str, *, deduplicated: bool) -> Iterable[bytes]:
    answer = requests.get(
        f"{url}/_emulator/export", params={"deduplicated": str(deduplicated).lower()}, stream=True, timeout=60
    )
    answer.raise_for_status()
    return (line for line in answer.iter_lines(chunk_size=1_000_000) if line)


def _canonical(line: bytes) -> bytes:
    return _encode(_decode(line))


if __name__ == "__main__":
    import os

    os.environ[_TOKEN] = "demo"
    sys.exit(main())
