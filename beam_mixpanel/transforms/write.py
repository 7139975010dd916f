"""`WriteToMixpanel`: events into Mixpanel, each once, with receipts and dead letters."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.error_handling import ErrorHandler
from apache_beam.transforms.window import WindowFn
from apache_beam.utils.shared import Shared

from beam_mixpanel.client.client import (
    DEFAULT_RETRY_DEADLINE_SECS,
    BatchResult,
    Failure,
    ImportReceipt,
    MixpanelClient,
)
from beam_mixpanel.client.credentials import Credentials, ServiceAccount, resolve_host
from beam_mixpanel.client.threads import DaemonThreads
from beam_mixpanel.client.transport import TOTAL_TIMEOUT_SECS, abandon_requests
from beam_mixpanel.core import limits
from beam_mixpanel.core.arguments import (
    check_choice,
    check_flag,
    check_number,
    check_path,
    check_whole_number,
    optional,
    wrong_type,
)
from beam_mixpanel.core.events.chunk import EventChunk, PreparedEvent
from beam_mixpanel.core.events.dead_letter import IMPORT, DeadLetter
from beam_mixpanel.core.events.prepare import identity_of
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.sending.culprits import NOT_TOLD_APART
from beam_mixpanel.errors import UndeliveredError
from beam_mixpanel.metrics import DROPPED, LIVE, THROTTLED, Ledger
from beam_mixpanel.transforms.arguments import ENDPOINTS, MAX_BUFFERING_SECS, ON_UNDELIVERED, check_credentials
from beam_mixpanel.transforms.batches import BatchLimits, PackByShard, PackInBundles
from beam_mixpanel.transforms.coding import register_coders
from beam_mixpanel.transforms.guard import DeadLetterGuard, check_error_handler
from beam_mixpanel.transforms.prepare import PrepareEvents
from beam_mixpanel.transforms.receipts import receipts_by_windows
from beam_mixpanel.transforms.stream_batches import PackStream
from beam_mixpanel.transforms.windows import ParDoInWindows, Places

FAILED: Final = "failed"
STREAMING_SHARDS: Final = 8
"""Keys for unbounded input where the user names no number: at 2000 events a request and 200 ms an answer they carry
80,000 events/s, more than a project's documented limit."""

register_coders()


class WriteToMixpanelResult:
    """What `WriteToMixpanel` returns. To look at it changes nothing; a step that consumes dead letters does."""

    def __init__(
        self,
        receipts: PCollection[ImportReceipt],
        dead_letter_parts: tuple[PCollection[DeadLetter], ...],
        flatten: Callable[[str], PCollection[DeadLetter]],
    ) -> None:
        self._parts = dead_letter_parts
        self._flatten = flatten
        self._flattened: PCollection[DeadLetter] | None = None
        self.receipts = receipts

    @property
    def dead_letters(self) -> PCollection[DeadLetter]:
        """Every event that was not imported. Once a step consumes them, the job no longer fails at the first."""
        if self._flattened is None:
            # Named after its sink: a pipeline may have more than one.
            sink = self.receipts.producer.full_label.rpartition("/")[0]
            self._flattened = self._flatten(f"{sink}/FlattenDeadLetters")
        return self._flattened

    @property
    def dead_letter_parts(self) -> tuple[PCollection[DeadLetter], ...]:
        """The dead letters as they arise, not flattened: a sink on each stays in its stage and holds nothing back."""
        return self._parts


class WriteToMixpanel(beam.PTransform):
    """Imports events into Mixpanel.

    Takes dicts in Mixpanel's shape or flat, JSON bytes or str, Beam Rows, NamedTuples, or the blocks that
    `ReadEventBlocksFromFiles` gives; with a mapping, rows of any shape, and without one, too, where they are a
    `RowBatch` or a `RowList`; bounded or unbounded, in any windows, which receipts and dead letters keep.

    Delivery: every event ends as imported, or as a dead letter, or fails the job. What a runner retries is sent again
    with the same bytes and the same `$insert_id`, so Mixpanel shows it once
    (https://docs.mixpanel.com/reference/event-deduplication).

    The first event that cannot be imported fails the job, unless a step consumes `result.dead_letters` or one of Beam's
    error handlers does (`with_error_handler`).

    Args:
      credentials: a `ServiceAccount` or a `ProjectToken`.
      region: where the project resides: `us`, `eu` or `in`.
      api_host: a base URL instead of the region's, such as an emulator's.
      endpoint: `import`; `track` for sources that hold a project token only.
      insert_id: how an absent `$insert_id` is made: `content` or `mixpanel-import`; from
        columns by `insert_id_columns` of the mapping.
      time_zone: IANA name of the zone of times that name none.
      retention_days: how long the project keeps events; older ones are counted as `past_retention`.
      redact: names of properties that are taken out of each event: neither sent, nor kept in dead letters.
      mapping: how rows become events: an `EventMapping`, or a dict with the keys of a mapping file.
      max_concurrent_requests: upper bound on requests in flight in a worker process.
      max_events_per_sec: upper bound on events/s of a worker process; None for the documented 30,000 at Mixpanel's
        hosts and none elsewhere. The rate adapts below it.
      max_batch_events: at most 2000.
      max_batch_bytes: at most 10,000,000, of uncompressed JSON.
      retry_deadline_secs: how long a batch is tried before it counts as undelivered.
      request_timeout_secs: how long one request may take before it counts as lost.
      ca_bundle: a PEM file, there on every worker, of certificates to trust instead of the usual authorities. TLS is
        always verified.
      on_undelivered: `fail` the bundle, so that the runner retries it and nothing is lost; or `dead_letter`. Then a
        server that was down for a whole deadline makes later batches dead letters at once, but for probes that find
        out when it is back (`client.circuit_breaker`).
      num_shards: at most so many requests in flight in the whole job, however many workers there are; everything is
        then shuffled. None for no such cap (unbounded input is sharded anyway).
      max_buffering_secs: how long an event of an unbounded input may wait for a batch to fill.
      auto_sharding: let the runner choose how many requests an unbounded input has in flight, rather than num_shards;
        Dataflow does, and others take num_shards all the same.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument has a wrong value; the message says what to do.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        region: str = "us",
        api_host: str | None = None,
        endpoint: str = "import",
        insert_id: str = "content",
        time_zone: str = "UTC",
        retention_days: int = limits.DEFAULT_RETENTION_DAYS,
        redact: Iterable[str] = (),
        mapping: EventMapping | Mapping[str, Any] | None = None,
        max_concurrent_requests: int = limits.RECOMMENDED_REQUESTS_IN_FLIGHT,
        max_events_per_sec: float | None = None,
        max_batch_events: int = limits.MAX_BATCH_EVENTS,
        max_batch_bytes: int = limits.MAX_BATCH_BYTES,
        retry_deadline_secs: float = DEFAULT_RETRY_DEADLINE_SECS,
        request_timeout_secs: float = TOTAL_TIMEOUT_SECS,
        ca_bundle: str | os.PathLike[str] | None = None,
        on_undelivered: str = "fail",
        num_shards: int | None = None,
        max_buffering_secs: float = MAX_BUFFERING_SECS,
        auto_sharding: bool = False,
    ) -> None:
        super().__init__()
        check_credentials(credentials)
        check_choice("endpoint", endpoint, ENDPOINTS)
        check_choice("on_undelivered", on_undelivered, ON_UNDELIVERED)
        if endpoint == "track" and isinstance(credentials, ServiceAccount):
            raise ValueError("`endpoint` track needs a ProjectToken; a service account can use import only")
        self._credentials = credentials
        self._prepare = PrepareEvents(
            insert_id=insert_id,
            time_zone=time_zone,
            retention_days=retention_days,
            max_age_ms=limits.TRACK_MAX_AGE_MS if endpoint == "track" else None,
            redact=redact,
            mapping=mapping,
        )
        self._batch_limits = BatchLimits(
            check_whole_number("max_batch_events", max_batch_events, 1, limits.MAX_BATCH_EVENTS),
            check_whole_number("max_batch_bytes", max_batch_bytes, limits.MAX_EVENT_BYTES + 2, limits.MAX_BATCH_BYTES),
        )
        self._num_shards: int | None = optional(check_whole_number, "num_shards", num_shards, 1, 10_000)
        self._max_buffering_secs = check_number("max_buffering_secs", max_buffering_secs, 0.001, 3_600)
        self._auto_sharding = check_flag("auto_sharding", auto_sharding)
        self._sending = _Sending(
            credentials,
            resolve_host(region, api_host),
            endpoint,
            check_whole_number("max_concurrent_requests", max_concurrent_requests, 1, 1000),
            optional(check_number, "max_events_per_sec", max_events_per_sec, 1, 10_000_000),
            check_number("retry_deadline_secs", retry_deadline_secs, 0, 86_400),
            check_number("request_timeout_secs", request_timeout_secs, 0.1, 600),
            optional(check_path, "ca_bundle", ca_bundle),
            on_undelivered == "fail",
        )
        self._error_handler: ErrorHandler | None = None

    @classmethod
    def from_options(cls, options: PipelineOptions, **overrides: Any) -> WriteToMixpanel:
        """Make the sink as the options `--mixpanel_*` of a pipeline say (`MixpanelOptions`).

        Args:
          options: of the pipeline.
          overrides: arguments that take the place of those of the options, or that no option has, such as `mapping`;
            with `credentials` among them, the options need to name none.

        Raises:
          TypeError: an override is no argument, or an argument has the wrong type.
          ValueError: an argument or an option is wrong, or there is no option of that name.
        """
        from beam_mixpanel.transforms.options import MixpanelOptions, check_names_of_options  # registers options

        check_names_of_options(options)
        chosen = options.view_as(MixpanelOptions)
        arguments = chosen.arguments() | overrides
        if "credentials" not in arguments:
            arguments["credentials"] = chosen.credentials()
        return cls(**arguments)

    def with_error_handler(self, error_handler: ErrorHandler | None) -> WriteToMixpanel:
        """Give dead letters to one of Beam's error handlers, which refuses to run if its output is forgotten.

        Args:
          error_handler: a handler of this pipeline that is open; None to fail at the first dead letter.

        Raises:
          TypeError: it is not an error handler.
        """
        if error_handler is not None and not hasattr(error_handler, "add_error_pcollection"):
            raise wrong_type("error_handler", "one of Beam's error handlers, such as ErrorHandler", error_handler)
        self._error_handler = error_handler
        return self

    def display_data(self) -> dict[str, Any]:
        """Say where events go and how; never a secret."""
        return {
            "host": self._sending.host,
            "endpoint": self._sending.endpoint,
            "credentials": repr(self._credentials),
            "max_batch_events": self._batch_limits.max_events,
            "max_batch_bytes": self._batch_limits.max_bytes,
            "num_shards": str(self._num_shards),
        }

    def expand(self, events: PCollection[Any]) -> WriteToMixpanelResult:
        """Prepare, batch and send."""
        if self._error_handler is not None:
            check_error_handler(self._error_handler, events.pipeline)
        prepared, invalid = events | "Prepare" >> self._prepare
        shared = Shared()
        if events.is_bounded and self._num_shards is None:
            full, packed = prepared | "Pack" >> PackInBundles(self._batch_limits)
            # A sender for each: a Flatten before one sender would make a runner hold every batch back.
            batches = {"SendBatches": full, "SendRemainders": packed}
            send = _SendBatchesFn(self._sending, shared, events.windowing.windowfn, serial=False)
        else:
            batches = {"SendBatches": prepared | "Pack" >> self._pack_by_key(events.is_bounded)}
            send = _SendBatchesFn(self._sending, shared, events.windowing.windowfn, serial=True)
        receipts, dead_letters = [], [invalid]
        for label, of_kind in batches.items():
            sent = of_kind | label >> ParDoInWindows(send, events.windowing).with_outputs(FAILED, main="receipts")
            # Set here, since type hints for tags would be checked against every output under --runtime_type_check.
            sent["receipts"].element_type = ImportReceipt
            sent[FAILED].element_type = DeadLetter
            receipts.append(sent["receipts"])
            dead_letters.append(sent[FAILED])
        return self._result(tuple(receipts) | "FlattenReceipts" >> beam.Flatten(), tuple(dead_letters))

    def _pack_by_key(self, bounded: bool) -> beam.PTransform:
        if bounded:
            return PackByShard(self._batch_limits, self._num_shards or 1)
        return PackStream(
            self._batch_limits,
            self._num_shards or STREAMING_SHARDS,
            self._max_buffering_secs,
            auto_sharding=self._auto_sharding,
        )

    def _result(
        self, receipts: PCollection[ImportReceipt], parts: tuple[PCollection[DeadLetter], ...]
    ) -> WriteToMixpanelResult:
        if self._error_handler is None:
            return WriteToMixpanelResult(receipts, parts, DeadLetterGuard(parts).flatten)
        for part in parts:
            self._error_handler.add_error_pcollection(part)
        return WriteToMixpanelResult(receipts, parts, lambda label: parts | label >> beam.Flatten())


class _Sending(NamedTuple):
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

    def __init__(self, sending: _Sending) -> None:
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


class _SendBatchesFn(beam.DoFn):
    """Hands batches to the process's threads, waits when all are busy, and gives results on Beam's own thread.

    Args:
      sending: what to send with.
      shared: makes all copies of this step in a process use one client.
      windowfn: of the events; receipts and dead letters go back into their windows.
      serial: wait for each batch's requests before taking the next.
    """

    def __init__(self, sending: _Sending, shared: Shared, windowfn: WindowFn, *, serial: bool) -> None:
        self._sending = sending
        self._shared = shared
        self._windowfn = windowfn
        self._most_waiting = 0 if serial else sending.max_concurrent_requests

    def setup(self) -> None:
        self._generation = 0
        self._acquire()
        self._ledger = Ledger()
        self._places = Places(self._windowfn)

    def _acquire(self) -> None:
        """Share a client with the other steps of this process; one that was refused gives way to a new one."""
        self._worker = self._shared.acquire(lambda: _Worker(self._sending), self._generation)

    def start_bundle(self) -> None:
        if self._worker.client.closed:
            self._generation += 1
            self._acquire()
        self._sent: deque[_Sent] = deque()

    def process(self, batch: EventChunk) -> Iterator[Any]:
        future = self._worker.threads.submit(self._worker.client.import_batch, batch.bodies)
        self._sent.append(_Sent(future, batch))
        LIVE.add("in_flight", 1)
        yield from self._collect(self._most_waiting)

    def finish_bundle(self) -> Iterator[Any]:
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
        event.original or event.body,
        IMPORT,
        failure.reason,
        failure.field,
        failure.message,
        failure.http_status,
        failure.attempts,
        insert_id,
        event.origin,
        failure.fate,
        time_ms,
    )
