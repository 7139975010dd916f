"""The documented rules for one event, each a function that returns what is wrong or None.

Messages are exact where Mixpanel documents them or was seen to answer them; the others follow the same
grammar and are marked synthetic: no test of a client should depend on those.

Sources: https://docs.mixpanel.com/reference/import-events and https://docs.mixpanel.com/reference/track-event
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MS_PER_SEC = 1000
SECS_PER_DAY = 86_400
EARLIEST_MS = 365 * SECS_PER_DAY * MS_PER_SEC  # 1971-01-01
MAX_AHEAD_MS = 3600 * MS_PER_SEC
TRACK_MAX_AGE_MS = 5 * SECS_PER_DAY * MS_PER_SEC

# Valid seconds lie below 2e9, valid milliseconds above 3e10: where the line runs between is not observable.
FIRST_MS_VALUE = 10_000_000_000

MAX_ENTRIES = 254  # "fewer than 255" properties, keys of an object, elements of a list
MAX_NESTING = 3
MAX_EVENT_BYTES = 999_999  # "smaller than 1MB"
MAX_INSERT_ID_BYTES = 36

PLACEHOLDERS = frozenset(
    [
        "00000000-0000-0000-0000-000000000000",
        "anon",
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "<nil>",
        "0",
        "-1",
        "true",
        "false",
        "[]",
        "{}",
    ]
)


@dataclass(frozen=True, slots=True)
class Violation:
    """The first rule that an event breaks."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may depend on besides the event, and whether what Mixpanel does to an event is left out."""

    now_ms: int
    original_id_merge: bool = False
    as_sent: bool = False
    insert_id_required: bool = True
    project_token: str | None = None


Rule = Callable[[Any, Context], Violation | None]


def to_ms(time: Any, now_ms: int) -> int:
    """Return in milliseconds a time given in seconds, in milliseconds, or not at all: then it is now."""
    if time is None:
        return now_ms
    if time >= FIRST_MS_VALUE:
        return int(time)
    return int(time * MS_PER_SEC)


def is_text(value: str) -> bool:
    """Tell whether a parsed string came from valid UTF-8 without lone surrogates."""
    return not re.search(r"[\ud800-\udfff]", value)


def track_drop_reason(event: Any, context: Context) -> str | None:
    """Tell why `/track` loses an event without saying so.

    Sources: https://docs.mixpanel.com/reference/track-event (five days) and
    https://docs.mixpanel.com/troubleshooting/errors/401-unauthorized (no 401 for a wrong token).
    """
    properties = event["properties"]
    if context.project_token is not None and properties["token"] != context.project_token:
        return "track: unknown token"
    if to_ms(properties.get("time"), context.now_ms) < context.now_ms - TRACK_MAX_AGE_MS:
        return "track: older than 5 days"
    return None


def _invalid(path: str, reason: str) -> Violation:
    return Violation(path, f"'{path}' is invalid: {reason}")


def _event_name(event: Any, context: Context) -> Violation | None:
    if isinstance(event, dict):
        name = event.get("event")
        if isinstance(name, str) and name.strip():
            return None
    return Violation("event", "'event' must not be missing or blank")


def _track_event_name(event: Any, context: Context) -> Violation | None:
    if _event_name(event, context):
        return Violation("event", "event, missing")
    return None


def _properties(event: Any, context: Context) -> Violation | None:
    if not isinstance(event.get("properties"), dict):
        return _invalid("properties", "must be an object")  # synthetic
    return None


def _track_token(event: Any, context: Context) -> Violation | None:
    token = event["properties"].get("token")
    if not isinstance(token, str) or not token:
        return Violation("properties.token", "token, missing or empty")
    return None


def _time(event: Any, context: Context) -> Violation | None:
    path, properties = "properties.time", event["properties"]
    if _is_merge(event) and "time" not in properties:
        return None
    time = properties.get("time")
    if time is None:
        return _invalid(path, "must not be missing")
    if type(time) is not int or to_ms(time, 0) < EARLIEST_MS:
        return _invalid(path, "must be specified as seconds since epoch")
    if to_ms(time, 0) > context.now_ms + MAX_AHEAD_MS:
        return _invalid(path, "must not be in the future")
    return None


def _track_time(event: Any, context: Context) -> Violation | None:
    time = event["properties"].get("time")
    if time is None or (type(time) in (int, float) and abs(time) < 1e18):
        return None
    return _invalid("properties.time", "must be specified as seconds since epoch")


def _distinct_id(event: Any, context: Context) -> Violation | None:
    path, properties = "properties.distinct_id", event["properties"]
    if "distinct_id" not in properties:
        if context.original_id_merge and not _is_merge(event):
            return _invalid(path, "must not be missing")
        return None
    return _bad_id(path, properties["distinct_id"])


def _insert_id(event: Any, context: Context) -> Violation | None:
    path, properties = "$insert_id", event["properties"]
    if "$insert_id" not in properties:
        if context.insert_id_required and not _is_merge(event):
            return _invalid(path, "must not be missing")  # synthetic
        return None
    insert_id = properties["$insert_id"]
    violation = _bad_id(path, insert_id)
    if violation:
        return violation
    if not re.fullmatch(r"[A-Za-z0-9-]+", insert_id):
        return _invalid(path, "must only contain alphanumeric or hyphen '-' characters")
    if len(insert_id) > MAX_INSERT_ID_BYTES:
        return _invalid(path, f"must be at most {MAX_INSERT_ID_BYTES} bytes")  # synthetic
    return None


def _bad_id(path: str, value: Any) -> Violation | None:
    written = value if isinstance(value, str) else json.dumps(value)
    if written.lower() in PLACEHOLDERS:
        return _invalid(path, "must not be a placeholder value")  # synthetic
    if not isinstance(value, str):
        return _invalid(path, "must be a string")  # synthetic
    return None


def _counts_and_nesting(event: Any, context: Context) -> Violation | None:
    properties = event["properties"]
    if len(properties) > MAX_ENTRIES:
        return _invalid("properties", f"must have at most {MAX_ENTRIES} properties")  # synthetic
    for name, value in properties.items():
        for level, container in _containers(value, 1):
            if level > MAX_NESTING:
                return _invalid(f"properties.{_shown(name)}", f"must be nested at most {MAX_NESTING} deep")  # synthetic
            if len(container) > MAX_ENTRIES:
                return _invalid(f"properties.{_shown(name)}", f"must have at most {MAX_ENTRIES} elements")  # synthetic
    return None


def _valid_utf8(event: Any, context: Context) -> Violation | None:
    # Mixpanel's page shows this message without the quotation marks of the others.
    if not is_text(event["event"]):
        return Violation("event", "event is invalid: string should be valid utf8")
    for name, value in event["properties"].items():
        if not is_text(name) or not all(map(is_text, _strings(value))):
            path = f"properties.{_shown(name)}"
            return Violation(path, f"{path} is invalid: string should be valid utf8")
    return None


def _containers(value: Any, level: int) -> Iterator[tuple[int, list[Any] | dict[str, Any]]]:
    """Yield every list and object in a value with its level, the outermost being at `level`."""
    if isinstance(value, list | dict):
        yield level, value
        children = value.values() if isinstance(value, dict) else value
        for child in children:
            yield from _containers(child, level + 1)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for _, container in _containers(value, 1):
        for child in container:
            if isinstance(child, str):
                yield child
        if isinstance(container, dict):
            yield from (child for child in container.values() if isinstance(child, str))


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def _is_merge(event: Any) -> bool:
    """A $merge event carries nothing but $distinct_ids: https://docs.mixpanel.com/reference/identity-merge."""
    return bool(event["event"] == "$merge")


IMPORT_RULES: tuple[Rule, ...] = (
    _event_name,
    _properties,
    _time,
    _distinct_id,
    _insert_id,
    _counts_and_nesting,
    _valid_utf8,
)
TRACK_RULES: tuple[Rule, ...] = (
    _track_event_name,
    _properties,
    _track_token,
    _track_time,
    _counts_and_nesting,
    _valid_utf8,
)
