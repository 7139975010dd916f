"""Counts what the emulator did, for its page, for tests and for benchmarks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HISTORY_SECS = 60
RECENT_SECS = 5
LATENCY_SAMPLES = 2000
MAX_REASONS = 200
OTHER_REASONS = "other reasons"


@dataclass
class _Second:
    at: int
    requests: int = 0
    accepted: int = 0


@dataclass
class Statistics:
    """Totals since the start or the last reset.

    Every event received was accepted, refused, rate limited, or met a fault instead.
    """

    requests: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    events_received: int = 0
    accepted: int = 0
    rate_limited: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    bytes_compressed: int = 0
    bytes_uncompressed: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    _first: float | None = None
    _last: float | None = None
    _latency_total: float = 0.0
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCY_SAMPLES))
    _seconds: deque[_Second] = field(default_factory=lambda: deque(maxlen=HISTORY_SECS + 1))

    def request_began(self) -> None:
        """Count a request that arrived."""
        self._first = self._first or time.monotonic()
        self.requests += 1
        self._second().requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def request_ended(self, status: int | None, seconds: float, *, fault: str | None = None) -> None:
        """Count how a request ended; no status means that it got no answer."""
        self.in_flight -= 1
        self._last = time.monotonic()
        self.by_status["no answer" if status is None else str(status)] += 1
        self._latency_total += seconds
        self._latencies.append(seconds)
        if fault:
            self.faults[fault] += 1

    def events_accepted(self, count: int) -> None:
        """Count events that were stored."""
        self.accepted += count
        self._second().accepted += count

    def events_refused(self, reasons: Mapping[str, int]) -> None:
        """Count refused events by reason; beyond a bounded number of reasons they are counted together."""
        for reason, count in reasons.items():
            if reason not in self.refused and len(self.refused) >= MAX_REASONS:
                reason = OTHER_REASONS
            self.refused[reason] += count

    def carried_over(self) -> Statistics:
        """Return fresh statistics that still know of the requests in flight."""
        return Statistics(in_flight=self.in_flight, max_in_flight=self.in_flight)

    def describe(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        now = time.monotonic()
        return {
            "requests": self.requests,
            "requests_by_status": dict(self.by_status),
            "events_received": self.events_received,
            "events_accepted": self.accepted,
            "events_refused": self.refused.total(),
            "events_rate_limited": self.rate_limited,
            "events_faulted": self.events_received - self.accepted - self.refused.total() - self.rate_limited,
            "refused_by_reason": dict(self.refused.most_common()),
            "bytes_compressed": self.bytes_compressed,
            "bytes_uncompressed": self.bytes_uncompressed,
            "faults_applied": dict(self.faults),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "secs_since_first_request": now - self._first if self._first else None,
            "secs_first_to_last": self._last - self._first if self._first and self._last else None,
            "events_per_sec": self._recent_rate("accepted"),
            "requests_per_sec": self._recent_rate("requests"),
            "latency_ms": self._latency(),
            "history": self._history(),
        }

    def _second(self) -> _Second:
        at = int(time.monotonic())
        if not self._seconds or self._seconds[-1].at != at:
            self._seconds.append(_Second(at))
        return self._seconds[-1]

    def _history(self) -> dict[str, list[int]]:
        """Return one value for each of the last complete seconds, oldest first."""
        now, known = int(time.monotonic()), {second.at: second for second in self._seconds}
        seconds = [known.get(at, _Second(at)) for at in range(now - HISTORY_SECS, now)]
        return {
            "accepted": [second.accepted for second in seconds],
            "requests": [second.requests for second in seconds],
        }

    def _recent_rate(self, what: str) -> float:
        return sum(self._history()[what][-RECENT_SECS:]) / RECENT_SECS

    def _latency(self) -> dict[str, float | None]:
        ended, samples = self.by_status.total(), sorted(self._latencies)
        if not samples:
            return {"mean": None, "median": None, "p95": None}
        return {
            "mean": 1000 * self._latency_total / ended,
            "median": 1000 * samples[(len(samples) - 1) // 2],
            "p95": 1000 * samples[int(0.95 * (len(samples) - 1))],
        }
