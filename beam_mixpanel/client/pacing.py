"""How fast to send: a rate that finds what Mixpanel allows, and a number of requests in flight that it can bear.

A 429 speaks of the rate, a 5xx or a time-out of the load; each moves its own limit. Both classes are plain arithmetic
over times that are passed in; `client.py` does the waiting. How they do against a token bucket and a rolling minute,
alone and four at once, is simulated in `tests/client/test_pacing.py` and measured by `make bench-limits`.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import Final

from beam_mixpanel.core.limits import MAX_BYTES_PER_SEC, MAX_EVENTS_PER_SEC

_BYTES_PER_EVENT: Final = MAX_BYTES_PER_SEC / MAX_EVENTS_PER_SEC
"""Mixpanel limits events/s and bytes/s; above this size an event costs as much as several."""
_MIN_RATE: Final = 200.0
_START_GROWTH: Final = 1.10
"""Per answered request, until the first 429: from 30,000 to 150,000 events/s within half a second."""
_CUT: Final = 0.85
_HARD_CUT: Final = 0.6
"""Where the last 429 was moments ago, the rate is far off rather than a little too high."""
_MOMENT_REQUESTS: Final = 4
_RECOVERY_REQUESTS: Final = 10
_CAUTIOUS_REQUESTS: Final = 10
_GROWTH_PER_SEC: Final = 200.0
_FIRST_HOLD_SECS: Final = 0.25
_MAX_HOLD_SECS: Final = 4.0
_HORIZON_SECS: Final = 60.0
"""Mixpanel counts over a rolling minute (https://docs.mixpanel.com/reference/rate-limits), and blocks no longer."""
_OUTAGE_HOLD_SECS: Final = 60.0
_BLOCKED_REFUSALS: Final = 3


def cost_in_events(events: int, body_bytes: int) -> float:
    """Give what a request takes of the rate: its events, or its bytes where they weigh more."""
    return max(float(events), body_bytes / _BYTES_PER_EVENT)


class RatePacer:
    """Spaces requests so that events/s stay just under what the server accepts.

    Until the first 429 the rate grows with each answer, up to the ceiling. A 429 cuts it; from there it follows the
    curve of TCP CUBIC (https://www.rfc-editor.org/rfc/rfc9438): quickly back to a little below the rate that was
    refused, slowly past it, then ever faster, since others may have gone. While nothing is accepted, single requests
    probe at growing intervals.

    Args:
      ceiling: most events/s ever; None for no ceiling of our own.
      now: the present, in seconds of any clock that does not go back.
      start: events/s to begin with.
    """

    def __init__(self, *, ceiling: float | None, now: float, start: float = MAX_EVENTS_PER_SEC) -> None:
        self._ceiling = ceiling if ceiling is not None else float("inf")
        self._rate = min(start, self._ceiling)
        self._target = self._rate
        self._began = now
        self._next_free = now
        self._answers: int | None = None
        self._refusals = 0
        self._last_refused = float("-inf")
        self._last_accepted = now
        self._last_change = now
        self._accepted: deque[tuple[float, float]] = deque()
        self._accepted_cost = 0.0

    @property
    def rate(self) -> float:
        """The present limit, in events/s."""
        return self._rate

    def wait_secs(self, now: float) -> float:
        """Give how long the next request must wait; it may be asked again at any time."""
        return max(self._next_free - now, 0.0)

    def sent(self, cost: float, now: float) -> None:
        """Learn that a request is sent now."""
        self._next_free = now + cost / self._rate

    def accepted(self, cost: float, now: float) -> None:
        """Learn that a request was answered and accepted."""
        self._remember(cost, now)
        if self._refusals >= _BLOCKED_REFUSALS:
            self._target = self._rate = max(min(self._rate, self._average(now)), _MIN_RATE)
            self._answers = 0
        self._refusals = 0
        self._last_accepted = now
        self._grow(now)

    def _remember(self, cost: float, now: float) -> None:
        self._accepted.append((now, cost))
        self._accepted_cost += cost
        while self._accepted[0][0] < now - _HORIZON_SECS:
            self._accepted_cost -= self._accepted.popleft()[1]

    def _average(self, now: float) -> float:
        """Give the events/s accepted over the last minute: what a rolling limit allows in the long run."""
        return self._accepted_cost / min(max(now - self._began, 1.0), _HORIZON_SECS)

    def _grow(self, now: float) -> None:
        if self._answers is None:
            grown = max(self._rate, min(self._rate * _START_GROWTH, 2 * self._lately(now)))
        else:
            self._answers += 1
            grown = self._rate + _GROWTH_PER_SEC * (now - self._last_change)
            if self._answers <= _RECOVERY_REQUESTS:
                grown += max(self._target - self._rate, 0.0) * 0.25
            elif self._answers > _RECOVERY_REQUESTS + _CAUTIOUS_REQUESTS:
                grown = max(grown, min(self._rate * _START_GROWTH, 2 * self._lately(now)))
        self._rate = min(grown, self._ceiling)
        self._last_change = now

    def _lately(self, now: float) -> float:
        """Give the events accepted in the last second: a rate that is not used must not grow."""
        return sum(takewhile(lambda c: c > 0, (cost if at > now - 1.0 else 0.0 for at, cost in reversed(self._accepted))))

    def refused(self, cost: float, sent_at: float, now: float, *, retry_after_secs: float = 0.0) -> None:
        """Learn that a request was answered 429.

        Args:
          cost: of the request.
          sent_at: when it was sent; one sent before the last 429 came says nothing new.
          now: when the answer came.
          retry_after_secs: what the server asked for; 0 for nothing.
        """
        if sent_at < self._last_refused:
            return
        self._refusals += 1
        self._last_refused = now
        if self._refusals == 1:
            far_off = self._answers is None or self._answers < _MOMENT_REQUESTS
            self._target = max(self._rate * (_HARD_CUT if far_off else 0.98), _MIN_RATE)
            self._rate = max(self._target * _CUT, _MIN_RATE)
            self._answers = 0
            self._last_change = now
        self._next_free = max(self._next_free, now + max(self._hold(now), retry_after_secs))

    def _hold(self, now: float) -> float:
        """Give how long to send nothing: longer the longer nothing was accepted."""
        if now - self._last_accepted > _HORIZON_SECS:
            return min(2.0 ** min(self._refusals, 6), _OUTAGE_HOLD_SECS)
        return min(_FIRST_HOLD_SECS * 2.0 ** (min(self._refusals, 8) - 1), _MAX_HOLD_SECS)


class ConcurrencyLimit:
    """How many requests may be in flight: grows with good answers, halves when the server strains.

    Args:
      most: the upper bound.
      start: the first value.
    """

    def __init__(self, *, most: int, start: int = 4) -> None:
        self._most = most
        self._limit = float(min(start, most))
        self._last_cut = float("-inf")
        self._strained = False

    @property
    def limit(self) -> int:
        """Requests that may be in flight now, at least 1."""
        return int(self._limit)

    def answered(self) -> None:
        """Learn that a request was answered well."""
        self._limit = min(self._limit + (1 / self._limit if self._strained else 1), self._most)

    def strained(self, sent_at: float, now: float) -> None:
        """Learn that a request met a 5xx, a time-out or a lost connection; those sent before a cut count once."""
        self._strained = True
        if sent_at >= self._last_cut:
            self._last_cut = now
            self._limit = max(self._limit / 2, 1.0)
