"""`WriteToMixpanel`: events into Mixpanel, each once, with receipts and dead letters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.transforms.error_handling import ErrorHandler
from apache_beam.utils.shared import Shared

from beam_mixpanel.client.client import DEFAULT_RETRY_DEADLINE_SECS
from beam_mixpanel.client.credentials import Credentials, ServiceAccount, resolve_host
from beam_mixpanel.client.results import ImportReceipt
from beam_mixpanel.client.transport import TOTAL_TIMEOUT_SECS
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
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.transforms.arguments import ENDPOINTS, MAX_BUFFERING_SECS, ON_UNDELIVERED, check_credentials
from beam_mixpanel.transforms.batches import BatchLimits, PackByShard, PackInBundles
from beam_mixpanel.transforms.coding import register_coders
from beam_mixpanel.transforms.guard import DeadLetterGuard, check_error_handler
from beam_mixpanel.transforms.prepare import PrepareEvents
from beam_mixpanel.transforms.send import FAILED, SendBatchesFn, Sending
from beam_mixpanel.transforms.stream_batches import PackStream
from beam_mixpanel.transforms.windows import ParDoInWindows

STREAMING_SHARDS: Final = 8
"""Keys for unbounded input where the user names no number: at 2000 events a request and 200 ms an answer they carry
80,000 events/s, more than a project's documented limit."""

_MS_PER_DAY: Final = 86_400_000

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
    `ReadFromNdjsonBatched` gives; with a mapping, rows of any shape, and without one, too, where they are a
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
        host = resolve_host(region, api_host)
        bundle = optional(check_path, "ca_bundle", ca_bundle)
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
        self._sending = Sending(
            credentials=credentials,
            host=host,
            endpoint=endpoint,
            max_concurrent_requests=check_whole_number("max_concurrent_requests", max_concurrent_requests, 1, 1000),
            max_events_per_sec=optional(check_number, "max_events_per_sec", max_events_per_sec, 1, 10_000_000),
            retry_deadline_secs=check_number("retry_deadline_secs", retry_deadline_secs, 0, 86_400),
            request_timeout_secs=check_number("request_timeout_secs", request_timeout_secs, 0.1, 600),
            ca_bundle=bundle,
            fail_undelivered=on_undelivered == "fail",
        )
        _check_effects(
            region=region, api_host=api_host, endpoint=endpoint, ca_bundle=bundle, retention_days=retention_days
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
            send = SendBatchesFn(self._sending, shared, events.windowing.windowfn, serial=False)
        else:
            batches = {"SendBatches": prepared | "Pack" >> self._pack_by_key(events.is_bounded)}
            send = SendBatchesFn(self._sending, shared, events.windowing.windowfn, serial=True)
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


def _check_effects(
    *, region: str, api_host: str | None, endpoint: str, ca_bundle: str | None, retention_days: int
) -> None:
    """Refuse arguments, each right alone, that have no effect beside others.

    Raises:
      ValueError: one has none.
    """
    if api_host is not None and region != "us":
        raise ValueError("`region` has no effect beside `api_host`; leave one of them out")
    if ca_bundle is not None and api_host is not None and api_host.startswith("http://"):
        raise ValueError("`ca_bundle` has no effect on an `api_host` of http://; use https://, or leave it out")
    refuses_after_days = limits.TRACK_MAX_AGE_MS // _MS_PER_DAY
    is_own = retention_days != limits.DEFAULT_RETENTION_DAYS
    if endpoint == "track" and is_own and retention_days >= refuses_after_days:
        raise ValueError(
            f"`retention_days` {retention_days} has no effect with `endpoint` track, which refuses events older than "
            f"{refuses_after_days} days; leave it out"
        )
