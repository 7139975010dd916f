"""What an answer of Mixpanel means, as a pure function.

| answer to `/import?strict=1` | outcome |
|---|---|
| 200, `num_records_imported` = n | `Imported` |
| 200, another count | `Miscounted` |
| other 2xx, an unreadable body | `Retry` (not confirmed) |
| 400 with `failed_records` objects | `PartlyImported`, by index; if the numbers do not add up, the rest is open |
| 400 that names no record | `Split`, to find the culprits |
| 413 | `Split`, to find what is too large |
| 408, 429, 5xx (524 too) | `Retry` |
| 401, 402, 403, 404, redirects, other 4xx | `Refused`: the job ends, with what to do about it |

Sources: https://docs.mixpanel.com/reference/import-events and
https://docs.mixpanel.com/troubleshooting/errors/400-bad-request (and its neighbours for other codes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import msgspec

from beam_mixpanel.core.json.text import UNREADABLE

_MAX_DETAIL_CHARS: Final = 300
_REQUEST_TIMEOUT: Final = 408
_TOO_LARGE: Final = 413
_RATE_LIMITED: Final = 429

_decode = msgspec.json.Decoder().decode


class FailedRecord(NamedTuple):
    """An event that Mixpanel rejected: its place in the batch, and why."""

    position: int
    field: str
    message: str


class Imported(NamedTuple):
    """Every event of the batch was imported."""


class PartlyImported(NamedTuple):
    """Some events were rejected, by index.

    Attributes:
      rejected: the events that Mixpanel named.
      rest_confirmed: whether the numbers add up, so that all the others were imported.
      imported: how many the answer says were imported; None where it does not say.
    """

    rejected: tuple[FailedRecord, ...]
    rest_confirmed: bool
    imported: int | None = None


class Miscounted(NamedTuple):
    """The request succeeded, but its answer counts fewer or more events than were sent.

    Fewer may be meant: events with `$ignore`, and those that a filter of the project drops
    (https://docs.mixpanel.com/docs/data-governance/data-clean-up).

    Attributes:
      imported: the number in the answer.
    """

    imported: int


class Retry(NamedTuple):
    """Whether the events were imported is not known: send the same again later.

    Attributes:
      reason: short and stable, such as `http_503`.
      retry_after_secs: what the server asked for, if it did.
      rate_limited: the server says that events come too fast.
    """

    reason: str
    retry_after_secs: float | None = None
    rate_limited: bool = False


class Split(NamedTuple):
    """The batch was refused without naming an event: find those at fault (`core.sending.culprits`).

    Attributes:
      reason: short and stable.
      message: the server's words.
      too_large: the request was too large, rather than an event bad.
    """

    reason: str
    message: str
    too_large: bool = False


class Refused(NamedTuple):
    """No event can get through: the job must end.

    Attributes:
      reason: short and stable, such as `http_401`.
      message: the server's words.
      cure: what to do about it.
    """

    reason: str
    message: str
    cure: str


Outcome = Imported | PartlyImported | Miscounted | Retry | Split | Refused

_CURES: Final = {
    401: "check the service account's user name and secret, that it is a member of the project with the role Owner or "
    "Admin, the project id, and the region (us, eu or in) that the project resides in",
    402: "the project's plan does not allow this import; ask its owner or Mixpanel's support",
    403: "the credentials do not permit importing into this project; a service account needs the role Owner or Admin",
    404: "the host knows no such endpoint; check `region` and `api_host`",
}
_REDIRECT_CURE: Final = "redirects are not followed, since they could carry credentials elsewhere; check the API host"
_OTHER_CURE: Final = "this request can never succeed as it is; check the API host and any proxy between"


def read_import_answer(status: int, headers: Mapping[str, str], body: bytes, batch_size: int) -> Outcome:
    """Say what an answer of `/import?strict=1` means for the batch that was sent.

    Args:
      status: the HTTP status.
      headers: of the answer, names in lower case.
      body: of the answer, decompressed, perhaps cut or not JSON.
      batch_size: events in the batch, at least 1.
    """
    parsed = _parse_object(body)
    if 200 <= status < 300:
        count = _count(parsed.get("num_records_imported"))
        if status != 200 or count is None:
            return Retry("not_confirmed")
        if count != batch_size:
            return Miscounted(count)
        return Imported()
    if status == 400:
        return _read_bad_request(parsed, body, batch_size)
    return _read_other(status, headers, parsed, body)


def read_track_answer(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Say what an answer of `/track?verbose=1` means; it never names an event.

    Source: https://docs.mixpanel.com/reference/track-event
    """
    parsed = _parse_object(body)
    if 200 <= status < 300:
        success = _TRACK_TEXT.get(body.strip())
        if parsed:
            success = _count(parsed.get("status"))
        if success == 1:
            return Imported()
        if success == 0:
            return Split("rejected", _detail(parsed, b"0: no valid event"))
        return Retry("not_confirmed")
    if status == 400:
        return Split("rejected", _detail(parsed, body))
    return _read_other(status, headers, parsed, body)


_TRACK_TEXT: Final = {b"1": 1, b"0": 0}


def _read_bad_request(parsed: dict[str, Any], body: bytes, batch_size: int) -> Outcome:
    failed = _read_failed_records(_list_of(parsed, "failed_records"), batch_size)
    if not failed:
        return Split("rejected", _detail(parsed, body))
    imported = _count(parsed.get("num_records_imported"))
    return PartlyImported(failed, imported == batch_size - len(failed), imported)


def _read_failed_records(records: list[Any], batch_size: int) -> tuple[FailedRecord, ...]:
    """Read the named records; nothing where one of them cannot be trusted."""
    failed: dict[int, FailedRecord] = {}
    for record in records:
        if not isinstance(record, dict):
            return ()
        index = _count(record.get("index"))
        if index is None or index >= batch_size:
            return ()
        failed[index] = FailedRecord(index, _text(record.get("field")), _text(record.get("message")))
    return tuple(failed[index] for index in sorted(failed))


def _read_other(status: int, headers: Mapping[str, str], parsed: dict[str, Any], body: bytes) -> Outcome:
    detail = _detail(parsed, body)
    if status == _TOO_LARGE:
        return Split("too_large", detail, too_large=True)
    if status in (_REQUEST_TIMEOUT, _RATE_LIMITED) or status >= 500 or status < 200:
        return Retry(f"http_{status}", _retry_after_secs(headers), status == _RATE_LIMITED)
    cure = _CURES.get(status, _OTHER_CURE)
    if 300 <= status < 400:
        cure = _REDIRECT_CURE
    return Refused(f"http_{status}", detail, cure)


def _retry_after_secs(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After` in seconds, or as a date measured from the answer's own `Date`."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text, re.ASCII):
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return max(wait.total_seconds(), 0.0)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = _decode(body)
    except UNREADABLE:
        return {}
    if isinstance(parsed, dict):
        return parsed
    return {}


def _list_of(parsed: dict[str, Any], key: str) -> list[Any]:
    value = parsed.get(key)
    if isinstance(value, list):
        return value
    return []


def _count(value: object) -> int | None:
    if type(value) is int and value >= 0:
        return value
    return None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value[:_MAX_DETAIL_CHARS]
    return ""


def _detail(parsed: dict[str, Any], body: bytes) -> str:
    """Give the server's words, on one line and not long."""
    # Where no record is named by its index, the list may hold words.
    first = [_text(record) for record in _list_of(parsed, "failed_records")[:1]]
    words = "".join(first) or _text(parsed.get("error")) or body[:_MAX_DETAIL_CHARS].decode(errors="replace")
    return " ".join(words.split())
