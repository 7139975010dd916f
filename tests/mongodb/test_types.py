"""Which JSON each type of BSON becomes: docs/mongodb.md has the table, and this test makes it.

After a wanted change: `UPDATE_DOCS=1 python -m pytest tests/mongodb/test_types.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bson import json_util
from bson.codec_options import DatetimeConversion
from pymongo.database import Database

from beam_mixpanel.core.json.exact import decode_exact
from beam_mixpanel.core.json.extended import plain_row
from beam_mixpanel.core.rows.batches import RowList
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.transforms.read_mongodb import ReadFromMongoDBBatched

DOCS = Path(__file__).parents[2] / "docs" / "mongodb.md"

TYPES = [
    ("ObjectId", '{"$oid": "507f1f77bcf86cd799439011"}', '"507f1f77bcf86cd799439011"'),
    ("string", '"Zoë 🚀 \\"q\\""', '"Zoë 🚀 \\"q\\""'),
    ("bool", "true", "true"),
    ("int", '{"$numberInt": "-5"}', "-5"),
    ("long", '{"$numberLong": "9223372036854775807"}', "9223372036854775807"),
    ("double", '{"$numberDouble": "0.1"}', "0.1"),
    ("double", '{"$numberDouble": "NaN"}', None),
    ("double", '{"$numberDouble": "-Infinity"}', '"-Infinity"'),
    ("decimal", '{"$numberDecimal": "1234567890123456789.10"}', "1234567890123456789.10"),
    ("decimal", '{"$numberDecimal": "NaN"}', None),
    ("date", '{"$date": "2024-02-29T12:34:56.789Z"}', '"2024-02-29T12:34:56.789000"'),
    ("date", '{"$date": {"$numberLong": "-62198755200000"}}', '"-0001-01-01T00:00:00.000"'),
    ("date", '{"$date": {"$numberLong": "568971820800000"}}', '"20000-01-01T00:00:00.000"'),
    ("object", '{"b": [1], "a": {"$oid": "507f1f77bcf86cd799439011"}}', '{"a":"507f1f77bcf86cd799439011","b":[1]}'),
    ("array", '[1, null, {"k": "ü"}]', '[1,null,{"k":"ü"}]'),
    ("binData", '{"$binary": {"base64": "3q2+7w==", "subType": "00"}}', '"3q2+7w=="'),
    (
        "binData, a UUID",
        '{"$binary": {"base64": "oO68mZwLTvi7bWu5vTgKEQ==", "subType": "04"}}',
        '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"',
    ),
    (
        "binData, an old UUID",
        '{"$binary": {"base64": "oO68mZwLTvi7bWu5vTgKEQ==", "subType": "03"}}',
        '"oO68mZwLTvi7bWu5vTgKEQ=="',
    ),
    ("timestamp", '{"$timestamp": {"t": 1709210096, "i": 2}}', '{"i":2,"t":1709210096}'),
    ("regex", '{"$regularExpression": {"pattern": "^a.*", "options": "i"}}', '"/^a.*/i"'),
    ("javascript", '{"$code": "f()"}', '"f()"'),
    ("javascriptWithScope", '{"$code": "f()", "$scope": {"n": 1}}', '{"code":"f()","scope":{"n":1}}'),
    ("symbol", '{"$symbol": "s"}', '"s"'),
    ("dbPointer", '{"$dbPointer": {"$ref": "c", "$id": 1}}', '{"$id":1,"$ref":"c"}'),
    ("DBRef", '{"$ref": "c", "$id": 1}', '{"$id":1,"$ref":"c"}'),
    ("minKey, maxKey", '{"$minKey": 1}', '"MinKey"'),
    ("undefined", '{"$undefined": true}', None),
    ("null", "null", None),
    ("looks like a date", '{"$date": "soon"}', '{"$date":"soon"}'),
]
NOT_HERE = {"javascriptWithScope", "symbol", "dbPointer", "undefined"}
"""Types that the tests' server does not store; files alone are read."""


class _Event(msgspec.Struct):
    properties: dict[str, msgspec.Raw]


def _json(row: dict[str, Any]) -> str | None:
    """Return the JSON of the property; None where it is left out."""
    mapping = EventMapping(event="E", time_column="at")
    prepared = RowPreparer(mapping).prepare_rows(RowList([{**row, "at": 1_700_000_000}], "s", -1), 1_800_000_000_000)
    assert not prepared.invalid
    [event] = prepared.events.bodies
    properties = msgspec.json.decode(event, type=_Event).properties
    return bytes(properties["v"]).decode() if "v" in properties else None


@pytest.mark.parametrize(("kind", "text", "expected"), TYPES)
def test_types_of_files(kind: str, text: str, expected: str | None) -> None:
    """Extended JSON, as it is in a file."""
    assert _json(plain_row(decode_exact(f'{{"v": {text}}}'))) == expected


def test_types_of_a_server(reference: str, database: Database[Any]) -> None:
    """The same values, stored in a server and read from it."""
    stored = [(kind, text, expected) for kind, text, expected in TYPES if kind not in NOT_HERE]
    for number, (_, text, _) in enumerate(stored):
        value = (
            json_util.loads(
                text,
                json_options=json_util.JSONOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO),
            )
            if "soon" not in text
            else {"$date": "soon"}
        )
        database.orders.insert_one({"_id": number, "v": value})
    source = ReadFromMongoDBBatched(reference, database=database.name, collection="orders", partitions=1)._source
    rows = [row for rows in source.read(source.get_range_tracker()) for row in rows.rows]
    assert len(rows) == len(stored)
    for row, (kind, text, expected) in zip(rows, stored, strict=True):
        assert _json({"v": row["v"]} if "v" in row else {}) == expected, (kind, text)


def test_the_table_is_that_of_the_docs() -> None:
    """docs/mongodb.md shows these types, and no others."""
    lines = ["| type | extended JSON | property |", "|---|---|---|"]
    for kind, text, expected in TYPES:
        shown = "left out" if expected is None else f"`{expected}`"
        lines.append(f"| {kind} | `{text}` | {shown} |")
    docs = DOCS.read_text()
    before, marker, rest = docs.partition("<!-- types -->\n")
    table, end, after = rest.partition("\n<!-- end -->")
    if os.environ.get("UPDATE_DOCS") == "1":
        DOCS.write_text(before + marker + "\n".join(lines) + end + after)
    else:
        assert table.splitlines() == lines
