"""How a run went over time, as far as this process sees it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple

from beam_mixpanel.metrics import LIVE

_MOST_MOMENTS: Final = 600
_FIRST_PACE_SECS: Final = 1.0


class Moment(NamedTuple):
    """What had been done in all, so many seconds after the beginning.

    Attributes:
      seconds: since the beginning.
      read: events.
      imported: events.
      requests: that were answered or given up.
      latency_ms: of the answers, together.
    """

    seconds: float
    read: int
    imported: int
    requests: int
    latency_ms: int


class Course:
    """Notes the counts of this process while its block runs, every second at first.

    At 600 moments every second one goes, and the pace halves, so that a run of any length has 300 to 600.

    Args:
      read: gives the counts.
      clock: gives seconds.
    """

    def __init__(
        self, read: Callable[[], Counter[str]] = LIVE.read, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.moments: list[Moment] = []
        self._read = read
        self._clock = clock
        self._pace_secs = _FIRST_PACE_SECS
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="course", daemon=True)

    def __enter__(self) -> Course:
        """Begin."""
        self._started = self._clock()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note the last moment."""
        self._ended.set()
        self._thread.join()
        self.note()

    def note(self) -> None:
        """Note this moment."""
        counts = self._read()
        numbers = (counts[name] for name in Moment._fields[1:])
        self.moments.append(Moment(round(self._clock() - self._started, 3), *numbers))
        if len(self.moments) > _MOST_MOMENTS:
            self.moments = self.moments[::2]
            self._pace_secs *= 2

    def _run(self) -> None:
        while not self._ended.wait(self._pace_secs):
            self.note()
