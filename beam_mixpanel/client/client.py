"""Sends batches to Mixpanel and says what became of each event."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from beam_mixpanel.client.circuit_breaker import CLOSED, PROBE, REFUSE, CircuitBreaker
from beam_mixpanel.client.credentials import Credentials, forms_of_secret, is_mixpanel_host
from beam_mixpanel.client.errors import CredentialsError, ImportRefusedError
from beam_mixpanel.client.gate import Gate, TurnMissedError
from beam_mixpanel.client.pacing import ConcurrencyLimit, RatePacer, cost_in_events
from beam_mixpanel.client.transport import TOTAL_TIMEOUT_SECS, Answer, NoAnswerError, PooledTransport, Transport
from beam_mixpanel.core.backoff import MAX_DELAY_SECS, delay_secs
from beam_mixpanel.core.encoding import compress, encode_json
from beam_mixpanel.core.limits import MAX_EVENTS_PER_SEC, RECOMMENDED_REQUESTS_IN_FLIGHT
from beam_mixpanel.core.outcome import (
    Imported,
    Outcome,
    PartlyImported,
    Refused,
    Retry,
    Split,
    read_import_answer,
    read_track_answer,
)
from beam_mixpanel.version import VERSION

DEFAULT_RETRY_DEADLINE_SECS: Final = 300.0
"""Beam's workers may take a bundle that hangs for longer as stuck."""
MAX_SPLIT_REQUESTS: Final = 64
"""Requests that may be spent on one batch to find the events for which it is refused."""

_TOO_LARGE_SHARE: Final = 0.75
"""Of a size that was too large; above it, nothing is sent whole. A bound just below that size would let batches that
are a little smaller each find out anew; a half would cut the halves of a batch once more than they need."""
_DOWN_SHARE: Final = 0.5
"""Of the deadline; a batch is given up that long before it where the server asks to wait beyond it."""

_log = logging.getLogger(__name__)
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
    """What became of a batch: every event is imported or among the failures.

    Attributes:
      imported: events confirmed.
      failures: the others, in no order.
      receipts: one for each request that was answered.
      carried: for each receipt, the positions in the batch of the events that the request carried, and of those among
        them that the answer rejected.
      unanswered: requests without a whole answer.
      retries: requests that carried events which had been sent before.
    """

    def __init__(self) -> None:
        self.imported = 0
        self.failures: list[Failure] = []
        self.receipts: list[ImportReceipt] = []
        self.carried: list[tuple[Sequence[int], list[int]]] = []
        self.unanswered = 0
        self.retries = 0


class _Part(NamedTuple):
    """Events of the batch that are sent together: their places in it, and how often they were sent."""

    indices: Sequence[int]
    attempts: int


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
        self._largest_body_bytes: float = float("inf")
        self._retrying = _Streak()

    def import_batch(self, events: Sequence[bytes]) -> BatchResult:
        """Send a batch until every event is imported or has failed for good.

        Args:
          events: encoded events; not empty.

        Raises:
          ImportRefusedError: no event can get through; the message says what to do.
          ClosedError: the client was closed meanwhile.
        """
        admission = self.breaker.admit()
        if admission == REFUSE:
            result = BatchResult()
            why = f"not sent, since the server was down: {self.breaker.why}"
            _fail(_Part(range(len(events)), 0), "undelivered", "circuit_open", why, 0, result)
            return result
        try:
            return self._import_batch(events)
        finally:
            if admission == PROBE:
                self.breaker.probe_ended()

    def _import_batch(self, events: Sequence[bytes]) -> BatchResult:
        result = BatchResult()
        began_at = self.gate.clock()
        deadline = began_at + self._retry_deadline_secs
        split_requests = MAX_SPLIT_REQUESTS
        parts = deque([_Part(range(len(events)), 0)])
        while parts:
            part = parts.popleft()
            body = self._wire.encode([events[index] for index in part.indices])
            if len(body) > self._largest_body_bytes and len(part.indices) > 1:
                parts.extend(_halves(part))
                continue
            outcome, status, attempts = self._send(part, body, deadline, result)
            part = _Part(part.indices, attempts)
            if isinstance(outcome, Imported):
                result.imported += len(part.indices)
            elif isinstance(outcome, PartlyImported):
                parts.extend(_settle_rejected(part, outcome, result))
            elif isinstance(outcome, _Undelivered):
                self.breaker.gave_up(began_at, f"{outcome.reason}: {outcome.message}")
                self._give_up(part, parts, outcome, result)
            elif len(part.indices) == 1 or split_requests <= 0:
                reason = outcome.reason if len(part.indices) == 1 else f"{outcome.reason}_whole_batch"
                _fail(part, "rejected", reason, outcome.message, status, result)
            else:
                split_requests -= 2
                self._learn_size(outcome, body)
                parts.extend(_halves(part))
        return result

    def close(self) -> None:
        """Send nothing more; batches that wait raise `ClosedError`, and requests in flight end by themselves."""
        self.gate.close("the client was closed before the batch was sent")

    @property
    def closed(self) -> bool:
        """Whether it was closed, by its user or because Mixpanel refuses every request."""
        return self.gate.closed

    def _give_up(self, part: _Part, parts: deque[_Part], outcome: _Undelivered, result: BatchResult) -> None:
        """Book a part as undelivered; where the server is down, all that are left, since each would wait once more."""
        lost = [part]
        if not outcome.http_status or self.breaker.state != CLOSED:
            lost += parts
            parts.clear()
        for each in lost:
            _fail(each, "undelivered", outcome.reason, outcome.message, outcome.http_status, result)

    def _learn_size(self, outcome: Split, body: bytes) -> None:
        """Remember which size was too large, so that later batches are halved before they are sent."""
        if outcome.too_large:
            if self._largest_body_bytes == float("inf"):
                _log.warning("Mixpanel refuses a request of %d bytes as too large; sending smaller ones", len(body))
            self._largest_body_bytes = min(self._largest_body_bytes, len(body) * _TOO_LARGE_SHARE)

    def _send(
        self, part: _Part, body: bytes, deadline: float, result: BatchResult
    ) -> tuple[Imported | PartlyImported | Split | _Undelivered, int, int]:
        """Send one body until the answer settles it, the deadline is over, or the server counts as down."""
        size = len(part.indices)
        request = _Request(part.indices, body, compress(body), cost_in_events(size, len(body)))
        attempts = part.attempts
        undelivered = _RATE_LIMITED
        waits = 0
        while True:
            try:
                outcome, status, message = self._attempt(request, attempts + 1, deadline, result)
            except TurnMissedError:
                break
            attempts += 1
            if isinstance(outcome, Refused):
                refusal = _refusal(outcome, self._wire.url)
                self.gate.close(refusal)
                raise ImportRefusedError(refusal)
            if not isinstance(outcome, Retry):
                self._retrying.ended()
                self.breaker.answered()
                return outcome, status, attempts
            if not self.closed:
                self._retrying.began(outcome.reason, message)
            undelivered = _Undelivered(outcome.reason, message, status)
            waits += 1
            delay = self._delay(outcome, waits)
            if self.gate.clock() + delay >= deadline or self.breaker.state != CLOSED:
                break
            self.gate.nap(delay)
        return undelivered, undelivered.http_status, attempts

    def _delay(self, outcome: Retry, waits: int) -> float:
        """Give the time to wait before sending again; after a 429 the pacer spaces the whole process's requests."""
        if outcome.rate_limited:
            return 0.0
        return delay_secs(waits, retry_after_secs=outcome.retry_after_secs, uniform=self._uniform)

    def _attempt(
        self, request: _Request, attempt: int, deadline: float, result: BatchResult
    ) -> tuple[Outcome, int, str]:
        """Send once; learn from the answer.

        Returns:
          What it means, its status (0 for none), and words for people.

        Raises:
          TurnMissedError: it was not sent, since the server accepts nothing until the deadline.
        """
        indices, body, compressed, cost = request
        size = len(indices)
        headers = self._wire.headers()
        with self.gate.passing(cost, deadline) as sent_at:
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


def _settle_rejected(part: _Part, outcome: PartlyImported, result: BatchResult) -> list[_Part]:
    """Book the named events as rejected, the rest as imported if confirmed; else give the rest to send again."""
    rejected = {record.position for record in outcome.rejected}
    result.failures += [
        Failure(part.indices[record.position], "rejected", "rejected", record.field, record.message, 400, part.attempts)
        for record in outcome.rejected
    ]
    rest = [index for place, index in enumerate(part.indices) if place not in rejected]
    if outcome.rest_confirmed:
        result.imported += len(rest)
        return []
    return [_Part(rest, part.attempts)] if rest else []


def _fail(part: _Part, fate: str, reason: str, message: str, status: int, result: BatchResult) -> None:
    result.failures += [Failure(index, fate, reason, "", message, status, part.attempts) for index in part.indices]


def _halves(part: _Part) -> list[_Part]:
    middle = len(part.indices) // 2
    return [part._replace(indices=part.indices[:middle]), part._replace(indices=part.indices[middle:])]


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


class _Streak:
    """Logs when answers begin to fail and when they are good again, not each of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason = ""

    def began(self, reason: str, message: str) -> None:
        with self._lock:
            new = reason != self._reason
            self._reason = reason
        if new:
            _log.warning("Mixpanel does not confirm requests (%s: %s); sending again", reason, message)

    def ended(self) -> None:
        with self._lock:
            was, self._reason = self._reason, ""
        if was:
            _log.info("Mixpanel confirms requests again (was: %s)", was)
