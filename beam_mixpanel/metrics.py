"""Counts what happens: in Beam's metrics for the books, and in this process for a progress display."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

from apache_beam.metrics import Metrics
from apache_beam.metrics.metricbase import Counter as BeamCounter
from apache_beam.metrics.metricbase import Distribution

NAMESPACE: Final = "beam_mixpanel"
REASON_PREFIX: Final = "reason/"
CHOSEN_PREFIX: Final = "chosen/"
LEFT_OUT_PREFIX: Final = "left_out/"
"""Dead letters that a replay took, or left out, by their reason."""
THROTTLED: Final = "cumulativeThrottlingSeconds"
"""The name by which Dataflow knows that a step waits on purpose, and adds no workers for it
(https://github.com/apache/beam/pull/31924)."""
DROPPED: Final = "dropped_by_mixpanel"
"""The reason of events that Mixpanel left out of its count."""
_MAX_REASONS: Final = 200
"""Counters per process; a server's messages could be without number."""


COUNTERS: Final[dict[str, str]] = {
    "read": "events that were read",
    "filtered": "events left out because the user asked for that",
    "invalid": "events that we refused",
    "imported": "events that Mixpanel confirmed",
    "rejected": "events that Mixpanel refused",
    "undelivered": "events that Mixpanel never confirmed",
    "dropped": "events that Mixpanel left out of its count, without naming them",
    "prepared": "events that are in form, to be sent",
    "repaired_insert_ids": "events whose `$insert_id` Mixpanel would have refused, and which got another",
    "past_retention": "events older than the project keeps them; they are sent all the same",
    "requests": "requests, those without an answer counted",
    "rate_limited_requests": "requests answered 429",
    "retries": "requests that carried a batch again",
    "circuit_opened": "times that a worker process stopped asking a server that is down",
    "circuit_probes": "batches that it sent to see whether the server is back",
    "bytes_uncompressed": "bytes of JSON that were sent",
    "bytes_sent": "the same, compressed",
    "grown_files": "files that were written to while they were read",
    "lost_connections": "connections to a database that were lost and made anew",
    "lost_snapshots": "times that a read went on in a snapshot of another moment",
    THROTTLED: "seconds that a step waited on purpose, by the name that Dataflow knows",
}
"""What is counted, and what it means."""
DISTRIBUTIONS: Final[dict[str, str]] = {
    "batch_events": "events in a request",
    "batch_bytes": "bytes of JSON in a request",
    "latency_ms": "from a request to its answer",
    "attempts": "which attempt a request was; 1 is the first",
}


class LiveCounts:
    """What this process has done so far, for a display; threads may add and read at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, amount: int) -> None:
        """Add to a count."""
        with self._lock:
            self._counts[name] += amount

    def read(self) -> Counter[str]:
        """Give all counts as they are now."""
        with self._lock:
            return Counter(self._counts)

    def clear(self) -> None:
        """Begin anew."""
        with self._lock:
            self._counts.clear()


LIVE: Final = LiveCounts()
"""Shared by all steps that run in this process."""


class Ledger:
    """A step's counters. Beam's metrics work on Beam's threads only, so a ledger must be used there."""

    def __init__(self) -> None:
        self._counters: dict[str, BeamCounter] = {}
        self._distributions: dict[str, Distribution] = {}
        self._reasons: set[str] = set()

    def count(self, name: str, amount: int) -> None:
        """Raise a counter, after the fact."""
        if not amount:
            return
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Metrics.counter(NAMESPACE, name)
        counter.inc(amount)
        LIVE.add(name, amount)

    def count_filtered(self) -> None:
        """Count an event that was read and left out because the user asked for that."""
        self.count("read", 1)
        self.count("filtered", 1)

    def count_reason(self, reason: str, amount: int = 1, *, prefix: str = REASON_PREFIX) -> None:
        """Count why an event was not imported."""
        if reason not in self._reasons and len(self._reasons) >= _MAX_REASONS:
            reason = "other"
        self._reasons.add(reason)
        self.count(prefix + reason, amount)

    def observe(self, name: str, value: int) -> None:
        """Add a value to a distribution."""
        distribution = self._distributions.get(name)
        if distribution is None:
            distribution = self._distributions[name] = Metrics.distribution(NAMESPACE, name)
        distribution.update(value)
