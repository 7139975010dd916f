"""How fast to send: a rate that finds what Mixpanel allows, and how many requests in flight it can bear.

A 429 speaks of the rate, a 5xx or a time-out of the load; each moves its own limit. Both classes are plain
arithmetic over times that are passed in; `gate.py` does the waiting. How they do against a token bucket and a
rolling minute, alone and four at once, is simulated in `tests/client/test_pacing.py` and measured by
`make bench-limits`. Numbers that name no source were found by a search in that simulation.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from beam_mixpanel.core.limits import MAX_BYTES_PER_SEC, MAX_EVENTS_PER_SEC

_BYTES_PER_EVENT: Final = MAX_BYTES_PER_SEC / MAX_EVENTS_PER_SEC
"""Mixpanel limits events/s and bytes/s; above this size an event costs as much as several."""
_MIN_RATE: Final = 500.0
"""One full request each 4 s: slower, and a worker would take minutes to notice that it may go on."""

_START_GROWTH: Final = 0.10
"""Per answer or round trip, whichever is longer: from 30,000 to 150,000 events/s within 0.7 s at 5 ms; less
when answers take long, since every request in flight is refused once the limit is met."""
_MAX_SENT: Final = 64
"""Requests remembered to learn the shortest round trip; more are not in flight."""
_REGROWTH: Final = 0.11
"""Per answer, between the first and the second 429: back up, from far below to where the limit must be."""
_SHARE_GROWTH: Final = 160_000.0
"""Divided by the rate, it is the growth in events/s per second: the slower a worker, the faster it grows, so
that the shares of several become equal."""
_GROWTH_PER_SEC: Final = 0.02
"""For fast workers, whose growth by the above is next to nothing: back from a cut within some 10 s."""
_MAX_GROWTH: Final = 0.09
"""Per answer: where the limit is one request in seconds, a larger step is a 429 at once."""
_NEAR: Final = (0.85, 1.02)
_NEAR_GROWTH: Final = 0.14
"""What is left of the growth within these bounds of the rate refused last: a lone worker's limit is there."""
_PATIENCE_SECS: Final = 6.5
"""So long without a 429, and the growth doubles, then rises on: other workers may have ended."""
_MAX_CALM_SECS: Final = 1.0
"""Counted per answer: of a long gap between two requests only this much was a test of the limit."""
_MAX_HURRY: Final = 0.14
"""Per answer, however long ago the last 429: a limit that tripled is found within half a minute."""

_CUTS: Final = (0.1, 0.5, 0.8)
"""What the first, second and any later 429 leave of the rate. The first is deep, so that workers that start
at once fall below their shares with one 429 each, and at much the same rate: equals stay equals."""
_NEXT_CUT: Final = 0.8
"""Where the probe is refused too: among several workers as often bad luck as a rate that is too high."""

_HORIZON_SECS: Final = 60.0
"""Mixpanel counts over a rolling minute (https://docs.mixpanel.com/reference/rate-limits)."""
_BLOCKED_REFUSALS: Final = 4
_BLOCKED_ANSWERS: Final = 8
"""So many refusals in a row, with so many answers before them, mean a full window. Fewer are no sample."""
_RESUME: Final = 0.97
"""Of the average over the last minute: at the average itself, the next window would be full again."""
_CALM_PER_BLOCK: Final = 1.4
"""For so many times as long as the block took, the rate then stays: the burst must first leave the window."""

_HOLD_REQUESTS: Final = 2.0
_FIRST_HOLD_SECS: Final = 1.0
"""The pause after a lone 429, in gaps of the new rate, and at most: a bucket refills meanwhile."""
_NEXT_HOLD_SECS: Final = 0.5
_HOLD_SHARE: Final = 0.5
"""The pause while probes are refused, at least, and as a share of how long they have been: few probes in a
blocked minute, yet soon after a short block."""
_MAX_HOLD_SECS: Final = 6.0
"""A tenth of the minute, which is what a probe that comes just too early can cost."""
_OUTAGE_HOLD_SECS: Final = 60.0
"""Mixpanel's documented cap on the backoff; a rolling minute is no reason any more."""

_MAX_LATE: Final = 0.5
_MOST_LATE: Final = 4.0
_LATE_WEIGHT: Final = 0.25
"""Where requests come later than they may, by half a gap in the moving mean over some four, the rate is not
used and must not grow. One late request counts as four gaps at most, so that a pause is soon forgotten."""


def cost_in_events(events: int, body_bytes: int) -> float:
    """Give what a request takes of the rate: its events, or its bytes where they weigh more."""
    return max(float(events), body_bytes / _BYTES_PER_EVENT)


class RatePacer:
    """Spaces requests so that events/s stay just under what the server accepts.

    Until the first 429 the rate grows with each answer, up to the ceiling. The first 429 cuts it deeply, the
    second ends the search. From then on each 429 cuts it a little and each good answer raises it: the slower
    the faster, so that workers become equal; hardly near the rate that was refused last; ever faster while no
    429 comes, since others may have gone. While refused, single requests probe at growing intervals. After a
    block, the rate goes on with the average of the last minute: what a rolling limit allows in the long run.

    Args:
      ceiling: most events/s ever; None for no ceiling of our own.
      now: the present, in seconds of any clock that does not go back.
      start: events/s to begin with.
    """

    def __init__(self, *, ceiling: float | None, now: float, start: float = MAX_EVENTS_PER_SEC) -> None:
        self._ceiling = ceiling if ceiling is not None else float("inf")
        self._rate = min(start, self._ceiling)
        self._began = now
        self._next_free = now
        self._not_before = now
        self._late = 0.0
        self._sent_at: deque[float] = deque(maxlen=_MAX_SENT)
        self._round_trip_secs = float("inf")
        self._cuts = 0
        self._calm_secs = 0.0
        self._refusals = 0
        self._refused_rate = 0.0
        self._refused_since = now
        self._last_refused = float("-inf")
        self._hold_secs = 0.0
        self._accepted: deque[tuple[float, float]] = deque()
        self._accepted_cost = 0.0

    @property
    def rate(self) -> float:
        """The present limit, in events/s."""
        return self._rate

    @property
    def limited(self) -> bool:
        """Whether the rate is bounded by the server or the ceiling, rather than still finding its way up."""
        return self._cuts > 0 or self._rate >= self._ceiling

    @property
    def refused_lately(self) -> bool:
        """Whether nothing was accepted since the last 429."""
        return self._refusals > 0

    def wait_secs(self, now: float) -> float:
        """Give how long the next request must wait; it may be asked again at any time."""
        return max(self._next_free - now, self._not_before - now, 0.0)

    def sent(self, cost: float, now: float) -> None:
        """Learn that a request is sent now; after a 429 it is a probe, and the next waits for its answer."""
        self._sent_at.append(now)
        gap = cost / self._rate
        self._late += (min((now - self._next_free) / gap, _MOST_LATE) - self._late) * _LATE_WEIGHT
        self._next_free = now + max(gap, self._hold_secs)

    def accepted(self, cost: float, now: float) -> None:
        """Learn that a request was answered and accepted."""
        if self._sent_at:
            self._round_trip_secs = min(self._round_trip_secs, now - self._sent_at.popleft())
        if self._refusals:
            self._resume(now)
            self._next_free = now + cost / self._rate
        self._remember(cost, now)
        if self._late < _MAX_LATE:
            self._rate = min(self._rate * (1 + self._growth(cost)), self._ceiling)

    def refused(self, cost: float, sent_at: float, now: float, *, retry_after_secs: float = 0.0) -> None:
        """Learn that a request was answered 429.

        Args:
          cost: of the request.
          sent_at: when it was sent; one sent before the last 429 came says nothing new.
          now: when the answer came.
          retry_after_secs: what the server asked for; 0 for nothing.
        """
        self._not_before = max(self._not_before, now + retry_after_secs)
        if sent_at < self._last_refused:
            return
        self._last_refused = now
        self._refusals += 1
        self._calm_secs = 0.0
        if self._refusals == 1:
            self._refused_since = now
            self._refused_rate = self._rate
            self._cut(_CUTS[self._cuts])
            self._cuts = min(self._cuts + 1, len(_CUTS) - 1)
        elif self._refusals < _BLOCKED_REFUSALS:
            self._cut(_NEXT_CUT)
        self._hold_secs = self._hold(cost, now)
        self._next_free = max(self._next_free, now + self._hold_secs)

    def _cut(self, left: float) -> None:
        self._rate = min(max(self._rate * left, _MIN_RATE), self._rate)

    def _hold(self, cost: float, now: float) -> float:
        """Give how long to send nothing: longer the longer nothing was accepted."""
        if self._refusals == 1:
            return min(_HOLD_REQUESTS * cost / self._rate, _FIRST_HOLD_SECS)
        refused_secs = now - self._refused_since
        longest = _MAX_HOLD_SECS if refused_secs <= _HORIZON_SECS else _OUTAGE_HOLD_SECS
        return min(max(refused_secs * _HOLD_SHARE, _NEXT_HOLD_SECS), longest)

    def _resume(self, now: float) -> None:
        """Go on after refusals; after a block with the average that it leaves, without growth for a while."""
        blocked_secs = now - self._refused_since
        blocked = self._refusals >= _BLOCKED_REFUSALS and len(self._accepted) >= _BLOCKED_ANSWERS
        if blocked and blocked_secs <= _HORIZON_SECS + _MAX_HOLD_SECS:
            average = self._accepted_cost / min(max(now - self._began, 1.0), _HORIZON_SECS)
            self._rate = min(max(_RESUME * average, _MIN_RATE), self._ceiling)
            self._calm_secs = -_CALM_PER_BLOCK * blocked_secs
            self._cuts = len(_CUTS) - 1
        self._refusals = 0
        self._hold_secs = 0.0

    def _remember(self, cost: float, now: float) -> None:
        """Keep the last minute's costs; read before it is cut off, it is the minute before a block."""
        self._accepted.append((now, cost))
        self._accepted_cost += cost
        while self._accepted[0][0] < now - _HORIZON_SECS:
            self._accepted_cost -= self._accepted.popleft()[1]

    def _growth(self, cost: float) -> float:
        """Give by what share of itself the rate grows with a good answer."""
        gap = cost / self._rate
        if self._cuts == 0:
            return _START_GROWTH / max(self._round_trip_secs / gap, 1.0)
        if self._cuts == 1:
            return _REGROWTH
        self._calm_secs += gap if self._calm_secs < 0 else min(gap, _MAX_CALM_SECS)
        if self._calm_secs < 0:
            return 0.0
        growth = min((_SHARE_GROWTH / self._rate**2 + _GROWTH_PER_SEC) * gap, _MAX_GROWTH)
        if _NEAR[0] < self._rate / self._refused_rate < _NEAR[1]:
            growth *= _NEAR_GROWTH
        return min(growth * (1 + math.pow(self._calm_secs / _PATIENCE_SECS, 1.5)), _MAX_HURRY)


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
        """Learn that a request met a 5xx, a time-out or a lost connection; those before a cut count once."""
        self._strained = True
        if sent_at >= self._last_cut:
            self._last_cut = now
            self._limit = max(self._limit / 2, 1.0)
