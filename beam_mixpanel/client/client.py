"""Sends batches to Mixpanel and says what became of each event."""

from __future__ import annotations

import math
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from beam_mixpanel.client.circuit_breaker import CLOSED, PROBE, REFUSE, CircuitBreaker
from beam_mixpanel.client.credentials import Credentials, forms_of_secret, is_mixpanel_host
from beam_mixpanel.client.gate import Gate
from beam_mixpanel.client.notices import Streak, Warnings
from beam_mixpanel.client.pacing import ConcurrencyLimit, RatePacer, cost_in_events
from beam_mixpanel.client.transport import TOTAL_TIMEOUT_SECS, Answer, PooledTransport, Transport
from beam_mixpanel.core.limits import MAX_EVENTS_PER_SEC, RECOMMENDED_REQUESTS_IN_FLIGHT
from beam_mixpanel.core.sending.backoff import MAX_DELAY_SECS, delay_secs
from beam_mixpanel.core.sending.culprits import (
    IDENTITY_REFUSED,
    Ask,
    Blame,
    Delivery,
    End,
    Leave,
    Lessons,
    Step,
    Verdict,
)
from beam_mixpanel.core.sending.encoding import compress, encode_json
from beam_mixpanel.core.sending.outcome import (
    Imported,
    Miscounted,
    Outcome,
    PartlyImported,
    Refused,
    Retry,
    Split,
    read_import_answer,
    read_track_answer,
)
from beam_mixpanel.errors import CredentialsError, NoAnswerError, RefusedError, TurnMissedError
from beam_mixpanel.version import VERSION

DEFAULT_RETRY_DEADLINE_SECS: Final = 300.0
"""Beam's workers may take a bundle that hangs for longer as stuck."""
_DOWN_SHARE: Final = 0.5
"""Of the deadline; a batch is given up that long before it where the server asks to wait beyond it."""

_STEADY_DROPS: Final = 3
"""Batches of which the second answer counted as few events as the first, before one answer is enough."""

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class ImportReceipt(NamedTuple):
    """One request that was answered, or the part of it that concerns some windows.

    A request may carry events of many windows. In a pipeline there is one receipt for each of them: `events`,
    `imported` and `rejected` count the events of these windows, so sums over receipts are sums over events; the other
    fields are those of the request, the same in each receipt with its `request_id`.

    Attributes:
      http_status: of the answer.
      events: that it carried.
      imported: of these, confirmed as imported by this answer.
      rejected: of these, named as rejected by this answer.
      attempt: 1 for the first sending of these events.
      body_bytes: uncompressed.
      sent_bytes: gzipped.
      latency_secs: from sending to the whole answer.
      request_id: unlike that of any other request.
      dropped: of these, not counted by this answer nor by one before, and not sent again.
    """

    http_status: int
    events: int
    imported: int
    rejected: int
    attempt: int
    body_bytes: int
    sent_bytes: int
    latency_secs: float
    request_id: str = ""
    dropped: int = 0


class Failure(NamedTuple):
    """An event of a batch that was not imported.

    Attributes:
      position: its place in the batch.
      fate: `rejected` or `undelivered`.
      reason: short and stable; field, message and http_status as in a dead letter.
      attempts: requests that carried it.
    """

    position: int
    fate: str
    reason: str
    field: str
    message: str
    http_status: int
    attempts: int


class BatchResult:
    """What became of a batch: every event is imported, dropped by Mixpanel, or among the failures.

    Attributes:
      imported: events confirmed.
      dropped: events that Mixpanel left out of its count without saying which, or why.
      failures: the others, in no order.
      receipts: one for each request that was answered.
      carried: for each receipt, the positions in the batch of the events that the request carried, and of those among
        them that the answer rejected.
      unanswered: requests without a whole answer.
      retries: requests that carried events which had been sent before.
    """

    def __init__(self) -> None:
        self.imported = 0
        self.dropped = 0
        self.failures: list[Failure] = []
        self.receipts: list[ImportReceipt] = []
        self.carried: list[tuple[Sequence[int], list[int]]] = []
        self.unanswered = 0
        self.retries = 0


class _Batch:
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

    def fail(self, places: Sequence[int], fate: str, reason: str, message: str, status: int) -> None:
        """Book events that are not imported."""
        self.result.failures += [
            Failure(place, fate, reason, "", message, status, self.carried[place]) for place in places
        ]


class _Request(NamedTuple):
    """What is sent, the same each time."""

    indices: Sequence[int]
    body: bytes
    compressed: bytes
    cost: float


class _Undelivered(NamedTuple):
    reason: str
    message: str
    http_status: int


_RATE_LIMITED: Final = _Undelivered("http_429", "the server answered 429 to other batches until the deadline", 429)


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
        self._wire = _Track(credentials, host) if endpoint == "track" else _Import(credentials, host)
        self._retry_deadline_secs = retry_deadline_secs
        self._transport = transport or PooledTransport(total_timeout_secs=request_timeout_secs, ca_bundle=ca_bundle)
        self._uniform = uniform
        self._lessons = Lessons()
        self._learning = threading.Lock()
        self._drops = _Drops()
        self._retrying = Streak()
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
            batch = _Batch(events, 0.0, 0.0)
            why = f"not sent, since the server was down: {self.breaker.why}"
            batch.fail(range(len(events)), "undelivered", "circuit_open", why, 0)
            return batch.result
        try:
            return self._import_batch(events)
        finally:
            if admission == PROBE:
                self.breaker.probe_ended()

    def _import_batch(self, events: Sequence[bytes]) -> BatchResult:
        began_at = self.gate.clock()
        batch = _Batch(events, began_at, began_at + self._retry_deadline_secs)
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
                    batch.fail(sorted(lost), "undelivered", *undelivered)
                    break
            elif isinstance(step, End):
                status = 413 if step.too_large else 400
                raise self._end_job(Refused(f"http_{status}", step.message, step.cure))
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

    def _counts_as_down(self, undelivered: _Undelivered, batch: _Batch) -> bool:
        """Tell whether the rest of a batch must not be tried, since each request would wait once more."""
        self.breaker.gave_up(batch.began_at, f"{undelivered.reason}: {undelivered.message}")
        return not undelivered.http_status or self.breaker.state != CLOSED

    def _give_up(self, step: Blame | Leave, batch: _Batch) -> None:
        """Book events that are rejected, or whose part in a refusal is not known."""
        if isinstance(step, Blame):
            batch.fail(step.places, "rejected", step.reason, step.message, 413 if step.too_large else 400)
            if step.reason == IDENTITY_REFUSED:
                self._warnings.of_identity_events(step.message)
        else:
            batch.fail(step.places, "undelivered", step.reason, step.message, 400)
            self._warnings.of_company(len(step.places), step.message)

    def close(self) -> None:
        """Send nothing more; batches that wait raise `ClosedError`, and requests in flight end by themselves."""
        self.gate.close("the client was closed before the batch was sent")

    @property
    def closed(self) -> bool:
        """Whether it was closed, by its user or because Mixpanel refuses every request."""
        return self.gate.closed

    def _end_job(self, outcome: Refused) -> RefusedError:
        """Let no request through any more, and give the error that says why."""
        refusal = _refusal(outcome, self._wire.url)
        self.gate.close(refusal)
        return RefusedError(refusal)

    def _ask(self, places: Sequence[int], batch: _Batch) -> tuple[Verdict, _Undelivered | None]:
        """Send events until they are settled, or refused without being named.

        An answer whose numbers do not add up is doubted once: the events that it leaves open are sent again.
        """
        result = batch.result
        doubted: int | None = None
        accepted = False
        while True:
            body = self._wire.encode([batch.events[place] for place in places])
            outcome, status = self._send(places, body, batch)
            if isinstance(outcome, _Undelivered):
                batch.fail(places, "undelivered", *outcome)
                return Verdict(accepted=accepted), outcome
            if isinstance(outcome, Split):
                return Verdict(places, True, outcome.too_large, outcome.message, len(body), accepted), None
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
                batch.fail(places, "undelivered", "not_confirmed", f"the server answered {status}", status)
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

    def _send(
        self, places: Sequence[int], body: bytes, batch: _Batch
    ) -> tuple[Imported | PartlyImported | Miscounted | Split | _Undelivered, int]:
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
                raise self._end_job(outcome)
            if not isinstance(outcome, Retry):
                self._retrying.ended()
                self.breaker.answered()
                if not isinstance(outcome, Imported):
                    _add(batch.carried, places, sent)
                return outcome, status
            if not self.closed:
                self._retrying.began(outcome.reason, message)
            undelivered = _Undelivered(outcome.reason, message, status)
            delay = self._delay(outcome, sent)
            if self.gate.clock() + delay >= batch.deadline or self.breaker.state != CLOSED:
                break
            self.gate.nap(delay)
        _add(batch.carried, places, sent)
        return undelivered, undelivered.http_status

    def _delay(self, outcome: Retry, waits: int) -> float:
        """Give the time to wait before sending again; after a 429 the pacer spaces the whole process's requests."""
        if outcome.rate_limited:
            return 0.0
        return delay_secs(waits, retry_after_secs=outcome.retry_after_secs, uniform=self._uniform)

    def _attempt(self, request: _Request, attempt: int, batch: _Batch) -> tuple[Outcome, int, str]:
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
        with self.gate.passing(cost, batch.deadline) as sent_at:
            result.retries += attempt > 1
            try:
                answer = self._transport(self._wire.url, headers, compressed)
            except NoAnswerError as error:
                result.unanswered += 1
                self.gate.learn(lambda _, concurrency, now: concurrency.strained(sent_at, now))
                return Retry(error.reason), 0, str(error)
            latency_secs = self.gate.clock() - sent_at
        outcome = self._wire.read(self._wire.without_echo(answer), size)
        self.gate.learn(lambda pacer, limit, now: _learn(outcome, cost, sent_at, pacer, limit, now))
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
    outcome: Outcome,
    cost: float,
    sent_at: float,
    pacer: RatePacer,
    concurrency: ConcurrencyLimit,
    now: float,
) -> None:
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


def _settle_rejected(places: Sequence[int], outcome: PartlyImported, batch: _Batch) -> list[int]:
    """Book the named events as rejected, and the rest as imported if confirmed; else return it."""
    rejected = {record.position for record in outcome.rejected}
    for record in outcome.rejected:
        place = places[record.position]
        attempts = batch.carried[place]
        failure = Failure(place, "rejected", "rejected", record.field, record.message, 400, attempts)
        batch.result.failures.append(failure)
    rest = [place for nth, place in enumerate(places) if nth not in rejected]
    if not outcome.rest_confirmed:
        return rest
    batch.result.imported += len(rest)
    return []


def _add(carried: Counter[int], places: Sequence[int], requests: int) -> None:
    for place in places:
        carried[place] += requests


def _refusal(outcome: Refused, url: str) -> str:
    host = url.partition("?")[0]
    return f"{host} answered {outcome.reason.removeprefix('http_')} ({outcome.message}): {outcome.cure}"


class _Body(bytes):
    """The events of a request, and at `/track` the token; a traceback with its variables shows neither."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class _Import:
    """`/import?strict=1`: every event is confirmed or named as rejected.

    `ip=0` keeps Mixpanel from placing events that hold no `ip` where our worker is; mixpanel-import sends it too
    (https://github.com/ak--47/mixpanel-import).
    """

    def __init__(self, credentials: Credentials, host: str) -> None:
        query = urlencode({"strict": "1", "ip": "0", **credentials.query})
        self.url = f"{host}/import?{query}"
        self._credentials = credentials
        self._lock = threading.Lock()
        self._authorization: str | None = None

    def headers(self) -> dict[str, str]:
        with self._lock:
            if self._authorization is None:
                self._authorization = self._credentials.authorization()
        return _HEADERS | {"Authorization": self._authorization}

    def encode(self, events: list[bytes]) -> bytes:
        return _Body(encode_json(events))

    def without_echo(self, answer: Answer) -> Answer:
        return _without_secret(answer, self._authorization)

    def read(self, answer: Answer, size: int) -> Outcome:
        return read_import_answer(answer.status, answer.headers, answer.body, size)


class _Track:
    """`/track`: the token is in each event, and an answer says no more than that something was accepted."""

    def __init__(self, credentials: Credentials, host: str) -> None:
        self.url = f"{host}/track?verbose=1&ip=0"
        self._credentials = credentials
        self._lock = threading.Lock()
        self._token: str | None = None

    def headers(self) -> dict[str, str]:
        return dict(_HEADERS)

    def encode(self, events: list[bytes]) -> bytes:
        with self._lock:
            if self._token is None:
                self._token = self._credentials.project_token()
        if not self._token:
            raise CredentialsError("/track needs a project token; a service account can use /import only")
        return _Body(encode_json([_with_token(event, self._token) for event in events]))

    def without_echo(self, answer: Answer) -> Answer:
        return _without_secret(answer, self._token)

    def read(self, answer: Answer, size: int) -> Outcome:
        return read_track_answer(answer.status, answer.headers, answer.body)


_HEADERS: Final = {
    "Content-Type": "application/json",
    "Content-Encoding": "gzip",
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": f"beam-mixpanel/{VERSION}",
}


def _with_token(event: bytes, token: str) -> bytes:
    parsed: dict[str, Any] = _decode(event)
    parsed["properties"]["token"] = str.__str__(token)
    return _encode(parsed)


_SHORTEST_SECRET: Final = 6
"""Mixpanel's have 32 characters; what is shorter than this could be a word of the answer's own."""


def _without_secret(answer: Answer, sent: str | None) -> Answer:
    """Mask in an answer what was sent as a secret: a proxy may echo it, and the server's words are shown to people."""
    if answer.status == 200 or not sent:
        return answer
    body = answer.body
    for secret in forms_of_secret(sent):
        if len(secret) >= _SHORTEST_SECRET:
            body = body.replace(secret.encode(), b"***")
    return answer._replace(body=body)


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
