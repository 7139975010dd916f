"""A document gives the same row from the driver and from both forms of extended JSON."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson import json_util
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beam_mixpanel.core.json.exact import decode_exact
from beam_mixpanel.core.json.extended import plain, plain_row
from beam_mixpanel.core.json.values import to_json_value
from beam_mixpanel.core.rows.batches import RowList
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.databases.mongodb import Unreadable, row_of

FORMS = (json_util.CANONICAL_JSON_OPTIONS, json_util.RELAXED_JSON_OPTIONS)
LONG = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
KEYS = TEXT | st.sampled_from(["$date", "$oid", "$numberLong", "$ref", "$id", "$db", "$binary", "$type", "$code"])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    LONG.map(Int64),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(),
    TEXT,
    st.just("2024-02-29T00:00:00Z"),
    st.binary(max_size=9),
    st.builds(Binary, st.binary(min_size=16, max_size=16), st.sampled_from([3, 4, 5, 128])),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    LONG.map(DatetimeMS),
    st.datetimes(timezones=st.just(timezone.utc)).map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)),
    st.decimals(allow_nan=True).filter(lambda number: _fits(number)).map(Decimal128),
    st.builds(Regex, TEXT, st.sampled_from(["", "i", "imsux"])),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(Code, TEXT),
    st.builds(DBRef, TEXT, st.integers(0, 9), st.none() | TEXT.filter(bool)),
    st.just(MinKey()),
    st.just(MaxKey()),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def _fits(number: Decimal) -> bool:
    try:
        Decimal128(number)
    except ArithmeticError:
        return False
    return True


def _exported(document: dict[str, Any], options: Any) -> str:
    """Write a document as `mongoexport` does."""
    codecs = bson.CodecOptions(tz_aware=True, datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_AUTO)
    return json_util.dumps(bson.decode(bson.encode(document), codecs), json_options=options)


def _outcome(row: Any) -> bytes:
    """Return the event of a row, or the row as its dead letter keeps it."""
    mapping = EventMapping(event="E", time_column="at", keep_nulls=True)
    prepared = RowPreparer(mapping).prepare_rows(RowList([{**row, "at": 1_700_000_000}], "s", -1), 1_800_000_000_000)
    [outcome] = [*prepared.events.bodies, *(letter.event for letter in prepared.invalid)]
    return bytes(outcome)


@settings(deadline=None, max_examples=300)
@given(VALUES)
@example({"$date": "2024-02-29T00:00:00Z"})
@example({"$date": {"$date": "2024-02-29T00:00:00Z"}})
@example({"$numberLong": 5})
@example({"$ref": "c", "$id": None})
@example(1e21)
@example(-0.0)
@example(DatetimeMS(-62_135_596_800_001))
@example(DatetimeMS(253_402_300_800_000))
@example(DatetimeMS(-(2**63)))
def test_a_document_is_one_event_wherever_it_is_read(value: Any) -> None:
    """From the database and from an export in either form: the same row, event and `$insert_id`, byte for byte."""
    document = {"v": value}
    row = row_of(bson.encode(document))[1]
    assert not isinstance(row, Unreadable)
    expected = _outcome(row)
    for options in FORMS:
        exported = plain_row(decode_exact(_exported(document, options)))
        assert json.dumps(to_json_value(exported), default=str, sort_keys=True) == json.dumps(
            to_json_value(row), default=str, sort_keys=True
        )
        assert _outcome(exported) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"$date": "not a date"}',
        '{"$date": "2024-02-30T00:00:00Z"}',
        '{"$date": null}',
        '{"$date": true}',
        '{"$date": "2024-01-01T00:00:00Z", "note": 1}',
        '{"$oid": "5f"}',
        '{"$oid": 5}',
        '{"$numberLong": "9223372036854775808"}',
        '{"$numberLong": "five"}',
        '{"$numberInt": " 5"}',
        '{"$numberDouble": "one"}',
        '{"$numberDecimal": "1_0"}',
        '{"$binary": {"base64": "***", "subType": "00"}}',
        '{"$binary": {"base64": "AQ=="}}',
        '{"$binary": {"base64": "AQ==", "subType": "zz"}}',
        '{"$binary": "AQ=="}',
        '{"$uuid": "a0eebc99"}',
        '{"$timestamp": {"t": 1}}',
        '{"$timestamp": {"t": true, "i": 1}}',
        '{"$regularExpression": {"pattern": "a"}}',
        '{"$regex": "a"}',
        '{"$code": 1}',
        '{"$symbol": 1}',
        '{"$dbPointer": "x"}',
        '{"$minKey": 2}',
        '{"$maxKey": true}',
        '{"$undefined": false}',
        '{"$new": "form"}',
    ],
)
def test_what_only_looks_like_a_form_stays(text: str) -> None:
    """A value that a form does not have is kept as the object that it is."""
    value = decode_exact(text)
    assert plain(value) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"$date": "2024-02-29T12:34:56.789Z"}', datetime(2024, 2, 29, 12, 34, 56, 789_000, timezone.utc)),
        ('{"$date": "2024-02-29T12:34:56.7Z"}', datetime(2024, 2, 29, 12, 34, 56, 700_000, timezone.utc)),
        ('{"$date": "2024-02-29T12:34:56+0200"}', datetime(2024, 2, 29, 10, 34, 56, 0, timezone.utc)),
        ('{"$date": 1709210096789}', datetime(2024, 2, 29, 12, 34, 56, 789_000, timezone.utc)),
        ('{"$date": {"$numberLong": "1709210096789"}}', datetime(2024, 2, 29, 12, 34, 56, 789_000, timezone.utc)),
        ('{"$binary": "AQ==", "$type": "00"}', b"\1"),
        (
            '{"$binary": {"base64": "oO68mZwLTvi7bWu5vTgKEQ==", "subType": "04"}}',
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ('{"$uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}', "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ('{"$regex": "a.*", "$options": "xi"}', "/a.*/ix"),
        ('{"$code": "f()", "$scope": {"n": {"$numberInt": "1"}}}', {"code": "f()", "scope": {"n": 1}}),
        ('{"$symbol": "s"}', "s"),
        ('{"$undefined": true}', None),
        ('{"$dbPointer": {"$ref": "c", "$id": {"$oid": "5F5F5F5F5F5F5F5F5F5F5F5F"}}}', {"$ref": "c", "$id": "5f" * 12}),
        ('{"$numberDouble": "1E+21"}', 1e21),
        ("12345678901234567890.5", 12345678901234567890.5),
        ("9223372036854775808", 9223372036854775808),
    ],
)
def test_forms(text: str, value: Any) -> None:
    """Older forms, and those that a driver does not write."""
    assert plain(decode_exact(text)) == value


def test_a_document_that_cannot_be_decoded() -> None:
    """It is refused with its `_id` and its bytes, and without its values."""
    for document_id in ("k", 7, 2**40, 1.5, ObjectId(b"twelve bytes")):
        found, row = row_of(bson.encode({"_id": document_id, "vv": "secret"}).replace(b"\x02vv\0", b"\x99vv\0"))
        assert found == document_id
        assert isinstance(row, Unreadable)
        assert "secret" not in row.message
    for raw in (b"", b"\x05", b"\x08\0\0\0\x01abc", b"\x30\0\0\0\x02_id\0\xff\xff\xff\x7fab"):
        assert row_of(raw)[0] is None
        assert isinstance(row_of(raw)[1], Unreadable)


def test_text_that_is_not_utf_8() -> None:
    """It keeps its bytes as lone surrogates, by which its row alone is refused."""
    raw = bson.encode({"v": "ab"}).replace(b"ab\0", b"a\xff\0")
    assert row_of(raw) == (None, {"v": "a\udcff"})


def test_a_row_that_nests_too_deep_is_left_to_the_preparer() -> None:
    """It is no crash here."""
    row: Any = {}
    for _ in range(100_000):
        row = {"a": row}
    assert plain_row(row) == {"a": row["a"]}
