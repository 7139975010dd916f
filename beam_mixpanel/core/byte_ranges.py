"""Which lines belong to which byte range: every line to exactly one, wherever a file is cut.

A line belongs to the range that holds its first byte. So a reader that starts inside a file skips to the first line
that begins in its range, and reads past the range's end to finish its last line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

DEFAULT_RANGE_BYTES: Final = 32_000_000
DEFAULT_BLOCK_BYTES: Final = 512_000


class ByteRange(NamedTuple):
    """Part of a file.

    Attributes:
      path: the file.
      start: its first byte.
      stop: one past its last byte; -1 for a file that is read to its end, as compressed files are.
    """

    path: str
    start: int
    stop: int


class Readable(Protocol):
    """A file opened for bytes."""

    def read(self, size: int, /) -> bytes:
        """Give at most so many bytes; none at the end."""


def split(path: str, size_bytes: int, range_bytes: int = DEFAULT_RANGE_BYTES) -> Iterator[ByteRange]:
    """Cut a file into ranges of at most range_bytes."""
    for start in range(0, size_bytes, range_bytes):
        yield ByteRange(path, start, min(start + range_bytes, size_bytes))


def read_blocks(
    file: Readable, start: int, stop: int, block_bytes: int = DEFAULT_BLOCK_BYTES
) -> Iterator[tuple[int, bytes]]:
    r"""Read the lines whose first byte lies in [start, stop), many at a time.

    Args:
      file: positioned at start - 1, or at 0 if start is 0.
      start: the range's first byte.
      stop: one past its last byte; -1 for the file's end.
      block_bytes: how much to read at once; a block is about as long, and longer where a line is.

    Yields:
      The offset of a block's first byte, and the block: whole lines, separated by `\n`; the last one of a file may
      lack its `\n`.
    """
    offset = start
    rest: bytes | None = b""
    if start:
        skipped, rest = _skip_line(file, block_bytes)
        offset = start - 1 + skipped
    while rest is not None and (stop < 0 or offset < stop):
        data = _read_to_line_end(file, rest, block_bytes)
        rest = b""
        if not data:
            return
        end = _end_of_range(data, offset, stop)
        if end is None:
            data, rest = _cut_at_last_line(data)
            end = len(data)
        yield offset, data[:end]
        if end < len(data):
            return
        offset += len(data)


def _skip_line(file: Readable, block_bytes: int) -> tuple[int, bytes | None]:
    """Read past the first newline; give how many bytes that was, and what was read beyond; None at the file's end."""
    skipped = 0
    while data := file.read(block_bytes):
        newline = data.find(b"\n")
        if newline >= 0:
            return skipped + newline + 1, data[newline + 1 :]
        skipped += len(data)
    return skipped, None


def _read_to_line_end(file: Readable, rest: bytes, block_bytes: int) -> bytes:
    """Read at least one whole line, or to the file's end."""
    parts = [rest]
    while data := file.read(block_bytes):
        parts.append(data)
        if b"\n" in data:
            break
    return b"".join(parts)


def _end_of_range(data: bytes, offset: int, stop: int) -> int | None:
    """Give where in the data the range's last line ends, newline included; None if it may not end there."""
    if stop < 0 or offset + len(data) < stop:
        return None
    newline = data.find(b"\n", stop - 1 - offset)
    return newline + 1 if newline >= 0 else None


def _cut_at_last_line(data: bytes) -> tuple[bytes, bytes]:
    """Keep whole lines; all of it where there is no newline, since then the file is at its end."""
    cut = data.rfind(b"\n") + 1
    return (data[:cut], data[cut:]) if cut else (data, b"")
