"""Sends batches to Mixpanel and says what became of each event."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final

from beam_mixpanel.client.circuit_breaker import CLOSED, PROBE, REFUSE, CircuitBreaker
from beam_mixpanel.client.credentials import Credentials, is_mixpanel_host
from beam_mixpanel.client.gate import Gate
from beam_mixpanel.client.notices import Warnings
from beam_mixpanel.client.results import BatchResult
from beam_mixpanel.client.sender import Batch, Sender, Undelivered
from beam_mixpanel.client.transport import TOTAL_TIMEOUT_SECS, PooledTransport, Transport
from beam_mixpanel.client.wire import wire_of
from beam_mixpanel.core.limits import MAX_EVENTS_PER_SEC, RECOMMENDED_REQUESTS_IN_FLIGHT
from beam_mixpanel.core.sending.culprits import Delivery
from beam_mixpanel.core.sending.lessons import Lessons
from beam_mixpanel.core.sending.outcome import (
    Imported,
    PartlyImported,
    Refused,
    Split,
)
from beam_mixpanel.core.sending.steps import (
    IDENTITY_REFUSED,
    Ask,
    Blame,
    End,
    Leave,
    Step,
    Verdict,
)

DEFAULT_RETRY_DEADLINE_SECS: Final = 300.0
"""Beam's workers may take a bundle that hangs for longer as stuck."""
_DOWN_SHARE: Final = 0.5
"""Of the deadline; a batch is given up that long before it where the server asks to wait beyond it."""

_STEADY_DROPS: Final = 3
"""Batches of which the second answer counted as few events as the first, before one answer is enough."""


class MixpanelClient:
    """Sends batches; shared by all threads of a worker process.

    Args:
      credentials: a `ServiceAccount` or `ProjectToken`.
      host: base URL, from `resolve_host`.
      endpoint: `import`, or `track` for those who hold a project token only.
      max_concurrent_requests: upper bound on requests in flight.
      max_events_per_sec: upper bound on the rate. None means the documented 30,000 events/s at Mixpanel's own hosts,
        and no bound at others. Below it, the rate adapts to what the server accepts.
      retry_deadline_secs: how long one batch may be tried.
      request_timeout_secs: how long one request may take, from connecting to the last byte of the answer; a request
        that is under way when the deadline comes is not cut.
      circuit_breaker: while the server is down, give batches up without trying each until its own deadline.
      ca_bundle: a PEM file of certificates to trust instead of the usual authorities.
      transport: sends one request.
      clock: the present, in seconds; does not go back.
      sleep: waits.
      uniform: draws a number between two bounds.

    Source: https://docs.mixpanel.com/reference/import-events
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        host: str,
        endpoint: str = "import",
        max_concurrent_requests: int = RECOMMENDED_REQUESTS_IN_FLIGHT,
        max_events_per_sec: float | None = None,
        retry_deadline_secs: float = DEFAULT_RETRY_DEADLINE_SECS,
        request_timeout_secs: float = TOTAL_TIMEOUT_SECS,
        circuit_breaker: bool = False,
        ca_bundle: str | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if max_events_per_sec is None and is_mixpanel_host(host):
            max_events_per_sec = MAX_EVENTS_PER_SEC
        self.gate = Gate(
            max_concurrent_requests=max_concurrent_requests,
            max_events_per_sec=max_events_per_sec,
            clock=clock,
            sleep=sleep,
        )
        self.breaker = CircuitBreaker(
            after_secs=retry_deadline_secs * _DOWN_SHARE if circuit_breaker else math.inf, clock=clock, uniform=uniform
        )
        self._wire = wire_of(endpoint, credentials, host)
        self._sender = Sender(
            wire=self._wire,
            transport=transport or PooledTransport(total_timeout_secs=request_timeout_secs, ca_bundle=ca_bundle),
            gate=self.gate,
            breaker=self.breaker,
            uniform=uniform,
        )
        self._retry_deadline_secs = retry_deadline_secs
        self._lessons = Lessons()
        self._learning = threading.Lock()
        self._drops = _Drops()
        self._warnings = Warnings()

    def import_batch(self, events: Sequence[bytes]) -> BatchResult:
        """Send a batch until every event is imported or has failed for good.

        Args:
          events: encoded events; not empty.

        Raises:
          RefusedError: no event can get through; the message says what to do.
          ClosedError: the client was closed meanwhile.
        """
        admission = self.breaker.admit()
        if admission == REFUSE:
            batch = Batch(events, 0.0, 0.0)
            why = f"not sent, since the server was down: {self.breaker.why}"
            batch.give_up(range(len(events)), Undelivered("circuit_open", why, 0))
            return batch.result
        try:
            return self._import_batch(events)
        finally:
            if admission == PROBE:
                self.breaker.probe_ended()

    def _import_batch(self, events: Sequence[bytes]) -> BatchResult:
        began_at = self.gate.clock()
        batch = Batch(events, began_at, began_at + self._retry_deadline_secs)
        delivery = Delivery(events, self._lessons)
        steps = delivery.steps()
        verdict: Verdict | None = None
        while (step := self._next_step(steps, verdict)) is not None:
            verdict = None
            if isinstance(step, Ask):
                if self.gate.clock() >= batch.deadline:
                    delivery.give_up_search()
                verdict, undelivered = self._ask(step.places, batch)
                if undelivered is not None and self._counts_as_down(undelivered, batch):
                    lost = set(delivery.open) - set(step.places)
                    batch.give_up(sorted(lost), undelivered)
                    break
            elif isinstance(step, End):
                status = 413 if step.too_large else 400
                raise self._sender.end_job(Refused(f"http_{status}", step.message, step.cure))
            else:
                self._give_up(step, batch)
        self._warnings.of_size(self._lessons.max_body_bytes)
        return batch.result

    def _next_step(self, steps: Generator[Step, Verdict | None, None], verdict: Verdict | None) -> Step | None:
        """Make a plan's next step, which reads and changes what all batches know; None where all is settled."""
        with self._learning:
            try:
                return steps.send(verdict)
            except StopIteration:
                return None

    def _counts_as_down(self, undelivered: Undelivered, batch: Batch) -> bool:
        """Tell whether the rest of a batch must not be tried, since each request would wait once more."""
        self.breaker.gave_up(batch.began_at, f"{undelivered.reason}: {undelivered.message}")
        return not undelivered.http_status or self.breaker.state != CLOSED

    def _give_up(self, step: Blame | Leave, batch: Batch) -> None:
        """Book events that are rejected, or whose part in a refusal is not known."""
        if isinstance(step, Blame):
            status = 413 if step.too_large else 400
            for place in step.places:
                batch.reject(place, reason=step.reason, message=step.message, status=status)
            if step.reason == IDENTITY_REFUSED:
                self._warnings.of_identity_events(step.message)
        else:
            batch.give_up(step.places, Undelivered(step.reason, step.message, 400))
            self._warnings.of_company(len(step.places), step.message)

    def close(self) -> None:
        """Send nothing more; batches that wait raise `ClosedError`, and requests in flight end by themselves."""
        self.gate.close("the client was closed before the batch was sent")

    @property
    def closed(self) -> bool:
        """Whether it was closed, by its user or because Mixpanel refuses every request."""
        return self.gate.closed

    def _ask(self, places: Sequence[int], batch: Batch) -> tuple[Verdict, Undelivered | None]:
        """Send events until they are settled, or refused without being named.

        An answer whose numbers do not add up is doubted once: the events that it leaves open are sent again.
        """
        result = batch.result
        doubted: int | None = None
        accepted = False
        while True:
            body = self._wire.encode([batch.events[place] for place in places])
            outcome, status = self._sender.send(places, body, batch)
            if isinstance(outcome, Undelivered):
                batch.give_up(places, outcome)
                return Verdict(accepted=accepted), outcome
            if isinstance(outcome, Split):
                refused = Verdict(
                    open=places,
                    refused=True,
                    too_large=outcome.too_large,
                    message=outcome.message,
                    body_bytes=len(body),
                    accepted=accepted,
                )
                return refused, None
            if isinstance(outcome, Imported):
                result.imported += len(places)
                return Verdict(accepted=True, body_bytes=len(body)), None
            if isinstance(outcome, PartlyImported):
                accepted = True
                places = _settle_rejected(places, outcome, batch)
            accepted = accepted or bool(outcome.imported)
            if not places or self._book_drops(len(places), outcome.imported, doubted, result):
                return Verdict(accepted=accepted, body_bytes=len(body)), None
            if doubted is not None:
                batch.give_up(places, Undelivered("not_confirmed", f"the server answered {status}", status))
                return Verdict(accepted=accepted), None
            doubted = outcome.imported or 0

    def _book_drops(self, events: int, counted: int | None, doubted: int | None, result: BatchResult) -> bool:
        """Book what an answer left out of its count as dropped by Mixpanel; return whether that was done.

        Args:
          events: that were sent and not named as rejected.
          counted: how many of them the answer counts; None where it does not say.
          doubted: how many the answer before counted; None where there was none.
          result: where to book them.
        """
        if counted is None or counted >= events or not (self._drops.steady or doubted is not None):
            return False
        if doubted is not None:
            self._drops.second_answer(same=counted == doubted)
        imported = max(counted, min(doubted or 0, events))
        dropped = events - imported
        result.imported += imported
        result.dropped += dropped
        result.receipts[-1] = result.receipts[-1]._replace(imported=imported, dropped=dropped)
        if dropped:
            self._warnings.of_drops(dropped, events)
        return True


def _settle_rejected(places: Sequence[int], outcome: PartlyImported, batch: Batch) -> list[int]:
    """Book the named events as rejected, and the rest as imported if confirmed; else return it."""
    rejected = {record.position for record in outcome.rejected}
    for record in outcome.rejected:
        batch.reject(places[record.position], reason="rejected", message=record.message, status=400, field=record.field)
    rest = [place for nth, place in enumerate(places) if nth not in rejected]
    if not outcome.rest_confirmed:
        return rest
    batch.result.imported += len(rest)
    return []


class _Drops:
    """Learns whether a project leaves events out of its counts as a habit, so that to send them again is in vain."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._same = 0

    @property
    def steady(self) -> bool:
        return self._same >= _STEADY_DROPS

    def second_answer(self, *, same: bool) -> None:
        """Note whether the same events, sent again, were counted just so."""
        with self._lock:
            self._same = self._same + 1 if same else 0
