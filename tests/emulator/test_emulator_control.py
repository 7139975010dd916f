"""Statistics, records of requests, reset, the page, and the options."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import threading
import time

import pytest
import requests

from beam_mixpanel.emulator import Emulator, recorder

NOW_MS = 1_750_000_000_000


def test_statistics(emulator, send, event):
    """Requests, events, bytes and reasons are counted, and the events add up."""
    good, mixed = [event(0), event(0)], [event(1), event(2, time=None)]
    send(emulator, good)
    send(emulator, mixed)
    emulator.add_fault(kind="status", times=1)
    send(emulator, good)
    emulator.set_limits(rolling_limit=1)
    send(emulator, good)
    stats = emulator.stats()
    bodies = [json.dumps(events).encode() for events in (good, mixed, good, good)]
    expected = {
        "requests": 4,
        "requests_by_status": {"200": 1, "400": 1, "503": 1, "429": 1},
        "events_received": 8,
        "events_accepted": 3,
        "events_refused": 1,
        "events_rate_limited": 2,
        "events_faulted": 2,
        "refused_by_reason": {"'properties.time' is invalid: must not be missing": 1},
        "unique_events": 2,
        "duplicates": 1,
        "bytes_uncompressed": sum(map(len, bodies)),
        "bytes_compressed": sum(len(gzip.compress(body)) for body in bodies),
        "in_flight": 0,
        "max_in_flight": 1,
        "faults_applied": {"status": 1},
    }
    assert {name: stats[name] for name in expected} == expected
    assert 0 < stats["latency_ms"]["median"] <= stats["latency_ms"]["p95"]
    assert 0 < stats["latency_ms"]["mean"] <= 1000 * stats["secs_since_first_request"]
    assert sum(stats["history"]["accepted"]) in (0, 3)


def test_in_flight(emulator, send, event):
    """Requests that wait are in flight, and the maximum is remembered."""
    emulator.add_fault(kind="latency", secs=0.15, times=3)
    threads = [threading.Thread(target=requests.post, args=(f"{emulator.url}/import",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 2
    while emulator.stats()["in_flight"] < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    waiting = emulator.stats()["in_flight"]
    for thread in threads:
        thread.join()
    assert (waiting, emulator.stats()["in_flight"], emulator.stats()["max_in_flight"]) == (3, 0, 3)


def test_requests_are_recorded(emulator, send, event):
    """A request's record tells what was asked, a digest of its body, and what was answered."""
    events = [event(0), event(1, time=None)]
    send(emulator, events, "/import?strict=1&project_id=7")
    body = json.dumps(events).encode()
    [record] = emulator.requests()
    assert record["headers"]["content-encoding"] == "gzip"
    assert record["headers"]["authorization"] == "Basic (accepted)"
    expected = {
        "method": "POST",
        "path": "/import",
        "query": {"strict": "1", "project_id": "7"},
        "status": 400,
        "fault": None,
        "event_count": 2,
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "body_bytes": len(gzip.compress(body)),
        "uncompressed_bytes": len(body),
    }
    assert {name: record[name] for name in expected} == expected
    assert emulator.requests(bodies=True)[0]["events"] == events


def test_records_are_bounded(emulator, send, monkeypatch):
    """Only the latest requests are remembered."""
    monkeypatch.setattr(recorder, "MAX_REQUESTS", 20)
    for number in range(30):
        send(emulator, None, f"/track?n={number}", data=b"[]", headers={"Content-Encoding": ""})
    numbers = [request["query"]["n"] for request in emulator.requests()]
    assert numbers == [str(number) for number in range(10, 30)]


def test_bodies_are_recorded_on_demand_only(send, event):
    """Without record_bodies no events are kept with the records."""
    with Emulator() as emulator:
        send(emulator, [event(0)])
        assert emulator.requests(bodies=True)[0]["events"] is None


def test_reset(emulator, send, event):
    """After a reset the emulator is as new: events, statistics, records, faults and limits."""
    send(emulator, [event(0)])
    emulator.add_fault(kind="status")
    emulator.set_limits(rolling_limit=1)
    resets = emulator.stats()["resets"]
    emulator.reset()
    stats = emulator.stats()
    assert stats["resets"] == resets + 1
    assert (stats["requests"], stats["events_accepted"], stats["unique_events"]) == (0, 0, 0)
    assert (emulator.events(), emulator.requests(), emulator.faults()) == ([], [], [])
    assert send(emulator, [event(0), event(1)]).status_code == 200


def test_reset_forgets_requests_in_flight(emulator, send):
    """A request that hangs over a reset is not counted afterwards."""
    emulator.add_fault(kind="hang", times=1)
    with pytest.raises(requests.ReadTimeout):
        send(emulator, [], timeout=0.05)
    emulator.reset()
    stats = emulator.stats()
    assert (stats["in_flight"], stats["requests"], stats["requests_by_status"]) == (0, 0, {})


def test_recent_events(emulator, send, event, http):
    """The latest events come newest first, filtered by parts of name and id."""
    send(emulator, [event(1, name="Sign Up"), event(2, name="purchase"), event(3, name="sign out")])
    url = f"{emulator.url}/_emulator/events"

    def names(**query):
        return [stored["event"]["event"] for stored in http.get(url, params=query).json()]

    assert names() == ["sign out", "purchase", "Sign Up"]
    assert names(event="sign") == ["sign out", "Sign Up"]
    assert names(id="user-2") == ["purchase"]
    assert names(id="ID-3") == ["sign out"]
    assert names(limit=1) == ["sign out"]
    assert names(after=2) == ["sign out"]
    answer = http.get(url, params={"after": 3})
    assert (answer.json(), answer.headers["X-Events-Stored"]) == ([], "3")
    assert "whole number" in http.get(url, params={"limit": "many"}).json()["error"]


def test_events_are_found_as_they_are_shown(emulator, send, http):
    """Escapes in JSON hinder no search, and an event without ids has none that could be found."""
    http.put(f"{emulator.url}/_emulator/project", json={"as_sent": True})
    named = {"event": "\u00c9t\u00e9", "properties": {"time": NOW_MS, "distinct_id": "jos\u00e9"}}
    send(emulator, [named, {"event": "plain", "properties": {"time": NOW_MS}}], "/import?strict=0")
    url = f"{emulator.url}/_emulator/events"
    found = [http.get(url, params=query).json() for query in ({"event": "\u00e9T"}, {"id": "S\u00c9"}, {"id": "e"})]
    assert [[stored["number"] for stored in events] for events in found] == [[1], [1], []]


def test_old_events_are_found(emulator, send, event, http):
    """A filter looks at all events, however many came later, and says which one it found."""
    send(emulator, [event(1, name="needle")])
    for _ in range(3):
        send(emulator, [event(number) for number in range(2000)])
    [found] = http.get(f"{emulator.url}/_emulator/events", params={"event": "needle"}).json()
    assert (found["number"], found["event"]["properties"]["$insert_id"]) == (1, "id-1")


def test_page_is_self_contained(emulator, http):
    """The page is one file that asks no other host for anything."""
    answer = http.get(emulator.url)
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Mixpanel emulator" in answer.text
    assert "src=" not in answer.text
    assert "://" not in answer.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "loopback"),
        ({"host": "localhost"}, "loopback"),
        ({"id_merge": "both"}, "id_merge"),
        ({"service_account": "nocolon"}, "username:secret"),
        ({"rate_limit": 0}, "rate_limit"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
    ],
)
def test_bad_options(options, message):
    """An option that cannot be honoured is refused at once, with its name."""
    with pytest.raises(ValueError, match=message):
        Emulator(**options)


def test_unknown_option():
    """A misspelt option is refused."""
    with pytest.raises(TypeError, match="rate_limits"):
        Emulator(rate_limits=1)


def test_latency_option(send, event):
    """latency_ms delays every answer."""
    with Emulator(latency_ms=50) as emulator:
        assert send(emulator, [event(0)]).elapsed.total_seconds() >= 0.05


def test_ipv6(send, event):
    """The emulator also listens on ::1."""
    try:
        with Emulator(host="::1") as emulator:
            assert emulator.url.startswith("http://[::1]:")
            assert send(emulator, [event(0, time=1_700_000_000)]).status_code == 200
    except OSError:
        pytest.skip("this machine has no IPv6")


def test_stops_quickly_though_requests_hang(send, event):
    """Leaving the context takes less than a second, though a request hangs."""
    with Emulator() as emulator:
        emulator.add_fault(kind="hang")
        with pytest.raises(requests.ReadTimeout):
            send(emulator, [event(0)], timeout=0.05)
        thread = threading.Thread(target=_post_and_fail, args=(emulator.url,))
        thread.start()
        while not emulator.stats()["in_flight"]:
            time.sleep(0.005)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    thread.join(2)
    assert not thread.is_alive()


def _post_and_fail(url):
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{url}/import", timeout=10)


def test_importing_the_package_loads_no_server():
    """`from beam_mixpanel.emulator import …` alone loads neither uvicorn nor starlette."""
    code = "import sys, beam_mixpanel.emulator; print({'uvicorn', 'starlette', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
