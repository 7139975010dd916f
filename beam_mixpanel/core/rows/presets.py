"""Mappings for the exports that people come with, each held by a test against a small file of that vendor's form.

Where columns do not suffice, a plain function makes an event of a row, as users can write one themselves for `map`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from beam_mixpanel.core.events.insert_id import hash_bytes
from beam_mixpanel.core.json.exact import encode_sorted
from beam_mixpanel.core.json.values import to_json_value
from beam_mixpanel.core.rows.mapping import EventMapping

_GA4_IDENTITY: Final = (
    "event_name", "event_timestamp", "user_pseudo_id", "event_bundle_sequence_id", "batch_event_index",
    "batch_page_id", "batch_ordering_id",
)  # fmt: skip
"""With the parameters, what tells one event from another and stays when Google writes a day's table again."""
_GA4_NO_PROPERTIES: Final = frozenset(_GA4_IDENTITY) | {
    "event_date", "event_params", "event_previous_timestamp", "event_server_timestamp_offset",
    "user_first_touch_timestamp", "user_id", "user_properties", "items",
}  # fmt: skip
_GA4_VALUES: Final = ("string_value", "int_value", "float_value", "double_value")
_MIXPANEL_ADDS: Final = ("mp_processing_time_ms", "$mp_api_endpoint", "$mp_api_timestamp_ms", "$mp_event_size")


class Preset(NamedTuple):
    """A mapping for a vendor's export.

    Attributes:
      mapping: from its rows to events.
      title: what it is for.
      source: the vendor's page that describes the rows.
    """

    mapping: EventMapping
    title: str
    source: str


def ga4_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make an event of a row of Google Analytics 4's export to BigQuery.

    Parameters become properties, `user_properties` become `user.KEY`, records (`device`, `geo`, …) `parent.child`; a
    parameter with the name of one of these, or of an id or the time, becomes `event_params.KEY`. The `$insert_id` is a
    hash of what does not change when Google writes a day's table again.
    """
    parameters = _ga4_pairs(row.get("event_params"))
    identity = {column: str(row[column]) for column in _GA4_IDENTITY if row.get(column) is not None}
    properties: dict[str, Any] = {}
    for column, value in row.items():
        if column not in _GA4_NO_PROPERTIES:
            properties |= _flat(column, value)
    properties |= {f"user.{key}": value for key, value in _ga4_pairs(row.get("user_properties")).items()}
    items = [_ga4_item(item) for item in row.get("items") or ()]
    if items:
        properties["items"] = items
    micros = row.get("event_timestamp")
    properties |= _ids(row.get("user_id"), row.get("user_pseudo_id"))
    properties["time"] = int(micros) // 1000 if micros is not None else None
    properties["$insert_id"] = hash_bytes(encode_sorted([identity, to_json_value(parameters)]))
    return {"event": row.get("event_name"), "properties": _with_given(properties, "event_params", parameters)}


def _ga4_pairs(pairs: Iterable[Mapping[str, Any]] | None) -> dict[str, Any]:
    """Read a list of `{key, value: {string_value, int_value, …}}`; of equal keys the first counts."""
    read: dict[str, Any] = {}
    for pair in pairs or ():
        value = pair.get("value") or {}
        given = [(kind, value[kind]) for kind in _GA4_VALUES if value.get(kind) is not None]
        if given:
            kind, content = given[0]
            read.setdefault(str(pair["key"]), int(content) if kind == "int_value" else content)
    return read


def _ga4_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Give an item's fields that say something, its own parameters among them."""
    fields = {key: value for key, value in item.items() if key != "item_params" and value not in (None, "(not set)")}
    return _ga4_pairs(item.get("item_params")) | fields


def _ids(user_id: Any, device_id: Any) -> dict[str, Any]:
    given = {"$user_id": user_id, "$device_id": device_id}
    ids = {name: value for name, value in given.items() if value is not None and value != ""}
    return ids | ({"distinct_id": next(iter(ids.values()))} if ids else {})


def _with_given(own: Mapping[str, Any], parent: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Add properties that the user named; one whose name is taken, by another value, becomes `PARENT.NAME`."""
    free = {name: value for name, value in given.items() if name not in own}
    taken = {f"{parent}.{name}": value for name, value in given.items() if name in own and value != own[name]}
    return {**own, **free, **taken}


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Write a record as `parent.child`, without what is empty."""
    if isinstance(value, Mapping):
        return {key: item for child, inner in value.items() for key, item in _flat(f"{name}.{child}", inner).items()}
    if value is None or value == []:
        return {}
    return {name: value}


def mixpanel_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make an event of a line of Mixpanel's raw export, without what Mixpanel itself adds while it takes events in."""
    given = row.get("properties") or {}
    properties = {name: value for name, value in given.items() if name not in _MIXPANEL_ADDS}
    return {"event": row.get("event"), "properties": properties}


def segment_event(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Make an event of a call as Segment keeps it in files: `track`, `page` and `screen`; others are no events.

    The properties of the call are the event's; what is in `context` becomes `context.KEY`. A property that has the name
    of an id, the time or the address that the call gives becomes `properties.KEY`.
    """
    kind = row.get("type", "track")
    if kind not in ("track", "page", "screen"):
        return None
    context = row.get("context") or {}
    given = {key: value for key, value in (row.get("properties") or {}).items() if value is not None}
    own = _ids(row.get("userId"), row.get("anonymousId"))
    own |= {"time": row.get("timestamp") or row.get("originalTimestamp")}
    own |= {"$insert_id": row["messageId"]} if row.get("messageId") else {}
    own |= {"ip": context["ip"]} if context.get("ip") else {}
    name = row.get("event") if kind == "track" else _segment_page(str(kind), row)
    return {"event": name, "properties": _with_given({**_flat("context", context), **own}, "properties", given)}


def _segment_page(kind: str, row: Mapping[str, Any]) -> str:
    name = row.get("name") or (row.get("properties") or {}).get("name")
    word = "Page" if kind == "page" else "Screen"
    if name:
        return f"Viewed {name} {word}"
    return f"Loaded a {word}"


_HERE: Final = "beam_mixpanel.core.rows.presets"

PRESETS: Final[dict[str, Preset]] = {
    "amplitude": Preset(
        EventMapping(
            event_column="event_type",
            time_column="event_time",
            user_id_column="user_id",
            device_id_column="device_id",
            insert_id_columns=("uuid",),
            spread_columns=("event_properties",),
            exclude=("*_time", "$schema", "$insert_*", "app", "amplitude_id", "data", "sample_rate"),
            rename={
                "city": "$city",
                "region": "$region",
                "country": "mp_country_code",
                "os_name": "$os",
                "os_version": "$os_version",
                "device_brand": "$brand",
                "device_manufacturer": "$manufacturer",
                "device_type": "$model",
                "device_carrier": "$carrier",
                "version_name": "$app_version_string",
                "ip_address": "ip",
            },
        ),
        "Amplitude's Export API: JSON lines, gzipped",
        "https://amplitude.com/docs/apis/analytics/export",
    ),
    "ga4": Preset(
        EventMapping(map=f"{_HERE}:ga4_event"),
        "Google Analytics 4's export to BigQuery (`events_*`)",
        "https://support.google.com/analytics/answer/7029846",
    ),
    "mixpanel": Preset(
        EventMapping(map=f"{_HERE}:mixpanel_event"),
        "Mixpanel's raw export (`/api/2.0/export`): JSON lines",
        "https://developer.mixpanel.com/reference/raw-event-export",
    ),
    "posthog": Preset(
        EventMapping(
            event_column="event",
            time_column="timestamp",
            distinct_id_column="distinct_id",
            insert_id_columns=("uuid",),
            spread_columns=("properties",),
            include=("properties",),
            exclude=("properties.token", "properties.distinct_id", "properties.$set*", "properties.$insert_id"),
        ),
        "PostHog's events: batch exports and the events table",
        "https://posthog.com/docs/how-posthog-works/data-model",
    ),
    "segment": Preset(
        EventMapping(map=f"{_HERE}:segment_event"),
        "Segment's calls in files (S3 and data lakes): JSON lines",
        "https://segment.com/docs/connections/spec/track/",
    ),
    "segment_warehouse": Preset(
        EventMapping(
            event_column="event_text",
            time_column="timestamp",
            insert_id_columns=("id",),
            exclude=("event", "received_at*", "sent_at*", "original_timestamp*", "uuid*", "loaded_at*"),
        ),
        "Segment's warehouse tables, one table an event",
        "https://segment.com/docs/connections/storage/warehouses/schema/",
    ),
}
