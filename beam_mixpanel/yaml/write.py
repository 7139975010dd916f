"""`WriteToMixpanel` for Beam YAML.

Beam reads the types of the arguments as they stand, so annotations are not postponed, and say Optional: Beam takes
`str | None` for anything.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Optional

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.typehints.row_type import RowTypeConstraint

from beam_mixpanel.client.client import DEFAULT_RETRY_DEADLINE_SECS
from beam_mixpanel.client.credentials import credentials_of
from beam_mixpanel.client.transport import TOTAL_TIMEOUT_SECS
from beam_mixpanel.core import limits
from beam_mixpanel.core.events.dead_letter import DeadLetter, to_json_line
from beam_mixpanel.core.rows.mapping_settings import mapping_of
from beam_mixpanel.transforms.arguments import MAX_BUFFERING_SECS
from beam_mixpanel.transforms.prepare import PrepareEvents
from beam_mixpanel.transforms.write import WriteToMixpanel as Write
from beam_mixpanel.yaml.values import named_by, values_of

_RECEIPT: Final = RowTypeConstraint.from_fields(
    [("events", int), ("imported", int), ("rejected", int), ("attempt", int), ("latency_secs", float)]
)
_DEAD_LETTER_FIELDS: Final = ("stage", "reason", "field", "message", "source", "fate")
_DEAD_LETTER: Final = RowTypeConstraint.from_fields([(name, str) for name in (*_DEAD_LETTER_FIELDS, "line")])


class WriteToMixpanel(beam.PTransform):
    """Imports events into Mixpanel.

    Takes rows, which the mapping turns into events, or what `ReadFromFilesBatched` gives. What cannot be imported fails
    the job, or goes to the output that `error_handling` names: rows of stage, reason, field, message, source and fate,
    with the line that `replay_dead_letters` reads. The other output has a row for each request.

    Args:
      service_account: reference to `username:secret`: `env:NAME`, `file:PATH` or
        `gcp-secret:projects/P/secrets/S/versions/V`.
      project_id: the project's number; needed with a service account.
      project_token: reference to a project token, instead.
      region: `us`, `eu` or `in`.
      api_host: a base URL instead of the region's.
      endpoint: `import`; `track` for sources that hold a project token only.
      mapping: the keys of a mapping file, such as `event_column` and `time_column`, as a dict or a row; none for rows
        whose columns have names that are known.
      insert_id: how an absent `$insert_id` is made: `content` or `mixpanel-import`; from
        columns by `insert_id_columns` of the mapping.
      time_zone: IANA name of the zone of times that name none.
      retention_days: how long the project keeps events; older ones are counted as `past_retention`.
      redact: properties that are neither sent nor kept.
      max_batch_events: at most 2000.
      max_batch_bytes: at most 10,000,000, of uncompressed JSON.
      max_concurrent_requests: upper bound on requests in flight in a worker process.
      max_events_per_sec: upper bound on events/s of a worker process.
      retry_deadline_secs: how long a batch is tried before it counts as undelivered.
      request_timeout_secs: how long one request may take before it counts as lost.
      ca_bundle: a PEM file, there on every worker, of certificates to trust instead of the usual authorities.
      num_shards: at most so many requests in flight in the whole job.
      auto_sharding: let Dataflow choose how many requests a stream has in flight.
      max_buffering_secs: how long an event of a stream may wait for its batch to fill.
      on_undelivered: `fail`; or `dead_letter`, which needs `error_handling`.
      error_handling: `output`: the name of the output for dead letters.
    """

    def __init__(
        self,
        *,
        service_account: Optional[str] = None,
        project_id: Optional[int] = None,
        project_token: Optional[str] = None,
        region: str = "us",
        api_host: Optional[str] = None,
        endpoint: str = "import",
        mapping: Optional[Mapping[str, Any]] = None,
        insert_id: str = "content",
        time_zone: str = "UTC",
        retention_days: int = limits.DEFAULT_RETENTION_DAYS,
        redact: Sequence[str] = (),
        max_batch_events: int = limits.MAX_BATCH_EVENTS,
        max_batch_bytes: int = limits.MAX_BATCH_BYTES,
        max_concurrent_requests: int = limits.RECOMMENDED_REQUESTS_IN_FLIGHT,
        max_events_per_sec: Optional[float] = None,
        retry_deadline_secs: float = DEFAULT_RETRY_DEADLINE_SECS,
        request_timeout_secs: float = TOTAL_TIMEOUT_SECS,
        ca_bundle: Optional[str] = None,
        num_shards: Optional[int] = None,
        auto_sharding: bool = False,
        max_buffering_secs: float = MAX_BUFFERING_SECS,
        on_undelivered: str = "fail",
        error_handling: Optional[Mapping[str, Any]] = None,
    ) -> None:
        # Read here, where the keys are its only local names.
        values = values_of(WriteToMixpanel, locals())
        super().__init__()
        self._error_output = _error_output(values.pop("error_handling"))
        credentials = credentials_of(
            **{key: values.pop(key) for key in ("service_account", "project_token", "project_id")}
        )
        _check_keys(values, has_error_output=self._error_output is not None)
        settings = values.pop("mapping") or {}
        self._of_streams = _options_of_streams(values)
        self._write = Write(credentials, mapping=named_by("mapping", lambda: mapping_of(settings)), **values)

    def expand(self, rows: PCollection[Any]) -> Any:
        """Return receipts, and dead letters where they are asked for.

        Raises:
          ValueError: an option of streams is set, and the input is bounded; or workers would lack this package.
        """
        if self._of_streams and rows.is_bounded:
            raise ValueError(
                f"{self._of_streams[0]} has an effect on streams only, but the input is bounded; leave it out"
            )
        result = rows | "Write" >> self._write
        receipts = result.receipts | "ReceiptRows" >> beam.Map(_receipt_row).with_output_types(_RECEIPT)
        if self._error_output is None:
            return receipts
        letters = result.dead_letters | "DeadLetterRows" >> beam.Map(_dead_letter_row).with_output_types(_DEAD_LETTER)
        return {"good": receipts, self._error_output: letters}


def _error_output(error_handling: Optional[Mapping[str, Any]]) -> Optional[str]:
    if error_handling is None:
        return None
    if error_handling.keys() != {"output"} or not error_handling["output"]:
        raise ValueError(f"error_handling takes `output: NAME` and nothing else, got {dict(error_handling)}")
    return str(error_handling["output"])


def _check_keys(values: Mapping[str, Any], *, has_error_output: bool) -> None:
    """Refuse values whose errors would not name the key, and one that needs another key."""
    for key in ("insert_id", "time_zone"):
        named_by(key, partial(PrepareEvents, **{key: values[key]}))
    if values["on_undelivered"] == "dead_letter" and not has_error_output:
        raise ValueError("on_undelivered: dead_letter needs error_handling, which names the output for dead letters")


def _options_of_streams(values: Mapping[str, Any]) -> list[str]:
    """Name the options that are set and act on unbounded input only."""
    defaults = {"auto_sharding": False, "max_buffering_secs": MAX_BUFFERING_SECS}
    return [key for key, default in defaults.items() if values[key] != default]


def _receipt_row(receipt: Any) -> beam.Row:
    return beam.Row(
        events=receipt.events,
        imported=receipt.imported,
        rejected=receipt.rejected,
        attempt=receipt.attempt,
        latency_secs=float(receipt.latency_secs),
    )


def _dead_letter_row(letter: DeadLetter) -> beam.Row:
    fields = {name: getattr(letter, name) for name in _DEAD_LETTER_FIELDS}
    return beam.Row(**fields, line=to_json_line(letter).decode())
