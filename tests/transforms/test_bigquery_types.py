"""Every type of BigQuery, as the Storage API and as an export give it, and the JSON that it becomes.

Run as a script, this writes the table of docs/bigquery.md anew.
"""

from __future__ import annotations

import io
import re
from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import msgspec
import pyarrow as pa
import pytest

from beam_mixpanel.core.events.prepare import Preparation
from beam_mixpanel.core.rows.arrow import rows_of
from beam_mixpanel.core.rows.batches import RowBatch, RowList
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping

DOCUMENT = Path(__file__).parents[2] / "docs" / "bigquery.md"
NOW_MS = 1_764_000_000_000
UTC = timezone.utc


def _avro(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


def _record(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": ["null", kind]} for field, kind in fields.items()],
    }


def _marked(name: str, kind: pa.DataType, mark: str) -> pa.Field:
    return pa.field(name, kind, metadata={"ARROW:extension:name": f"google:sqlType:{mark}"})


class Case(NamedTuple):
    """A value of a type.

    Attributes:
      title: of the type.
      example: the value as GoogleSQL shows it; empty where that is its JSON.
      arrow: the field that the Storage API gives, without its name.
      value: what is in it.
      avro: the schema that an export has.
      exported: what is in it.
      json: what a read through the Storage API becomes; None for no property.
      from_export: what an export becomes, where that differs; `=` where not.
    """

    title: str
    example: str
    arrow: pa.DataType | pa.Field
    value: Any
    avro: Any
    exported: Any
    json: str | None
    from_export: str | None = "="


_MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123456, UTC)
_NUMERIC = Decimal("-12345678901234567890123456789.123456789")
_BIGNUMERIC = Decimal("12345678901234567890123456789012345678.00000000000000000000000000000000000001")
_BIG = 9_223_372_036_854_775_807
_OBJECT = '{"b":[1,null],"a":12345678901234567890}'
_JSON = _marked("value", pa.string(), "json")
_AVRO_JSON = _avro("string", sqlType="JSON")
_DAYS = _record("Days", start=_avro("int", logicalType="date"), end=_avro("int", logicalType="date"))

CASES = [
    Case("STRING", "", pa.string(), 'Zoë "🙂"', "string", 'Zoë "🙂"', '"Zoë \\"🙂\\""'),
    Case("BYTES", "b'\\x00\\xff'", pa.binary(), b"\x00\xff", "bytes", b"\x00\xff", '"AP8="'),
    Case("INT64", "", pa.int64(), _BIG, "long", _BIG, str(_BIG)),
    Case("FLOAT64", "", pa.float64(), 0.1, "double", 0.1, "0.1"),
    Case("FLOAT64", "nan", pa.float64(), float("nan"), "double", float("nan"), None),
    Case("FLOAT64", "inf", pa.float64(), float("inf"), "double", float("inf"), '"Infinity"'),
    Case(
        "NUMERIC", "", pa.decimal128(38, 9), _NUMERIC,
        _avro("bytes", logicalType="decimal", precision=38, scale=9), _NUMERIC, str(_NUMERIC),
    ),
    Case(
        "NUMERIC", "1.5", pa.decimal128(38, 9), Decimal("1.5"),
        _avro("bytes", logicalType="decimal", precision=38, scale=9), Decimal("1.5"), "1.500000000",
    ),
    Case(
        "BIGNUMERIC", "", pa.decimal256(76, 38), _BIGNUMERIC,
        _avro("bytes", logicalType="decimal", precision=77, scale=38), _BIGNUMERIC, str(_BIGNUMERIC),
    ),
    Case("BOOL", "", pa.bool_(), True, "boolean", True, "true"),
    Case(
        "TIMESTAMP", "2024-05-06 07:08:09.123456+00", pa.timestamp("us", "UTC"), _MOMENT,
        _avro("long", logicalType="timestamp-micros"), _MOMENT, '"2024-05-06T07:08:09.123456"',
    ),
    Case(
        "TIMESTAMP", "0001-01-01 00:00:00+00", pa.timestamp("us", "UTC"), datetime(1, 1, 1, tzinfo=UTC),
        _avro("long", logicalType="timestamp-micros"), datetime(1, 1, 1, tzinfo=UTC), '"0001-01-01T00:00:00"',
    ),
    Case(
        "DATE", "", pa.date32(), date(2024, 5, 6), _avro("int", logicalType="date"), date(2024, 5, 6),
        '"2024-05-06"',
    ),
    Case(
        "TIME", "", pa.time64("us"), time(7, 8, 9, 123456), _avro("long", logicalType="time-micros"),
        time(7, 8, 9, 123456), '"07:08:09.123456"',
    ),
    Case(
        "DATETIME", "2024-05-06 07:08:09.123456", _marked("value", pa.timestamp("us"), "datetime"),
        _MOMENT.replace(tzinfo=None), _avro("string", logicalType="datetime"), "2024-05-06T07:08:09.123456",
        '"2024-05-06T07:08:09.123456"',
    ),
    Case(
        "GEOGRAPHY", "", _marked("value", pa.string(), "geography"), "POINT(2.35 48.85)",
        _avro("string", sqlType="GEOGRAPHY"), "POINT(2.35 48.85)", '"POINT(2.35 48.85)"',
    ),
    Case("JSON", _OBJECT, _JSON, _OBJECT, _AVRO_JSON, _OBJECT, '{"a":12345678901234567890,"b":[1,null]}'),
    Case("JSON", '"text"', _JSON, '"text"', _AVRO_JSON, '"text"', '"text"'),
    Case("JSON", "null", _JSON, "null", _AVRO_JSON, "null", None),
    Case(
        "INTERVAL", "1-2 3 4:5:6.789", pa.month_day_nano_interval(), pa.MonthDayNano([14, 3, 14_706_789_000_000]),
        _avro("string", sqlType="INTERVAL"), "1-2 3 4:5:6.789", '"1-2 3 4:5:6.789"',
    ),
    Case(
        "RANGE&lt;DATE&gt;", "[2024-05-06, UNBOUNDED)", pa.struct([("start", pa.date32()), ("end", pa.date32())]),
        {"start": date(2024, 5, 6), "end": None}, _DAYS, {"start": date(2024, 5, 6), "end": None},
        '{"end":null,"start":"2024-05-06"}',
    ),
    Case("ARRAY&lt;INT64&gt;", "", pa.list_(pa.int64()), [1, _BIG], _avro("array", items="long"), [1, _BIG],
         f"[1,{_BIG}]"),
    Case("ARRAY&lt;INT64&gt;", "", pa.list_(pa.int64()), [], _avro("array", items="long"), [], "[]"),
    Case(
        "ARRAY&lt;JSON&gt;", "", _marked("value", pa.list_(pa.string()), "json"), ["1", '{"a":true}'],
        _avro("array", items=_AVRO_JSON), ["1", '{"a":true}'], '[1,{"a":true}]', '["1","{\\"a\\":true}"]',
    ),
    Case(
        "STRUCT&lt;n NUMERIC, at TIMESTAMP&gt;", "(0.5, 2024-05-06 07:08:09.123456+00)",
        pa.struct([("n", pa.decimal128(38, 9)), ("at", pa.timestamp("us", "UTC"))]),
        {"n": Decimal("0.5"), "at": _MOMENT},
        _record("Both", n=_avro("bytes", logicalType="decimal", precision=38, scale=9),
                at=_avro("long", logicalType="timestamp-micros")),
        {"n": Decimal("0.5"), "at": _MOMENT}, '{"at":"2024-05-06T07:08:09.123456","n":0.500000000}',
    ),
    Case(
        "ARRAY&lt;STRUCT&lt;k STRING, v JSON&gt;&gt;", '[("x", {"a": 1})]',
        pa.list_(pa.struct([pa.field("k", pa.string()), _marked("v", pa.string(), "json")])),
        [{"k": "x", "v": '{"a":1}'}], _avro("array", items=_record("Pair", k="string", v=_AVRO_JSON)),
        [{"k": "x", "v": '{"a":1}'}], '[{"k":"x","v":{"a":1}}]', '[{"k":"x","v":"{\\"a\\":1}"}]',
    ),
    Case("any", "NULL", pa.int64(), None, "long", None, None),
]  # fmt: skip
_NAMES = [f"{case.title}-{number}" for number, case in enumerate(CASES)]


class _Written(msgspec.Struct):
    properties: dict[str, msgspec.Raw]


def _property(done: Preparation) -> str | None:
    """Give the JSON of the property `value`; None where the event has none."""
    assert done.invalid == []
    [event] = done.events
    value = msgspec.json.decode(event.body, type=_Written).properties.get("value")
    return None if value is None else bytes(value).decode()


def _batch(case: Case) -> pa.RecordBatch:
    field = case.arrow.with_name("value") if isinstance(case.arrow, pa.Field) else pa.field("value", case.arrow)
    schema = pa.schema([("time", pa.int64()), field])
    return pa.RecordBatch.from_arrays([pa.array([NOW_MS]), pa.array([case.value], field.type)], schema=schema)


def _mapping(case: Case, *, from_export: bool) -> EventMapping:
    json_columns = ("value",) if from_export and case.title == "JSON" else ()
    return EventMapping(event="E", time_column="time", json_columns=json_columns)


def _exported_row(case: Case) -> dict[str, Any]:
    """Write the value to an Avro file as an export would, and read it as Beam does."""
    schema = {
        "type": "record",
        "name": "Root",
        "fields": [{"name": "time", "type": ["null", "long"]}, {"name": "value", "type": ["null", case.avro]}],
    }
    file = io.BytesIO()
    fastavro.writer(file, schema, [{"time": NOW_MS, "value": case.exported}])
    file.seek(0)
    [row] = fastavro.reader(file)
    assert isinstance(row, dict)
    return row


@pytest.mark.parametrize("case", CASES, ids=_NAMES)
def test_arrow_values_become_json(case: Case) -> None:
    """What the Storage API gives becomes the JSON of the table, column by column and row by row."""
    preparer = RowPreparer(_mapping(case, from_export=False))
    batch = RowBatch(_batch(case), "bigquery", -1)
    by_column = preparer.prepare_batch(batch, NOW_MS)
    by_row = preparer.prepare_rows(RowList(list(rows_of(batch.batch)), "bigquery", -1), NOW_MS)
    assert _property(by_column) == case.json
    assert by_column.events[0].body == by_row.events[0].body


@pytest.mark.parametrize("case", CASES, ids=_NAMES)
def test_exported_values_become_json(case: Case) -> None:
    """What an export gives becomes the same JSON, but for what the table says; JSON columns have to be named."""
    preparer = RowPreparer(_mapping(case, from_export=True))
    done = preparer.prepare_rows(RowList([_exported_row(case)], "bigquery", -1), NOW_MS)
    assert _property(done) == (case.json if case.from_export == "=" else case.from_export)


def _table() -> str:
    lines = ["| BigQuery | value | JSON | from an export |", "|---|---|---|---|"]
    for case in CASES:
        json = "no property" if case.json is None else f"`{case.json}`"
        example = f"`{case.example}`" if case.example else json
        different = "the same" if case.from_export == "=" else f"`{case.from_export}`"
        lines.append(f"| {case.title} | {example} | {json} | {different} |")
    return "\n".join(lines)


_PLACE = re.compile(r"(<!-- types: [^\n]*-->\n\n)(.*?)(\n\n)", re.DOTALL)


def test_the_docs_show_these_types() -> None:
    """The table in docs/bigquery.md is this file's; run this file to write it anew."""
    found = _PLACE.search(DOCUMENT.read_text())
    assert found
    assert found[2] == _table()


def test_every_type_of_bigquery_is_here() -> None:
    """The list of types is complete, as far as Google's client knows them."""
    enums = pytest.importorskip("google.cloud.bigquery.enums", reason="needs the extra gcp")
    shown = set(re.findall(r"[A-Z]\w+", " ".join(case.title for case in CASES)))
    known = {kind.value for kind in enums.SqlTypeNames} | {kind.value for kind in enums.StandardSqlTypeNames}
    old_names = {"INTEGER", "FLOAT", "BOOLEAN", "RECORD", "TYPE_KIND_UNSPECIFIED", "FOREIGN"}
    assert known - shown - old_names == set()


if __name__ == "__main__":
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(_PLACE.sub(lambda found: found[1] + _table() + found[3], text, count=1))
