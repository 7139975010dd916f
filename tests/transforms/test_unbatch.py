"""Single rows: with the values that an import of the batch sees, and the dead letters that it would make."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from apache_beam.io.fileio import MatchAll
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from beam_mixpanel import (
    PrepareEvents,
    ReadAllFromFiles,
    ReadAllFromFilesBatched,
    ReadAllFromNdjson,
    ReadAllFromNdjsonBatched,
    ReadFromFiles,
    ReadFromFilesBatched,
    ReadFromNdjson,
    ReadFromSql,
    ReadFromSqlBatched,
    SqlReading,
    UnbatchRows,
)
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.rows.batches import RefusedRows, RowBatch, RowList

NOW = int(time.time())
ROWS = [{"event": "A", "time": NOW, "user_id": f"u{number}", "n": number, "f": 1.5, "t": "x"} for number in range(40)]
MOMENT = dt.datetime(2024, 2, 29, 23, 59, 59, 123456)
_found: list[tuple[str, Any]] = []


@pytest.fixture(autouse=True)
def _nothing_found() -> None:
    _found.clear()


def _keep(element: Any, label: str = "") -> None:
    _found.append((label, element))


def _all(label: str = "") -> list[Any]:
    return [element for kept, element in _found if kept == label]


def _pipeline(*, streaming: bool = False) -> beam.Pipeline:
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = streaming
    return beam.Pipeline("BundleBasedDirectRunner" if streaming else "FnApiRunner", options=options)


def _write_avro(path: Path) -> None:
    kinds = {int: "long", float: "double", str: "string"}
    fields = [{"name": name, "type": kinds[type(value)]} for name, value in ROWS[0].items()]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, ROWS)


def _write_text(path: Path, delimiter: str) -> None:
    lines = [delimiter.join(ROWS[0]), *(delimiter.join(map(str, row.values())) for row in ROWS)]
    path.write_text("\n".join(lines) + "\n")


WRITERS: dict[str, Callable[[Path], object]] = {
    "csv": lambda path: _write_text(path, ","),
    "tsv": lambda path: _write_text(path, "\t"),
    "json": lambda path: path.write_text(json.dumps(ROWS)),
    "ndjson": lambda path: path.write_text("\n".join(map(json.dumps, ROWS))),
    "avro": _write_avro,
    "parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
    "orc": lambda path: pa.orc.write_table(pa.Table.from_pylist(ROWS), path),
}


def _by_n(row: dict[str, Any]) -> int:
    return int(row["n"])


@pytest.mark.parametrize("name", WRITERS)
def test_rows_of_every_format_give_the_same_events_as_their_batches(name: str, tmp_path: Path) -> None:
    """Bytes and ids: a step between reading and importing that changes nothing changes nothing."""
    WRITERS[name](tmp_path / f"rows.{name}")
    with _pipeline() as pipeline:
        rows = pipeline | "Rows" >> ReadFromFiles(f"{tmp_path}/rows.*")
        _ = rows | "KeepRows" >> beam.Map(_keep, "rows")
        batches = pipeline | "Batches" >> ReadFromFilesBatched(f"{tmp_path}/rows.*")
        for label, read in (("by row", rows), ("by batch", batches)):
            prepared = read | f"Prepare {label}" >> PrepareEvents(mapping={})
            _ = prepared.prepared | f"Keep {label}" >> beam.Map(_keep, label)
    assert rows.element_type == beam.typehints.Dict[str, Any]
    assert sorted(_all("rows"), key=_by_n) == ROWS
    by_row, by_batch = (
        sorted(body for chunk in _all(label) for body in chunk.bodies) for label in ("by row", "by batch")
    )
    assert by_row == by_batch
    assert len(by_row) == len(ROWS)


def test_values_are_exact(tmp_path: Path) -> None:
    """Integers of any size, decimals, moments with and without a zone, days, bytes, nested values and nulls."""
    columns = {
        "big": pa.array([2**63 - 1]),
        "price": pa.array([Decimal("123456789012345678.90")], pa.decimal128(20, 2)),
        "at": pa.array([MOMENT], pa.timestamp("us")),
        "in_utc": pa.array([MOMENT.replace(tzinfo=dt.timezone.utc)], pa.timestamp("us", "UTC")),
        "day": pa.array([MOMENT.date()]),
        "raw": pa.array([b"\x00\xff"]),
        "list": pa.array([[1, None]]),
        "none": pa.array([None], pa.int64()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (tmp_path / "a.ndjson").write_text('{"n":0.12345678901234567890,"i":123456789012345678901234567890}')
    with _pipeline() as pipeline:
        _ = pipeline | ReadFromFiles(f"{tmp_path}/a.*") | beam.Map(_keep)
    parquet, lines = sorted(_all(), key=len, reverse=True)
    assert parquet == {
        "big": 2**63 - 1,
        "price": Decimal("123456789012345678.90"),
        "at": MOMENT,
        "in_utc": MOMENT.replace(tzinfo=dt.timezone.utc),
        "day": MOMENT.date(),
        "raw": b"\x00\xff",
        "list": [1, None],
        "none": None,
    }
    assert lines == {"n": Decimal("0.12345678901234567890"), "i": 123456789012345678901234567890}


BAD_FILES: dict[str, tuple[str, bytes]] = {
    "csv_columns": ("a.csv", b"event,time,user_id\nA,NOW,u\nA,NOW\n"),
    "not_utf8": ("a.csv", b"event,time,user_id\nA,NOW,u\nA,NOW,\xff\n"),
    "not_an_object": ("a.json", b'[{"event":"A","time":NOW,"user_id":"u"},7]'),
    "invalid_json": ("a.ndjson", b'{"event":"A","time":NOW,"user_id":"u"}\n\n{"event":\n'),
    "line_too_long": ("a.ndjson", b'{"event":"A","time":NOW,"user_id":"u"}\n' + b"x" * 20_000_000 + b"\n"),
}


@pytest.mark.parametrize("as_rows", [False, True])
@pytest.mark.parametrize("reason", BAD_FILES)
def test_refused_rows_become_the_dead_letters_of_an_import(reason: str, as_rows: bool, tmp_path: Path) -> None:
    """Field by field, and the rows around them are read."""
    name, content = BAD_FILES[reason]
    (tmp_path / name).write_bytes(content.replace(b"NOW", str(NOW).encode()))
    with _pipeline() as pipeline:
        batches = pipeline | ReadFromFilesBatched(f"{tmp_path}/a.*", ndjson_as_rows=as_rows)
        unbatched = batches | UnbatchRows()
        _ = unbatched.rows | "KeepRows" >> beam.Map(_keep, "rows")
        _ = unbatched.dead_letters | "KeepLetters" >> beam.Map(_keep, "letters")
        imported = batches | PrepareEvents(mapping={})
        _ = imported.invalid | "KeepInvalid" >> beam.Map(_keep, "invalid")
    assert _all("rows") == [{"event": "A", "time": NOW, "user_id": "u"}]
    [letter] = _all("letters")
    assert letter.reason == reason
    assert [letter] == _all("invalid")


def test_dead_letters_that_nothing_consumes_fail_the_job(tmp_path: Path) -> None:
    """Rows are never dropped silently, neither by the transform nor by those made of it."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(Exception, match=r"cannot be imported \(invalid: csv_columns\)"), _pipeline() as pipeline:
        _ = (pipeline | ReadFromFilesBatched(f"{tmp_path}/a.csv") | UnbatchRows()).rows | beam.Map(_keep)
    cure = r"cannot read the row at .*a\.csv#1 \(csv_columns\).*ends in Batched, then UnbatchRows"
    with pytest.raises(Exception, match=cure), _pipeline() as pipeline:
        _ = pipeline | ReadFromFiles(f"{tmp_path}/a.csv") | beam.Map(_keep)


def test_what_is_no_batch_is_an_error() -> None:
    """Rather than a row of its letters."""
    with pytest.raises(Exception, match="takes batches of rows, got str"), _pipeline() as pipeline:
        _ = (pipeline | beam.Create(["a"]) | UnbatchRows()).dead_letters | beam.Map(_keep)


def test_elements_have_types(tmp_path: Path) -> None:
    """As declared, so that Beam can choose coders and check steps."""
    (tmp_path / "a.csv").write_text("a\n1\n")
    batch = beam.typehints.Union[RowBatch, RowList, EventBlock, RefusedRows]
    pipeline = _pipeline()
    names = pipeline | beam.Create(["a"])
    row = beam.typehints.Dict[str, Any]
    assert (pipeline | ReadFromFilesBatched("a")).element_type == batch
    assert (names | ReadAllFromFilesBatched()).element_type == batch
    assert (names | ReadAllFromFiles()).element_type == row
    assert (names | ReadAllFromNdjsonBatched()).element_type == EventBlock
    assert (names | ReadAllFromNdjson()).element_type is bytes
    unbatched = pipeline | "Batches" >> ReadFromFilesBatched("b") | UnbatchRows()
    assert unbatched.rows.element_type == row
    assert unbatched.dead_letters.element_type == DeadLetter


def test_rows_of_a_database(tmp_path: Path) -> None:
    """One by one, as dicts, whether they travel as Arrow or as Python objects."""
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER, what)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [(1, "a"), (2, 2.5), (3, None)])
        database.commit()
    with SqlReading(f"sqlite:///{tmp_path}/shop.db", table="orders") as reading, _pipeline() as pipeline:
        rows = pipeline | ReadFromSql(reading)
        batches = pipeline | "Batches" >> ReadFromSqlBatched(reading)
        _ = rows | beam.Map(_keep)
    assert sorted(_all(), key=lambda row: int(row["id"])) == [
        {"id": 1, "what": "a"},
        {"id": 2, "what": 2.5},
        {"id": 3, "what": None},
    ]
    assert rows.element_type == beam.typehints.Dict[str, Any]
    assert batches.element_type == beam.typehints.Union[RowBatch, RowList]


# --- Names that come while the job runs


def _names(folder: Path) -> Iterator[Any]:
    yield f"{folder}/rows.csv"
    yield folder / "rows.parquet"
    yield f"{folder}/*.nd*"


def test_files_named_by_elements_are_read(tmp_path: Path) -> None:
    """Names, paths and globs, of any format; once for each element that names them."""
    for name in ("csv", "parquet", "ndjson"):
        WRITERS[name](tmp_path / f"rows.{name}")
    with _pipeline() as pipeline:
        names = pipeline | beam.Create([*_names(tmp_path), f"{tmp_path}/rows.csv"])
        _ = names | ReadAllFromFiles(columns=["n"]) | beam.Map(_keep)
    assert sorted(row["n"] for row in _all()) == sorted([*range(40)] * 4)
    assert {tuple(row) for row in _all()} == {("n",)}


@pytest.mark.parametrize("name", WRITERS)
def test_large_files_named_by_elements_are_split(name: str, tmp_path: Path) -> None:
    """CSV, too, though no step of its own surveys it: each row once."""
    WRITERS[name](tmp_path / f"rows.{name}")
    with _pipeline() as pipeline:
        names = pipeline | beam.Create([f"{tmp_path}/rows.*"])
        batches = names | ReadAllFromFilesBatched(ndjson_as_rows=True, range_bytes=200)
        _ = batches | "KeepBatches" >> beam.Map(_keep, "batches")
        _ = (batches | UnbatchRows()).rows | beam.Map(_keep)
    assert sorted(_all(), key=_by_n) == ROWS
    if name in ("csv", "tsv", "ndjson"):
        assert len(_all("batches")) > 2


def test_files_that_beam_matched_are_read(tmp_path: Path) -> None:
    """`FileMetadata`, whose size may be unknown or of before, is looked at again."""
    WRITERS["csv"](tmp_path / "rows.csv")
    with _pipeline() as pipeline:
        metadata = pipeline | beam.Create([f"{tmp_path}/*.csv"]) | MatchAll()
        sizeless = metadata | beam.Map(lambda file: type(file)(file.path, 0, 0.0))
        _ = sizeless | ReadAllFromFiles() | beam.Map(_keep)
    assert sorted(_all(), key=_by_n) == ROWS


@pytest.mark.parametrize(
    ("element", "error"), [("nothing-*.csv", "no such file"), (7, "must be a file name, glob or FileMetadata, got int")]
)
@pytest.mark.parametrize("reader", [ReadAllFromFiles, ReadAllFromNdjson])
def test_elements_that_name_no_file_fail_the_job(reader: type[beam.PTransform], element: Any, error: str) -> None:
    """Never passed over."""
    with pytest.raises(Exception, match=error), _pipeline() as pipeline:
        _ = pipeline | beam.Create([element]) | reader() | beam.Map(_keep)


@pytest.mark.parametrize("reader", [ReadAllFromFiles, ReadAllFromNdjson])
def test_names_of_a_stream_are_read_in_their_windows(reader: type[beam.PTransform], tmp_path: Path) -> None:
    """Unbounded input works, and each row has the window of the element that named its file."""
    (tmp_path / "a.ndjson").write_text('{"n":1}\n{"n":2}\n')
    (tmp_path / "b.ndjson").write_text('{"n":3}\n')
    stream = (
        TestStream()
        .add_elements([TimestampedValue(f"{tmp_path}/a.ndjson", 5)])
        .advance_watermark_to(100)
        .add_elements([TimestampedValue(f"{tmp_path}/b.ndjson", 105)])
        .advance_watermark_to_infinity()
    )
    with _pipeline(streaming=True) as pipeline:
        rows = pipeline | stream | beam.WindowInto(FixedWindows(10)) | reader()
        _ = rows | beam.Map(lambda row, window=beam.DoFn.WindowParam: _keep((row, int(window.start))))
    rows_found = [(json.loads(row) if isinstance(row, bytes) else row, start) for row, start in _all()]
    assert sorted(rows_found, key=str) == [({"n": 1}, 0), ({"n": 2}, 0), ({"n": 3}, 100)]


def test_lines_by_one_and_all(tmp_path: Path) -> None:
    """The same lines, whether files are known when the graph is built or named by elements."""
    (tmp_path / "a.ndjson").write_bytes(b"one\n\ntwo\r\nthree")
    with _pipeline() as pipeline:
        _ = pipeline | ReadFromNdjson(f"{tmp_path}/a.ndjson") | "KeepOne" >> beam.Map(_keep, "one")
        names = pipeline | beam.Create([f"{tmp_path}/a.ndjson"])
        _ = names | ReadAllFromNdjson() | "KeepAll" >> beam.Map(_keep, "all")
    assert _all("one") == _all("all") == [b"one", b"two\r", b"three"]


@pytest.mark.parametrize(("as_rows", "invalid"), [(False, 1), (True, 0)])
def test_ndjson_as_rows_maps_lines_without_a_mapping(as_rows: bool, invalid: int, tmp_path: Path) -> None:
    """A line whose columns have known names is a row; as an event in Mixpanel's shape it is refused."""
    (tmp_path / "a.ndjson").write_text(json.dumps({"event_name": "Ordered", "event_time": NOW, "user_id": "u"}))
    with _pipeline() as pipeline:
        prepared = pipeline | ReadFromFilesBatched(f"{tmp_path}/a.ndjson", ndjson_as_rows=as_rows) | PrepareEvents()
        _ = prepared.invalid | beam.Map(_keep)
        _ = prepared.prepared | "KeepGood" >> beam.Map(_keep, "good")
    assert (len(_all()), len(_all("good"))) == (invalid, 1 - invalid)
