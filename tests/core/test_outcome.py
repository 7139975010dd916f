"""What each answer of Mixpanel means, for every status and every body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.sending.outcome import (
    FailedRecord,
    Imported,
    Miscounted,
    Outcome,
    PartlyImported,
    Refused,
    Retry,
    Split,
    read_import_answer,
    read_track_answer,
)

DATE = "Tue, 13 Jun 2023 15:08:00 GMT"
LATER = "Tue, 13 Jun 2023 15:08:30 GMT"


def answer(status: int, body: Any = b"", batch_size: int = 3, **headers: str) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_import_answer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, batch_size
    )


def record(index: Any, **more: Any) -> dict[str, Any]:
    return {"index": index, "insert_id": "i", "field": "properties.time", "message": "'properties.time' is bad"} | more


def failed(*records: Any, imported: Any = 0, **more: Any) -> dict[str, Any]:
    return {
        "code": 400,
        "status": "Bad Request",
        "num_records_imported": imported,
        "failed_records": list(records),
    } | more


def rejected(*indexes: int) -> tuple[FailedRecord, ...]:
    return tuple(FailedRecord(index, "properties.time", "'properties.time' is bad") for index in indexes)


WORDLESS = (FailedRecord(1, "", ""),)
NOT_CONFIRMED = Retry("not_confirmed")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"code": 200, "num_records_imported": 3, "status": "OK"}, Imported()),
        (200, {"num_records_imported": 2}, Miscounted(2)),
        (200, {"num_records_imported": 0}, Miscounted(0)),
        (200, {"num_records_imported": 4}, Miscounted(4)),
        (200, {"num_records_imported": "3"}, NOT_CONFIRMED),
        (200, {"num_records_imported": 3.0}, NOT_CONFIRMED),
        (200, {"num_records_imported": None}, NOT_CONFIRMED),
        (200, {}, NOT_CONFIRMED),
        (200, [3], NOT_CONFIRMED),
        (200, b"", NOT_CONFIRMED),
        (200, b"1", NOT_CONFIRMED),
        (200, b'{"num_records_imported": 3', NOT_CONFIRMED),
        (200, b"<html>welcome to the hotel's network</html>", NOT_CONFIRMED),
        (200, b"\xff\xfe", NOT_CONFIRMED),
        (200, b"[" * 100_000, NOT_CONFIRMED),
        (204, {"num_records_imported": 3}, NOT_CONFIRMED),
        (400, failed(record(1), imported=2), PartlyImported(rejected(1), True, 2)),
        (400, failed(record(0), record(1), record(2)), PartlyImported(rejected(0, 1, 2), True, 0)),
        (400, failed(record(2), record(0), imported=1), PartlyImported(rejected(0, 2), True, 1)),
        (400, failed(record(1), record(1), imported=2), PartlyImported(rejected(1), True, 2)),
        (400, failed(record(1), imported=1), PartlyImported(rejected(1), False, 1)),
        (400, failed(record(1), imported=None), PartlyImported(rejected(1), False)),
        (400, failed(record(1), imported=True), PartlyImported(rejected(1), False)),
        (400, failed(record(1, field=7, message=None), imported=2), PartlyImported(WORDLESS, True, 2)),
        (400, failed({"index": 1, "$insert_id": "i"}, imported=2), PartlyImported(WORDLESS, True, 2)),
        (400, failed(record(3), imported=2, error="no"), Split("rejected", "no")),
        (400, failed(record(-1), imported=2, error="no"), Split("rejected", "no")),
        (400, failed(record("1"), imported=2, error="no"), Split("rejected", "no")),
        (400, failed(record(True), imported=2, error="no"), Split("rejected", "no")),
        (400, failed(record(1), "text", imported=2, error="no"), Split("rejected", "no")),
        (400, failed("identity\nverbs", error="no"), Split("rejected", "identity verbs")),
        (400, failed(error="no"), Split("rejected", "no")),
        (400, {"error": "request  body\n is bad"}, Split("rejected", "request body is bad")),
        (400, {"failed_records": {"0": record(0)}, "error": "no"}, Split("rejected", "no")),
        (400, b"<html>bad request</html>", Split("rejected", "<html>bad request</html>")),
        (400, b"", Split("rejected", "")),
        (400, b"\xff", Split("rejected", "\ufffd")),
        (413, {"error": "request exceeds max limit of 2097152 bytes"},
         Split("too_large", "request exceeds max limit of 2097152 bytes", too_large=True)),
        (413, b"", Split("too_large", "", too_large=True)),
        (408, b"", Retry("http_408")),
        (429, {"error": "Project exceeded rate limits."}, Retry("http_429", rate_limited=True)),
        (500, b"", Retry("http_500")),
        (502, b"Bad Gateway", Retry("http_502")),
        (503, b"upstream connect error", Retry("http_503")),
        (504, b"", Retry("http_504")),
        (524, b"<html>", Retry("http_524")),
        (100, b"", Retry("http_100")),
    ],
)  # fmt: skip
def test_each_row_of_the_table(status: int, body: Any, expected: Outcome) -> None:
    """An answer means what the table of the module says; nothing is confirmed that the numbers do not prove."""
    found = answer(status, body)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (401, "role Owner or Admin"),
        (402, "plan"),
        (403, "role Owner or Admin"),
        (404, "`api_host`"),
        (301, "redirects are not followed"),
        (308, "redirects are not followed"),
        (405, "proxy"),
        (418, "proxy"),
        (451, "proxy"),
    ],
)
def test_what_can_never_succeed_ends_the_job_with_a_cure(status: int, cure: str) -> None:
    """Refused credentials, wrong hosts and redirects say what to do, in the server's words and ours."""
    found = answer(status, {"error": "Not a valid\nservice account username"})
    assert isinstance(found, Refused)
    assert (found.reason, found.message) == (f"http_{status}", "Not a valid service account username")
    assert cure in found.cure


@pytest.mark.parametrize(
    ("headers", "secs"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": " 1.5 "}, 1.5),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "999999999"}, 999_999_999.0),
        ({"retry_after": LATER, "date": DATE}, 30.0),
        ({"retry_after": DATE, "date": LATER}, 0.0),
        ({"retry_after": LATER}, None),
        ({"retry_after": LATER, "date": "today"}, None),
        ({"retry_after": "Tue, 13 Jun 2023 15:08:30 -0000", "date": DATE}, None),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "1e9"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "\u0667"}, None),
        ({"retry_after": "9" * 400}, None),
        ({"retry_after": ""}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_in_every_form(headers: dict[str, str], secs: float | None, status: int) -> None:
    """Seconds, or a date against the answer's own clock; what cannot be read counts as absent."""
    found = answer(status, b"", **headers)
    assert isinstance(found, Retry)
    assert found.retry_after_secs == secs


@given(st.text(), st.text() | st.just(DATE))
def test_any_header_is_answered(retry_after: str, date: str) -> None:
    """No header raises, and no wait is negative."""
    found = answer(429, b"", retry_after=retry_after, date=date)
    assert isinstance(found, Retry)
    assert found.retry_after_secs is None or found.retry_after_secs >= 0


def test_the_servers_words_are_kept_short() -> None:
    """A whole page of HTML does not land in every log and dead letter."""
    for found in (answer(400, b"x" * 9999), answer(401, {"error": "y" * 9999}), answer(400, failed("z" * 9999))):
        assert isinstance(found, (Split, Refused))
        assert len(found.message) == 300
    partly = answer(400, failed(record(0, message="m" * 9999), imported=2))
    assert isinstance(partly, PartlyImported)
    assert len(partly.rejected[0].message) == 300


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.dictionaries(st.sampled_from(["index", "insert_id", "field", "message"]), st.integers(-1, 6) | JSON_VALUES)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "code": st.integers(0, 600),
        "error": JSON_VALUES,
        "status": JSON_VALUES,
        "num_records_imported": st.integers(-1, 6) | JSON_VALUES,
        "failed_records": st.lists(RECORDS | st.fixed_dictionaries({"index": st.integers(0, 5)}), max_size=4)
        | JSON_VALUES,
    },
)
BODIES = st.one_of(
    (ANSWERS | JSON_VALUES).map(lambda value: json.dumps(value).encode()),
    ANSWERS.flatmap(lambda value: st.integers(0, 80).map(lambda cut: json.dumps(value).encode()[:cut])),
    st.sampled_from([b"", b"0", b"1", b"<html></html>", b"[" * 9999, b'{"a":"\\ud800"}', b"1" * 5000, b"1e999"]),
    st.binary(),
)


@given(st.integers(100, 599), BODIES, st.integers(1, 6))
def test_every_answer_has_an_outcome(status: int, body: bytes, batch_size: int) -> None:
    """Every status with every body gives an outcome; what is named lies in the batch, once; imported only if proven."""
    found = read_import_answer(status, {}, body, batch_size)
    if isinstance(found, Imported):
        assert status == 200
        assert json.loads(body)["num_records_imported"] == batch_size
    elif isinstance(found, PartlyImported):
        indexes = [each.index for each in found.rejected]
        assert status == 400
        assert indexes == sorted(set(indexes)) != []
        assert 0 <= indexes[0] <= indexes[-1] < batch_size
        counted = json.loads(body).get("num_records_imported")
        assert found.rest_confirmed is (type(counted) is int and counted + len(indexes) == batch_size)
    elif isinstance(found, Miscounted):
        assert status == 200
        assert json.loads(body)["num_records_imported"] == found.imported != batch_size
    elif isinstance(found, Split):
        assert status in (400, 413)
        assert found.too_large is (status == 413)
    elif isinstance(found, Refused):
        assert 300 <= status < 500
        assert found.cure
    else:
        assert found.rate_limited is (status == 429)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"1", Imported()),
        (200, b"1\n", Imported()),
        (200, b'{"status": 1, "error": null}', Imported()),
        (200, b"0", Split("rejected", "0: no valid event")),
        (200, b'{"status": 0, "error": "event, missing"}', Split("rejected", "event, missing")),
        (200, b'{"status": true}', NOT_CONFIRMED),
        (200, b'{"status": false}', NOT_CONFIRMED),
        (200, b'{"status": "OK"}', NOT_CONFIRMED),
        (200, b'{"error": null}', NOT_CONFIRMED),
        (200, b"{}", NOT_CONFIRMED),
        (200, b"", NOT_CONFIRMED),
        (200, b"<html>", NOT_CONFIRMED),
        (400, b'{"error": "bad data"}', Split("rejected", "bad data")),
        (413, b"", Split("too_large", "", too_large=True)),
        (429, b"", Retry("http_429", rate_limited=True)),
        (503, b"", Retry("http_503")),
    ],
)
def test_each_answer_of_track(status: int, body: bytes, expected: Outcome) -> None:
    """`/track` says 1 or 0 for the whole batch, bare or verbose; anything else is not confirmed."""
    found = read_track_answer(status, {}, body)
    assert found == expected
    assert type(found) is type(expected)


@given(st.integers(100, 599), BODIES)
def test_every_answer_of_track_has_an_outcome(status: int, body: bytes) -> None:
    """Every status with every body gives an outcome, never a partial one."""
    found = read_track_answer(status, {}, body)
    assert isinstance(found, (Imported, Retry, Split, Refused))
    assert not isinstance(found, Imported) or 200 <= status < 300
