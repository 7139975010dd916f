"""`/import`: every documented answer, over a real socket."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any

import pytest

from beam_mixpanel.emulator import Emulator

NOW_MS = 1_750_000_000_000
SOME_FAILED = "some data points in the request failed validation"


def nested(levels: int, innermost: Any = 1) -> Any:
    """Return a value with so many objects around it."""
    for _ in range(levels):
        innermost = {"x": innermost}
    return innermost


def test_a_good_batch_is_imported(emulator, send, event):
    """A valid batch is answered 200 with its size, and its events are stored as they were sent."""
    events = [event(number, plan="pro", nested={"a": [1, {"b": None}]}) for number in range(3)]
    answer = send(emulator, events)
    assert (answer.status_code, answer.json()) == (
        200,
        {"code": 200, "num_records_imported": 3, "status": "OK"},
    )
    assert emulator.events() == events


def test_partial_success(emulator, send, event):
    """A batch with bad events is answered 400: one entry for each by index, the others are imported."""
    events = [event(0), event(1, time=None), event(2), event(3, insert_id="a*b")]
    answer = send(emulator, events)
    assert answer.status_code == 400
    assert answer.json() == {
        "code": 400,
        "error": SOME_FAILED,
        "status": "Bad Request",
        "num_records_imported": 2,
        "failed_records": [
            {
                "index": 1,
                "insert_id": "id-1",
                "field": "properties.time",
                "message": "'properties.time' is invalid: must not be missing",
            },
            {
                "index": 3,
                "insert_id": "a*b",
                "field": "$insert_id",
                "message": "'$insert_id' is invalid: must only contain alphanumeric or hyphen '-' characters",
            },
        ],
    }
    assert emulator.events() == [events[0], events[2]]


SECS_SINCE_EPOCH = "'properties.time' is invalid: must be specified as seconds since epoch"
IN_FUTURE = "'properties.time' is invalid: must not be in the future"
CHARSET = "'$insert_id' is invalid: must only contain alphanumeric or hyphen '-' characters"
NO_EVENT = "'event' must not be missing or blank"


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"name": ""}, "event", NO_EVENT),
        ({"name": " "}, "event", NO_EVENT),
        ({"name": None}, "event", NO_EVENT),
        ({"name": 7}, "event", NO_EVENT),
        ({"time": None}, "properties.time", "'properties.time' is invalid: must not be missing"),
        ({"time": "2026-01-01"}, "properties.time", SECS_SINCE_EPOCH),
        ({"time": 1_700_000_000.5}, "properties.time", SECS_SINCE_EPOCH),
        ({"time": True}, "properties.time", SECS_SINCE_EPOCH),
        ({"time": -1}, "properties.time", SECS_SINCE_EPOCH),
        ({"time": 365 * 86_400 - 1}, "properties.time", SECS_SINCE_EPOCH),
        ({"time": 365 * 86_400_000 - 1}, "properties.time", SECS_SINCE_EPOCH),
        ({"time": NOW_MS + 3_600_001}, "properties.time", IN_FUTURE),
        ({"time": NOW_MS // 1000 + 3_601}, "properties.time", IN_FUTURE),
        ({"time": 10**30}, "properties.time", IN_FUTURE),
        ({"insert_id": "id_1"}, "$insert_id", CHARSET),
        ({"insert_id": ""}, "$insert_id", CHARSET),
        ({"insert_id": "é"}, "$insert_id", CHARSET),
        ({"insert_id": "*" * 40}, "$insert_id", CHARSET),
        ({"insert_id": None}, "$insert_id", None),
        ({"insert_id": 7}, "$insert_id", None),
        ({"insert_id": "a" * 37}, "$insert_id", None),
        ({"insert_id": "NULL"}, "$insert_id", None),
        ({"insert_id": "00000000-0000-0000-0000-000000000000"}, "$insert_id", None),
        ({"distinct_id": "Anonymous"}, "properties.distinct_id", None),
        ({"distinct_id": "<nil>"}, "properties.distinct_id", None),
        ({"distinct_id": 0}, "properties.distinct_id", None),
        ({"distinct_id": []}, "properties.distinct_id", None),
        ({"distinct_id": 12}, "properties.distinct_id", None),
        ({f"p{number}": 1 for number in range(252)}, "properties", None),
        ({"p": {f"k{number}": 1 for number in range(255)}}, "properties.p", None),
        ({"p": list(range(255))}, "properties.p", None),
        ({"p": {"q": [list(range(255))]}}, "properties.p", None),
        ({"p": nested(4)}, "properties.p", None),
        ({"p": [[[[]]]]}, "properties.p", None),
        ({"p": "x" * 1_000_000}, "event", None),
    ],
)
def test_each_rule_refuses(emulator, send, event, change, field, message):
    """An event that breaks a documented rule is refused alone, with the documented text where there is one."""
    answer = send(emulator, [event(1), event(2, **change)])
    assert answer.status_code == 400
    content = answer.json()
    assert content["num_records_imported"] == 1
    [record] = content["failed_records"]
    assert (record["index"], record["field"]) == (1, field)
    assert message is None or record["message"] == message
    assert emulator.stats()["refused_by_reason"] == {record["message"]: 1}


@pytest.mark.parametrize(
    "change",
    [
        {"time": 365 * 86_400_000},
        {"time": NOW_MS + 3_600_000},
        {"distinct_id": ""},
        {"distinct_id": None},
        {"distinct_id": "nobody"},
        {"insert_id": "a" * 36},
        {"insert_id": "---"},
        {"insert_id": "00000000-0000-0000-0000-000000000001"},
        {f"p{number}": 1 for number in range(251)},
        {"p": {f"k{number}": 1 for number in range(254)}},
        {"p": list(range(254))},
        {"p": nested(3)},
        {"p": [[[1]]]},
        {"p": [{"a": [1, "b", None, True, 1.5]}]},
        {"p": "x" * 999_000},
        {"p": 123456789012345678901234567890},
        {"p": "line\nbreak \U0001f600 \x00"},
    ],
)
def test_each_limit_is_reached(emulator, send, event, http, change):
    """An event just inside a limit is imported, and exported exactly as it was sent, if that is asked for."""
    assert http.put(f"{emulator.url}/_emulator/project", json={"as_sent": True}).status_code == 200
    sent = event(1, **change)
    assert send(emulator, [sent]).json() == {"code": 200, "num_records_imported": 1, "status": "OK"}
    assert emulator.events() == [sent]


def test_only_the_first_violation_is_named(emulator, send):
    """An event that breaks several rules has one entry in `failed_records`."""
    records = send(emulator, [{}]).json()["failed_records"]
    assert [record["field"] for record in records] == ["event"]


@pytest.mark.parametrize("value", [None, 7, "text", [], {"event": "x"}, {"event": "x", "properties": []}])
def test_what_is_no_event_is_refused(emulator, send, event, value):
    """An element that is not an event object with properties is refused, its neighbours are not."""
    content = send(emulator, [event(0), value, event(2)]).json()
    assert (content["num_records_imported"], [record["index"] for record in content["failed_records"]]) == (
        2,
        [1],
    )


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\\ud800"])
@pytest.mark.parametrize("ndjson", [False, True])
def test_invalid_utf8(emulator, send, event, bad, ndjson):
    """A string that is not valid UTF-8 refuses its event alone, with the documented text."""
    good, spoilt = (
        json.dumps(event(0)).encode(),
        json.dumps(event(1, utm_source="@")).encode().replace(b"@", bad),
    )
    body = good + b"\n" + spoilt if ndjson else b"[" + good + b"," + spoilt + b"]"
    kind = "application/x-ndjson" if ndjson else "application/json"
    content = send(emulator, None, data=body, headers={"Content-Encoding": "", "Content-Type": kind}).json()
    assert content["num_records_imported"] == 1
    assert content["failed_records"] == [
        {
            "index": 1,
            "insert_id": "id-1",
            "field": "properties.utm_source",
            "message": "properties.utm_source is invalid: string should be valid utf8",
        }
    ]


def test_numbers_are_exact(emulator, send, http):
    """Digits beyond 64 bits and beyond a double's precision come back as they were written."""
    numbers = b"[123456789012345678901234567890, 0.1000000000000000055511151231257827, 1e400, -0, 1.0]"
    text = b'{"event":"e","properties":{"time":%d,"$insert_id":"a","distinct_id":"u","n":%s}}' % (NOW_MS, numbers)
    assert send(emulator, None, data=gzip.compress(b"[" + text + b"]")).status_code == 200
    assert http.get(f"{emulator.url}/_emulator/export").content == text + b"\n"


def test_seconds_become_milliseconds(emulator, send, event):
    """A time in seconds is stored in milliseconds, the event's other values stay as they were."""
    send(emulator, [event(1, time=1_700_000_000, n=10**25)])
    assert emulator.events() == [event(1, time=1_700_000_000_000, n=10**25)]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"[%s,\n %s]"),
        ("application/json; charset=utf-8", b" [ %s , %s ] "),
        ("application/x-ndjson", b"%s\n%s"),
        ("application/x-ndjson", b"%s\r\n\n%s\n"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_body_forms(emulator, send, event, content_type, body, compressed):
    """Arrays and newline-delimited JSON are read, compressed or not, pretty-printed or not."""
    events = [event(0), event(1)]
    data = body % tuple(json.dumps(one, indent=1 if b"[" in body else None).encode() for one in events)
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip" if compressed else ""}
    answer = send(emulator, None, data=gzip.compress(data) if compressed else data, headers=headers)
    assert answer.json()["num_records_imported"] == 2
    assert emulator.events() == events


def test_gzip_of_several_members(emulator, send, event):
    """A gzip body may consist of several members."""
    data = gzip.compress(b"[" + json.dumps(event(0)).encode()) + gzip.compress(b"]")
    assert send(emulator, None, data=data).status_code == 200


@pytest.mark.parametrize("raw", [True, False], ids=["json", "base64"])
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    ("verbose", "expected"), [("0", "1"), ("1", '{"error":null,"status":1}')], ids=["terse", "verbose"]
)
def test_legacy_form(emulator, send, event, raw, single, verbose, expected):
    """The form of older SDKs, JSON or base64 of it, is answered `1`, or JSON when verbose."""
    text = json.dumps(event(0) if single else [event(0)])
    form = {"data": text if raw else base64.b64encode(text.encode()).decode(), "verbose": verbose}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": ""}
    answer = send(emulator, None, "/import", data=form, headers=headers)
    assert (answer.status_code, answer.text) == (200, expected)
    assert emulator.events() == [event(0)]


@pytest.mark.parametrize(
    ("path", "events", "expected"),
    [
        ("/import?strict=0", "good", "1"),
        ("/import?strict=0", "bad", "0"),
        (
            "/import?strict=0&verbose=1",
            "good",
            {"code": 200, "error": None, "num_records_imported": 1, "status": 1},
        ),
        (
            "/import?strict=0&verbose=1",
            "bad",
            {"code": 200, "error": SOME_FAILED, "num_records_imported": 0, "status": 0},
        ),
    ],
)
def test_not_strict(emulator, send, event, path, events, expected):
    """With strict=0 bad events vanish: the answer is 200 and names none of them."""
    answer = send(emulator, [event(0)] if events == "good" else [{}], path)
    assert answer.status_code == 200
    assert (answer.text if isinstance(expected, str) else answer.json()) == expected


def test_missing_insert_id_is_never_a_duplicate(emulator, send, event):
    """Without strict, $insert_id may be missing, and such an event equals no other."""
    for _ in range(2):
        assert send(emulator, [event(0, insert_id=None)] * 2, "/import?strict=0").text == "1"
    assert emulator.stats()["unique_events"] == 4


@pytest.mark.parametrize(
    ("data", "encoding", "error"),
    [
        (b"[{]", "", "body is not valid JSON"),
        (b"[1, NaN]", "", "body is not valid JSON"),
        (b"[" * 50_000, "", "body is not valid JSON"),
        (b"\xff\xfe", "", "body is not valid JSON"),
        (b'{"event":"x"}', "", "body must be a JSON array of events"),
        (b"null", "", "body must be a JSON array of events"),
        (b"[]", "", "request holds no events"),
        (b"[" + b"{}," * 2000 + b"{}]", "", "request exceeds max limit of 2000 events"),
        (b"not gzip", "gzip", "body is not valid gzip"),
        (gzip.compress(b"[{}]" * 100, mtime=0)[:-4], "gzip", "body is not valid gzip"),
        (zlib.compress(b"[]"), "gzip", "body is not valid gzip"),
        (b"[]", "br", "unsupported content encoding, expected gzip"),
    ],
)
def test_whole_requests_that_fail(emulator, send, data, encoding, error):
    """A body that cannot be read, and one with no or too many events, is a 400 that names no record."""
    answer = send(emulator, None, data=data, headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()) == (
        400,
        {"code": 400, "error": error, "status": "Bad Request"},
    )
    assert emulator.stats()["events_accepted"] == 0


def test_a_bad_line_fails_the_request(emulator, send, event):
    """A line of newline-delimited JSON that is not JSON is a 400, and nothing is stored."""
    data = json.dumps(event(0)).encode() + b"\n{oops\n"
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": ""}
    assert send(emulator, None, data=data, headers=headers).status_code == 400
    assert emulator.events() == []


def test_2000_events_are_accepted(emulator, send, event):
    """A request may hold 2000 events."""
    assert send(emulator, [event(number) for number in range(2000)]).json()["num_records_imported"] == 2000


@pytest.mark.parametrize("compressed", [False, True])
def test_body_limit(send, event, compressed):
    """A body is measured uncompressed: at the limit it is accepted, one byte above it is a 413."""
    body = json.dumps([event(0)]).encode()
    headers = {} if compressed else {"Content-Encoding": ""}
    with Emulator(max_body_bytes=len(body)) as emulator:
        answers = [
            send(emulator, None, data=gzip.compress(data) if compressed else data, headers=headers)
            for data in (body, body + b" ", body + b" " * 300_000)
        ]
    assert [answer.status_code for answer in answers] == [200, 413, 413]
    assert answers[1].json() == {
        "code": 413,
        "error": f"request exceeds max limit of {len(body)} bytes",
        "status": "Request Entity Too Large",
    }


def test_default_body_limit_is_10_mb(emulator, send):
    """More than ten million bytes are too many."""
    assert send(emulator, None, data=gzip.compress(b" " * 10_000_001)).status_code == 413


@pytest.mark.parametrize("name", ["$identify", "$create_alias", "$merge"])
def test_identity_events_need_original_id_merge(emulator, send, event, name):
    """With Simplified ID Merge, one identity event refuses the whole batch with a list of strings."""
    answer = send(emulator, [event(0), event(1, name=name)])
    assert answer.status_code == 400
    assert (answer.json()["num_records_imported"], answer.json()["failed_records"]) == (
        0,
        ["identity events are not allowed when project is using simplified identity management"],
    )
    assert emulator.events() == []


def test_the_kind_of_a_project_is_changed_while_it_is_empty(emulator, send, event, http):
    """A kind can be set while there are no events, wrong ones are refused, and a reset returns to the first one."""
    url = f"{emulator.url}/_emulator/project"
    assert http.put(url, json={"id_merge": "original"}).json() == {"id_merge": "original", "as_sent": False}
    for content in ({"id_merge": "both"}, {"id_merge": 7}, {"as_sent": 1}, {"other": 1}, []):
        assert http.put(url, json=content).status_code == 400
    assert send(emulator, [event(1, name="$identify")]).status_code == 200
    answer = http.put(url, json={"id_merge": "simplified"})
    assert (answer.status_code, "reset it first" in answer.json()["error"]) == (409, True)
    assert http.get(url).json()["id_merge"] == emulator.stats()["project"]["id_merge"] == "original"
    emulator.reset()
    assert http.get(url).json()["id_merge"] == "simplified"


def test_original_id_merge(send, event):
    """With Original ID Merge distinct_id is required, and identity events are accepted."""
    merge = {"event": "$merge", "properties": {"$distinct_ids": ["a", "b"]}}
    with Emulator(id_merge="original") as emulator:
        content = send(emulator, [event(0, distinct_id=None), event(1, name="$identify"), merge]).json()
    assert content["num_records_imported"] == 2
    assert [record["message"] for record in content["failed_records"]] == [
        "'properties.distinct_id' is invalid: must not be missing"
    ]
