"""From a profile of events to what a person decides by: what will be sent, how long it takes, what to do before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from beam_mixpanel.core import limits
from beam_mixpanel.core.check.advice import advise
from beam_mixpanel.core.check.profile import SIZE_BOUNDS
from beam_mixpanel.core.events.reserved_names import meaning_of

FORMAT: Final = 1
"""Of the JSON; raised when a field changes its meaning."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def check_report(profile: Mapping[str, Any], counts: Mapping[str, int], about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the report as JSON can hold it.

    Args:
      profile: what `Profile.result` gave.
      counts: the run's counters, for what a profile does not see: what was filtered or repaired.
      about: what was read, when, and how, for people; passed on as it is.
    """
    filtered = counts.get("filtered", 0)
    valid, invalid = profile["valid"], profile["invalid"]
    report = {
        "format": FORMAT,
        "about": dict(about),
        "events": {
            "read": valid + invalid + filtered,
            "would_be_imported": valid,
            "refused": invalid,
            "filtered": filtered,
            "rewritten": profile["changed"],
            "repaired_insert_ids": counts.get("repaired_insert_ids", 0),
        },
        "refused": profile["refused"],
        "plan": plan(valid, profile["sizes"]),
        "days": [[_day(day), count] for day, count in profile["days"]],
        "hours_utc": profile["hours"],
        "times": _times(profile["times"], valid),
        "names": _names(profile["names"], valid),
        "users": profile["users"],
        "heavy_users": _heavy_users(profile["heavy_users"]),
        "insert_ids": profile["insert_ids"],
        "properties": _properties(profile["properties"]),
        "sizes": _sizes(profile["sizes"], valid),
    }
    return report | {"advice": [item._asdict() for item in advise(report)]}


def plan(events: int, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Predict requests, bytes and duration, with the arithmetic in words.

    Source of the limits: https://docs.mixpanel.com/reference/rate-limits
    """
    least = max(math.ceil(events / limits.MAX_BATCH_EVENTS), math.ceil(sizes["bytes"] / limits.MAX_BATCH_BYTES))
    size = sizes["bytes"] + events + least
    requests = max(least, math.ceil(size / limits.MAX_BATCH_BYTES))
    by_events, by_bytes = events / limits.MAX_EVENTS_PER_SEC, size / limits.MAX_BYTES_PER_SEC
    sent = round(size * sizes["compressed_share"])
    return {
        "requests": requests,
        "bytes": size,
        "bytes_sent": sent,
        "seconds": round(max(by_events, by_bytes), 1),
        "arithmetic": [
            f"bytes: {sizes['bytes']:,} of events, one after each for a comma or bracket, and one a request = {size:,}",
            f"requests: the larger of {events:,} events / {limits.MAX_BATCH_EVENTS:,} a request "
            f"and {size:,} bytes / {limits.MAX_BATCH_BYTES:,} a request = {requests:,}, at least",
            f"sent: {size:,} bytes times {sizes['compressed_share']:.3f} (gzip, measured on "
            f"{sizes['sampled_bytes']:,} bytes of them) = {sent:,} bytes",
            f"duration: the larger of {events:,} events / {limits.MAX_EVENTS_PER_SEC:,} a second = {by_events:,.1f} s "
            f"and {size:,} bytes / 2 GB a minute = {by_bytes:,.1f} s, if nothing else is sent to the project",
        ],
    }


def _day(day: int) -> str:
    return f"{_EPOCH + timedelta(days=day):%Y-%m-%d}"


def _moment(time_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _times(times: Mapping[str, Any], valid: int) -> dict[str, Any]:
    counts = {name: count for name, count in times.items() if name not in ("first_ms", "last_ms")}
    ends = {"first": _moment(times["first_ms"]), "last": _moment(times["last_ms"])} if valid else {}
    return {"first": None, "last": None} | ends | counts


def _names(names: Mapping[str, Any], valid: int) -> dict[str, Any]:
    counted = sum(count for _, count in names["counts"])
    return {
        "complete": names["complete"],
        "counts": [[name, count] for name, count in names["counts"]],
        "events_of_others": valid - counted,
    }


def _heavy_users(heavy: Mapping[str, Any]) -> dict[str, Any]:
    return {**heavy, "largest": [{**user, "day": _day(user["day"])} for user in heavy["largest"]]}


def _properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    sampled = properties["sampled_events"]
    rows = [
        {
            **row,
            "absent_share": round(1 - row["events"] / sampled, 4),
            "null_share": round(row["types"].get("null", 0) / row["events"], 4),
            "reserved": meaning_of(row["name"]),
            "name_is_cut": len(row["name"]) > limits.MAX_TEXT_CHARS,
        }
        for row in properties["rows"]
    ]
    return {**properties, "rows": rows}


def _sizes(sizes: Mapping[str, Any], valid: int) -> dict[str, Any]:
    bounds = [*SIZE_BOUNDS, None]
    return {
        "bytes": sizes["bytes"],
        "mean": round(sizes["bytes"] / valid) if valid else 0,
        "largest": sizes["largest"],
        "histogram": [[bound, count] for bound, count in zip(bounds, sizes["histogram"], strict=True)],
    }
