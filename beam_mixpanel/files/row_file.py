"""What the readers of all formats share: a format as an object, what is known of a file, and its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from beam_mixpanel.core.formats.byte_ranges import DEFAULT_BLOCK_BYTES, DEFAULT_RANGE_BYTES
from beam_mixpanel.core.formats.csv_format import CsvFormat
from beam_mixpanel.core.formats.detection import HEAD_BYTES, format_of
from beam_mixpanel.core.formats.kinds import AUTO, BY_NAME, JSON, NDJSON, Kind
from beam_mixpanel.errors import UnknownFormatError
from beam_mixpanel.files.checks import (
    grown_size,
    reading,
    refuse_archive,
    refuse_double_compression,
    report_growth,
)
from beam_mixpanel.files.compression import MAGIC_BYTES, is_compressed, open_decompressed
from beam_mixpanel.files.listing import open_file


class RowSettings(NamedTuple):
    """How files are read.

    Attributes:
      file_format: the name of one of `kinds.KINDS`, or `auto`.
      columns: those that are needed; None for all.
      csv: how CSV files are written.
      ndjson_as_rows: lines of JSON become rows, and not blocks of events.
      extended_json: JSON is MongoDB's extended JSON; its lines are rows.
      range_bytes: the size of the parts into which large files are split.
      block_bytes: about how much of a text file is handled together.
    """

    file_format: str = AUTO
    columns: tuple[str, ...] | None = None
    csv: CsvFormat = CsvFormat()
    ndjson_as_rows: bool = False
    extended_json: bool = False
    range_bytes: int = DEFAULT_RANGE_BYTES
    block_bytes: int = DEFAULT_BLOCK_BYTES


class RowFile(NamedTuple):
    """A file of rows.

    Attributes:
      path: its name.
      size_bytes: its size, as it is stored.
      file_format: the name of one of `kinds.KINDS`.
      compressed: as a whole, by gzip, bzip2 or Zstandard.
      head: its first bytes, decompressed.
      grown_to_bytes: its size now, if it was empty when it was listed; else 0.
    """

    path: str
    size_bytes: int
    file_format: str
    compressed: bool
    head: bytes
    grown_to_bytes: int = 0


class Format(NamedTuple):
    """A format: what it is recognized by, and how its files are read.

    Attributes:
      kind: its name and signature.
      columns: returns the names of a file's columns, without reading the file to its end.
      split: yields the parts of a file, each a NamedTuple that can be pickled, of about `range_bytes`.
      read: yields the rows of a part in batches of bounded size, in order, and those that are refused.
    """

    kind: Kind
    columns: Callable[[RowFile, RowSettings], list[str]]
    split: Callable[[RowFile, RowSettings], Iterator[Any]]
    read: Callable[[Any, RowSettings], Iterator[Any]]


def look_at(path: str, size_bytes: int | None, settings: RowSettings) -> RowFile:
    """Detect a file's format.

    Args:
      path: its name.
      size_bytes: its size when it was listed; None where it does not matter yet.
      settings: name the format, or leave it to be detected.

    Raises:
      UnreadableFileError: it cannot be read, or its format cannot be detected.
    """
    with open_file(path) as raw, reading(path):
        magic = raw.read(MAGIC_BYTES)
        refuse_archive(path, magic)
        grown_to_bytes = grown_size(path, 0) if magic and size_bytes == 0 else 0
        raw.seek(0)
        head = content_of(raw).read(HEAD_BYTES)
        compressed = is_compressed(magic)
        if compressed:
            refuse_double_compression(head[:MAGIC_BYTES])
        file_format = format_of(path, head) if settings.file_format == AUTO else settings.file_format
        if settings.extended_json:
            check_extended_json(file_format)
        if compressed and BY_NAME[file_format].is_compressed_inside:
            raise ValueError(f"{BY_NAME[file_format].title} is not compressed as a whole; decompress it")
    return RowFile(path, size_bytes or 0, file_format, compressed, head, grown_to_bytes)


def check_extended_json(file_format: str) -> None:
    """Refuse to take a format for extended JSON that is no JSON.

    Raises:
      UnknownFormatError: it is another.
    """
    if file_format not in (AUTO, JSON.name, NDJSON.name):
        raise UnknownFormatError(f"`extended_json` has no effect on files of format {file_format}; leave it out")


def report_growth_of(file: RowFile) -> None:
    """Warn of what a file holds that was listed as empty, and count it: on Beam's thread, which metrics need."""
    if file.grown_to_bytes:
        report_growth(file.path, 0, file.grown_to_bytes)


def content_of(raw: Any) -> Any:
    """Give a file's content, decompressed where it is compressed."""
    head = raw.read(MAGIC_BYTES)
    raw.seek(0)
    if is_compressed(head):
        return open_decompressed(raw, head)
    return raw


def check_names(names: list[str]) -> list[str]:
    """Return the names of a file's columns, where each is there once.

    Raises:
      ValueError: one is there twice; for `reading` to name the file.
    """
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"more than one column is named {min(twice)!r}")
    return names


def as_wanted(batch: pa.RecordBatch, wanted: list[str]) -> pa.RecordBatch:
    """Put columns in the order that was asked for; one that the batch does not have is null. None wanted, no change."""
    if batch.schema.names == wanted or not wanted:
        return batch
    found = dict(zip(batch.schema.names, zip(batch.columns, batch.schema, strict=True), strict=True))
    nulls = pa.nulls(batch.num_rows)
    chosen = [found.get(name, (nulls, pa.field(name, pa.null()))) for name in wanted]
    return pa.RecordBatch.from_arrays([array for array, _ in chosen], schema=pa.schema([field for _, field in chosen]))
