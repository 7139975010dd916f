"""Parquet files as Arrow record batches: row groups shared out, and only the columns that are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from beam_mixpanel.core.formats import kinds
from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.files.checks import reading
from beam_mixpanel.files.listing import open_file
from beam_mixpanel.files.row_file import Format, RowFile, RowSettings, as_wanted, check_names
from beam_mixpanel.metrics import LIVE

BATCH_ROWS: Final = 8_192
_BUFFER_BYTES: Final = 1_000_000
"""How much of a column is read at once, so that a row group is never in memory as a whole."""


class ParquetPart(NamedTuple):
    """Some row groups of a Parquet file.

    Attributes:
      path: the file.
      row_groups: their numbers.
      first_row: the number of their first row in the file.
      size_bytes: their compressed size.
    """

    path: str
    row_groups: tuple[int, ...]
    first_row: int
    size_bytes: int


def columns(file: RowFile, settings: RowSettings) -> list[str]:
    """Return the names of a file's columns."""
    with _open(file.path) as raw, reading(file.path):
        return check_names(pq.ParquetFile(raw).schema_arrow.names)


def split(file: RowFile, settings: RowSettings) -> Iterator[ParquetPart]:
    """Gather row groups to parts of about `range_bytes`."""
    with _open(file.path) as raw, reading(file.path):
        metadata = pq.ParquetFile(raw).metadata
        groups: list[int] = []
        first_row = rows = size_bytes = 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            groups.append(number)
            rows += group.num_rows
            size_bytes += _compressed_bytes(group)
            if size_bytes >= settings.range_bytes or number == metadata.num_row_groups - 1:
                yield ParquetPart(file.path, tuple(groups), first_row, size_bytes)
                groups, first_row, rows, size_bytes = [], first_row + rows, 0, 0


def read(part: ParquetPart, settings: RowSettings) -> Iterator[RowBatch]:
    """Read a part; a column that was asked for and is not there is null."""
    with _open(part.path) as raw, reading(part.path):
        file = pq.ParquetFile(raw, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        names = check_names(file.schema_arrow.names)
        wanted = names if settings.columns is None else list(settings.columns)
        first_row = part.first_row
        batches = file.iter_batches(
            BATCH_ROWS, list(part.row_groups), [name for name in wanted if name in names], use_threads=False
        )
        for batch in batches:
            yield RowBatch(as_wanted(batch, wanted), part.path, first_row)
            first_row += batch.num_rows
        LIVE.add("input_bytes", part.size_bytes)


def _open(path: str) -> Any:
    """Open a file as Arrow reads it fastest: one of this machine without Python in between."""
    if FileSystems.get_scheme(path) is None:
        open_file(path).close()
        return pa.OSFile(path)
    return open_file(path)


def _compressed_bytes(group: Any) -> int:
    return sum(group.column(number).total_compressed_size for number in range(group.num_columns))


FORMATS: Final = (Format(kinds.PARQUET, columns, split, read),)
