"""One body on its way: sent, paced, repeated, until an answer settles it or its time is over."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from beam_mixpanel.client.circuit_breaker import CLOSED, CircuitBreaker
from beam_mixpanel.client.gate import Gate
from beam_mixpanel.client.notices import Streak
from beam_mixpanel.client.pacing import ConcurrencyLimit, RatePacer, cost_in_events
from beam_mixpanel.client.results import BatchResult, Failure, ImportReceipt
from beam_mixpanel.client.transport import Transport
from beam_mixpanel.client.wire import Wire
from beam_mixpanel.core.sending.backoff import MAX_DELAY_SECS, delay_secs
from beam_mixpanel.core.sending.encoding import compress
from beam_mixpanel.core.sending.outcome import (
    Imported,
    Miscounted,
    Outcome,
    PartlyImported,
    Refused,
    Retry,
    Split,
)
from beam_mixpanel.errors import NoAnswerError, RefusedError, TurnMissedError

__all__ = ["Batch", "Sender", "Undelivered"]


class Undelivered(NamedTuple):
    """Why events were given up: reason and message as in a dead letter."""

    reason: str
    message: str
    http_status: int


class Batch:
    """A batch on its way.

    Attributes:
      carried: by place, how many requests carried an event and did not import it.
    """

    def __init__(self, events: Sequence[bytes], began_at: float, deadline: float) -> None:
        self.events = events
        self.began_at = began_at
        self.deadline = deadline
        self.result = BatchResult()
        self.carried: Counter[int] = Counter()

    def give_up(self, places: Iterable[int], why: Undelivered) -> None:
        """Book events as undelivered."""
        for place in places:
            self._fail(place, fate="undelivered", reason=why.reason, message=why.message, status=why.http_status)

    def reject(self, place: int, *, reason: str, message: str, status: int, field: str = "") -> None:
        """Book an event that the server refused."""
        self._fail(place, fate="rejected", reason=reason, message=message, status=status, field=field)

    def _fail(self, place: int, *, fate: str, reason: str, message: str, status: int, field: str = "") -> None:
        failure = Failure(
            position=place,
            fate=fate,
            reason=reason,
            field=field,
            message=message,
            http_status=status,
            attempts=self.carried[place],
        )
        self.result.failures.append(failure)


class _Request(NamedTuple):
    """What is sent, the same each time."""

    indices: Sequence[int]
    body: bytes
    compressed: bytes
    cost: float


_RATE_LIMITED: Final = Undelivered("http_429", "the server answered 429 to other batches until the deadline", 429)


class Sender:
    """Sends one body at a time for all threads of a process, as often as it takes, and learns from each answer.

    Args:
      wire: the endpoint.
      transport: sends one request.
      gate: the line before the server.
      breaker: knows whether the server counts as down.
      uniform: draws a number between two bounds.
    """

    def __init__(
        self,
        *,
        wire: Wire,
        transport: Transport,
        gate: Gate,
        breaker: CircuitBreaker,
        uniform: Callable[[float, float], float],
    ) -> None:
        self._wire = wire
        self._transport = transport
        self._gate = gate
        self._breaker = breaker
        self._uniform = uniform
        self._retrying = Streak()

    def end_job(self, outcome: Refused) -> RefusedError:
        """Let no request through any more, and give the error that says why."""
        refusal = _refusal(outcome, self._wire.url)
        self._gate.close(refusal)
        return RefusedError(refusal)

    def send(
        self, places: Sequence[int], body: bytes, batch: Batch
    ) -> tuple[Imported | PartlyImported | Miscounted | Split | Undelivered, int]:
        """Send one body until the answer settles it, the deadline is over, or the server counts as down."""
        size = len(places)
        request = _Request(places, body, compress(body), cost_in_events(size, len(body)))
        earlier = max(batch.carried[place] for place in places) if batch.carried else 0
        sent = 0
        undelivered = _RATE_LIMITED
        while True:
            try:
                outcome, status, message = self._attempt(request, earlier + sent + 1, batch)
            except TurnMissedError:
                break
            sent += 1
            if isinstance(outcome, Refused):
                raise self.end_job(outcome)
            if not isinstance(outcome, Retry):
                self._retrying.ended()
                self._breaker.answered()
                if not isinstance(outcome, Imported):
                    _add(batch.carried, places, sent)
                return outcome, status
            if not self._gate.closed:
                self._retrying.began(outcome.reason, message)
            undelivered = Undelivered(outcome.reason, message, status)
            delay = self._delay(outcome, sent)
            if self._gate.clock() + delay >= batch.deadline or self._breaker.state != CLOSED:
                break
            self._gate.nap(delay)
        _add(batch.carried, places, sent)
        return undelivered, undelivered.http_status

    def _delay(self, outcome: Retry, waits: int) -> float:
        """Give the time to wait before sending again; after a 429 the pacer spaces the whole process's requests."""
        if outcome.rate_limited:
            return 0.0
        return delay_secs(waits, retry_after_secs=outcome.retry_after_secs, uniform=self._uniform)

    def _attempt(self, request: _Request, attempt: int, batch: Batch) -> tuple[Outcome, int, str]:
        """Send once; learn from the answer.

        Returns:
          What it means, its status (0 for none), and words for people.

        Raises:
          TurnMissedError: it was not sent, since the server accepts nothing until the deadline.
        """
        indices, body, compressed, cost = request
        size = len(indices)
        result = batch.result
        headers = self._wire.headers()
        with self._gate.passing(cost, batch.deadline) as sent_at:
            result.retries += attempt > 1
            try:
                answer = self._transport(self._wire.url, headers, compressed)
            except NoAnswerError as error:
                result.unanswered += 1
                self._gate.learn(lambda _, concurrency, now: concurrency.strained(sent_at, now))
                return Retry(error.reason), 0, str(error)
            latency_secs = self._gate.clock() - sent_at
        outcome = self._wire.read(self._wire.without_echo(answer), size)
        self._gate.learn(
            lambda pacer, limit, now: _learn(pacer, limit, outcome=outcome, cost=cost, sent_at=sent_at, now=now)
        )
        imported, rejected = _counts(outcome, size)
        result.receipts.append(
            ImportReceipt(
                http_status=answer.status,
                events=size,
                imported=imported,
                rejected=rejected,
                attempt=attempt,
                body_bytes=len(body),
                sent_bytes=len(compressed),
                latency_secs=latency_secs,
                request_id=uuid.uuid4().hex,
            )
        )
        named = outcome.rejected if isinstance(outcome, PartlyImported) else ()
        result.carried.append((indices, [indices[record.position] for record in named]))
        return outcome, answer.status, f"the server answered {answer.status}"


def _learn(
    pacer: RatePacer, concurrency: ConcurrencyLimit, *, outcome: Outcome, cost: float, sent_at: float, now: float
) -> None:
    """Adapt the rate to a 429, and the requests in flight to other signs of strain."""
    if not isinstance(outcome, Retry):
        pacer.accepted(cost, now)
        concurrency.answered()
    elif outcome.rate_limited:
        retry_after_secs = min(outcome.retry_after_secs or 0.0, MAX_DELAY_SECS)
        pacer.refused(cost, sent_at, now, retry_after_secs=retry_after_secs)
    else:
        concurrency.strained(sent_at, now)


def _counts(outcome: Outcome, size: int) -> tuple[int, int]:
    if isinstance(outcome, Imported):
        return size, 0
    if isinstance(outcome, PartlyImported):
        rejected = len(outcome.rejected)
        return (size - rejected if outcome.rest_confirmed else 0), rejected
    return 0, 0


def _add(carried: Counter[int], places: Sequence[int], requests: int) -> None:
    for place in places:
        carried[place] += requests


def _refusal(outcome: Refused, url: str) -> str:
    host = url.partition("?")[0]
    return f"{host} answered {outcome.reason.removeprefix('http_')} ({outcome.message}): {outcome.cure}"
