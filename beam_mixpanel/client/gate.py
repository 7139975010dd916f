"""Lets requests through one at a time, no faster and no more at once than the limits allow."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator

from beam_mixpanel.client.pacing import ConcurrencyLimit, RatePacer
from beam_mixpanel.errors import ClosedError, TurnMissedError

_MAX_NAP_SECS = 0.5
"""Waiting is done in naps, so that a change of the limits, or the end, is noticed."""


class Gate:
    """The line before the server, shared by the threads of a worker process.

    Args:
      max_concurrent_requests: upper bound on requests in flight.
      max_events_per_sec: upper bound on the rate; None for none of our own.
      clock: the present, in seconds; does not go back.
      sleep: waits; a test's moves its clock.
    """

    def __init__(
        self,
        *,
        max_concurrent_requests: int,
        max_events_per_sec: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.clock = clock
        self.pacer = RatePacer(ceiling=max_events_per_sec, now=clock())
        self.concurrency = ConcurrencyLimit(most=max_concurrent_requests)
        self._sleep = sleep
        self._line = threading.Lock()
        self._state = threading.Condition()
        self.closed = False
        self._why_closed = ""
        self.in_flight = 0
        self._throttled_secs = 0.0

    @contextlib.contextmanager
    def passing(self, cost: float, deadline: float = math.inf) -> Iterator[float]:
        """Wait for a turn, then count as in flight until the block ends.

        Args:
          cost: of the request, in events.
          deadline: when to stop waiting while the server answers 429; a line that moves is waited for.

        Yields:
          When the request was let through.

        Raises:
          ClosedError: the gate was closed.
          TurnMissedError: the server accepts nothing until the deadline.
        """
        with self._line:
            self._wait_for_turn(deadline)
            with self._state:
                sent_at = self.clock()
                self.pacer.sent(cost, sent_at)
                self.in_flight += 1
        try:
            yield sent_at
        finally:
            with self._state:
                self.in_flight -= 1
                self._state.notify()

    def nap(self, secs: float) -> None:
        """Wait, unless the gate is closed.

        Raises:
          ClosedError: the gate was closed.
        """
        until = self.clock() + secs
        while (left := until - self.clock()) > 0:
            if self.closed:
                raise ClosedError(self._why_closed)
            self._sleep(min(left, _MAX_NAP_SECS))

    def learn(self, tell: Callable[[RatePacer, ConcurrencyLimit, float], None]) -> None:
        """Tell the limits what an answer said, with the present time."""
        with self._state:
            tell(self.pacer, self.concurrency, self.clock())
            self._state.notify()

    def take_throttled_secs(self) -> int:
        """Give the whole seconds that the head of the line was held back by a limit since the last call."""
        with self._state:
            whole = int(self._throttled_secs)
            self._throttled_secs -= whole
            return whole

    def close(self, why: str) -> None:
        """Let nothing more through, and say why to those who wait; what is in flight ends by itself."""
        with self._state:
            self._why_closed = self._why_closed or why
            self.closed = True
            self._state.notify_all()

    def _wait_for_turn(self, deadline: float) -> None:
        while True:
            with self._state:
                self._state.wait_for(self._has_room)
                if self.closed:
                    raise ClosedError(self._why_closed)
                now = self.clock()
                wait = self.pacer.wait_secs(now)
                refused = self.pacer.refused_lately
            if wait <= 0:
                return
            if refused and now + wait > deadline:
                raise TurnMissedError
            self._sleep(min(wait, _MAX_NAP_SECS))
            with self._state:
                if self.pacer.limited:
                    self._throttled_secs += self.clock() - now

    def _has_room(self) -> bool:
        return self.closed or self.in_flight < self.concurrency.limit
