"""What the readers of all formats share: opening a file, its settings, and errors that name it."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pyarrow as pa

from beam_mixpanel.core.byte_ranges import DEFAULT_BLOCK_BYTES, DEFAULT_RANGE_BYTES
from beam_mixpanel.core.csv_format import CsvFormat
from beam_mixpanel.core.file_formats import AUTO, HEAD_BYTES, format_of
from beam_mixpanel.core.json_stream import DamagedJsonError
from beam_mixpanel.transforms.compression import DAMAGED, MAGIC_BYTES, SUFFIXES, is_compressed, open_decompressed
from beam_mixpanel.transforms.files import UnreadableFileError, in_words, open_file
from beam_mixpanel.transforms.read import _FOREIGN as FOREIGN

UNREADABLE: Final = (
    *DAMAGED,
    ValueError,
    pa.ArrowException,
    DamagedJsonError,
    struct.error,
    zlib.error,
    LookupError,
    StopIteration,
    OverflowError,
)
"""What the readers of a format may raise for a file that is damaged."""


class RowSettings(NamedTuple):
    """How files are read.

    Attributes:
      file_format: one of `file_formats.FORMATS`, or `auto`.
      columns: those that are needed; None for all.
      csv: how CSV files are written.
      ndjson_as_rows: lines of JSON become rows, and not blocks of events.
      range_bytes: the size of the parts into which large files are split.
      block_bytes: about how much of a text file is handled together.
    """

    file_format: str = AUTO
    columns: tuple[str, ...] | None = None
    csv: CsvFormat = CsvFormat()
    ndjson_as_rows: bool = False
    range_bytes: int = DEFAULT_RANGE_BYTES
    block_bytes: int = DEFAULT_BLOCK_BYTES


class RowFile(NamedTuple):
    """A file of rows.

    Attributes:
      path: its name.
      size_bytes: its size, as it is stored.
      file_format: one of `file_formats.FORMATS`.
      compressed: as a whole, by gzip, bzip2 or Zstandard.
      head: its first bytes, decompressed.
    """

    path: str
    size_bytes: int
    file_format: str
    compressed: bool
    head: bytes


def look_at(path: str, size_bytes: int, settings: RowSettings) -> RowFile:
    """Tell a file's format.

    Raises:
      UnreadableFileError: it cannot be read, or its format cannot be told.
    """
    with open_file(path) as raw, reading(path):
        magic = raw.read(MAGIC_BYTES)
        if magic in FOREIGN:
            raise OSError(FOREIGN[magic])
        if not magic and path.endswith(SUFFIXES):
            raise EOFError("it is empty, and no compressed file is; write it again, or remove it")
        compressed = is_compressed(magic)
        raw.seek(0)
        head = content_of(raw).read(HEAD_BYTES)
        file_format = settings.file_format if settings.file_format != AUTO else format_of(path, head)
    return RowFile(path, size_bytes, file_format, compressed, head)


def content_of(raw: Any) -> Any:
    """Give a file's content, decompressed where it is compressed."""
    head = raw.read(MAGIC_BYTES)
    raw.seek(0)
    return open_decompressed(raw, head) if is_compressed(head) else raw


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Name the file in whatever error its reader raises.

    Raises:
      UnreadableFileError: the file cannot be read to its end.
    """
    try:
        yield
    except UNREADABLE as error:
        raise UnreadableFileError(f"cannot read {in_words(path)}: {error or type(error).__name__}") from error
