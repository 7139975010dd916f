"""Windowings, triggers and accumulation modes that a pipeline may set upstream of the sink."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import apache_beam as beam
from apache_beam.transforms import trigger, window
from apache_beam.transforms.window import BoundedWindow, WindowFn
from apache_beam.utils.timestamp import Timestamp

DISCARDING, ACCUMULATING = trigger.AccumulationMode.DISCARDING, trigger.AccumulationMode.ACCUMULATING
HOUR_SECS: Final = 3_600

WINDOWINGS: dict[str, Callable[[], beam.WindowInto]] = {
    "counts in the global window": lambda: beam.WindowInto(
        window.GlobalWindows(), trigger=trigger.Repeatedly(trigger.AfterCount(10)), accumulation_mode=DISCARDING
    ),
    "once in the global window": lambda: beam.WindowInto(
        window.GlobalWindows(), trigger=trigger.AfterCount(10), accumulation_mode=DISCARDING
    ),
    "times": lambda: beam.WindowInto(
        window.FixedWindows(60),
        trigger=trigger.Repeatedly(trigger.AfterProcessingTime(30)),
        accumulation_mode=DISCARDING,
    ),
    "accumulating": lambda: beam.WindowInto(
        window.FixedWindows(60),
        trigger=trigger.AfterWatermark(early=trigger.AfterCount(1)),
        accumulation_mode=ACCUMULATING,
    ),
    "sliding": lambda: beam.WindowInto(window.SlidingWindows(60, 10)),
    "sessions": lambda: beam.WindowInto(window.Sessions(5)),
}


def windows_of(windowfn: WindowFn, second: int) -> tuple[BoundedWindow, ...]:
    """Return the windows of an element with this timestamp, in order."""
    windows: Iterable[BoundedWindow] = windowfn.assign(WindowFn.AssignContext(Timestamp(second)))
    return tuple(sorted(windows))
