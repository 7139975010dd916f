"""Files and tables that match what a command of the docs asks for."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import re
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from beam_mixpanel.core.rows.mapping import EventMapping

PRESETS = Path(__file__).parents[1] / "data" / "presets"
_COMPRESSORS = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}
_TIME = "2026-10-01T10:00:00+00:00"
_COMMON_COLUMNS = {
    "id": 1, "order_id": 1, "ordered_at": _TIME, "at": _TIME, "updated_at": _TIME, "created_at": _TIME,
    "customer": "c1", "user": "c1", "action": "Clicked", "name": "Clicked", "status": "paid", "cents": 995,
    "total": 9.95, "plan": "free",
}  # fmt: skip
"""What the tables of the docs have."""


def row_for(mapping: EventMapping | None, *more: str) -> dict[str, Any]:
    """Make a row that a mapping takes, with the columns of the docs and more."""
    row: dict[str, Any] = {**_COMMON_COLUMNS, **dict.fromkeys(more, "x1")}
    if mapping is None:
        return row | {"event": "Clicked", "time": _TIME, "distinct_id": "c1"}
    if mapping.event is None and mapping.event_column is None:
        row["event"] = "Clicked"
    named = {
        mapping.event_column: "Clicked",
        mapping.time_column: _time_for(mapping),
        mapping.distinct_id_column: "c1",
        mapping.user_id_column: "c1",
        mapping.device_id_column: "d1",
        **dict.fromkeys(mapping.rename, 1),
        **dict.fromkeys(mapping.insert_id_columns, "a-1"),
        **dict.fromkeys((*mapping.json_columns, *mapping.spread_columns), '{"a": 1}'),
    }
    return row | {name: value for name, value in named.items() if name}


def _time_for(mapping: EventMapping) -> str | int:
    moment = datetime.fromisoformat(_TIME)
    if mapping.time_format:
        return moment.strftime(mapping.time_format)
    per_sec = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.get(mapping.time_unit)
    return _TIME if per_sec is None else int(moment.timestamp()) * per_sec


def write_input(folder: Path, pattern: str, row: dict[str, Any], preset: str | None, reasons: tuple[str, ...]) -> None:
    """Write a file that a glob finds, unless it finds one already.

    Args:
      folder: where the command runs.
      pattern: of `--input`; its ending tells the format.
      row: what to write.
      preset: name of the preset whose export it is; None for none.
      reasons: of the dead letters to write instead; empty for none.
    """
    if any(folder.glob(pattern)):
        return
    path = folder / re.sub(r"\*\*?|\?|\[[^]]*\]|\{[^}]*\}", "1", pattern)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix("") if path.suffix in _COMPRESSORS else path
    if reasons:
        content = "".join(json.dumps(_letter(reason)) + "\n" for reason in reasons).encode()
    elif preset and (PRESETS / f"{preset}.ndjson").exists():
        content = (PRESETS / f"{preset}.ndjson").read_bytes()
    else:
        content = _encoded(plain.suffix, row)
    path.write_bytes(_COMPRESSORS.get(path.suffix, bytes)(content))


def _letter(reason: str) -> dict[str, str]:
    event = {"event": "Clicked", "properties": {"time": _TIME, "distinct_id": "c1", "created_at": _TIME}}
    return {"event": json.dumps(event), "stage": "import", "reason": reason}


def _encoded(suffix: str, row: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    if suffix in (".csv", ".tsv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), delimiter="\t" if suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerow(row)
        return text.getvalue().encode()
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), file)
        return file.getvalue()
    if suffix == ".avro":
        fields = [{"name": name, "type": ["string", "long", "double"]} for name in row]
        fastavro.writer(file, {"type": "record", "name": "Row", "fields": fields}, [row])
        return file.getvalue()
    return (json.dumps(row) + "\n").encode()


def make_database(folder: Path, url: str, table: str, row: dict[str, Any]) -> None:
    """Put a table with a row into the file of a URL, unless the table is there."""
    kind, _, name = url.partition(":///")
    columns = ", ".join(f'"{column}" {"INTEGER" if isinstance(row[column], int) else "TEXT"}' for column in row)
    marks = ", ".join("?" for _ in row)
    connect: Any = duckdb.connect if kind == "duckdb" else sqlite3.connect
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(connect(folder / name)) as database:
        try:
            database.execute(f"CREATE TABLE {table} ({columns})")
        except (sqlite3.OperationalError, duckdb.CatalogException):
            return  # it is there
        database.execute(f"INSERT INTO {table} VALUES ({marks})", list(row.values()))
        database.commit()
