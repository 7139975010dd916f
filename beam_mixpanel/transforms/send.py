"""The step that sends: batches to the threads of the process's one client, and what became of them back."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import WindowFn
from apache_beam.utils.shared import Shared

from beam_mixpanel.client.client import MixpanelClient
from beam_mixpanel.client.credentials import Credentials
from beam_mixpanel.client.results import BatchResult, Failure
from beam_mixpanel.client.threads import DaemonThreads
from beam_mixpanel.client.transport import abandon_requests
from beam_mixpanel.core.events.chunk import EventChunk, PreparedEvent
from beam_mixpanel.core.events.dead_letter import IMPORT, DeadLetter
from beam_mixpanel.core.events.prepare import identity_of
from beam_mixpanel.core.sending.steps import NOT_TOLD_APART
from beam_mixpanel.errors import UndeliveredError
from beam_mixpanel.metrics import DROPPED, LIVE, THROTTLED, Ledger
from beam_mixpanel.transforms.receipts import receipts_by_windows
from beam_mixpanel.transforms.windows import Places

__all__ = ["FAILED", "SendBatchesFn", "Sending", "abandon_sending"]

FAILED: Final = "failed"
"""The tag of the dead letters."""


class Sending(NamedTuple):
    """What a worker needs to send; holds a reference to the secret, not the secret."""

    credentials: Credentials
    host: str
    endpoint: str
    max_concurrent_requests: int
    max_events_per_sec: float | None
    retry_deadline_secs: float
    request_timeout_secs: float
    ca_bundle: str | None
    fail_undelivered: bool


class _Worker:
    """What the sending steps of one worker process share: a client and its threads."""

    def __init__(self, sending: Sending) -> None:
        self.client = MixpanelClient(
            sending.credentials,
            host=sending.host,
            endpoint=sending.endpoint,
            max_concurrent_requests=sending.max_concurrent_requests,
            max_events_per_sec=sending.max_events_per_sec,
            retry_deadline_secs=sending.retry_deadline_secs,
            request_timeout_secs=sending.request_timeout_secs,
            ca_bundle=sending.ca_bundle,
            circuit_breaker=not sending.fail_undelivered,
        )
        self.threads = DaemonThreads(sending.max_concurrent_requests, name="mixpanel-send")
        _WORKERS.add(self)


_WORKERS: Final[weakref.WeakSet[_Worker]] = weakref.WeakSet()


def abandon_sending() -> None:
    """Stop all sending in this process, at the end of a job that failed or was interrupted."""
    for worker in list(_WORKERS):
        worker.client.close()
    abandon_requests()


class _Sent(NamedTuple):
    """A batch handed to the threads."""

    future: Future[BatchResult]
    batch: EventChunk


class SendBatchesFn(beam.DoFn):
    """Hands batches to the process's threads, waits when all are busy, and gives results on Beam's own thread.

    Args:
      sending: what to send with.
      shared: makes all copies of this step in a process use one client.
      windowfn: of the events; receipts and dead letters go back into their windows.
      serial: wait for each batch's requests before taking the next.
    """

    def __init__(self, sending: Sending, shared: Shared, windowfn: WindowFn, *, serial: bool) -> None:
        self._sending = sending
        self._shared = shared
        self._windowfn = windowfn
        self._most_waiting = 0 if serial else sending.max_concurrent_requests

    def setup(self) -> None:
        """Share a client with the other steps of this process."""
        self._generation = 0
        self._acquire()
        self._ledger = Ledger()
        self._places = Places(self._windowfn)

    def _acquire(self) -> None:
        """Share a client with the other steps of this process; one that was refused gives way to a new one."""
        self._worker = self._shared.acquire(lambda: _Worker(self._sending), self._generation)

    def start_bundle(self) -> None:
        """Begin with no batch in flight, and with a client that was not refused."""
        if self._worker.client.closed:
            self._generation += 1
            self._acquire()
        self._sent: deque[_Sent] = deque()

    def process(self, batch: EventChunk) -> Iterator[Any]:
        """Hand a batch to a thread; emit receipts and dead letters of batches that have ended."""
        future = self._worker.threads.submit(self._worker.client.import_batch, batch.bodies)
        self._sent.append(_Sent(future, batch))
        LIVE.add("in_flight", 1)
        yield from self._collect(self._most_waiting)

    def finish_bundle(self) -> Iterator[Any]:
        """Wait for all batches; emit what became of them."""
        yield from self._collect(0)

    def _collect(self, most_waiting: int) -> Iterator[Any]:
        """Give the results of ended batches; wait until no more than so many are left."""
        while self._sent:
            done = {sent.future for sent in self._sent if sent.future.done()}
            if not done:
                if len(self._sent) <= most_waiting:
                    return
                done, _ = wait([sent.future for sent in self._sent], return_when=FIRST_COMPLETED)
            ended = [sent for sent in self._sent if sent.future in done]
            self._sent = deque(sent for sent in self._sent if sent.future not in done)
            for sent in ended:
                yield from self._settle(sent)

    def _settle(self, sent: _Sent) -> Iterator[Any]:
        LIVE.add("in_flight", -1)
        result = sent.future.result()
        if self._sending.fail_undelivered:
            _fail_if_undelivered(result, self._sending.retry_deadline_secs)
        self._book(result)
        places = sent.batch.places
        for receipt, (carried, rejected) in zip(result.receipts, result.carried, strict=True):
            for part, place in receipts_by_windows(receipt, carried, rejected, places):
                yield self._places.put_back(part, place)
        for failure in result.failures:
            letter = _dead_letter(sent.batch[failure.position], failure)
            self._ledger.count(letter.fate, 1)
            self._ledger.count_reason(letter.message if letter.reason == "rejected" else letter.reason)
            yield TaggedOutput(FAILED, self._places.put_back(letter, places[failure.position]))

    def _book(self, result: BatchResult) -> None:
        ledger = self._ledger
        ledger.count("imported", result.imported)
        ledger.count("dropped", result.dropped)
        if result.dropped:
            ledger.count_reason(DROPPED, result.dropped)
        ledger.count("requests", len(result.receipts) + result.unanswered)
        ledger.count("retries", result.retries)
        ledger.count(THROTTLED, self._worker.client.gate.take_throttled_secs())
        for name, amount in self._worker.client.breaker.take_counts().items():
            ledger.count(name, amount)
        for receipt in result.receipts:
            LIVE.add("latency_ms", int(receipt.latency_secs * 1000))
            ledger.count("bytes_uncompressed", receipt.body_bytes)
            ledger.count("bytes_sent", receipt.sent_bytes)
            ledger.observe("batch_events", receipt.events)
            ledger.observe("batch_bytes", receipt.body_bytes)
            ledger.observe("latency_ms", int(receipt.latency_secs * 1000))
            ledger.observe("attempts", receipt.attempt)
            if receipt.http_status == 429:
                ledger.count("rate_limited_requests", 1)


def _fail_if_undelivered(result: BatchResult, deadline_secs: float) -> None:
    for failure in result.failures:
        if failure.reason == NOT_TOLD_APART:
            raise UndeliveredError(
                f"Mixpanel refused events together without naming those at fault ({failure.message}), and more were at "
                "fault than could be found. Nothing is lost: set `on_undelivered` to dead_letter to go on "
                "past them, correct them in the dead letters, and replay these"
            )
        if failure.fate == "undelivered":
            raise UndeliveredError(
                f"Mixpanel did not confirm a batch within {deadline_secs:g} s ({failure.reason}: {failure.message}). "
                "Nothing is lost: run the job again, since what was imported already will not appear twice; raise "
                "`retry_deadline_secs`, or set `on_undelivered` to dead_letter to go on"
            )


def _dead_letter(event: PreparedEvent, failure: Failure) -> DeadLetter:
    insert_id, time_ms = identity_of(event.body)
    return DeadLetter(
        event=event.original or event.body,
        stage=IMPORT,
        reason=failure.reason,
        field=failure.field,
        message=failure.message,
        http_status=failure.http_status,
        attempts=failure.attempts,
        insert_id=insert_id,
        source=event.origin,
        fate=failure.fate,
        time_ms=time_ms,
    )
