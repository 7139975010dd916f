"""Rows from files of every format: all of them, each once, in order of their numbers, or an error."""

from __future__ import annotations

import bz2
import csv
import datetime as dt
import gzip
import io
import json
import pickle
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import apache_beam as beam
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_mixpanel import ReadFromFilesBatched
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.formats.csv_format import CsvFormat
from beam_mixpanel.core.rows.arrow import rows_of
from beam_mixpanel.core.rows.batches import RefusedRows, RowBatch, RowList
from beam_mixpanel.errors import UnreadableFileError
from beam_mixpanel.files import csv as read_csv
from beam_mixpanel.files.formats import format_named
from beam_mixpanel.files.listing import InputFile
from beam_mixpanel.files.row_file import RowSettings, look_at
from beam_mixpanel.transforms.read_files import look_at_columns

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


class Read(NamedTuple):
    """What a reader gave: rows by source and number, the dead letters, and the blocks."""

    rows: dict[tuple[str, int], dict[str, Any]]
    letters: list[DeadLetter]
    blocks: list[EventBlock]

    @property
    def values(self) -> list[dict[str, Any]]:
        return [self.rows[key] for key in sorted(self.rows)]


def _gather(elements: Iterable[Any]) -> Read:
    read = Read({}, [], [])
    for element in elements:
        if isinstance(element, RefusedRows):
            read.letters.extend(element.letters)
        elif isinstance(element, EventBlock):
            read.blocks.append(element)
        else:
            rows = rows_of(element.batch) if isinstance(element, RowBatch) else element.rows
            assert rows
            for number, row in enumerate(rows, element.first_row):
                assert (element.source, number) not in read.rows
                read.rows[element.source, number] = dict(row)
    return read


def _append(element: Any, path: str) -> None:
    with open(path, "ab") as file:
        pickle.dump(element, file)


def _read(path: Path | str, *args: Any, **settings: Any) -> Read:
    """Run the transform."""
    found = Path(str(path).replace("*", "_") + ".found")
    found.write_bytes(b"")
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        _ = pipeline | ReadFromFilesBatched(str(path), *args, **settings) | beam.Map(_append, str(found))
    with found.open("rb") as file:
        elements = []
        while file.peek(1):
            elements.append(pickle.load(file))
    found.unlink()
    return _gather(elements)


def _read_without_beam(path: Path, settings: RowSettings) -> Read:
    """Do what the transform does, part by part."""
    file = look_at(str(path), path.stat().st_size, settings)
    file_format = format_named(file.file_format)
    parts = list(file_format.split(file, settings))
    surveyed = [read_csv.survey(part)[1] for part in parts if isinstance(part, read_csv.CsvRangeToSurvey)]
    if surveyed:
        parts = list(read_csv.parts_of((str(path), surveyed)))
    return _gather(element for part in parts for element in file_format.read(part, settings))


def _csv(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


# --- CSV


def test_csv_fields_are_typed_by_rule(tmp_path: Path) -> None:
    """Empty is null; unambiguous numbers and booleans have a type; ids and leading zeros stay text, exact."""
    path = _csv(tmp_path / "a.csv", 'a,b,c,d,e\n1,true,"x\ny ""z"", w",,""\n007,1234567890123456789,10.50,TRUE,é\n')
    read = _read(path)
    assert read.values == [
        {"a": 1, "b": True, "c": 'x\ny "z", w', "d": None, "e": None},
        {"a": "007", "b": "1234567890123456789", "c": Decimal("10.50"), "d": "TRUE", "e": "é"},
    ]
    assert list(read.rows) == [(str(path), 0), (str(path), 1)]


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("a.tsv", "a\tb\n1\tx,y\n", CsvFormat()),
        ("a.csv", "a;b\n1;x,y\n", CsvFormat(delimiter=";")),
        ("a.csv", "1|x,y\n", CsvFormat(delimiter="|", columns=("a", "b"))),
        ("a.csv", '\n\r\na,b\r\n1,"x,y"\r\n', CsvFormat()),
        ("a.csv", 'a,b\r1,"x,y"', CsvFormat()),
    ],
)
def test_csv_dialects(tmp_path: Path, name: str, text: str, form: CsvFormat) -> None:
    """Any delimiter, any line ends, a header or given names."""
    assert _read(_csv(tmp_path / name, text), csv=form).values == [{"a": 1, "b": "x,y"}]


@pytest.mark.parametrize("listed", [None, []])
def test_a_large_csv_file_is_read_whether_or_not_it_was_there_when_the_graph_was_built(
    tmp_path: Path, listed: list[InputFile] | None
) -> None:
    """With the steps that cut it, or in one piece without them: each row once."""
    path = _csv(tmp_path / "a.csv", "a,b\n" + '1,"x\ny"\n' * 50)
    read = _read(path, range_bytes=40, listed=listed)
    assert list(read.rows) == [(str(path), row) for row in range(50)]
    assert read.values == [{"a": 1, "b": "x\ny"}] * 50


def test_many_files_are_read_once_each(tmp_path: Path) -> None:
    """More than are looked at together, by patterns that overlap."""
    for number in range(1_050):
        (tmp_path / f"{number}.ndjson").write_text(f'{{"a":{number}}}\n')
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        patterns = [f"{tmp_path}/*.ndjson", f"{tmp_path}/1*.ndjson", f"{tmp_path}/7.ndjson"]
        rows = pipeline | ReadFromFilesBatched(patterns, ndjson_as_rows=True)
        _ = rows | beam.Map(_append, f"{tmp_path}/found")
    with (tmp_path / "found").open("rb") as file:
        elements = []
        while file.peek(1):
            elements.append(pickle.load(file))
    assert sorted(row["a"] for row in _gather(elements).values) == list(range(1_050))


def test_a_pattern_that_matches_nothing_fails_the_job(tmp_path: Path) -> None:
    """Whatever the others match."""
    (tmp_path / "a.ndjson").write_text('{"a":1}\n')
    with pytest.raises(Exception, match=r"no such file: .*b\.ndjson"), beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | ReadFromFilesBatched([f"{tmp_path}/a.ndjson", f"{tmp_path}/b.ndjson"])


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-8"), ("utf-16-be", "utf-16-be"), ("cp1252", "cp1252")],
)
@pytest.mark.parametrize("range_bytes", [10, 1_000_000])
def test_csv_encodings(tmp_path: Path, encoding: str, named: str, range_bytes: int) -> None:
    """A BOM is no part of the first name, UTF-16 is told by its BOM, others are named; whole or in ranges."""
    path = _csv(tmp_path / "a.csv", "é,b\n" + "ü€,ö\n" * 20, encoding)
    read = _read_without_beam(path, RowSettings(csv=CsvFormat(encoding=named), range_bytes=range_bytes))
    assert read.values == [{"é": "ü€", "b": "ö"}] * 20
    assert look_at_columns(str(path), RowSettings(csv=CsvFormat(encoding=named)))[1] == ["é", "b"]


def test_csv_types_that_the_user_gives(tmp_path: Path) -> None:
    """Text, numbers however written, booleans; the rest by rule, or not at all; what is none is a dead letter."""
    path = _csv(tmp_path / "a.csv", "t,n,b,r\n1,+1.50,yes,1\n2,x,no,2\n3,007,maybe,3\n")
    types = {"t": "text", "n": "number", "b": "boolean"}
    read = _read(path, csv=CsvFormat(types=types))
    assert read.values == [{"t": "1", "n": 1.5, "b": True, "r": 1}]
    assert [(letter.reason, letter.field, letter.source) for letter in read.letters] == [
        ("csv_type", "n", f"{path}#1"),
        ("csv_type", "b", f"{path}#2"),
    ]
    assert json.loads(read.letters[0].event) == {"t": "2", "n": "x", "b": "no", "r": "2"}
    assert _read(path, csv=CsvFormat(text=True)).values[0] == {"t": "1", "n": "+1.50", "b": "yes", "r": "1"}


@pytest.mark.parametrize("range_bytes", [7, 1_000_000])
def test_ragged_rows_are_dead_letters_with_their_text(tmp_path: Path, range_bytes: int) -> None:
    """Too many fields or too few: the others are read, and all keep their number."""
    path = _csv(tmp_path / "a.csv", 'a,b\n1,2\n3\n\n4,5,"6"\n7,8\n9\n')
    read = _read(path, range_bytes=range_bytes)
    assert read.rows == {(str(path), 0): {"a": 1, "b": 2}, (str(path), 3): {"a": 7, "b": 8}}
    assert sorted((letter.source, letter.event) for letter in read.letters) == [
        (f"{path}#1", b"3"),
        (f"{path}#2", b'4,5,"6"'),
        (f"{path}#4", b"9"),
    ]
    assert {(letter.stage, letter.reason) for letter in read.letters} == {("parse", "csv_columns")}


def test_rows_that_are_not_utf8_are_dead_letters_with_their_bytes(tmp_path: Path) -> None:
    """Whether their number of fields is right or not; the rows around them are read."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,x\n2,caf\xe9\n\xff\n3,y\n")
    read = _read(path)
    assert [row["a"] for row in read.values] == [1, 3]
    assert [(letter.reason, letter.event) for letter in read.letters] == [
        ("not_utf8", b'{"a":2,"b":"caf\xe9"}'),
        ("csv_columns", b"\xff"),
    ]


@pytest.mark.parametrize("text", ['a,b\n1,2\n3,"x\n4,5\n', 'a,b\n1,2\n3,"x', 'a\n"x', 'a,b\n1,2\n"3,4,5,6\n'])
@pytest.mark.parametrize("range_bytes", [5, 1_000_000])
def test_a_quote_that_is_never_closed_is_an_error(tmp_path: Path, text: str, range_bytes: int) -> None:
    """What it swallowed is not taken for a field."""
    with pytest.raises(UnreadableFileError, match="never closed"):
        _read_without_beam(_csv(tmp_path / "a.csv", text), RowSettings(range_bytes=range_bytes))


def test_a_record_without_end_is_an_error_and_is_not_held(tmp_path: Path) -> None:
    """A bound on records keeps an open quote from taking in the whole file."""
    path = _csv(tmp_path / "a.csv", 'a,b\n1,"' + "x,y\n" * 3_000_000)
    with pytest.raises(UnreadableFileError, match=r"longer than 4,000,000 bytes; is a quote opened"):
        _read_without_beam(path, RowSettings())


@pytest.mark.parametrize(
    ("header", "cure"),
    [
        ("a,a", "more than one column is named 'a'"),
        ("a,,b", "column 2 has no name"),
        ("a, ", "`csv.columns`"),
        ("a" * 140_000, "field larger"),
    ],
)
def test_headers_that_name_no_columns_are_errors(tmp_path: Path, header: str, cure: str) -> None:
    """Twice the same name, or none: the message says what to do."""
    path = _csv(tmp_path / "a.csv", f"{header}\n1,2,3\n")
    with pytest.raises(UnreadableFileError, match=cure):
        look_at_columns(str(path))
    with pytest.raises(ValueError, match="more than one"):
        ReadFromFilesBatched("x", csv=CsvFormat(columns=("a", "a")))


@pytest.mark.parametrize(
    ("form", "cure"),
    [
        (CsvFormat(delimiter=";;"), "one ASCII character"),
        (CsvFormat(delimiter='"'), "one ASCII character"),
        (CsvFormat(types={"a": "date"}), "text, number, boolean"),
        (CsvFormat(encoding="utf-9"), "utf-8 or cp1252"),
    ],
)
def test_csv_settings_are_checked_at_once(form: CsvFormat, cure: str) -> None:
    """When the transform is made, with the cure."""
    with pytest.raises(ValueError, match=cure):
        ReadFromFilesBatched("x", csv=form)


@pytest.mark.parametrize(("text", "names"), [("", []), ("\n\r\n", []), ("a,b", ["a", "b"]), ("a,b\r\n", ["a", "b"])])
def test_empty_csv_files_hold_no_rows(tmp_path: Path, text: str, names: list[str]) -> None:
    """Neither does a header alone; neither is an error, since a quiet day's export looks like that."""
    path = _csv(tmp_path / "a.csv", text)
    assert _read(path) == Read({}, [], [])
    assert look_at_columns(str(path))[1] == names


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.ndjson"])
def test_compressed_text_files_are_read(tmp_path: Path, name: str, kind: str) -> None:
    """Told by their first bytes; one that is cut short is an error."""
    rows = [{"a": number, "b": "x" * 50} for number in range(3_000)]
    content = json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows))
    if name == "a.csv":
        content = "a,b\n" + "".join(f"{row['a']},{row['b']}\n" for row in rows)
    path = tmp_path / f"{name}.{kind}"
    compressed = COMPRESSORS[kind](content.encode())
    path.write_bytes(compressed)
    settings = RowSettings(ndjson_as_rows=True, range_bytes=100)
    assert _read_without_beam(path, settings).values == rows
    path.write_bytes(compressed[: len(compressed) - 15])
    with pytest.raises(UnreadableFileError, match="cannot read"):
        _read_without_beam(path, settings)


NUL = "\0" if sys.version_info >= (3, 11) else ""  # the standard library's CSV of Python 3.10 refuses it
FIELDS = st.text(alphabet=f'a1",\n\r;é東{NUL} ', max_size=5)
ROWS = st.lists(st.tuples(FIELDS, FIELDS), max_size=12)


@given(ROWS, st.integers(1, 60), st.sampled_from([150, 4_000_000]), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_csv_in_ranges_is_csv_as_the_standard_library_reads_it(
    tmp_path: Path, rows: list[tuple[str, str]], range_bytes: int, piece_bytes: int, line_end: str, quote_all: bool
) -> None:
    """Every record once, with its number, wherever a file is cut and whatever stands between quotes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_NONNUMERIC)
    writer.writerows([("x", "y"), *rows])
    path = _csv(tmp_path / "a.csv", text.getvalue())
    with patch.object(read_csv, "MAX_RECORD_BYTES", piece_bytes):
        read = _read_without_beam(path, RowSettings(csv=CsvFormat(text=True), range_bytes=range_bytes))
    expected = list(csv.DictReader(io.StringIO(text.getvalue(), newline="")))
    assert read.letters == []
    assert read.rows == {
        (str(path), number): {key: value or None for key, value in row.items()} for number, row in enumerate(expected)
    }


def test_large_csv_files_are_split_and_shared_out(tmp_path: Path) -> None:
    """Through the transform: embedded newlines, many ranges, each row once with its number."""
    rows = "".join(f'{number},"line\n{number}"\n' for number in range(2_000))
    path = _csv(tmp_path / "a.csv", "n,text\n" + rows)
    read = _read(path, range_bytes=1_000)
    assert read.rows == {(str(path), number): {"n": number, "text": f"line\n{number}"} for number in range(2_000)}


# --- JSON


@pytest.mark.parametrize("indent", [None, 2])
def test_json_arrays_are_rows(tmp_path: Path, indent: int | None) -> None:
    """Numbered by their place; what is no object is a dead letter with its text."""
    rows: list[Any] = [{"a": 1234567890123456789, "b": {"c": [1.5, None]}}, 7, {"é": True}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, indent=indent), "utf-8-sig")
    read = _read(path)
    assert read.rows == {(str(path), 0): rows[0], (str(path), 2): rows[2]}
    assert [(letter.reason, letter.event, letter.source) for letter in read.letters] == [
        ("not_an_object", b"7", f"{path}#1")
    ]
    assert look_at_columns(str(path))[1] == ["a", "b", "é"]


def test_objects_over_several_lines_are_rows(tmp_path: Path) -> None:
    """Pretty-printed, one after the other, as jq writes them."""
    path = tmp_path / "a.json"
    path.write_text("\n".join(json.dumps({"a": number}, indent=2) for number in range(3)))
    assert _read(path).values == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_a_row_that_is_not_utf8_leaves_the_rest_of_the_array(tmp_path: Path) -> None:
    """It is a dead letter with its bytes."""
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"a":"caf\xe9"},{"a":1}]')
    read = _read(path)
    assert read.values == [{"a": 1}]
    assert [(letter.reason, letter.event) for letter in read.letters] == [("not_utf8", b'{"a":"caf\xe9"}')]


@pytest.mark.parametrize("content", ['[{"a":1},{"a":', '[{"a":1}{"a":2}]', '[{"a":1},', '[{"a":1}] x'])
def test_a_damaged_array_fails_the_job(tmp_path: Path, content: str) -> None:
    """Cut short or damaged in the middle, it is never taken for one that ended."""
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UnreadableFileError, match="not JSON at character"):
        _read_without_beam(path, RowSettings())


def test_lines_of_json_stay_blocks_unless_they_are_to_be_mapped(tmp_path: Path) -> None:
    """Blocks are the fast way; as rows, each line is parsed, and one that is none is a dead letter."""
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"a":1}\n\n{"a":\n{"a":2}\n')
    assert _read(path).blocks == [EventBlock(path.read_bytes(), str(path), 0)]
    read = _read(path, ndjson_as_rows=True)
    assert read.values == [{"a": 1}, {"a": 2}]
    assert [(letter.reason, letter.source) for letter in read.letters] == [("invalid_json", f"{path}@9")]
    assert look_at_columns(str(path))[1] == ["a"]


# --- Avro

AVRO_SCHEMA = {
    "type": "record",
    "name": "r",
    "fields": [{"name": "n", "type": "long"}, {"name": "t", "type": "string"}],
}


def _avro(path: Path, rows: list[dict[str, Any]], schema: dict[str, Any] = AVRO_SCHEMA, **settings: Any) -> Path:
    with path.open("wb") as file:
        fastavro.writer(file, schema, rows, **settings)
    return path


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("range_bytes", [1, 16, 100, 1_000, 100_000])
def test_avro_blocks_belong_to_one_range(tmp_path: Path, codec: str, range_bytes: int) -> None:
    """Each row once, wherever the file is cut."""
    rows = [{"n": number, "t": "x" * (number % 70)} for number in range(300)]
    path = _avro(tmp_path / "a.avro", rows, codec=codec, sync_interval=100)
    read = _read_without_beam(path, RowSettings(range_bytes=range_bytes))
    assert sorted(row["n"] for row in read.values) == list(range(300))
    assert look_at_columns(str(path))[1] == ["n", "t"]


def test_avro_through_the_transform(tmp_path: Path) -> None:
    """With types that JSON does not have, as Python's own."""
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, 678901, dt.timezone.utc)
    schema = {
        "type": "record",
        "name": "r",
        "fields": [
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}},
            {"name": "either", "type": ["null", "string", "long"]},
        ],
    }
    rows = [{"at": moment, "price": Decimal("123456789012345678.90"), "either": value} for value in (None, "x", 2**60)]
    path = _avro(tmp_path / "part-1", rows, schema)
    assert _read(path).values == rows


@pytest.mark.parametrize("cut", [10, 100, -20])
def test_a_damaged_avro_file_fails_the_job(tmp_path: Path, cut: int) -> None:
    """Cut short, in its header or a block."""
    path = _avro(tmp_path / "a.avro", [{"n": number, "t": "x" * 20} for number in range(100)])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UnreadableFileError, match="cannot read"):
        _read_without_beam(path, RowSettings())


# --- Parquet


def _parquet(path: Path, table: pa.Table, **settings: Any) -> Path:
    pq.write_table(table, path, **settings)
    return path


@pytest.mark.parametrize("range_bytes", [1, 2_000, 1_000_000])
def test_parquet_row_groups_are_shared_out(tmp_path: Path, range_bytes: int) -> None:
    """Each row once, with its number."""
    table = pa.table({"n": range(1_000), "t": [str(number) for number in range(1_000)]})
    path = _parquet(tmp_path / "a.parquet", table, row_group_size=130)
    read = _read_without_beam(path, RowSettings(range_bytes=range_bytes))
    assert read.rows == {(str(path), number): {"n": number, "t": str(number)} for number in range(1_000)}


def test_parquet_through_the_transform(tmp_path: Path) -> None:
    """Only the columns that are needed, in their order; one that the file does not have is null."""
    path = _parquet(tmp_path / "part", pa.table({"a": [1, 2], "b": ["x", None], "c": [[1], []]}))
    assert _read(path, columns=["c", "missing", "a"]).values == [
        {"c": [1], "missing": None, "a": 1},
        {"c": [], "missing": None, "a": 2},
    ]
    assert look_at_columns(str(path))[1] == ["a", "b", "c"]


def test_columns_of_csv_files_can_be_chosen_too(tmp_path: Path) -> None:
    """As those of Parquet files."""
    path = _csv(tmp_path / "a.csv", "a,b,c\n1,2,3\n")
    assert _read(path, columns=["c", "missing", "a"]).values == [{"c": 3, "missing": None, "a": 1}]
    assert _read_without_beam(path, RowSettings(columns=("missing",))).values == [{"missing": None}]


def test_parquet_without_rows_holds_none(tmp_path: Path) -> None:
    """It is no error, and its columns are known."""
    path = _parquet(tmp_path / "a.parquet", pa.table({"a": pa.array([], pa.int64())}))
    assert _read(path) == Read({}, [], [])
    assert look_at_columns(str(path))[1] == ["a"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"a,b\n1,2\n"])
def test_a_damaged_parquet_file_fails_the_job(tmp_path: Path, content: bytes) -> None:
    """Empty, cut short, or something else by that name."""
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="cannot read"):
        _read_without_beam(path, RowSettings())


def test_a_compressed_parquet_file_is_an_error_with_the_cure(tmp_path: Path) -> None:
    """Parquet is compressed inside, and must be read from its end."""
    path = tmp_path / "a.parquet.gz"
    path.write_bytes(gzip.compress(_parquet(tmp_path / "b", pa.table({"a": [1]})).read_bytes()))
    with pytest.raises(UnreadableFileError, match="decompress it"):
        _read_without_beam(path, RowSettings())


# --- Files together


def test_files_of_several_formats_and_schemas_are_read_together(tmp_path: Path) -> None:
    """Each by its own format and with its own columns; asked for, a missing one is null."""
    _csv(tmp_path / "in-1.csv", "a,b\n1,2\n")
    _csv(tmp_path / "in-2.csv", "b,c\n3,4\n")
    _parquet(tmp_path / "in-3.parquet", pa.table({"a": [5]}))
    assert sorted(map(str, _read(f"{tmp_path}/in-*").values)) == ["{'a': 1, 'b': 2}", "{'a': 5}", "{'b': 3, 'c': 4}"]
    assert sorted(map(str, _read(f"{tmp_path}/in-*", columns=["a", "b"]).values)) == [
        "{'a': 1, 'b': 2}",
        "{'a': 5, 'b': None}",
        "{'a': None, 'b': 3}",
    ]


def test_what_nothing_tells_is_an_error(tmp_path: Path) -> None:
    """Unless the user names the format."""
    path = _csv(tmp_path / "data", "a,b\n1,2\n")
    with pytest.raises(UnreadableFileError, match="name it as `format`"):
        look_at_columns(str(path))
    assert _read(path, "csv").values == [{"a": 1, "b": 2}]
    with pytest.raises(ValueError, match="parquet"):
        ReadFromFilesBatched("x", "excel")


def test_row_lists_and_batches_are_told_apart(tmp_path: Path) -> None:
    """Arrow where a column has one type, Python objects where each row may have its own."""
    settings = RowSettings()
    kinds = set()
    for path in (_csv(tmp_path / "a.csv", "a\n1\n"), _avro(tmp_path / "a.avro", [{"n": 1, "t": "x"}])):
        file = look_at(str(path), path.stat().st_size, settings)
        file_format = format_named(file.file_format)
        for part in file_format.split(file, settings):
            kinds |= {type(element) for element in file_format.read(part, settings)}
    assert kinds == {RowBatch, RowList}
