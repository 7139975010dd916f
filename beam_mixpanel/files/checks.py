"""What is checked of a file before and while it is read: that it is what its name and size say, and can be read."""

from __future__ import annotations

import contextlib
import logging
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from beam_mixpanel.errors import DamagedJsonError, UnreadableFileError
from beam_mixpanel.files.compression import DAMAGED, SUFFIXES, is_compressed
from beam_mixpanel.files.listing import in_words, size_now
from beam_mixpanel.metrics import Ledger

_FOREIGN: Final = {
    b"PK\x03\x04": "it is a zip archive; unpack it",
    b"\xfd7zX": "it is xz-compressed; decompress it",
}
_UNREADABLE: Final = (
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

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Name the file in whatever error its reader raises.

    Raises:
      UnreadableFileError: the file cannot be read to its end.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise UnreadableFileError(
            f"cannot read {in_words(path)} to its end: {error or type(error).__name__}"
        ) from error


def refuse_archive(path: str, magic: bytes) -> None:
    """Fail for a file of which nothing can be read.

    Args:
      path: the file.
      magic: its first `MAGIC_BYTES`, as they are stored.

    Raises:
      OSError: for `reading` to name the file.
    """
    if magic in _FOREIGN:
        raise OSError(_FOREIGN[magic])
    if not magic and path.endswith(SUFFIXES):
        raise EOFError("it is empty, and no compressed file is; write it again, or remove it")


def refuse_double_compression(magic: bytes) -> None:
    """Fail for a file that was compressed twice, by its first `MAGIC_BYTES` after it was decompressed once.

    Raises:
      OSError: for `reading` to name the file.
    """
    if is_compressed(magic):
        raise OSError("it is compressed twice; decompress it once")


def has_more(raw: Any, offset: int) -> bool:
    """Tell whether a file goes on, but for the newline of its last line."""
    raw.seek(offset)
    return bool(raw.read(2).removeprefix(b"\n"))


def grown_size(path: str, size_bytes: int) -> int:
    """Return the size of a file that holds more than when it was listed.

    Raises:
      OSError: its size was wrong from the beginning; for `reading` to name the file.
    """
    size_bytes_now = size_now(path)
    if size_bytes_now <= size_bytes:
        raise OSError(f"it holds more than the {size_bytes} bytes that its file system says; copy it and read the copy")
    return size_bytes_now


def report_growth(path: str, size_bytes: int, size_bytes_now: int) -> None:
    """Warn of what was added to a file after it was listed, and count it: on Beam's thread, which metrics need."""
    Ledger().count("grown_files", 1)
    _log.warning(
        "%s had %d bytes when the job began and has %d now; what was added is not read: run the job again when "
        "the file is complete, duplicates do no harm",
        in_words(path),
        size_bytes,
        size_bytes_now,
    )
