"""`make bench-stream`: what an event of a stream costs, with chunks in state beside Beam's GroupIntoBatches.

Each measurement is a job in a process of its own, which holds the SDK worker, too. The source is unbounded and gives
its elements in bundles of a size that is chosen, since a runner's own are not: single messages, or blocks of lines.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Duration
from rich.console import Console
from rich.table import Table

from beam_mixpanel import ProjectToken, WriteToMixpanel
from beam_mixpanel.core.events.chunk import EventChunk, PreparedEvent
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.sending.batching import pack_batches
from beam_mixpanel.emulator import EmulatorProcess
from beam_mixpanel.transforms import write
from beam_mixpanel.transforms.batches import BatchLimits
from beam_mixpanel.transforms.windows import GLOBAL, ParDoInWindows, Places, in_global_window
from benchmarks.measure import descendants_cpu_secs, machine
from tests.engines import conftest as engines

_TOKEN: Final = {"MIXPANEL_BENCH_TOKEN": "token"}
_BLOCK_EVENTS: Final = 1_000
_BATCHERS: Final = ("chunks", "GroupIntoBatches")
_RUNNERS: Final = ("FnApiRunner", "Prism", "Flink")


class _GroupIntoBatches(beam.PTransform):  # type: ignore[misc]
    """What `PackStream` does, by Beam's transform: each event is an element, and bytes are checked afterwards."""

    def __init__(self, limits: BatchLimits, num_shards: int, max_buffering_secs: float, **_: Any) -> None:
        super().__init__()
        self._limits = limits
        self._num_shards = num_shards
        self._max_buffering_secs = max_buffering_secs

    def expand(self, prepared: Any) -> Any:
        key = ParDoInWindows(_KeyEvents(self._num_shards, prepared.windowing.windowfn), GLOBAL)
        group = beam.GroupIntoBatches(self._limits.max_events, max_buffering_duration_secs=self._max_buffering_secs)
        return (
            prepared
            | "Key" >> key.with_output_types(tuple[int, tuple[bytes | str | int | None, ...]])
            | "Group" >> group
            | "Pack" >> beam.ParDo(_PackGroups(self._limits)).with_output_types(EventChunk)
        )


class _KeyEvents(beam.DoFn):  # type: ignore[misc]
    def __init__(self, num_shards: int, windowfn: Any) -> None:
        self._num_shards = num_shards
        self._windowfn = windowfn

    def setup(self) -> None:
        self._places = Places(self._windowfn)
        self._next = 0

    def process(self, events: EventChunk, element: Any = beam.DoFn.WindowedValueParam) -> Iterator[Any]:
        placed = self._places.place(events, element)
        for event, place in zip(placed, placed.places, strict=True):
            self._next = (self._next + 1) % self._num_shards
            yield in_global_window((self._next, (*event, *place)), element.timestamp)


class _PackGroups(beam.DoFn):  # type: ignore[misc]
    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits

    def process(self, group: tuple[int, Iterable[Any]]) -> Iterator[EventChunk]:
        fields = list(group[1])
        places = [(micros, windows) for *_, micros, windows in fields]
        first = 0
        for batch in pack_batches([PreparedEvent(*event) for *event, _, _ in fields], **self._limits._asdict()):
            batch.places = places[first : first + len(batch)]
            first += len(batch)
            yield batch


class _Numbers(RestrictionProvider):  # type: ignore[misc]
    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return int(restriction.size())


class _Source(beam.DoFn):  # type: ignore[misc]
    """Gives numbers from 0 on, and ends its bundle after so many; notes when the first one came."""

    def __init__(self, bundle: int, ancestor: int, note: Path) -> None:
        self._bundle = bundle
        self._ancestor = ancestor
        self._note = str(note)

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: int,
        tracker: Any = beam.DoFn.RestrictionParam(_Numbers()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[int]:
        first = tracker.current_restriction().start
        if first == 0:
            Path(self._note).write_text(json.dumps(_clocks(self._ancestor)))
        for number in range(first, first + self._bundle):
            if not tracker.try_claim(number):
                return
            yield number
        tracker.defer_remainder(Duration(0))


def _clocks(ancestor: int) -> tuple[float, float, float]:
    """Read the time, the CPU time of this process, and that of every process of this benchmark."""
    return time.time(), time.process_time(), descendants_cpu_secs(ancestor)


def _event(number: int, now_ms: int) -> bytes:
    return b'{"event":"E","properties":{"$insert_id":"id-%08d","distinct_id":"u%d","time":%d,"pad":"%s"}}' % (
        *(number, number % 1_000, now_ms),
        b"x" * 200,
    )


def _block(number: int, now_ms: int) -> EventBlock:
    first = number * _BLOCK_EVENTS
    return EventBlock(b"\n".join(_event(first + index, now_ms) for index in range(_BLOCK_EVENTS)), "f", first)


def _job(count: int, bundle: int, url: str, batcher: str, kind: str, ancestor: int, flags: list[str]) -> None:
    """Run a job, and print what it took from its first event on."""
    if batcher == "GroupIntoBatches":
        write.PackStream = _GroupIntoBatches  # type: ignore[attr-defined]
    now_ms = int(time.time() * 1000) - 1_000
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "first"
        pipeline = beam.Pipeline(options=PipelineOptions(flags))
        elements = count if kind == "messages" else count // _BLOCK_EVENTS
        numbers = pipeline | beam.Create([elements], reshuffle=False) | beam.ParDo(_Source(bundle, ancestor, note))
        if kind == "messages":
            events = numbers | beam.Map(_event, now_ms).with_output_types(bytes)
        else:
            events = numbers | beam.Map(_block, now_ms).with_output_types(EventBlock)
        sink = WriteToMixpanel(ProjectToken.from_reference("env:MIXPANEL_BENCH_TOKEN"), api_host=url)
        _ = events | sink
        pipeline.run().wait_until_finish()
        took = [end - begin for end, begin in zip(_clocks(ancestor), json.loads(note.read_text()), strict=True)]
    sys.stdout.write(f"{json.dumps(took)}\n")


@contextlib.contextmanager
def _flags(runner: str, folder: Path) -> Iterator[list[str] | None]:
    """Start what a runner needs and give the flags that name it; None where it is missing."""
    if runner == "FnApiRunner":
        yield ["--runner=FnApiRunner"]
    elif runner == "Prism":
        binary = engines.ENGINES / "bin" / "prism"
        yield ["--runner=PrismRunner", f"--prism_location={binary}", "--streaming"] if binary.exists() else None
    elif not (engines.ENGINES / "flink").is_dir():
        yield None
    else:
        with engines._job_server(engines.ENGINES / "flink", folder, "[local]") as address:
            yield [
                *("--runner=PortableRunner", f"--job_endpoint={address}", "--environment_type=LOOPBACK"),
                "--parallelism=1",
                "--streaming",
            ]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description="Measure a stream: chunks in state beside GroupIntoBatches.", allow_abbrev=False
    )
    parser.add_argument("--messages", type=int, default=50_000, help="events, each an element")
    parser.add_argument("--in_blocks", type=int, default=200_000, help="events, in blocks of 1,000 lines")
    parser.add_argument("--bundles", type=int, nargs="+", default=[10, 100], help="messages in a bundle")
    parser.add_argument("--runners", nargs="+", choices=_RUNNERS, default=list(_RUNNERS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--options", default="", help="further options of the pipeline without their dashes")
    parser.add_argument("--job", nargs=5, help=argparse.SUPPRESS)
    arguments, flags = parser.parse_known_args()
    if arguments.job:
        url, batcher, kind, count, bundle = arguments.job
        _job(int(count), int(bundle), url, batcher, kind, os.getppid(), flags)
        return
    console = Console(width=150, highlight=False)
    console.print(f"{machine()}\n")
    table = Table(title="Streams, past the first event", title_justify="left")
    for column in ("runner", "elements", "batches by"):
        table.add_column(column)
    for column in ("CPU µs an event: worker", "all processes", "seconds", "requests", "arrived", "sent again"):
        table.add_column(column, justify="right")
    inputs = [("messages", arguments.messages, bundle) for bundle in arguments.bundles]
    inputs.append(("blocks", arguments.in_blocks, 1))
    more = [f"--{option}" for option in arguments.options.split()]
    for runner in arguments.runners:
        with tempfile.TemporaryDirectory() as folder, _flags(runner, Path(folder)) as flags_of_runner:
            if flags_of_runner is None:
                console.print(f"no {runner}; see scripts/fetch-engines")
                continue
            for number, (kind, count, bundle) in enumerate(inputs * arguments.rounds):
                swapped = number // len(inputs) % 2 == 1  # what comes first finds a cold engine
                for batcher in reversed(_BATCHERS) if swapped else _BATCHERS:
                    row = _measure(batcher, kind, count, bundle, [*flags_of_runner, *more])
                    table.add_row(runner, f"{kind}, {bundle} a bundle", batcher, *row)
    console.print(table)


def _measure(batcher: str, kind: str, count: int, bundle: int, flags: list[str]) -> list[str]:
    with EmulatorProcess() as emulator:
        job = [sys.executable, "-m", "benchmarks.stream", "--job", emulator.url, batcher, kind, str(count), str(bundle)]
        done = subprocess.run([*job, *flags], env=os.environ | _TOKEN, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        seconds, worker, every = json.loads(done.stdout.splitlines()[-1])
        stats = emulator.stats()
    return [
        f"{worker / count * 1e6:.1f}",
        f"{every / count * 1e6:.1f}",
        f"{seconds:.1f}",
        f"{stats['requests']:,}",
        f"{stats['unique_events']:,} of {count:,}",
        f"{stats['duplicates']:,}",
    ]


if __name__ == "__main__":
    main()
