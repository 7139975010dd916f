"""What Mixpanel's OpenAPI file says of `/import` and `/track`, as an independent judge of requests and answers.

These are facts taken from the file, in our own shape, not the file:
https://github.com/mixpanel/docs/blob/main/openapi/ingestion.openapi.yaml (read in its version of
https://github.com/mixpanel/docs/blob/15005149bb5fb5af8981b8162a190c05a405a4fc/openapi/ingestion.openapi.yaml).

The file requires no key of an answer; here those of its examples are required, so that an empty answer does not fit.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft7Validator

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: Any) -> Schema:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, **more}


def _batch(properties: Schema) -> Schema:
    event = _object({"event": TEXT, "properties": properties}, additionalProperties=False)
    return {"type": "array", "minItems": 1, "items": event}


IDENTITY = {"time": INTEGER, "distinct_id": TEXT, "$insert_id": TEXT}
SWITCH = ("0", "1")


@dataclass(frozen=True)
class Operation:
    """One POST: what its query, headers and body may be, and its answers by status.

    Attributes:
      required_query: parameters that have to be there.
      query_values: what some parameters may be.
      body: schema of the body.
      answers: schema by status.
    """

    required_query: tuple[str, ...]
    query_values: Mapping[str, tuple[str, ...]]
    body: Schema
    answers: Mapping[int, Schema]


ERROR = _object({"code": INTEGER, "error": TEXT, "status": TEXT})
FAILED_RECORD = _object({"index": NUMBER, "insert_id": TEXT, "field": TEXT, "message": TEXT})
PARTLY = _object(
    {
        "code": INTEGER,
        "status": TEXT,
        "num_records_imported": INTEGER,
        "failed_records": {"type": "array", "items": FAILED_RECORD},
    },
    {"error": TEXT},
)
REFUSED = _object({"error": TEXT, "status": {"enum": ["error"]}})

OPERATIONS = {
    "/import": Operation(
        required_query=("strict", "project_id"),
        query_values={"strict": SWITCH},
        body=_batch(_object(IDENTITY)),
        answers={
            200: _object({"code": INTEGER, "num_records_imported": INTEGER, "status": TEXT}),
            400: PARTLY,
            401: ERROR,
            413: ERROR,
            429: ERROR,
        },
    ),
    "/track": Operation(
        required_query=(),
        query_values={"ip": SWITCH, "verbose": SWITCH, "img": SWITCH},
        body=_batch(_object({}, {"token": TEXT, **IDENTITY})),
        answers={200: {"type": "integer", "enum": [0, 1]}, 401: REFUSED, 403: REFUSED},
    ),
}

# The description of `verbose` has these two keys, in words only.
VERBOSE = _object({"status": {"enum": [0, 1]}, "error": {"type": ["string", "null"]}}, additionalProperties=False)

HEADERS = {
    "content-type": ("application/json", "application/x-ndjson"),
    "content-encoding": ("gzip",),
}


def objections_to_request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> set[str]:
    """Name what of a request does not fit; nothing if it fits."""
    parts = urlsplit(url)
    operation, query = OPERATIONS[parts.path], dict(parse_qsl(parts.query, keep_blank_values=True))
    found = {f"query {name} missing" for name in operation.required_query if name not in query}
    found |= {
        f"query {name}"
        for name, values in operation.query_values.items()
        if name in query and query[name] not in values
    }
    found |= {f"header {name}" for name, values in HEADERS.items() if name in headers and headers[name] not in values}
    if method != "POST":
        found.add(f"method {method}")
    text = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
    if headers.get("content-type") == "application/x-ndjson":
        events = [json.loads(line) for line in text.splitlines() if line]
    else:
        events = json.loads(text)
    return found | set(_objections(operation.body, events))


def objections_to_event(event: object) -> set[str]:
    """Name what of one event for `/import` does not fit."""
    return set(_objections(OPERATIONS["/import"].body, [event]))


def objections_to_answer(path: str, status: int, text: str) -> set[str]:
    """Name what of an answer does not fit; nothing if it fits."""
    schema = OPERATIONS[path].answers.get(status)
    if schema is None:
        return {f"status {status}"}
    try:
        content = json.loads(text)
    except ValueError:
        return {"not JSON"}
    return set(_objections(schema, content))


def is_verbose_answer(text: str) -> bool:
    """Tell whether an answer is as the description of `verbose` has it."""
    return not list(_objections(VERBOSE, json.loads(text)))


def _objections(schema: Schema, content: object) -> Iterator[str]:
    for error in Draft7Validator(schema).iter_errors(content):
        place = ".".join("*" if isinstance(step, int) else str(step) for step in error.absolute_path)
        if error.validator == "required":
            missing = sorted(set(error.validator_value) - set(error.instance))
            yield f"{place} lacks {', '.join(missing)}"
        else:
            yield f"{place} {error.validator}"
