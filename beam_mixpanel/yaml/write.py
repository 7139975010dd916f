"""`WriteToMixpanel` for Beam YAML.

Beam reads the types of the arguments as they stand, so annotations are not postponed, and say Optional: Beam takes
`str | None` for anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Optional

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.typehints.row_type import RowTypeConstraint

from beam_mixpanel.client.credentials import Credentials, ProjectToken, ServiceAccount
from beam_mixpanel.core.dead_letter import DeadLetter, to_json_line
from beam_mixpanel.core.limits import RECOMMENDED_REQUESTS_IN_FLIGHT
from beam_mixpanel.core.mapping_settings import mapping_of
from beam_mixpanel.transforms.arguments import MAX_BUFFERING_SECS
from beam_mixpanel.transforms.write import WriteToMixpanel as Write

_RECEIPT: Final = RowTypeConstraint.from_fields(
    [("events", int), ("imported", int), ("rejected", int), ("attempt", int), ("latency_secs", float)]
)
_SUCH_AS: Final = {"mapping": "event: Order Placed", "error_handling": "output: dead_letters"}
_DEAD_LETTER_FIELDS: Final = ("stage", "reason", "field", "message", "source", "fate")
_DEAD_LETTER: Final = RowTypeConstraint.from_fields([(name, str) for name in (*_DEAD_LETTER_FIELDS, "line")])


class WriteToMixpanel(beam.PTransform):
    """Imports events into Mixpanel.

    Takes rows, which the mapping turns into events, or what `ReadEventsFromFiles` gives. What cannot be imported fails
    the job, or goes to the output that `error_handling` names: rows of stage, reason, field, message, source and fate,
    with the line that `replay_dead_letters` reads. The other output has a row for each request.

    Args:
      service_account: reference to `username:secret`: `env:NAME`, `file:PATH` or
        `gcp-secret:projects/P/secrets/S/versions/V`.
      project_id: the project's number; needed with a service account.
      project_token: reference to a project token, instead.
      region: `us`, `eu` or `in`.
      api_host: a base URL instead of the region's.
      mapping: the keys of a mapping file, such as `event_column` and `time_column`, as a dict or a row; none for rows
        whose columns have names that are known.
      insert_id: how an absent `$insert_id` is made: `content`, `columns:NAME,NAME` or `mixpanel-import`.
      time_zone: IANA name of the zone of times that name none.
      redact: properties that are neither sent nor kept.
      max_batch_events: at most 2000.
      max_concurrent_requests: upper bound on requests in flight in a worker process.
      max_events_per_sec: upper bound on events/s of a worker process.
      num_shards: at most so many requests in flight in the whole job.
      max_buffering_secs: how long an event of a stream may wait for its batch to fill.
      on_undelivered: `fail`, or `dead_letter`.
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
        mapping: Optional[Mapping[str, Any]] = None,
        insert_id: str = "content",
        time_zone: str = "UTC",
        redact: Sequence[str] = (),
        max_batch_events: int = 2000,
        max_concurrent_requests: int = RECOMMENDED_REQUESTS_IN_FLIGHT,
        max_events_per_sec: Optional[float] = None,
        num_shards: Optional[int] = None,
        max_buffering_secs: float = MAX_BUFFERING_SECS,
        on_undelivered: str = "fail",
        error_handling: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__()
        self._error_output = _error_output(error_handling)
        self._write = Write(
            _credentials(service_account, project_id, project_token),
            region=region,
            api_host=api_host,
            mapping=mapping_of(_as_dict("mapping", mapping or {})),
            insert_id=insert_id,
            time_zone=time_zone,
            redact=redact,
            max_batch_events=max_batch_events,
            max_concurrent_requests=max_concurrent_requests,
            max_events_per_sec=max_events_per_sec,
            num_shards=num_shards,
            max_buffering_secs=max_buffering_secs,
            on_undelivered=on_undelivered,
        )

    def expand(self, rows: PCollection[Any]) -> Any:
        """Give receipts, and dead letters where they are asked for."""
        result = rows | "Write" >> self._write
        receipts = result.receipts | "ReceiptRows" >> beam.Map(_receipt_row).with_output_types(_RECEIPT)
        if self._error_output is None:
            return receipts
        letters = result.dead_letters | "DeadLetterRows" >> beam.Map(_dead_letter_row).with_output_types(_DEAD_LETTER)
        return {"good": receipts, self._error_output: letters}


def _error_output(error_handling: Optional[Mapping[str, Any]]) -> Optional[str]:
    if error_handling is None:
        return None
    settings = _as_dict("error_handling", error_handling)
    if settings.keys() != {"output"} or not settings["output"]:
        raise ValueError(f"error_handling takes `output: NAME` and nothing else, got {settings}")
    return str(settings["output"])


def _as_dict(name: str, settings: Any) -> dict[str, Any]:
    """Take a row for a dict, at any depth, without its null fields; other languages have rows for mixed types."""
    if isinstance(settings, Mapping):
        return dict(settings)
    if not hasattr(settings, "_asdict"):
        raise ValueError(f"{name} takes keys with values, such as {{{_SUCH_AS[name]}}}, got {settings!r}")
    fields = settings._asdict()
    return {
        key: _as_dict(name, value) if hasattr(value, "_asdict") else value
        for key, value in fields.items()
        if value is not None
    }


def _credentials(
    service_account: Optional[str], project_id: Optional[int], project_token: Optional[str]
) -> Credentials:
    if (service_account is None) == (project_token is None):
        raise ValueError("give either service_account with project_id, or project_token")
    if project_token is not None:
        if project_id is not None:
            raise ValueError("project_id goes with a service_account; a project_token names its project itself")
        return ProjectToken.from_reference(project_token)
    if project_id is None:
        raise ValueError("a service_account needs the project_id, too")
    return ServiceAccount.from_reference(service_account or "", project_id=project_id)


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
