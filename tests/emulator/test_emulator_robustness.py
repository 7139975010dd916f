"""Whatever is asked of the emulator, it answers JSON with a status that says what is wrong: never a 500."""

from __future__ import annotations

import json

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.emulator.faults import KINDS

CONTROL = ["events", "export", "requests", "stats", "reset", "faults", "limits", "nothing"]
NUMBERS = ["0", "1", "-5", "1e3", "abc", "", "9" * 30, "9" * 5000, "\u0663", "1.5", " 1", "0x1", "NaN"]
DAYS = [
    "2025-06-15",
    "9999-12-31",
    "0000-01-01",
    "0001-01-01",
    "20250615",
    "2025-W24-1",
    "2025-02-30",
    "-1",
    "",
    "\u0661",
]
NAMES = ['["a"]', "[", '"a"', "[1]", "[" * 5000, '["\\ud800"]', "null", "", "[null]", "{}"]
TEXTS = st.sampled_from([*NUMBERS, *DAYS, *NAMES, "true", "\0", "\ud7ff", "%", "&=", "a" * 3000]) | st.text(max_size=8)
PARAMETERS = st.dictionaries(
    st.sampled_from(["limit", "after", "id", "event", "bodies", "deduplicated", "strict", "verbose", "data"]), TEXTS
)
EXPORT = st.fixed_dictionaries(
    {"from_date": st.sampled_from(["2025-06-15", *DAYS]), "to_date": st.sampled_from(["2025-06-15", *DAYS])},
    optional={
        "limit": st.sampled_from(NUMBERS),
        "event": st.sampled_from(NAMES),
        "time_in_ms": TEXTS,
        "where": TEXTS,
        "project_id": TEXTS,
    },
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from([10**400, 1e308, 5e-324, -0.0, 2**53, 2**63, 599, 204, 304, 299])
    | st.text(max_size=6)
    | st.sampled_from(["a\r\nSet-Cookie: b", "\u20ac", "\n", "/import"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=6,
)
FAULT_KEYS = sorted({name for kind in KINDS.values() for name in kind.__struct_fields__})
FAULTS = st.builds(
    lambda kind, options: {"kind": kind, **options},
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(st.sampled_from(FAULT_KEYS), JSON_VALUES, max_size=3),
)
LIMITS = st.dictionaries(
    st.sampled_from(["rate_limit", "rate_limit_burst", "rolling_limit", "rolling_window_secs", "other"]), JSON_VALUES
)
# Those that answer at all, and at once.
ANSWERING = ["status", "wrong_count", "html_200", "empty_200", "failed_records", "too_many_events", "redirect"]
ELEMENTS = [
    None,
    {},
    7,
    {"event": "$identify", "properties": {}},
    {"event": "e", "properties": {"time": 1_700_000_000}},
]


def _answers_in_form(answer: requests.Response) -> None:
    assert answer.status_code < 500, answer.text[:300]
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json()["error"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]), st.sampled_from(CONTROL), PARAMETERS)
@example("GET", "events", {"limit": "9" * 30})
@example("DELETE", "faults", {"id": "abc"})
def test_parameters_of_the_control_channel(method, what, query):
    """Any parameters of any endpoint are used or refused."""
    _answers_in_form(HTTP.request(method, f"{SHARED.url}/_emulator/{what}", params=query, timeout=5))


@settings(max_examples=150, deadline=None)
@given(EXPORT)
@example({"from_date": "2025-06-15", "to_date": "2025-06-15", "limit": "-5"})
@example({"from_date": "2025-06-15", "to_date": "9999-12-31"})
def test_parameters_of_the_export(query):
    """Any parameters of the raw export are used or refused."""
    _answers_in_form(HTTP.get(f"{SHARED.url}/api/2.0/export", params=query, auth=("token", ""), timeout=5))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["faults", "limits"]), FAULTS | LIMITS | JSON_VALUES)
@example("limits", {"rate_limit": 10**400})
@example("faults", {"kind": "status", "headers": {"A\r\nB": "c"}})
@example("faults", {"kind": "status", "status": 444})
def test_any_json_as_fault_or_limit(what, content):
    """Any JSON is taken or refused, and what was taken breaks no answer that follows."""
    SHARED.reset()
    body = json.dumps(content).encode()
    _answers_in_form(HTTP.put(f"{SHARED.url}/_emulator/{what}", data=body, timeout=5))
    stats = HTTP.get(f"{SHARED.url}/_emulator/stats", timeout=5)
    assert stats.json()["limits"]
    if all(fault["kind"] in ANSWERING for fault in SHARED.faults()):
        HTTP.post(f"{SHARED.url}/import?strict=1", data=json.dumps(ELEMENTS), auth=("token", ""), timeout=5)
    SHARED.reset()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"kind": "\xff"}', b"\xef\xbb\xbf{}"])
@pytest.mark.parametrize("what", ["faults", "limits"])
def test_any_bytes_as_fault_or_limit(emulator, http, what, body):
    """Bytes that are not JSON are refused."""
    answer = http.put(f"{emulator.url}/_emulator/{what}", data=body)
    _answers_in_form(answer)
    assert answer.status_code == 400


@settings(max_examples=100, deadline=None)
@given(
    st.builds(lambda fault, kind: fault | {"kind": kind}, FAULTS, st.sampled_from(ANSWERING)),
    st.sampled_from(["/import?strict=1", "/import?strict=0", "/track?verbose=1", "/track"]),
    st.sampled_from([b"", b"[]", b"[NaN]", b"{", b"[[[", b"data=x"])
    | st.lists(st.sampled_from(ELEMENTS)).map(json.dumps),
)
@example({"kind": "failed_records", "variant": "duplicate_index"}, "/import?strict=1", b"[]")
@example({"kind": "failed_records"}, "/import?strict=1", json.dumps([{}, ELEMENTS[3]]))
@example({"kind": "failed_records"}, "/import?strict=1", b"[NaN]")
@example({"kind": "wrong_count", "delta": 10**40}, "/import?strict=1", json.dumps(ELEMENTS[:1]))
def test_any_fault_meets_any_body(fault, path, body):
    """A fault that was taken answers any body, with a status of its own or a proper one, and without a trace."""
    SHARED.reset()
    taken = HTTP.put(f"{SHARED.url}/_emulator/faults", json=fault, timeout=5).status_code == 200
    answer = HTTP.post(SHARED.url + path, data=body, auth=("token", ""), allow_redirects=False, timeout=5)
    assert answer.text != "Internal Server Error"
    if not taken:
        _answers_in_form(answer)
    assert HTTP.get(f"{SHARED.url}/_emulator/stats", timeout=5).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-A": "b\r\nSet-Cookie: c"}},
        {"headers": {"X-A\r\nSet-Cookie": "c"}},
        {"headers": {"X-A": "b\n"}},
        {"headers": {"X A": "b"}},
        {"headers": {"": "b"}},
        {"headers": {"X-A": "\u20ac"}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"content_type": "text/html\r\nSet-Cookie: c"},
        {"status": 204, "body": "x"},
    ],
)
def test_a_fault_adds_no_headers_but_those_it_names(emulator, options):
    """What would begin another header, or misstate the body's length, is refused when the fault is set."""
    with pytest.raises(ValueError, match=r"regex|headers|body"):
        emulator.add_fault(kind="status", **options)
    with pytest.raises(ValueError, match="regex"):
        emulator.add_fault(kind="redirect", location="/x\r\nSet-Cookie: c")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_body_leaves_the_connection_usable(emulator, send, event, status):
    """After a status that has no body, the next request on the connection is answered as ever."""
    emulator.add_fault(kind="status", status=status, times=1)
    assert send(emulator, [event()]).status_code == status
    assert send(emulator, [event()]).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/engage", 404),
        ("POST", "/engage/", 404),
        ("POST", "/groups", 404),
        ("PUT", "/lookup-tables/1", 404),
        ("GET", "/_emulator/", 404),
        ("PATCH", "/nothing", 404),
        ("PUT", "/import", 405),
        ("POST", "/", 405),
        ("POST", "/_emulator/stats", 405),
    ],
)
def test_what_is_not_there_says_what_is(emulator, http, method, path, status):
    """What is not emulated is a JSON 404, or 405 where only the method is wrong, that lists the endpoints."""
    answer = http.request(method, emulator.url + path)
    content = answer.json()
    assert (answer.status_code, content["code"]) == (status, status)
    assert content["error"].startswith(f"{method} {path} is not emulated")
    assert "POST /import" in content["error"]
    assert "POST /track" in content["error"]


@pytest.fixture(scope="module", autouse=True)
def _shared():
    """One emulator for the laws of this file, which Hypothesis runs many times."""
    global SHARED, HTTP
    with Emulator(clock=lambda: 1_750_000_000.0) as SHARED, requests.Session() as HTTP:
        HTTP.trust_env = False
        yield
