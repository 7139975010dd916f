"""Every kind of fault does what it says, to the requests it is meant for."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest
import requests

from beam_mixpanel.emulator.faults import KINDS

LIST_PATH = "/_emulator/faults"


def statuses(send, emulator, events, count):
    return [send(emulator, events).status_code for _ in range(count)]


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        ({}, 503, "upstream connect error or disconnect/reset before headers"),
        ({"status": 502, "body": "bad gateway"}, 502, "bad gateway"),
        (
            {"status": 429},
            429,
            '{"code":429,"error":"Project exceeded rate limits. Please retry the request with exponential backoff.",'
            '"status":"Too Many Requests"}',
        ),
        ({"status": 401}, 401, '{"code":401,"error":"fault","status":"Unauthorized"}'),
        ({"status": 400, "body": {"error": "x"}}, 400, '{"error":"x"}'),
    ],
)
def test_status(emulator, send, event, options, status, text):
    """`status` answers another status with a text, nothing is stored, and the next request is normal."""
    emulator.add_fault(kind="status", times=1, **options)
    answer = send(emulator, [event(0)])
    assert (answer.status_code, answer.text) == (status, text)
    assert emulator.events() == []
    assert send(emulator, [event(0)]).status_code == 200


def test_status_headers_and_commit(emulator, send, event):
    """`status` can send headers and a content type, and store the events first."""
    headers = {"Retry-After": "7"}
    emulator.add_fault(kind="status", status=500, body="<p>", content_type="text/html", headers=headers, commit=True)
    answer = send(emulator, [event(0)])
    assert (answer.headers["Retry-After"], answer.headers["Content-Type"]) == ("7", "text/html")
    assert emulator.events() == [event(0)]


@pytest.mark.parametrize(
    ("kind", "stored"), [("reset_before", 0), ("reset_during", 0), ("reset_after_commit", 1), ("hang", 0)]
)
def test_connections_that_break(emulator, send, event, kind, stored):
    """The client gets no answer; the events are stored only where the fault says so."""
    emulator.add_fault(kind=kind, **({"secs": 0.05} if kind == "hang" else {}))
    with pytest.raises(requests.ConnectionError) as failure:
        send(emulator, [event(0)])
    if kind != "reset_before":  # there the client may still be sending, and its library tells it differently
        assert ("reset by peer" in str(failure.value)) == (kind != "hang")
    assert len(emulator.events()) == stored
    [record] = emulator.requests()
    assert (record["status"], record["fault"]) == (None, kind)
    assert emulator.stats()["requests_by_status"] == {"no answer": 1}


def test_reset_before_leaves_the_body_unread(emulator, send, event):
    """`reset_before` breaks off though the body has not been sent."""
    emulator.add_fault(kind="reset_before")
    host, port = emulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        connection.sendall(b"POST /import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_hang_for_ever(emulator, send, event):
    """`hang` without an end holds the request until the client gives up; it can store the events first."""
    emulator.add_fault(kind="hang", commit=True)
    with pytest.raises(requests.ReadTimeout):
        send(emulator, [event(0)], timeout=0.1)
    assert emulator.events() == [event(0)]


def test_truncated(emulator, send, event):
    """`truncated` announces more than it sends; the events are stored."""
    emulator.add_fault(kind="truncated", sent_bytes=3)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="3 bytes read"):
        send(emulator, [event(0)])
    assert emulator.events() == [event(0)]


def test_drip(emulator, send, event):
    """`drip` sends the answer byte by byte, at the pace it is told."""
    emulator.add_fault(kind="drip", interval_secs=0.002)
    began = time.monotonic()
    assert send(emulator, [event(0)]).json()["num_records_imported"] == 1
    assert time.monotonic() - began > 0.08


def test_latency(emulator, send, event):
    """`latency` delays a normal answer."""
    emulator.add_fault(kind="latency", secs=0.1)
    answer = send(emulator, [event(0)])
    assert (answer.status_code, answer.elapsed.total_seconds() > 0.1) == (200, True)


@pytest.mark.parametrize("delta", [-1, 5])
def test_wrong_count(emulator, send, event, delta):
    """`wrong_count` stores the events and names another number."""
    emulator.add_fault(kind="wrong_count", delta=delta)
    answer = send(emulator, [event(0), event(1)])
    assert (answer.status_code, answer.json()["num_records_imported"]) == (200, 2 + delta)
    assert len(emulator.events()) == 2


@pytest.mark.parametrize(("kind", "content"), [("html_200", "<!DOCTYPE html>"), ("empty_200", "")])
@pytest.mark.parametrize("commit", [False, True])
def test_bodies_that_say_nothing(emulator, send, event, kind, content, commit):
    """A 200 with a web page or without a body says nothing about the events, stored or not."""
    emulator.add_fault(kind=kind, commit=commit)
    answer = send(emulator, [event(0)])
    assert answer.status_code == 200
    assert answer.text[: len("<!DOCTYPE html>")] == content
    assert len(emulator.events()) == commit


def record(index, insert_id=None):
    return {
        "index": index,
        "insert_id": f"id-{index}" if insert_id is None else insert_id,
        "field": "properties",
        "message": "'properties' is invalid: refused by a fault",
    }


def dollar(entry):
    return {"$insert_id" if key == "insert_id" else key: value for key, value in entry.items()}


@pytest.mark.parametrize(
    ("variant", "imported", "records", "stored"),
    [
        ("standard", 2, [record(0)], [1, 2]),
        ("dollar_insert_id", 2, [dollar(record(0))], [1, 2]),
        ("strings", 0, ["some event in this request is invalid"], []),
        ("none", 0, None, []),
        ("index_out_of_range", 2, [record(3, "id-0")], [1, 2]),
        ("miscount", 1, [record(0)], [1, 2]),
        ("duplicate_id", 1, [record(0), record(1, "id-0")], [2]),
        ("duplicate_index", 2, [record(0), record(0)], [1, 2]),
    ],
)
def test_failed_records(emulator, send, event, variant, imported, records, stored):
    """Each variant is a 400 of its own shape; the store holds what was not refused."""
    emulator.add_fault(kind="failed_records", variant=variant)
    answer = send(emulator, [event(number) for number in range(3)])
    content = answer.json()
    assert (answer.status_code, content["num_records_imported"]) == (400, imported)
    assert content.get("failed_records") == records
    assert emulator.events() == [event(number) for number in stored]


def test_failed_records_beside_real_ones(emulator, send, event):
    """Events that are bad themselves are refused beside those that the fault refuses, each at its own index."""
    emulator.add_fault(kind="failed_records", count=2)
    content = send(emulator, [event(0), event(1), event(2), event(3, time=None)]).json()
    assert (content["num_records_imported"], [entry["index"] for entry in content["failed_records"]]) == (
        1,
        [0, 1, 3],
    )


def test_too_many_events(emulator, send, event):
    """`too_many_events` is a 413 for requests above a number of events, smaller ones are normal."""
    emulator.add_fault(kind="too_many_events", max_events=2, times=2)
    events = [event(number) for number in range(3)]
    assert [send(emulator, events[:count]).status_code for count in (2, 3, 1, 3, 3)] == [
        200,
        413,
        200,
        413,
        200,
    ]


def test_too_many_events_even_one(emulator, send, event):
    """With 0 a single event is too many."""
    emulator.add_fault(kind="too_many_events", max_events=0)
    assert send(emulator, [event(0)]).status_code == 413


def test_redirect(emulator, send, event):
    """`redirect` sends the client elsewhere."""
    emulator.add_fault(kind="redirect", location="http://127.0.0.1:9/")
    answer = send(emulator, [event(0)], allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, "http://127.0.0.1:9/")


def test_close_keepalive(emulator, send, event):
    """`close_keepalive` answers without `Connection: close`, and closes."""
    emulator.add_fault(kind="close_keepalive")
    host, port = emulator.url.removeprefix("http://").split(":")
    body = json.dumps([event(0)]).encode()
    head = "POST /import?strict=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic dXNlcjo="
    head += f"\r\nContent-Length: {len(body)}"
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        with connection.makefile("rb") as file:
            answer = file.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" not in answer.lower()


def test_skip_and_times(emulator, send, event):
    """`skip` leaves the first requests alone, `times` ends the fault."""
    emulator.add_fault(kind="status", skip=1, times=2)
    assert statuses(send, emulator, [event(0)], 5) == [200, 503, 503, 200, 200]
    [fault] = emulator.faults()
    assert (fault["applied"], fault["exhausted"]) == (2, True)


def test_probability_is_repeatable(emulator, send, event):
    """A fault with a probability meets the same requests again for the same seed."""
    runs = []
    for _ in range(2):
        emulator.clear_faults()
        emulator.add_fault(kind="status", probability=0.5, seed=3)
        runs.append(statuses(send, emulator, [event(0)], 20))
    assert runs[0] == runs[1]
    assert {200, 503} == set(runs[0])


def test_path(emulator, send, event):
    """A fault can be meant for one endpoint only."""
    emulator.add_fault(kind="status", path="/track")
    assert send(emulator, [event(0)]).status_code == 200
    assert send(emulator, [event(0)], "/track").status_code == 503


def test_faults_in_order(emulator, send, event):
    """The fault set first goes first; when it is over the next one applies."""
    emulator.add_fault(kind="status", status=429, times=1)
    emulator.add_fault(kind="status", status=500, times=1)
    assert statuses(send, emulator, [event(0)], 3) == [429, 500, 200]


def test_control_by_http(emulator, http):
    """Faults are read, added, replaced and removed while the emulator runs."""
    url = emulator.url + LIST_PATH
    added = http.post(url, json=[{"kind": "hang"}, {"kind": "drip", "times": 3}]).json()
    assert [(fault["kind"], fault["times"], fault["applied"]) for fault in added] == [
        ("hang", None, 0),
        ("drip", 3, 0),
    ]
    assert [fault["kind"] for fault in http.delete(url, params={"id": added[0]["id"]}).json()] == ["drip"]
    assert http.put(url, json={"kind": "redirect"}).json()["kind"] == "redirect"
    assert [fault["kind"] for fault in http.get(url).json()] == ["redirect"]
    assert http.delete(url, params={"id": 999}).status_code == 404
    assert http.delete(url).json() == []


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"kind": "explode"}, "too_many_events"),
        ({}, "reset_after_commit"),
        ([], None),
        ("hang", "html_200"),
        (
            {"kind": "hang", "seconds": 3},
            "Valid keys: kind, secs, commit, times, skip, probability, seed, path",
        ),
        ({"kind": "hang", "times": 0}, "times"),
        ({"kind": "latency", "secs": "x"}, "secs"),
        ({"kind": "failed_records", "variant": "x"}, "variant"),
        ({"kind": "status", "probability": 2}, "probability"),
        ({"kind": "status", "path": "import"}, "path"),
    ],
)
def test_unknown_faults(emulator, http, fault, named):
    """A fault that cannot be understood is a 400 that names what is valid, and sets nothing."""
    answer = http.post(emulator.url + LIST_PATH, json=fault)
    if named is None:
        assert answer.json() == []
        return
    assert answer.status_code == 400
    assert named in answer.json()["error"]
    assert emulator.faults() == []


def test_bad_fault_from_python(emulator):
    """The Python interface raises with the same text."""
    with pytest.raises(ValueError, match="Valid kinds: status, reset_before"):
        emulator.add_fault(kind="explode")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_counts(emulator, send, event, kind):
    """Whatever a fault does, it is counted as applied, and the emulator lives on."""
    quick = {"hang": {"secs": 0}, "drip": {"interval_secs": 0}, "latency": {"secs": 0}}
    emulator.add_fault(kind=kind, times=1, **quick.get(kind, {}), **({"max_events": 0} if "many" in kind else {}))
    with contextlib.suppress(requests.RequestException):
        send(emulator, [event(0), event(1)])
    assert emulator.stats()["faults_applied"] == {kind: 1}
    assert emulator.stats()["in_flight"] == 0
    assert send(emulator, [event(0)]).status_code == 200


def test_a_dripped_answer_has_ended_when_its_last_byte_is_there(emulator, send, event):
    """Who has read a dripped answer completely finds the request counted."""
    emulator.add_fault(kind="drip", interval_secs=0.5, times=1)
    assert len(send(emulator, [event(0)], "/track").content) == 1
    assert (emulator.stats()["in_flight"], emulator.stats()["faults_applied"]) == (0, {"drip": 1})
