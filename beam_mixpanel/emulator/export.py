"""Gives stored events back: as Mixpanel's raw export does, and as they are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from datetime import time as time_of_day
from itertools import islice

import msgspec

from beam_mixpanel.emulator.effects import OpenedEvent, open_event
from beam_mixpanel.emulator.ingestion import IMPORT_PATH
from beam_mixpanel.emulator.rules import MS_PER_SEC
from beam_mixpanel.emulator.store import EventStore
from beam_mixpanel.emulator.validation import name_of
from beam_mixpanel.emulator.view import StoredEvent

# Consumed by the server, not stored: https://docs.mixpanel.com/docs/data-structure/property-reference/reserved-properties
CONSUMED_PROPERTIES = ("ip", "token")
MAX_LIMIT = 100_000  # https://docs.mixpanel.com/reference/raw-event-export
ENDPOINT_HOST = msgspec.Raw(b'"api.mixpanel.com"')
TRUE = msgspec.Raw(b"true")


@dataclass(frozen=True)
class RawExportQuery:
    """What `/api/2.0/export` was asked for.

    Attributes:
      from_ms: first millisecond.
      until_ms: first millisecond after the last day.
      names: only events of these names; None is all.
      limit: at most so many events; None is all.
      time_in_ms: show milliseconds instead of seconds.

    Source: https://docs.mixpanel.com/reference/raw-event-export
    """

    from_ms: int
    until_ms: int
    names: frozenset[str] | None
    limit: int | None
    time_in_ms: bool

    @classmethod
    def parse(cls, query: Mapping[str, str], now_ms: int) -> RawExportQuery:
        """Read the parameters of the URL.

        Args:
          query: the parameters.
          now_ms: the server's time, which says what day is today.

        Raises:
          ValueError: one is missing, malformed, or not supported here.
        """
        unknown = query.keys() - {"from_date", "to_date", "event", "limit", "time_in_ms", "project_id"}
        if unknown:
            raise ValueError(f"not supported by the emulator: {', '.join(sorted(unknown))}")
        names = None
        if "event" in query:
            names = frozenset(msgspec.json.decode(query["event"], type=list[str]))
        first, last = _day(query, "from_date"), _day(query, "to_date")
        if last > datetime.fromtimestamp(now_ms / MS_PER_SEC, timezone.utc).date():
            # The words that https://github.com/airbytehq/airbyte (source-mixpanel 4.0.2) expects of the live service.
            raise ValueError("to_date cannot be later than today")
        if first > last:
            raise ValueError("from_date cannot be later than to_date")  # synthetic
        return cls(
            from_ms=_start_ms(first),
            until_ms=_start_ms(last + timedelta(days=1)),
            names=names,
            limit=_limit(query["limit"]) if "limit" in query else None,
            time_in_ms=_switch(query, "time_in_ms"),
        )


def received_lines(store: EventStore, *, deduplicated: bool) -> Iterator[bytes]:
    """Yield every stored event, its time in milliseconds."""
    return (stored.event + b"\n" for stored in store.events(deduplicated=deduplicated))


def raw_export_lines(store: EventStore, query: RawExportQuery) -> Iterator[bytes]:
    """Yield every stored copy as Mixpanel's raw export shows it."""
    return islice(_matching_lines(store, query), query.limit)


def _matching_lines(store: EventStore, query: RawExportQuery) -> Iterator[bytes]:
    for stored in store.events():
        event = open_event(stored.event)
        time_ms = int(bytes(event.properties["time"]))
        if query.from_ms <= time_ms < query.until_ms and (query.names is None or name_of(event) in query.names):
            shown_time = time_ms if query.time_in_ms else time_ms // MS_PER_SEC
            _complete(event, stored, shown_time)
            yield msgspec.json.encode(event) + b"\n"


def _complete(event: OpenedEvent, stored: StoredEvent, time: int) -> None:
    """Add what the server adds, and take away what it does not keep.

    Source: https://docs.mixpanel.com/docs/data-structure/property-reference/default-properties
    """
    properties = event.properties
    for name in CONSUMED_PROPERTIES:
        properties.pop(name, None)
    received = msgspec.Raw(b"%d" % stored.received_ms)
    properties["time"] = msgspec.Raw(b"%d" % time)
    properties["$mp_api_endpoint"] = ENDPOINT_HOST
    properties["$mp_api_timestamp_ms"] = received
    properties["mp_processing_time_ms"] = received
    if stored.endpoint == IMPORT_PATH:
        properties["$import"] = TRUE


def _day(query: Mapping[str, str], name: str) -> date:
    text = query.get(name, "")
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(f"{name} must be a day, written YYYY-MM-DD")
    return date.fromisoformat(text)


def _start_ms(day: date) -> int:
    return int(datetime.combine(day, time_of_day(), tzinfo=timezone.utc).timestamp()) * MS_PER_SEC


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _switch(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise ValueError(f"{name} must be true or false")
    return text == "true"
