"""Every answer of the emulator fits Mixpanel's OpenAPI file, but for the exceptions that are stated here."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_mixpanel.emulator import Emulator
from tests import openapi

NOW = 1_750_000_000
GOOD = {"event": "e", "properties": {"time": NOW, "distinct_id": "u", "$insert_id": "i", "token": "t"}}
IDENTIFY = {"event": "$identify", "properties": GOOD["properties"]}
ELEMENTS = st.sampled_from(
    [GOOD, GOOD | {"event": ""}, {}, None, 7, "text", {"event": "e", "properties": {"token": "t"}}]
)
BATCHES = st.lists(ELEMENTS, max_size=6)


@pytest.fixture(scope="module")
def judged():
    with Emulator(clock=lambda: float(NOW), max_body_bytes=100_000) as emulator:
        yield emulator


@settings(max_examples=150, deadline=None)
@given(BATCHES.filter(bool), st.sampled_from([("token", ""), ("user", "secret"), None]))
def test_strict_imports(batch, auth):
    """Any batch at `/import?strict=1`, with good credentials and bad ones."""
    answer = SESSION.post(f"{JUDGED.url}/import?strict=1", data=json.dumps(batch), auth=auth, timeout=5)
    assert openapi.objections_to_answer("/import", answer.status_code, answer.text) == set()


@settings(max_examples=100, deadline=None)
@given(BATCHES | st.sampled_from([b"{oops", b"", b"[NaN]"]))
def test_tracked(batch):
    """Any data at `/track`; with verbose=1 an answer is the object that the file describes in words."""
    data = batch if isinstance(batch, bytes) else json.dumps(batch)
    answer = SESSION.post(f"{JUDGED.url}/track", data=data, timeout=5)
    assert openapi.objections_to_answer("/track", answer.status_code, answer.text) == set()
    answer = SESSION.post(f"{JUDGED.url}/track?verbose=1", data=data, timeout=5)
    assert openapi.is_verbose_answer(answer.text)


@pytest.mark.parametrize(
    ("body", "auth", "status"),
    [
        (json.dumps([GOOD]), ("user", "secret"), 401),
        (json.dumps([GOOD]), None, 401),
        (b" " * 100_001, ("token", ""), 413),
        (gzip.compress(b" " * 200_000), ("token", ""), 413),
    ],
)
def test_whole_requests(judged, http, body, auth, status):
    """Refusals of credentials and of size."""
    headers = {"Content-Encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
    answer = http.post(f"{judged.url}/import?strict=1", data=body, auth=auth, headers=headers)
    assert answer.status_code == status
    assert openapi.objections_to_answer("/import", answer.status_code, answer.text) == set()


def test_rate_limits(emulator, http):
    """A refusal for the rate."""
    emulator.set_limits(rolling_limit=1)
    answer = http.post(f"{emulator.url}/import?strict=1", data=json.dumps([GOOD, GOOD]), auth=("token", ""))
    assert answer.status_code == 429
    assert openapi.objections_to_answer("/import", answer.status_code, answer.text) == set()


@pytest.mark.parametrize(
    ("path", "body", "objections"),
    [
        # A request that fails whole says nothing of records: the file has no such answer, and no page does.
        ("/import?strict=1", b"{oops", {" lacks failed_records, num_records_imported"}),
        ("/import?strict=1", b"[]", {" lacks failed_records, num_records_imported"}),
        # Texts instead of records, as https://github.com/ak--47/mixpanel-import observed.
        ("/import?strict=1", json.dumps([IDENTIFY]).encode(), {"failed_records.* type"}),
        # The tests of https://github.com/mixpanel/sheets, which run against the live service, expect these two.
        ("/import?strict=0&verbose=1", json.dumps([GOOD]).encode(), {"status type"}),
        ("/import?strict=0", json.dumps([GOOD]).encode(), {" type"}),
        # Documented at https://docs.mixpanel.com/troubleshooting/errors/413-payload-too-large, not in the file.
        ("/track", b" " * 100_001, {"status 413"}),
    ],
)
def test_exceptions(judged, http, path, body, objections):
    """Where the emulator follows another source than the file: this is all that does not fit."""
    answer = http.post(judged.url + path, data=body, auth=("token", ""))
    found = openapi.objections_to_answer(path.partition("?")[0], answer.status_code, answer.text)
    assert found == objections


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/import", 200, "{}"),
        ("/import", 200, '{"code":200,"num_records_imported":"1","status":"OK"}'),
        ("/import", 500, "{}"),
        (
            "/import",
            400,
            '{"code":400,"status":"Bad Request","num_records_imported":1,"failed_records":[{"index":"0"}]}',
        ),
        ("/track", 200, "2"),
        ("/track", 200, "<html>"),
        ("/track", 401, '{"error":"x","status":0}'),
    ],
)
def test_the_judge_objects(path, status, text):
    """The judge sees what does not fit."""
    assert openapi.objections_to_answer(path, status, text)


@pytest.fixture(scope="module", autouse=True)
def _shared(judged):
    """For the laws, which Hypothesis runs many times."""
    import requests

    global JUDGED, SESSION
    JUDGED = judged
    with requests.Session() as SESSION:
        SESSION.trust_env = False
        yield
