"""Beam's checks of types while a pipeline runs find no element of ours that is not what a step declares."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from pyarrow import orc

from beam_mixpanel import (
    DeadLetter,
    ReadAllFromFiles,
    ReadAllFromNdjson,
    ReadAllFromNdjsonBatched,
    ReadDeadLetters,
    ReadFromFiles,
    ReadFromFilesBatched,
    ReadFromNdjson,
    ReadFromNdjsonBatched,
    ReadFromSql,
    ReadFromSqlBatched,
    SqlReading,
    UnbatchRows,
    WriteDeadLetters,
)
from beam_mixpanel.core.events.dead_letter import VALIDATE, to_json_line

CHECKS = ("runtime_type_check", "performance_runtime_type_check")
EVENT = {"event": "A", "properties": {"time": int(time.time()), "distinct_id": "u"}}
LETTER = DeadLetter(b"{}", VALIDATE, "time_missing", "properties.time", "no time", source="file", fate="invalid")
ROWS = [{"id": 1, "name": "a"}, {"id": 2, "name": None}]

_found: list[Any] = []


def _keep(element: Any) -> None:
    _found.append(element)


@pytest.fixture(params=CHECKS)
def pipeline(request: pytest.FixtureRequest) -> beam.Pipeline:
    """A pipeline whose steps look at the types of their elements."""
    _found.clear()
    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", f"--{request.param}"]))


def _run(pipeline: beam.Pipeline, source: beam.PTransform) -> list[Any]:
    """Read, and return the elements."""
    _ = pipeline | source | "Keep" >> beam.Map(_keep)
    pipeline.run().wait_until_finish()
    return _found


def test_the_checks_are_on(pipeline: beam.Pipeline) -> None:
    """A step that declares another type than it gives fails."""
    wrong: Callable[[int], str] = _number
    _ = pipeline | beam.Create([1]) | beam.Map(wrong).with_output_types(str) | beam.Map(len)
    with pytest.raises(Exception, match=r"(?i)type"):
        pipeline.run().wait_until_finish()


def _number(number: int) -> Any:
    return number


@pytest.mark.parametrize("reader", [ReadFromNdjson, ReadFromNdjsonBatched, ReadAllFromNdjson, ReadAllFromNdjsonBatched])
def test_readers_of_events(reader: type[beam.PTransform], pipeline: beam.Pipeline, tmp_path: Path) -> None:
    """Lines, and blocks of them."""
    (tmp_path / "events.ndjson").write_text(json.dumps(EVENT) + "\n")
    read = _Named(reader(), tmp_path) if "All" in reader.__name__ else reader(f"{tmp_path}/*.ndjson")
    assert len(_run(pipeline, read)) == 1


class _Named(beam.PTransform):
    """Reads the files of a folder, as names that come while the job runs."""

    def __init__(self, reader: beam.PTransform, folder: Path) -> None:
        super().__init__()
        self._reader, self._pattern = reader, f"{folder}/*.*"

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[Any]:
        return begin | beam.Create([self._pattern]) | self._reader


@pytest.mark.parametrize("name", ["csv", "tsv", "json", "ndjson", "avro", "parquet", "orc"])
def test_readers_of_rows(name: str, pipeline: beam.Pipeline, tmp_path: Path) -> None:
    """Every format."""
    path = tmp_path / f"rows.{name}"
    _WRITERS[name](path)
    assert _run(pipeline, ReadFromFilesBatched(str(path)))


@pytest.mark.parametrize("name", ["csv", "tsv", "json", "ndjson", "avro", "parquet", "orc"])
def test_readers_of_single_rows(name: str, pipeline: beam.Pipeline, tmp_path: Path) -> None:
    """Every format, named when the graph is built and by an element."""
    _WRITERS[name](tmp_path / f"rows.{name}")
    _ = pipeline | "Named" >> _Named(ReadAllFromFiles(), tmp_path) | "KeepNamed" >> beam.Map(_keep)
    _ = (pipeline | "Batches" >> ReadFromFilesBatched(f"{tmp_path}/*.*") | UnbatchRows()).rows | beam.Map(_keep)
    assert _run(pipeline, ReadFromFiles(f"{tmp_path}/*.*")) == ROWS * 3


def _write_avro(path: Path) -> None:
    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, ROWS)


_WRITERS: dict[str, Callable[[Path], object]] = {
    "csv": lambda path: path.write_text("id,name\n1,a\n2,\n"),
    "tsv": lambda path: path.write_text("id\tname\n1\ta\n2\t\n"),
    "json": lambda path: path.write_text(json.dumps(ROWS)),
    "ndjson": lambda path: path.write_text("\n".join(map(json.dumps, ROWS))),
    "avro": _write_avro,
    "orc": lambda path: orc.write_table(pa.Table.from_pylist(ROWS), path),
    "parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
}


def test_a_csv_file_that_is_surveyed(pipeline: beam.Pipeline, tmp_path: Path) -> None:
    """The ranges of a large file are looked at by other steps first."""
    (tmp_path / "rows.csv").write_text("id,name\n" + "".join(f"{number},a\n" for number in range(3000)))
    batches = _run(pipeline, ReadFromFilesBatched(f"{tmp_path}/rows.csv", range_bytes=2_000))
    assert sum(batch.batch.num_rows for batch in batches) == 3000


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_reader_of_databases(partitions: int, pipeline: beam.Pipeline, tmp_path: Path) -> None:
    """Whole, and in parts."""
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER)")
        database.executemany("INSERT INTO orders VALUES (?)", [(number,) for number in range(10)])
        database.commit()
    with SqlReading(f"sqlite:///{tmp_path}/shop.db", table="orders") as reading:
        if partitions > 1:
            reading.split("id", partitions)
        _ = pipeline | "Rows" >> ReadFromSql(reading) | "KeepRows" >> beam.Map(_keep)
        assert _run(pipeline, ReadFromSqlBatched(reading))


def test_dead_letters_out(pipeline: beam.Pipeline, tmp_path: Path) -> None:
    """Into files."""
    _ = pipeline | beam.Create([LETTER]) | WriteDeadLetters(f"{tmp_path}/dead")
    pipeline.run().wait_until_finish()
    [file] = tmp_path.glob("dead*")
    assert file.read_bytes() == to_json_line(LETTER) + b"\n"


def test_dead_letters_in(pipeline: beam.Pipeline, tmp_path: Path) -> None:
    """And back."""
    (tmp_path / "dead.jsonl").write_bytes(to_json_line(LETTER) + b"\n")
    assert _run(pipeline, ReadDeadLetters(f"{tmp_path}/dead.jsonl"))
