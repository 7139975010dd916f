"""Column by column and row by row give the same bytes, the same dead letters and the same counts."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import CONTENT_IDS
from beam_mixpanel.core.events.prepare import EventBlock, Preparation
from beam_mixpanel.core.formats import csv_types
from beam_mixpanel.core.rows import by_row as row_prepare
from beam_mixpanel.core.rows.arrow import batch_of, rows_of
from beam_mixpanel.core.rows.batches import RowBatch, RowList
from beam_mixpanel.core.rows.by_column import ColumnarPreparer
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000

_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
_NAMES = st.sampled_from(["Sign Up", "Page View", "", "  ", "x" * 255, "x" * 256, "Zoë 😀"])
_IDS = st.one_of(st.sampled_from(["", "undefined", "NULL", "a" * 256, "u-1"]), _TEXTS)
_INSERT_IDS = st.one_of(
    st.text(string.ascii_letters + string.digits + "-", max_size=40), st.just("a b"), st.just("nil")
)
_MOMENTS = st.datetimes(datetime(1969, 1, 1), datetime(2027, 1, 1))
_EPOCHS = st.one_of(
    st.integers(NOW_MS - 10 * DAY_MS, NOW_MS),
    st.integers(NOW_MS // 1000 - 1000, NOW_MS // 1000),
    st.integers(-10, 40_000_000_000),
    st.integers(0, 2**62),
)
_TIME_TEXTS = st.one_of(
    _MOMENTS.map(lambda moment: moment.isoformat()),
    _MOMENTS.map(lambda moment: moment.isoformat(sep=" ", timespec="milliseconds") + "Z"),
    _MOMENTS.map(lambda moment: moment.isoformat(timespec="seconds") + "+05:30"),
    _MOMENTS.map(lambda moment: moment.date().isoformat()),
    _EPOCHS.map(str),
    st.sampled_from(["", "soon", "2024-02-30", "2024-01-01T24:00:00", "0x1F", " 2024-01-01 00:00:00 ", "1e12"]),
)
_NESTED = st.dictionaries(st.sampled_from("abc"), st.integers(-5, 5), max_size=3)

_TIME_COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), _EPOCHS),
    (pa.string(), _TIME_TEXTS),
    (pa.string(), _MOMENTS.map(lambda moment: moment.isoformat())),
    (pa.float64(), st.floats(0, 2e12)),
    (pa.timestamp("us"), _MOMENTS),
    (pa.timestamp("ns"), _MOMENTS),
    (pa.timestamp("ms", "UTC"), _MOMENTS.map(lambda moment: moment.replace(microsecond=0, tzinfo=timezone.utc))),
    (pa.timestamp("us", "Europe/Paris"), _MOMENTS.map(lambda moment: moment.replace(tzinfo=timezone.utc))),
    (pa.date32(), st.dates(datetime(1960, 1, 1).date(), datetime(2027, 1, 1).date())),
]
_JSON_TEXTS = st.one_of(
    st.sampled_from(
        [
            "1",
            "-0.5",
            "12345678901234567890.12345678901234567890",
            "1e400",
            "9" * 5000,
            "null",
            '"ü"',
            "[]",
            '{"b":1.50}',
            '{"a":[[[[1]]]]}',
            '"\\ud800"',
            "no json",
            "",
            '"Infinity"',
            "[1e999999999]",
        ]
    ),
    st.recursive(st.one_of(st.none(), st.integers(), st.text()), st.lists).map(json.dumps),
)
_PROPERTY_COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), _TEXTS),
    (pa.large_string(), _TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", 'b"', "ü"])),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.bool_(), st.booleans()),
    (pa.null(), st.none()),
    (pa.decimal128(20, 4), st.decimals(-(10**12), 10**12, places=4)),
    (pa.timestamp("us", "UTC"), _MOMENTS.map(lambda moment: moment.replace(tzinfo=timezone.utc))),
    (pa.timestamp("ns"), _MOMENTS),
    (pa.timestamp("s"), _MOMENTS.map(lambda moment: moment.replace(microsecond=0))),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas(-timedelta(days=9), timedelta(days=9))),
    (pa.binary(), st.binary(max_size=9)),
    (pa.list_(pa.int64()), st.one_of(st.lists(st.integers(-5, 5), max_size=4), st.just([1] * 256))),
    (pa.struct([(name, pa.int64()) for name in "abc"]), _NESTED),
    (pa.map_(pa.string(), pa.int64()), _NESTED.map(lambda fields: list(fields.items()))),
    (pa.json_(), _JSON_TEXTS),
    (pa.list_(pa.list_(pa.list_(pa.list_(pa.int64())))), st.sampled_from([[], [[[]]], [[[[1]]]]])),
]
_ID_COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), _IDS),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats()),
    (pa.decimal128(25, 3), st.decimals(-(10**20), 10**20, places=3)),
]


_BY_RULE = {b"typed": b"by_rule"}
_FIELDS = st.one_of(
    st.sampled_from(["true", "1.50", "-7", "0", "007", "", "1e5", "123456789012345", "1234567890123456", "ü", "S"]),
    st.integers(-(10**18), 10**18).map(str),
    st.decimals(-(10**6), 10**6, places=2).map(str),
)
_TIME_FIELDS = st.sampled_from(
    ["1700000000", "1700000000123", "1700000000.5", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20", "true", "", "x"]
)


@st.composite
def _csv_batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Draw rows of a CSV file: text, typed by rule or as the user says; time and ids mostly of one kind."""
    size = draw(st.integers(1, 6))

    def column(*choices: st.SearchStrategy[Any]) -> pa.Array:
        value = draw(st.sampled_from([*choices, st.one_of(*choices, st.none())]))
        fields = draw(st.lists(value, min_size=size, max_size=size))
        return pa.array([field or None for field in fields], pa.string())

    columns = {
        "name": column(_NAMES, _FIELDS),
        "at": column(_TIME_FIELDS, st.just("1700000000"), st.just("2023-11-14T22:13:20Z")),
        "user": column(_IDS, _FIELDS, st.integers(0, 10**16).map(str)),
        "key": column(_INSERT_IDS, _FIELDS, st.integers(0, 10**16).map(str)),
        "p": column(_TEXTS, _FIELDS),
        "q": column(st.integers(-(10**15), 10**15).map(str), st.sampled_from(["true", "false"]), _FIELDS),
    }
    numbers = st.one_of(st.integers().map(str), st.sampled_from(["1.50", "1e+20", "0.1", "9" * 400, "1E400", "-0"]))
    numbers_as_json, _ = csv_types.json_numbers(column(numbers))
    fields = [pa.field(name, pa.string(), metadata=_BY_RULE) for name in columns]
    fields.append(pa.field("n", pa.string(), metadata={b"typed": b"number"}))
    return pa.RecordBatch.from_arrays([*columns.values(), numbers_as_json], schema=pa.schema(fields))


@st.composite
def _batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Draw rows with a column for each part and some properties."""
    size = draw(st.integers(1, 6))

    def column(kind: pa.DataType, values: st.SearchStrategy[Any], *, rarely_null: bool = True) -> pa.Array:
        value = st.one_of(values, values, values, st.none()) if rarely_null else values
        values = draw(st.lists(value, min_size=size, max_size=size))
        if kind == pa.json_():
            return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.string()))
        return pa.array(values, kind)

    columns = {
        "name": column(pa.string(), _NAMES),
        "at": column(*draw(st.sampled_from(_TIME_COLUMNS))),
        "user": column(*draw(st.sampled_from(_ID_COLUMNS))),
        "key": column(*draw(st.sampled_from([(pa.string(), _INSERT_IDS), (pa.int64(), st.integers(0, 2**62))]))),
    }
    for number, (kind, values) in enumerate(draw(st.lists(st.sampled_from(_PROPERTY_COLUMNS), max_size=5))):
        columns[f"p{number} ü"] = column(kind, values)
    return pa.record_batch(columns)


_MAPPINGS = st.fixed_dictionaries(
    {
        "event": st.sampled_from([None, "Fixed"]),
        "distinct_id_column": st.just("user"),
        "device_id_column": st.sampled_from([None, "user"]),
        "insert_id_columns": st.sampled_from([(), ("key",), ("key", "user"), ("name", "at")]),
        "exclude": st.sampled_from([(), ("p0*",)]),
        "tags": st.sampled_from([{}, {"tag": 1, "also": {"z": 1, "a": [None]}}]),
        "only_events": st.sampled_from([(), ("S*",)]),
        "skip_events": st.sampled_from([(), ("Page View",)]),
        "from_time": st.sampled_from([None, "2025-01-01"]),
    }
).map(lambda given: EventMapping(**given, time_column="at", event_column=None if given["event"] else "name"))


def _in_order(done: Preparation) -> list[tuple[str, str]]:
    return sorted(
        [(event.origin, event.body.decode()) for event in done.events]
        + [
            (letter.source, f"{letter.stage} {letter.reason} {letter.field} {letter.event!r}")
            for letter in done.invalid
        ]
    )


@settings(max_examples=600, deadline=None)
@given(
    st.one_of(_batches(), _csv_batches()),
    _MAPPINGS,
    st.sampled_from([timezone.utc, ZoneInfo("Europe/Paris")]),
    st.sampled_from([None, DAY_MS]),
)
def test_both_ways_agree(batch: pa.RecordBatch, mapping: EventMapping, zone: Any, max_age_ms: int | None) -> None:
    """Whatever the types and values, bytes, dead letters with their places, and counts are equal."""
    form = Form(CONTENT_IDS, zone, max_age_ms)
    preparer = RowPreparer(mapping, form)
    assert ColumnarPreparer.can_prepare(mapping.bind(batch.schema.names), batch.schema, form)
    columnar = preparer.prepare_batch(RowBatch(batch, "file", 100), NOW_MS)
    by_row = Preparation()
    for number, row in enumerate(rows_of(batch), 100):
        by_row.add(preparer.prepare_object(row, NOW_MS, source=f"file#{number}"))
    assert _in_order(columnar) == _in_order(by_row)
    assert columnar.read == by_row.read == batch.num_rows
    assert (columnar.filtered, columnar.repaired, columnar.past_retention) == (
        by_row.filtered,
        by_row.repaired,
        by_row.past_retention,
    )


_JSON_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": _NAMES,
            "at": st.sampled_from([1_700_000_000, "2023-11-14", None, True]),
            "user": st.one_of(_IDS, st.integers(), st.floats()),
            "key": st.one_of(_INSERT_IDS, st.integers()),
            "p": st.one_of(_TEXTS, st.integers(), st.none(), st.lists(st.booleans()), st.just("\ud800")),
            "q": st.sampled_from([1.5, 1.0, None, float("nan")]),
        },
        optional={"more": st.datetimes(timezones=st.sampled_from([None, timezone.utc])), "": st.binary()},
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(_JSON_ROWS, _batches().map(rows_of)), _MAPPINGS, st.sampled_from([None, DAY_MS]))
def test_rows_together_are_rows_one_by_one(rows: list[Any], mapping: EventMapping, max_age_ms: int | None) -> None:
    """Whether rows are alike and go column by column, or not."""
    preparer = RowPreparer(mapping, Form(CONTENT_IDS, timezone.utc, max_age_ms))
    with patch.object(row_prepare, "_FEWEST_BY_COLUMN", 1):
        together = preparer.prepare_rows(RowList(rows, "file", 100), NOW_MS)
    by_row = Preparation()
    for number, row in enumerate(rows, 100):
        by_row.add(preparer.prepare_object(row, NOW_MS, source=f"file#{number}"))
    assert _in_order(together) == _in_order(by_row)
    assert (together.read, together.filtered, together.repaired, together.past_retention) == (
        by_row.read,
        by_row.filtered,
        by_row.repaired,
        by_row.past_retention,
    )


@settings(max_examples=200, deadline=None)
@given(_JSON_ROWS, st.lists(st.sampled_from([b"", b"no json", b"[]"]), max_size=2), _MAPPINGS)
def test_lines_together_are_lines_one_by_one(rows: list[Any], others: list[bytes], mapping: EventMapping) -> None:
    """With their offsets, among lines that are no rows; dead letters hold the line as it was."""
    encode = msgspec.json.Encoder(decimal_format="number").encode
    lines = [encode({key: value for key, value in row.items() if value != "\ud800"}) + b" " for row in rows]
    lines[1:1] = others
    block = EventBlock(b"\n".join(lines), "file", 50)
    preparer = RowPreparer(mapping, Form(CONTENT_IDS, timezone.utc, None))
    with patch.object(row_prepare, "_FEWEST_BY_COLUMN", 1):
        together = preparer.prepare_block(block, NOW_MS)
    one_by_one = Preparation()
    for offset, line in block.lines():
        one_by_one.add(preparer.prepare_text(line, NOW_MS, source=f"file@{offset}"))
    assert _in_order(together) == _in_order(one_by_one)
    assert together.read == one_by_one.read


def test_rows_that_are_alike_go_column_by_column() -> None:
    """As rows of JSON and Avro usually are."""
    assert batch_of([{"a": 1, "b": "x"}, {"a": None, "b": "y"}]) == pa.record_batch({"a": [1, None], "b": ["x", "y"]})
    for others in ({"a": 1}, {"b": "x", "a": 1}, {"a": 1.5, "b": "x"}, {"a": 2**63, "b": "x"}, {"a": 1, "b": []}):
        assert batch_of([{"a": 1, "b": "x"}, others]) is None


def _one(batch: pa.RecordBatch, **mapping: Any) -> dict[str, Any]:
    preparer = RowPreparer(EventMapping(**{"event": "A", "time_column": "time"} | mapping))
    done = preparer.prepare_batch(RowBatch(batch, "file", 0), NOW_MS)
    assert done.invalid == []
    event: dict[str, Any] = json.loads(done.events[0].body, parse_float=Decimal)
    return event


def test_values_arrive_exactly() -> None:
    """Large integers, decimals, microseconds in UTC, nested data and text keep every digit and sign."""
    moment = datetime(2024, 5, 6, 7, 8, 9, 123456, timezone(timedelta(hours=2)))
    batch = pa.record_batch(
        {
            "time": pa.array([NOW_MS]),
            "big": pa.array([2**63 + 1], pa.uint64()),
            "price": pa.array([Decimal("12345678901234.5000")], pa.decimal128(20, 4)),
            "moment": pa.array([moment], pa.timestamp("us", "Europe/Paris")),
            "nested": pa.array([{"b": [1, None], "a": "ü"}]),
            "nothing": pa.array([None], pa.string()),
        }
    )
    assert _one(batch)["properties"] | {"$insert_id": ""} == {
        "$insert_id": "",
        "time": NOW_MS,
        "big": 2**63 + 1,
        "price": Decimal("12345678901234.5000"),
        "moment": "2024-05-06T05:08:09.123456",
        "nested": {"a": "ü", "b": [1, None]},
    }


@pytest.mark.parametrize("rows", [1, 3])
def test_a_row_that_breaks_a_rule_costs_no_other(rows: int) -> None:
    """The others are prepared; the bad one's letter holds the row and says where it stood."""
    batch = pa.record_batch({"time": pa.array([None] + [NOW_MS] * (rows - 1), pa.int64()), "n": pa.array(range(rows))})
    preparer = RowPreparer(EventMapping(event="A"))
    done = preparer.prepare_batch(RowBatch(batch, "table", 7), NOW_MS)
    assert [(letter.reason, letter.source, letter.event) for letter in done.invalid] == [
        ("time_missing", "table#7", b'{"time":null,"n":0}')
    ]
    assert [event.origin for event in done.events] == [f"table#{7 + place}" for place in range(1, rows)]


def _json_field(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, metadata={"ARROW:extension:name": "google:sqlType:json"})


def test_marked_json_is_read_both_ways_alike() -> None:
    """Fields that BigQuery marks as JSON hold what the text says, at any depth; what is no JSON stays text."""
    texts = ['{"b":1.1,"a":true}', '"t"', "12345678901234567890", "null", "", "{", "[" * 5000, '{"a":{"b":[1]}}', None]
    pair = pa.struct([_json_field("j", pa.string()), pa.field("s", pa.string())])
    fields = [
        pa.field("time", pa.int64()),
        _json_field("json", pa.string()),
        _json_field("list", pa.list_(pa.string())),
        pa.field("records", pa.list_(pair)),
    ]
    columns = [
        pa.array([NOW_MS] * len(texts)),
        pa.array(texts),
        pa.array([[text] for text in texts[:-1]] + [None], fields[2].type),
        pa.array([[{"j": text, "s": "1"}, None] for text in texts], fields[3].type),
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    mapping = EventMapping(event="A")
    assert ColumnarPreparer.can_prepare(mapping.bind(batch.schema.names), batch.schema, Form())
    preparer = RowPreparer(mapping)
    by_column = preparer.prepare_batch(RowBatch(batch, "table", 0), NOW_MS)
    by_row = preparer.prepare_rows(RowList(list(rows_of(batch)), "table", 0), NOW_MS)
    assert _in_order(by_column) == _in_order(by_row)
    [first, second, *_] = [json.loads(event.body, parse_float=Decimal)["properties"] for event in by_column.events]
    value = {"b": Decimal("1.1"), "a": True}
    assert (first["json"], first["list"], first["records"]) == (value, [value], [{"j": value, "s": "1"}, None])
    assert second["json"] == "t"


def test_marked_json_serves_as_an_id_both_ways_alike() -> None:
    """Ids, names and times that are JSON are read, too."""
    fields = [_json_field(name, pa.string()) for name in ("event", "time", "distinct_id", "$insert_id")]
    columns = [pa.array([text]) for text in ('"A"', str(NOW_MS), "7", '"one-id"')]
    batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    done = RowPreparer(EventMapping()).prepare_batch(RowBatch(batch, "table", 0), NOW_MS)
    assert done.invalid == []
    assert json.loads(done.events[0].body) == {
        "event": "A",
        "properties": {"time": NOW_MS, "distinct_id": "7", "$insert_id": "one-id"},
    }


_FAR = 2**62
_NOT_UTF8 = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
_ODD_VALUES = {
    "milliseconds past all years": pa.array([_FAR], pa.int64()).view(pa.timestamp("ms", "UTC")),
    "seconds past all years": pa.array([_FAR], pa.int64()).view(pa.timestamp("s")),
    "seconds before the year 1": pa.array([-(10**12)], pa.int64()).view(pa.timestamp("s", "UTC")),
    "microseconds past 9999": pa.array([_FAR], pa.int64()).view(pa.timestamp("us", "Europe/Paris")),
    "a day past all years": pa.array([2**31 - 1], pa.int32()).view(pa.date32()),
    "a day past timedelta": pa.array([10**7], pa.int32()).view(pa.date32()),
    "nanoseconds": pa.array([1_790_000_000_123_456_789], pa.int64()).view(pa.timestamp("ns", "UTC")),
    "the last second of 9999 in a zone ahead": pa.array([253_402_300_799]).view(pa.timestamp("s", "Europe/Paris")),
    "the first second of the year 1 in a zone behind": pa.array([-62_135_596_800]).view(pa.timestamp("s", "-08:00")),
    "a dictionary of nanoseconds": pa.array([-(2**63)]).view(pa.timestamp("ns", "UTC")).dictionary_encode(),
    "a map from records": pa.MapArray.from_arrays(
        [0, 1], pa.StructArray.from_arrays([pa.array([1])], ["x"]), pa.array([1])
    ),
    "not UTF-8": _NOT_UTF8,
    "a view": pa.array(["2026-10-01"], pa.string_view()),
}
for _kind, _values in (("ms", pa.timestamp("ms")), ("day", pa.date32())):
    _far = pa.array([2**45 if _kind == "ms" else 10**7], pa.int64() if _kind == "ms" else pa.int32()).view(_values)
    _ODD_VALUES[f"a list of a far {_kind}"] = pa.ListArray.from_arrays([0, 1], _far)
    _ODD_VALUES[f"a record of a far {_kind}"] = pa.StructArray.from_arrays([_far], ["x"])
    _ODD_VALUES[f"a map to a far {_kind}"] = pa.MapArray.from_arrays([0, 1], pa.array(["k"]), _far)
_ODD_VALUES["fields of one name"] = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"])
_ODD_VALUES["a list of what is not UTF-8"] = pa.ListArray.from_arrays([0, 1], _NOT_UTF8)


@pytest.mark.parametrize("role", ["event", "time", "user", "key", "p"])
@pytest.mark.parametrize("name", _ODD_VALUES)
def test_one_odd_value_costs_no_other_row(name: str, role: str) -> None:
    """Wherever it stands: its row is an event or a dead letter, the same both ways, and the others are events."""
    odd = _ODD_VALUES[name]
    good: dict[str, Any] = {"event": "A", "time": NOW_MS, "user": "u", "key": "one-id", "p": "x"}
    columns = {column: pa.array([value] * 3) for column, value in good.items() if column != role}
    columns[role] = pa.concat_arrays([odd, pa.nulls(2, odd.type)])
    mapping = EventMapping(
        event_column="event", time_column="time", distinct_id_column="user", insert_id_columns=("key",)
    )
    batch = pa.RecordBatch.from_arrays([columns[column] for column in good], names=list(good))
    preparer = RowPreparer(mapping)
    done = preparer.prepare_batch(RowBatch(batch, "file", 0), NOW_MS)
    one_by_one = Preparation()
    for number, row in enumerate(rows_of(batch)):
        one_by_one.add(preparer.prepare_object(row, NOW_MS, source=f"file#{number}"))
    assert _in_order(done) == _in_order(one_by_one)
    assert done.read == 3
    if role in ("user", "p"):
        assert {event.origin for event in done.events} >= {"file#1", "file#2"}
    if role == "time" and name not in ("nanoseconds", "a view"):
        assert "time_" in next(letter for letter in done.invalid if letter.source == "file#0").reason
    if "UTF-8" in name and role == "p":
        assert [letter.reason for letter in done.invalid] == ["not_utf8"]


@pytest.mark.parametrize(("name", "text"), [("last", "9999-12-31T23:59:59"), ("first", "0001-01-01T00:00:00")])
def test_a_moment_that_only_its_zones_clock_puts_outside_all_years_is_written_in_utc(name: str, text: str) -> None:
    """`9999-12-31T23:59:59Z`, which stands for "for ever" in many tables, is that whatever the column's zone."""
    [moment] = [value for key, value in _ODD_VALUES.items() if key.startswith(f"the {name} second")]
    assert _one(pa.record_batch({"time": pa.array([NOW_MS]), "until": moment}))["properties"]["until"] == text


def test_a_record_as_a_maps_key_is_its_json() -> None:
    """As any key that is no text is."""
    batch = pa.record_batch({"time": pa.array([NOW_MS]), "m": _ODD_VALUES["a map from records"]})
    assert _one(batch)["properties"]["m"] == {'{"x":1}': 1}


def test_pandas_is_not_needed() -> None:
    """Where it is not installed, Arrow has no Python values for nanoseconds."""
    script = """
import itertools, sys
class NoPandas:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)
sys.meta_path.insert(0, NoPandas())
import pyarrow as pa
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.batches import RowBatch
nanoseconds = pa.array([1_790_000_000_123_456_789], pa.int64()).view(pa.timestamp("ns"))
roles_of_at = ("time_column", "distinct_id_column", "insert_id_columns", "include")
for at, role in itertools.product((nanoseconds, nanoseconds.dictionary_encode()), roles_of_at):
    roles = {"event": "E", "time_column": "t", role: "at" if role.endswith("column") else ("at",)}
    batch = pa.record_batch({"t": pa.array([1_790_000_000_123]), "at": at})
    done = RowPreparer(EventMapping(**roles)).prepare_batch(RowBatch(batch, "f", 0), 1_790_000_100_000)
    print(len(done.events), len(done.invalid))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "1 0\n" * 8, done.stdout + done.stderr
