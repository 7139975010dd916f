"""The sink's own grouping takes place in the global window; each event carries its windows, and gets them back.

Windows, a trigger or allowed lateness that a pipeline sets upstream would act on the sink's own grouping, too: a
GroupByKey would drop, hold back or repeat events as the trigger says, a stateful step would drop late ones, and every
window would need a request of its own. Beam's `Reshuffle` solves the same problem the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam import coders
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.window import BoundedWindow, GlobalWindow, GlobalWindows, WindowFn
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from beam_mixpanel.core.events.chunk import EventChunk, Place


class _Windows(tuple[BoundedWindow, ...]):
    """The windows of an element that a step emits.

    When `process` emits a `WindowedValue` for an element of n windows, Beam repeats the windows of the output n times
    (`_OutputHandler` in apache_beam/runners/common.py), as if the step had run once for each window. A step that takes
    the whole `WindowedValue` runs once, so these windows do not repeat.
    """

    __slots__ = ()

    def __mul__(self, times: Any) -> _Windows:
        return self


GLOBAL: Final = Windowing(GlobalWindows())
"""The global window with the default trigger."""
_GLOBAL_WINDOWS: Final = _Windows([GlobalWindow()])


class ParDoInWindows(beam.ParDo):
    """A ParDo whose outputs have the windowing that is given, not that of its input.

    Its DoFn must emit `WindowedValue`s of that windowing. `WindowInto` cannot do this: it emits an element of several
    windows several times.
    """

    def __init__(self, fn: beam.DoFn, windowing: Windowing) -> None:
        super().__init__(fn)
        self._output_windowing = windowing

    def get_windowing(self, inputs: Any) -> Windowing:
        """Return the windowing of the outputs."""
        return self._output_windowing


def in_global_window(value: Any, timestamp: Timestamp) -> WindowedValue:
    """Return a value as an element of the global window."""
    return WindowedValue(value, timestamp, _GLOBAL_WINDOWS)


class Places:
    """Writes the windows and timestamp of an element as a `Place`, and reads them back.

    Args:
      windowfn: of the PCollection whose elements these are.
    """

    def __init__(self, windowfn: WindowFn) -> None:
        self._coder = coders.IterableCoder(windowfn.get_window_coder())
        self._last: tuple[Sequence[BoundedWindow], bytes] = ((), b"")
        self._read: dict[bytes, _Windows] = {}

    def place(self, chunk: EventChunk, element: WindowedValue) -> EventChunk:
        """Return the events of an element, each with the element's place."""
        windows = tuple(element.windows)
        if windows != self._last[0]:  # neighbours mostly share their windows
            self._last = (windows, self._coder.encode(windows))
        return chunk.in_place((element.timestamp.micros, self._last[1]))

    def put_back(self, value: Any, place: Place) -> WindowedValue:
        """Return a value in the windows, and with the timestamp, of a place."""
        micros, encoded = place
        return WindowedValue(value, Timestamp(micros=micros), self._windows(encoded))

    def _windows(self, encoded: bytes) -> _Windows:
        windows = self._read.get(encoded)
        if windows is None:
            if len(self._read) >= _MOST_READ:
                self._read.clear()
            windows = self._read[encoded] = _Windows(self._coder.decode(encoded))
        return windows


_MOST_READ: Final = 1_000
"""Windows kept decoded; sessions are without number."""
