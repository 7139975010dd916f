"""Decides once for a worker process that the server is down, so that not each batch waits out its own deadline."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from beam_mixpanel.core.sending.backoff import delay_secs

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"

SEND: Final = "send"
PROBE: Final = "probe"
REFUSE: Final = "refuse"

_log = logging.getLogger(__name__)


class CircuitBreaker:
    """Shared by all batches of a worker process; threads may call it at any time.

    It is in one of three states:

    * `closed`, at first: every batch is sent, and tried until its own deadline.
    * `open`: no batch is sent. It opens when a batch is given up that was tried for `after_secs`, and no request was
      answered well meanwhile.
    * `half_open`: one batch is being sent, once, to see whether the server is back. It is let through when 2 s have
      passed since the circuit opened, doubling to 60 s with each that fails, plus 1 to 5 s of jitter.

    A good answer to any request, of a probe or of one that was still under way, closes it.

    Args:
      after_secs: how long a batch must have been tried in vain; infinite for a breaker that never opens.
      clock: the present, in seconds; does not go back.
      uniform: draws a number between two bounds.
    """

    def __init__(
        self, *, after_secs: float, clock: Callable[[], float], uniform: Callable[[float, float], float]
    ) -> None:
        self._after_secs = after_secs
        self._clock = clock
        self._uniform = uniform
        self._lock = threading.Lock()
        self._state = CLOSED
        self._answered_at = float("-inf")
        self._failed_probes = 0
        self._probe_at = 0.0
        self._why = ""
        self._events: Counter[str] = Counter()

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""
        return self._state

    @property
    def why(self) -> str:
        """Why it opened, in words; empty while closed."""
        return self._why

    def admit(self) -> str:
        """Say what to do with a batch: `send` it, send it once as a `probe`, or `refuse` it."""
        with self._lock:
            if self._state == CLOSED:
                return SEND
            if self._state == HALF_OPEN or self._clock() < self._probe_at:
                return REFUSE
            self._state = HALF_OPEN
            self._events["circuit_probes"] += 1
            return PROBE

    def answered(self) -> None:
        """Note a good answer: one that settles events, even if it rejects some."""
        with self._lock:
            self._answered_at = self._clock()
            was, self._state = self._state, CLOSED
            self._failed_probes = 0
            self._why = ""
        if was != CLOSED:
            _log.warning("Mixpanel answers again; sending all batches (circuit closed)")

    def gave_up(self, began_at: float, why: str) -> None:
        """Note that a batch was given up; open if nothing was answered well since it began."""
        with self._lock:
            down_secs = self._clock() - began_at
            if self._state != CLOSED or self._answered_at >= began_at or down_secs < self._after_secs:
                return
            self._open(why)
            self._events["circuit_opened"] += 1
        _log.warning(
            "Mixpanel has confirmed nothing for %.0f s (%s): batches become dead letters without being sent, but for "
            "one now and then that shows whether it is back (circuit open)",
            down_secs,
            why,
        )

    def probe_ended(self) -> None:
        """Note that a probe is over; without a good answer the circuit is open again."""
        with self._lock:
            if self._state == HALF_OPEN:
                self._failed_probes += 1
                self._open(self._why)

    def take_counts(self) -> Counter[str]:
        """Give how often it opened (`circuit_opened`) and probed (`circuit_probes`) since the last call."""
        with self._lock:
            counts, self._events = self._events, Counter()
            return counts

    def _open(self, why: str) -> None:
        self._state = OPEN
        self._why = why
        delay = delay_secs(self._failed_probes + 1, retry_after_secs=None, uniform=self._uniform)
        self._probe_at = self._clock() + delay
