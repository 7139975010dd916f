"""Presets against small files made by hand from the vendors' own descriptions; each preset names the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from beam_mixpanel.core.events.prepare import EventBlock, Preparation
from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.mapping_settings import mapping_of
from beam_mixpanel.core.rows.presets import PRESETS, ga4_event, segment_event

NOW_MS = 1_720_000_000_000
DATA = Path(__file__).parent.parent / "data" / "presets"
ADA = {"distinct_id": "507f191e810c19729de860ea", "$device_id": "507f191e810c19729de860ea"}


def prepared(preset: str) -> Preparation:
    block = EventBlock((DATA / f"{preset}.ndjson").read_bytes(), f"{preset}.ndjson", 0)
    return RowPreparer(mapping_of({"preset": preset})).prepare_block(block, NOW_MS)


def events(preset: str) -> list[tuple[str, dict[str, Any]]]:
    done = prepared(preset)
    assert done.invalid == []
    return [(event["event"], event["properties"]) for event in (json.loads(each.body) for each in done.events)]


def test_each_preset_has_a_file_a_source_and_a_test() -> None:
    """No preset is without data or the page that it was made from."""
    assert {path.stem for path in DATA.glob("*.ndjson")} == set(PRESETS)
    tests = Path(__file__).read_text()
    for name, preset in PRESETS.items():
        assert f'events("{name}")' in tests
        assert preset.source.startswith("https://")


def test_ga4() -> None:
    """Parameters, records and user properties become properties; microseconds, users and devices find their places."""
    (view, seen), (purchase, bought) = events("ga4")
    assert view == "page_view"
    assert len(seen.pop("$insert_id")) == 32
    assert seen == {
        "time": 1_704_448_800_123,
        "distinct_id": "1838453729.1704448798",
        "$device_id": "1838453729.1704448798",
        "ga_session_id": 1704448798,
        "page_location": "https://shop.example/",
        "engaged_session_event": 1,
        "privacy_info.analytics_storage": "Yes",
        "privacy_info.ads_storage": "Yes",
        "privacy_info.uses_transient_token": "No",
        "device.category": "mobile",
        "device.mobile_brand_name": "Google",
        "device.operating_system": "Android",
        "device.language": "en-us",
        "device.web_info.browser": "Chrome",
        "device.web_info.browser_version": "120.0",
        "geo.city": "Lyon",
        "geo.country": "France",
        "geo.continent": "Europe",
        "traffic_source.name": "(direct)",
        "traffic_source.medium": "(none)",
        "traffic_source.source": "(direct)",
        "stream_id": "4412233",
        "platform": "WEB",
        "is_active_user": True,
    }
    assert purchase == "purchase"
    assert len(bought.pop("$insert_id")) == 32
    assert bought == {
        "time": 1_704_448_860_000,
        "distinct_id": "u-77",
        "$user_id": "u-77",
        "$device_id": "1838453729.1704448798",
        "value": 59.9,
        "currency": "EUR",
        "user.tier": "gold",
        "device.category": "mobile",
        "geo.country": "France",
        "platform": "WEB",
        "items": [{"item_id": "SKU-1", "item_name": "Mug", "price": 29.95, "quantity": 2, "color": "red"}],
    }


def test_ga4_rows_of_arrow_are_the_same() -> None:
    """A batch of BigQuery's Storage API gives the events that the lines give."""
    rows = [json.loads(line) for line in (DATA / "ga4.ndjson").read_text().splitlines()]
    batch = pa.RecordBatch.from_pylist([rows[1]])
    done = RowPreparer(mapping_of({"preset": "ga4"})).prepare_batch(RowBatch(batch, "table", 0), NOW_MS)
    assert done.invalid == []
    assert [event.body for event in done.events] == [prepared("ga4").events[1].body]


def test_ga4_ids_survive_a_rewritten_day() -> None:
    """Attribution that Google adds later leaves an event's id alone; another parameter makes it another event."""
    row = json.loads((DATA / "ga4.ndjson").read_text().splitlines()[0])
    own = ga4_event(row)["properties"]["$insert_id"]
    later = {**row, "user_ltv": {"revenue": 1.0}, "traffic_source": {"name": "x"}, "is_active_user": False}
    assert ga4_event(later)["properties"]["$insert_id"] == own
    assert ga4_event({**row, "event_params": row["event_params"][:1]})["properties"]["$insert_id"] != own


def test_amplitude() -> None:
    """Event properties are spread, what they share with a column keeps both, Amplitude's own times are left out."""
    first, second = events("amplitude")
    assert first == (
        "Checkout Started",
        {
            "time": 1_704_448_800_123,
            "distinct_id": "ann@example.com",
            "$user_id": "ann@example.com",
            "$device_id": "5f3a-dev",
            "$insert_id": "9dbab6b4-abc2-11ee-8c90-0242ac120002",
            "cart_value": 59.9,
            "items": 2,
            "event_properties.platform": "checkout",
            "platform": "Web",
            "$city": "Lyon",
            "$region": "Rhone",
            "mp_country_code": "France",
            "$os": "Chrome",
            "$os_version": "120",
            "$model": "Android",
            "device_family": "Android",
            "ip": "203.0.113.9",
            "library": "amplitude-ts/2.3.3",
            "language": "English",
            "session_id": 1704448798000,
            "event_id": 31,
            "user_properties": {"plan": "pro"},
            "group_properties": {},
            "groups": {},
        },
    )
    assert second[1]["$device_id"] == "77aa-dev"
    assert "distinct_id" not in second[1]
    assert second[1]["$app_version_string"] == "3.1"


def test_mixpanel() -> None:
    """Exported events go back as they were, under their ids, without what Mixpanel added."""
    assert events("mixpanel") == [
        (
            "Sign Up",
            {
                "time": 1_704_448_800_000,
                "distinct_id": "$device:5f3a",
                "$browser": "Chrome",
                "$city": "Lyon",
                "$device_id": "5f3a",
                "$insert_id": "29fc2962-6d9c-455d",
                "mp_country_code": "FR",
                "mp_lib": "web",
                "plan": "pro",
            },
        ),
        (
            "Order",
            {
                "time": 1_704_448_860_000,
                "distinct_id": "ann",
                "$user_id": "ann",
                "$insert_id": "8d1b2c",
                "amount": 59.9,
                "items": ["mug", "cup"],
            },
        ),
    ]


def test_segment() -> None:
    """Track, page and screen calls are events; identify is none, and counted as filtered."""
    assert prepared("segment").filtered == 1
    assert events("segment") == [
        (
            "Order Completed",
            {
                "time": 1_704_448_800_623,
                "distinct_id": "ann",
                "$user_id": "ann",
                "$device_id": "507f191e810c19729de860ea",
                "$insert_id": "ajs-next-022bb90c",
                "order_id": "o-1",
                "revenue": 59.9,
                "ip": "203.0.113.9",
                "context.ip": "203.0.113.9",
                "context.library.name": "analytics.js",
                "context.library.version": "2.11.1",
                "context.page.path": "/checkout",
                "context.page.title": "Checkout",
                "context.userAgent": "Mozilla/5.0",
            },
        ),
        ("Viewed Pricing Page", {"time": 1_704_448_860_000, "$insert_id": "m-2", "path": "/pricing", **ADA}),
    ]
    screen = segment_event({"type": "screen", "timestamp": 1, "properties": {}})
    assert screen == {"event": "Loaded a Screen", "properties": {"time": 1}}


def test_segment_warehouse() -> None:
    """A table's rows get the event's own name and its own columns."""
    first, second = events("segment_warehouse")
    assert first == (
        "Order Completed",
        {
            "time": 1_704_448_800_623,
            "distinct_id": "ann",
            "$user_id": "ann",
            "$device_id": "507f191e",
            "$insert_id": "ajs-next-022bb90c",
            "context_ip": "203.0.113.9",
            "context_page_path": "/checkout",
            "order_id": "o-1",
            "revenue": 59.9,
        },
    )
    assert second[1]["$device_id"] == "61aa"
    assert "distinct_id" not in second[1]


@pytest.mark.parametrize("columns", [[], ["received_at"], ["received_at", "uuid_ts", "sent_at"]])
def test_segment_tables_may_lack_columns(columns: list[str]) -> None:
    """Segment makes a column when it first has a value for it; a table without some binds, too."""
    assert (
        mapping_of({"preset": "segment_warehouse"})
        .bind(["id", "event", "event_text", "timestamp", *columns])
        .properties
        == ()
    )


def test_posthog() -> None:
    """Properties are spread, from text or objects; PostHog's bookkeeping stays behind."""
    assert events("posthog") == [
        (
            "$pageview",
            {
                "time": 1_704_448_800_123,
                "distinct_id": "018cd8f4-dev",
                "$device_id": "018cd8f4-dev",
                "$insert_id": "018cd8f5-1f0f-7c3e-9f0a-3f1b1e0c0d01",
                "$current_url": "https://shop.example/",
                "$browser": "Chrome",
                "plan": "pro",
            },
        ),
        (
            "order",
            {
                "time": 1_704_448_860_000,
                "distinct_id": "ann",
                "$user_id": "ann",
                "$insert_id": "018cd8f5-1f0f-7c3e-9f0a-3f1b1e0c0d02",
                "amount": 59.9,
                "items": [{"sku": "SKU-1", "n": 2}],
            },
        ),
    ]


def test_ga4_parameters_of_one_key() -> None:
    """Of equal keys the first counts, and a parameter without a value is none."""
    pairs = [{"key": "a", "value": {"int_value": 1}}, {"key": "a", "value": {"int_value": 2}}, {"key": "b"}]
    made = ga4_event({"event_name": "e", "event_params": pairs})["properties"]
    assert (made["a"], "b" in made, made["time"]) == (1, False, None)


def test_ga4_parameters_hide_nothing() -> None:
    """A parameter with the name of the time, an id or a column of Google's keeps its value beside theirs."""
    given = {"time": "noon", "$device_id": "d", "platform": "kiosk", "plan": "pro"}
    parameters = [{"key": key, "value": {"string_value": value}} for key, value in given.items()]
    row = {"event_name": "e", "event_timestamp": 1_704_448_800_123_000, "platform": "WEB", "user_pseudo_id": "p"}
    properties = ga4_event({**row, "event_params": parameters})["properties"]
    assert {key: value for key, value in properties.items() if key != "$insert_id"} == {
        "time": 1_704_448_800_123,
        "event_params.time": "noon",
        "$device_id": "p",
        "distinct_id": "p",
        "event_params.$device_id": "d",
        "platform": "WEB",
        "event_params.platform": "kiosk",
        "plan": "pro",
    }


def test_segment_properties_hide_nothing_and_are_not_hidden() -> None:
    """A property with the name of the call's time, id or address keeps its value; the same value is there once."""
    call = {"type": "track", "event": "A", "timestamp": "2024-01-05T10:00:00Z", "userId": "u", "messageId": "m"}
    given = {"time": "noon", "distinct_id": "u", "$insert_id": "other", "ip": "10.0.0.2", "total": 5}
    event = segment_event({**call, "context": {"ip": "10.0.0.1"}, "properties": given})
    assert event is not None
    assert event["properties"] == {
        "time": "2024-01-05T10:00:00Z",
        "properties.time": "noon",
        "distinct_id": "u",
        "$user_id": "u",
        "$insert_id": "m",
        "properties.$insert_id": "other",
        "ip": "10.0.0.1",
        "context.ip": "10.0.0.1",
        "properties.ip": "10.0.0.2",
        "total": 5,
    }


def test_presets_differ_from_the_default() -> None:
    """Each preset says something."""
    assert all(preset.mapping != EventMapping() for preset in PRESETS.values())
