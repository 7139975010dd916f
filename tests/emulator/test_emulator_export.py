"""Getting events back: every copy, de-duplicated, and as Mixpanel's raw export shows them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.emulator.search import label
from beam_mixpanel.emulator.store import EventStore

NOW_MS = 1_750_000_000_000


@pytest.fixture
def raw_export(emulator, http):
    def export(**query):
        query = {"from_date": "2000-01-01", "to_date": "2025-06-15", **query}
        answer = http.get(f"{emulator.url}/api/2.0/export", params=query, auth=("token", ""))
        return [json.loads(line) for line in answer.text.splitlines()] if answer.ok else answer

    return export


def test_every_copy_is_kept(emulator, send, event):
    """An event sent twice is imported twice, exported twice, and once when de-duplicated."""
    for _ in range(2):
        assert send(emulator, [event(0), event(1)]).json()["num_records_imported"] == 2
    assert emulator.events() == [event(0), event(1), event(0), event(1)]
    assert emulator.events(deduplicated=True) == [event(0), event(1)]
    stats = emulator.stats()
    assert (stats["unique_events"], stats["duplicates"]) == (2, 2)


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"distinct_id": "other"}, {"time": 1_700_000_000_000}, {"insert_id": "other"}],
)
def test_four_values_make_an_event(emulator, send, event, change):
    """Events are duplicates when name, distinct_id, time and $insert_id agree; other properties do not count."""
    send(emulator, [event(0, plan="a"), event(0, plan="b"), event(0, **change)])
    assert emulator.events(deduplicated=True) == [event(0, plan="b"), event(0, **change)]


def test_seconds_and_milliseconds_are_one_time(emulator, send, event):
    """An event sent with its time in seconds equals the one sent in milliseconds."""
    send(emulator, [event(0, time=1_700_000_000), event(0, time=1_700_000_000_000)])
    assert emulator.stats()["unique_events"] == 1


def test_raw_export_shows_seconds(raw_export, emulator, send, event):
    """The raw export shows seconds, or milliseconds on demand, and the properties that the server adds."""
    send(emulator, [event(1, ip="1.2.3.4", token="t", big=10**30)])
    added = {
        "$import": True,
        "$mp_api_endpoint": "api.mixpanel.com",
        "$mp_api_timestamp_ms": NOW_MS,
        "mp_processing_time_ms": NOW_MS,
    }
    expected = event(1, big=10**30)["properties"] | added
    [exported] = raw_export()
    assert exported["properties"] == expected | {"time": NOW_MS // 1000 - 1}
    [exported] = raw_export(time_in_ms="true")
    assert exported["properties"] == expected


def test_raw_export_shows_every_copy(raw_export, emulator, send, event):
    """The raw export is not de-duplicated."""
    send(emulator, [event(0), event(0)])
    assert len(raw_export()) == 2


def test_raw_export_filters(raw_export, emulator, send, event):
    """The raw export can be narrowed to days, both included, to names, and to a number of events."""
    noons = {day: 1_749_988_800_000 - (15 - day) * 86_400_000 for day in (13, 14, 15)}  # 2025-06-13 to 15
    send(emulator, [event(day, name=f"day{day}", time=noon) for day, noon in noons.items()])
    days = raw_export(from_date="2025-06-13", to_date="2025-06-14")
    assert [one["event"] for one in days] == ["day13", "day14"]
    assert [one["event"] for one in raw_export(event='["day13", "day15"]')] == ["day13", "day15"]
    assert [one["event"] for one in raw_export(limit=1)] == ["day13"]


def test_raw_export_of_a_time_to_come(raw_export, emulator, send, event):
    """A time less than an hour ahead is exported as the time of arrival."""
    send(emulator, [event(0, time=NOW_MS + 1000)])
    assert raw_export(time_in_ms="true")[0]["properties"]["time"] == NOW_MS


@pytest.mark.parametrize(
    "query",
    [
        {"from_date": "yesterday"},
        {"from_date": "20250601"},
        {"from_date": None},
        {"from_date": "2025-06-15", "to_date": "2025-06-14"},
        {"to_date": "2025-06-16"},
        {"to_date": "9999-12-31"},
        {"event": "signup"},
        {"where": "x"},
        {"limit": -5},
        {"limit": 0},
        {"limit": 100_001},
        {"limit": "many"},
        {"time_in_ms": "yes"},
    ],
)
def test_raw_export_refuses(raw_export, query):
    """A parameter that is malformed, missing or not supported is a 400, not ignored."""
    answer = raw_export(**query)
    assert (answer.status_code, answer.json()["status"]) == (400, 400)


def test_raw_export_ends_today(raw_export):
    """A day to come is refused in the words of the live service."""
    assert raw_export(to_date="2025-06-16").json()["error"] == "to_date cannot be later than today"


def test_exports_are_empty_at_first(raw_export, emulator):
    """Nothing stored is nothing exported."""
    assert (emulator.events(), emulator.events(deduplicated=True), raw_export()) == ([], [], [])


def test_deduplication_equals_a_dictionary():
    """At 100,000 events with many copies, de-duplication keeps what a dictionary would, in order of arrival."""
    store = EventStore()
    keys = [int(key) for key in np.random.default_rng(7).integers(-(2**63), 2**63, 40_000)] * 2 + [5] * 20_000
    for start in range(0, len(keys), 1000):
        events = [b'{"n":%d}' % number for number in range(start, start + 1000)]
        store.append(events, keys[start : start + 1000], [label("", "", "")] * 1000, received_ms=1, endpoint="/import")
        if start == 50_000:
            store.unique()
    latest = {key: number for number, key in enumerate(keys)}
    kept = [json.loads(stored.event)["n"] for stored in store.events(deduplicated=True)]
    store.close()
    assert kept == sorted(latest.values())
    assert store.unique() == len(latest)


def test_export_while_events_arrive(emulator, send, event, http):
    """An export shows what was stored when it began, though events arrive and all are reset meanwhile."""
    events = [event(number, pad={"x": "x" * 2000}) for number in range(2000)]
    send(emulator, events)
    with http.get(f"{emulator.url}/_emulator/export", stream=True) as answer:
        lines = answer.iter_lines()
        first = next(lines)
        send(emulator, [event(9999)])
        emulator.reset()
        rest = list(lines)
    assert [json.loads(line) for line in [first, *rest]] == events


def test_storage_is_kept(tmp_path, send, event):
    """A storage directory that was named keeps the events, and is not written over."""
    with Emulator(storage=tmp_path / "kept") as emulator:
        assert send(emulator, [event(0)]).status_code == 200
    file = tmp_path / "kept" / "events.log"
    assert b'"time": 1750000000000' in file.read_bytes()
    with pytest.raises(ValueError, match="is not empty"):
        Emulator(storage=tmp_path / "kept").__enter__()


def test_temporary_storage_is_deleted(tmp_path, monkeypatch, send, event):
    """Storage that was not named is gone after the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Emulator() as emulator:
        send(emulator, [event(0)])
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
