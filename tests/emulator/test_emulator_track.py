"""`/track`: what it answers, and what it loses without saying so."""

from __future__ import annotations

import base64
import json

import pytest

from beam_mixpanel.emulator import Emulator

NOW_MS = 1_750_000_000_000
DAY_MS = 86_400_000
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": ""}


def test_tracked_events_are_stored(emulator, send, event):
    """Events with a token are answered 1 and stored, without credentials."""
    events = [event(0, token="t"), event(1, token="t", insert_id=None)]
    answer = send(emulator, events, "/track", auth=None)
    assert (answer.status_code, answer.text) == (200, "1")
    assert emulator.events() == events


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()])
@pytest.mark.parametrize(("verbose", "expected"), [("0", "1"), ("1", '{"error":null,"status":1}')])
def test_form(emulator, send, event, encode, verbose, expected):
    """The form `data=` holds JSON or base64 of it; `verbose` counts in the form and in the URL."""
    form = {"data": encode(json.dumps(event(0, token="t")))}
    assert send(emulator, None, "/track", data=form | {"verbose": verbose}, headers=FORM).text == expected
    assert send(emulator, None, f"/track?verbose={verbose}", data=form, headers=FORM).text == expected


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([], "data, missing or empty"),
        ([{}], "event, missing"),
        ([{"event": "x", "properties": {}}], "token, missing or empty"),
        ([{"event": "x", "properties": {"token": ""}}], "token, missing or empty"),
    ],
)
def test_nothing_valid(emulator, send, events, error):
    """When no event is valid the answer is 0, and why if verbose; the status is 200 all the same."""
    assert send(emulator, events, "/track").text == "0"
    answer = send(emulator, events, "/track?verbose=1")
    assert (answer.status_code, answer.json()) == (200, {"error": error, "status": 0})


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{oops", {}),
        (b"[1, NaN]", {}),
        (b"null", {}),
        (b"[" * 50_000, {}),
        (b"[" + b"{}," * 2000 + b"{}]", {}),
        (b"not gzip", {"Content-Encoding": "gzip"}),
        (b"[]", {"Content-Encoding": "br"}),
        (b"data=%7Boops", FORM),
        (b"data=***", FORM),
        (b"data=", FORM),
        (b"\xff", FORM),
        (b"", {}),
    ],
)
def test_malformed_data_is_a_200(emulator, http, body, headers):
    """Data that cannot be read is answered 200 with 0, and why if verbose, as the OpenAPI file has it."""
    headers = {"Content-Type": "application/json"} | headers
    answer = http.post(f"{emulator.url}/track", data=body, headers=headers)
    assert (answer.status_code, answer.text) == (200, "0")
    answer = http.post(f"{emulator.url}/track?verbose=1", data=body, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, 0)
    assert answer.json()["error"]
    assert emulator.stats()["events_accepted"] == 0


def test_verbose_in_a_form_that_cannot_be_read(emulator, http):
    """`verbose` of the form counts, though the form's data is malformed."""
    answer = http.post(f"{emulator.url}/track", data={"data": "{oops", "verbose": "1"})
    assert answer.json()["status"] == 0


@pytest.mark.parametrize("path", ["/track", "/track/", "/import", "/import/"])
@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()])
@pytest.mark.parametrize("single", [True, False])
def test_get(emulator, http, event, path, encode, single):
    """The parameter `data` of a GET holds JSON or base64 of it, one event or a list, as the Node.js SDK sends it."""
    sent = event(0, token="t", text="a+b/c?d=\u00e9&e")
    query = {"data": encode(json.dumps(sent if single else [sent])), "verbose": "1"}
    answer = http.get(emulator.url + path, params=query, auth=("secret", ""))
    assert (answer.status_code, answer.json()) == (200, {"error": None, "status": 1})
    assert emulator.events() == [sent]


def test_get_without_data(emulator, http):
    """A GET without data is told so; at /import it needs credentials."""
    assert http.get(f"{emulator.url}/track?verbose=1").json() == {"error": "data, missing or empty", "status": 0}
    assert http.get(f"{emulator.url}/import?data=e30=").status_code == 401


def test_a_slash_at_the_end(emulator, send, event):
    """`/track/` is `/track`, also for faults, as the JavaScript SDK sends."""
    emulator.add_fault(kind="status", status=500, times=1, path="/track")
    assert send(emulator, [event(0, token="t")], "/track/").status_code == 500
    assert send(emulator, [event(0, token="t")], "/track/").text == "1"
    assert emulator.events() == [event(0, token="t")]


def test_one_valid_event_is_enough(emulator, send, event):
    """The answer is 1 as soon as one event is valid."""
    assert send(emulator, [{}, event(0, token="t")], "/track").text == "1"
    assert emulator.stats()["refused_by_reason"] == {"event, missing": 1}


def test_old_events_vanish(emulator, send, event):
    """An event over five days old is dropped although the answer says success."""
    ages = (5 * DAY_MS, 5 * DAY_MS + 1)
    answer = send(emulator, [event(age, token="t", time=NOW_MS - age) for age in ages], "/track?verbose=1")
    assert answer.json() == {"error": None, "status": 1}
    assert [one["properties"]["time"] for one in emulator.events()] == [NOW_MS - 5 * DAY_MS]
    assert emulator.stats()["refused_by_reason"] == {"track: older than 5 days": 1}


def test_missing_time_is_arrival(emulator, send, event):
    """An event without time gets the time of its arrival, one in fractions of a second its milliseconds."""
    events = [event(0, token="t", time=None), event(1, token="t", time=1_749_999_999.25)]
    assert send(emulator, events, "/track").text == "1"
    assert [one["properties"]["time"] for one in emulator.events()] == [NOW_MS, 1_749_999_999_250]


def test_a_wrong_token_vanishes(send, event):
    """An event with another project's token is answered like any other, and lost."""
    with Emulator(project_token="right") as emulator:
        now = {"time": None}
        events = [event(0, token="wrong", **now), event(1, token="right", **now)]
        assert send(emulator, events[:1], "/track?verbose=1").json() == {"error": None, "status": 1}
        assert send(emulator, events, "/track").text == "1"
        assert len(emulator.events()) == 1
