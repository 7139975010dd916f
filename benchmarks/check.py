"""What a check costs beside the import that it checks: `python -m benchmarks.check`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import events
from benchmarks.measure import Cost, counting_server, machine, median, run

_TOKEN = {"MIXPANEL_BENCH_TOKEN": "token"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure a check beside the import.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=3, help="how many times as many events the memory test has")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, counting_server() as server:
        folder = Path(name)
        file = folder / "ready.ndjson"
        with file.open("wb") as out:
            events.write(out, arguments.count)
        pairs = [(_import(file, server.url), _check(file)) for _ in range(arguments.rounds)]
        imported, checked = (median(costs) for costs in zip(*pairs, strict=True))
        _say(f"{arguments.count:,} events, median of {arguments.rounds} rounds, {machine()}")
        _say(f"import: {imported.cpu_secs:.1f} CPU s, {imported.peak_mb:.0f} MB")
        ratio = checked.cpu_secs / imported.cpu_secs
        _say(f"check:  {checked.cpu_secs:.1f} CPU s ({ratio:.2f} x), {checked.peak_mb:.0f} MB")
        large = folder / "large.ndjson"
        events.repeat(file, large, arguments.times)
        cost = _check(large)
        _say(f"check of {arguments.times} times as many: {cost.cpu_secs:.1f} CPU s, {cost.peak_mb:.0f} MB")


def _import(file: Path, url: str) -> Cost:
    destination = (f"--mixpanel_api_host={url}", "--mixpanel_project_token=env:MIXPANEL_BENCH_TOKEN")
    return run(["-m", "beam_mixpanel.pipelines.files_to_mixpanel", f"--input={file}", *destination], environment=_TOKEN)


def _check(file: Path) -> Cost:
    return run(
        ["-m", "beam_mixpanel.pipelines.check_events", f"--input={file}", f"--report={file.with_suffix('.html')}"]
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
