"""What Mixpanel's ingestion API answers, text by text.

Sources: https://docs.mixpanel.com/reference/import-events and https://docs.mixpanel.com/reference/track-event,
the pages below https://docs.mixpanel.com/troubleshooting/errors, and answers recorded from the live service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from beam_mixpanel.emulator.validation import Refusal

TOO_MANY_REQUESTS = 429

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

SOME_FAILED = "some data points in the request failed validation"
RATE_LIMITED = "Project exceeded rate limits. Please retry the request with exponential backoff."
IDENTITY_EVENTS = "identity events are not allowed when project is using simplified identity management"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(status: int, content: Any) -> Answer:
    """Return an answer whose body is JSON."""
    return Answer(status, msgspec.json.encode(content))


def text_answer(status: int, text: str) -> Answer:
    """Return an answer whose body is plain text."""
    return Answer(status, text.encode(), TEXT)


def envelope(status: int, error: str) -> Answer:
    """Return the error body that every documented failure of a whole request has."""
    return json_answer(status, {"code": status, "error": error, "status": _status_text(status)})


def too_large(max_bytes: int) -> Answer:
    """Return a 413: https://docs.mixpanel.com/troubleshooting/errors/413-payload-too-large."""
    return envelope(413, f"request exceeds max limit of {max_bytes} bytes")


def rate_limited() -> Answer:
    """Return a 429, without Retry-After: https://docs.mixpanel.com/troubleshooting/errors/429-rate-limit-exceeded."""
    return envelope(429, RATE_LIMITED)


def strict_import(imported: int, refusals: Sequence[Refusal]) -> Answer:
    """Return the answer to `/import?strict=1`: 200, or 400 with one entry for each event that was refused."""
    if not refusals:
        return json_answer(200, {"code": 200, "num_records_imported": imported, "status": "OK"})
    return refused_records(imported, [refusal.record() for refusal in refusals])


def refused_records(imported: int, failed_records: Sequence[object] | None) -> Answer:
    """Return a 400 of a request of which `imported` events were kept all the same.

    Source: https://docs.mixpanel.com/troubleshooting/errors/400-bad-request
    """
    content: dict[str, object] = {
        "code": 400,
        "error": SOME_FAILED,
        "status": "Bad Request",
        "num_records_imported": imported,
    }
    if failed_records is not None:
        content["failed_records"] = failed_records
    return json_answer(400, content)


def lenient_import(imported: int, refused: int, *, verbose: bool, error: str = SOME_FAILED, dropped: int = 0) -> Answer:
    """Return the answer to `/import?strict=0`, which drops what it refuses without naming it.

    Observed in https://github.com/mixpanel/sheets (tests against the live service). `status` of a partly
    imported batch is synthetic.
    """
    status = int(imported > 0 or dropped > 0)
    if not verbose:
        return text_answer(200, str(status))
    content = {
        "code": 200,
        "error": error if refused else None,
        "num_records_imported": imported,
        "status": status,
    }
    return json_answer(200, content)


def received(error: str | None, *, verbose: bool) -> Answer:
    """Return the answer of `/track`, and of `/import` to the form that older SDKs send.

    Source: https://docs.mixpanel.com/reference/track-event
    """
    status = int(not error)
    if not verbose:
        return text_answer(200, str(status))
    return json_answer(200, {"error": error, "status": status})


def _status_text(status: int) -> str:
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "Request Entity Too Large"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""  # as Go's http.StatusText, which the texts come from, of a status that has no name
