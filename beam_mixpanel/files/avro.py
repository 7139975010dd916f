"""Avro files as rows: read block by block, and split at the markers between blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import fastavro

from beam_mixpanel.core.formats import kinds
from beam_mixpanel.core.rows.batches import RowList, with_columns
from beam_mixpanel.files.checks import reading
from beam_mixpanel.files.listing import open_file
from beam_mixpanel.files.row_file import Format, RowFile, RowSettings, content_of
from beam_mixpanel.metrics import LIVE

MAX_ROWS: Final = 4_096
_MARKER_BYTES: Final = 16
_SEARCH_BYTES: Final = 64_000


class AvroPart(NamedTuple):
    """Some blocks of an Avro file: those behind a marker that begins in a byte range.

    Attributes:
      path: the file.
      start: the first byte.
      stop: one past the last byte; -1 for the end of a file that is compressed as a whole.
    """

    path: str
    start: int
    stop: int


def columns(file: RowFile, settings: RowSettings) -> list[str]:
    """Return the names of a file's columns."""
    with open_file(file.path) as raw, reading(file.path):
        schema = fastavro.block_reader(content_of(raw)).writer_schema
        return _field_names(schema)


def split(file: RowFile, settings: RowSettings) -> Iterator[AvroPart]:
    """Cut a file into byte ranges."""
    if file.compressed or not file.size_bytes:
        yield AvroPart(file.path, 0, -1)
        return
    for start in range(0, file.size_bytes, settings.range_bytes):
        yield AvroPart(file.path, start, min(start + settings.range_bytes, file.size_bytes))


def read(part: AvroPart, settings: RowSettings) -> Iterator[RowList]:
    """Read a part. Rows are numbered within their block, whose place in the file is part of the source's name."""
    with open_file(part.path) as raw, reading(part.path):
        content = content_of(raw)
        blocks = fastavro.block_reader(content)
        _field_names(blocks.writer_schema)
        end_of_header = 0
        if part.stop >= 0:
            end_of_header = raw.tell()
            if not _find_block(raw, end_of_header, part.start, part.stop):
                return
        for block in blocks:
            # A block belongs to the range in which the marker before it begins.
            if 0 <= part.stop <= block.offset - _MARKER_BYTES:
                return
            yield from _rows_of(block, f"{part.path}@{block.offset}", settings)
            LIVE.add("input_bytes", block.size)


def _find_block(raw: Any, end_of_header: int, start: int, stop: int) -> bool:
    """Go to the first block of a range; tell whether there is one."""
    first_marker = end_of_header - _MARKER_BYTES
    if start <= first_marker:
        return first_marker < stop
    raw.seek(first_marker)
    marker = raw.read(_MARKER_BYTES)
    raw.seek(start)
    at, window = start, b""
    while at < stop and (data := raw.read(_SEARCH_BYTES)):
        window += data
        place = window.find(marker)
        if place >= 0:
            raw.seek(at + place + _MARKER_BYTES)
            return bool(at + place < stop)
        at += max(len(window) - _MARKER_BYTES + 1, 0)
        window = window[-_MARKER_BYTES + 1 :]
    return False


def _rows_of(block: Any, source: str, settings: RowSettings) -> Iterator[RowList]:
    rows: list[Any] = []
    first_row = 0
    for row in block:
        rows.append(row)
        if len(rows) == MAX_ROWS:
            yield RowList(with_columns(rows, settings.columns), source, first_row)
            first_row += len(rows)
            rows = []
    if rows:
        yield RowList(with_columns(rows, settings.columns), source, first_row)


def _field_names(schema: Any) -> list[str]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ValueError("its schema is no record, so that it has no columns")
    return [field["name"] for field in schema["fields"]]


FORMATS: Final = (Format(kinds.AVRO, columns, split, read),)
