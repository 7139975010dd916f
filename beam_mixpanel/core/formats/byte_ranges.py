"""Which lines belong to which byte range: every line to exactly one, wherever a file is cut.

A line belongs to the range that holds its first byte. So a reader that starts inside a file skips to the first line
that begins in its range, and reads past the range's end to finish its last line. A line that is longer than any event
can be is never held: its beginning, its length and its hash stand for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from beam_mixpanel.core.limits import MAX_LINE_BYTES

DEFAULT_RANGE_BYTES: Final = 32_000_000
DEFAULT_BLOCK_BYTES: Final = 512_000
MOST_BYTES: Final = 2**62
"""Larger than any file: for sizes that stand for no bound."""
CUT_LINE_HEAD_BYTES: Final = 10_000
"""How much of a line that is too long is kept."""


class ByteRange(NamedTuple):
    """Part of a file.

    Attributes:
      path: the file.
      start: its first byte.
      stop: one past its last byte; -1 for a file that is read to its end, as compressed files are.
      last: whether the file ended at `stop` when it was listed.
    """

    path: str
    start: int
    stop: int
    last: bool = False


class Block(NamedTuple):
    r"""Some lines of a file, or the head of one that is too long to be held.

    Attributes:
      offset: where it begins in the file, in bytes.
      data: whole lines, separated by `\n`; the last one of a file may lack its `\n`. Of a line that is too long, the
        first `CUT_LINE_HEAD_BYTES` or a few less, so that no character is cut.
      cut_line_bytes: how long that line is, without its `\n`; 0 for whole lines.
      cut_line_sha256: the hash of that line, without its `\n`, in hexadecimal.
    """

    offset: int
    data: bytes
    cut_line_bytes: int = 0
    cut_line_sha256: str = ""

    @property
    def end(self) -> int:
        """One past its last byte in the file, the newline of a cut line left out."""
        return self.offset + (self.cut_line_bytes or len(self.data))


class Readable(Protocol):
    """A file opened for bytes."""

    def read(self, size: int, /) -> bytes:
        """Give at most so many bytes; none at the end."""


def split(path: str, size_bytes: int, range_bytes: int = DEFAULT_RANGE_BYTES) -> Iterator[ByteRange]:
    """Cut a file into ranges of at most range_bytes."""
    for start in range(0, size_bytes, range_bytes):
        stop = min(start + range_bytes, size_bytes)
        yield ByteRange(path, start, stop, last=stop == size_bytes)


def read_blocks(
    file: Readable,
    start: int,
    stop: int,
    block_bytes: int = DEFAULT_BLOCK_BYTES,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[Block]:
    """Read the lines whose first byte lies in [start, stop), many at a time.

    Holds about as much as the longest line that is permitted and a block, however long the lines are.

    Args:
      file: positioned at start - 1, or at 0 if start is 0.
      start: the range's first byte.
      stop: one past its last byte; -1 for the file's end.
      block_bytes: how much to read at once; a block is about as long, and longer where a line is.
      max_line_bytes: a longer line is not held but measured; it makes a block of its own.

    Yields:
      The blocks, in order.

    Raises:
      EOFError: the file ends before `stop`, so that lines are missing.
    """
    offset, rest = _find_first_line(file, start, stop, block_bytes) if start else (0, b"")
    while rest is not None and (stop < 0 or offset < stop):
        data = _read_to_line_end(file, rest, block_bytes, max_line_bytes)
        end = _end_of_range(data, offset, stop)
        if end is not None:
            yield from _cut_long_lines(Block(offset, data[:end]), max_line_bytes)
            return
        lines, rest = _cut_at_last_line(data)
        if lines:
            yield from _cut_long_lines(Block(offset, lines), max_line_bytes)
            offset += len(lines)
        elif len(rest) > max_line_bytes:
            block, offset, rest = _measure_line(file, offset, rest, block_bytes, max_line_bytes)
            yield block
        else:
            _check_not_cut_short(offset + len(rest), stop)
            if rest:
                yield Block(offset, rest)
            return


def _find_first_line(file: Readable, start: int, stop: int, block_bytes: int) -> tuple[int, bytes | None]:
    """Read past the first newline; give where that is, and what was read beyond; None if no line begins before stop."""
    offset = start - 1
    while data := file.read(block_bytes):
        newline = data.find(b"\n")
        if newline >= 0:
            return offset + newline + 1, data[newline + 1 :]
        offset += len(data)
        if 0 <= stop <= offset:
            return offset, None
    _check_not_cut_short(offset, stop)
    return offset, None


def _check_not_cut_short(size_bytes: int, stop: int) -> None:
    if size_bytes < stop:
        raise EOFError(
            f"it ends after {size_bytes} bytes and had at least {stop} when the job began; run the job again when "
            "nothing changes the file any more, duplicates do no harm"
        )


def _read_to_line_end(file: Readable, rest: bytes, block_bytes: int, max_line_bytes: int) -> bytes:
    """Read at least one whole line, or to the file's end, or more of a line than is permitted."""
    parts = [rest]
    size_bytes = len(rest)
    while size_bytes <= max_line_bytes and (data := file.read(block_bytes)):
        parts.append(data)
        size_bytes += len(data)
        if b"\n" in data:
            break
    return b"".join(parts)


def _end_of_range(data: bytes, offset: int, stop: int) -> int | None:
    """Give where in the data the range's last line ends, newline included; None if it may not end there."""
    if stop < 0 or offset + len(data) < stop:
        return None
    newline = data.find(b"\n", stop - 1 - offset)
    if newline >= 0:
        return newline + 1
    return None


def _cut_at_last_line(data: bytes) -> tuple[bytes, bytes]:
    """Part whole lines from what follows the last newline."""
    cut = data.rfind(b"\n") + 1
    if cut:
        return (data[:cut], data[cut:])
    return (b"", data)


def _cut_long_lines(block: Block, max_line_bytes: int) -> Iterator[Block]:
    """Give a block of whole lines in pieces if it holds a line that is too long, so that only its length decides."""
    offset, data = block.offset, block.data
    if len(data) <= max_line_bytes:
        yield block
        return
    begin = place = 0
    while place < len(data):
        newline = data.index(b"\n", place)
        if newline - place > max_line_bytes:
            if begin < place:
                yield Block(offset + begin, data[begin:place])
            line = data[place:newline]
            yield Block(offset + place, _head(line, max_line_bytes), len(line), hashlib.sha256(line).hexdigest())
            begin = newline + 1
        place = newline + 1
    if begin < len(data):
        yield Block(offset + begin, data[begin:])


def _measure_line(
    file: Readable, offset: int, begun: bytes, block_bytes: int, max_line_bytes: int
) -> tuple[Block, int, bytes]:
    """Read a line to its end without holding it.

    Args:
      file: positioned after what was read of the line.
      offset: where the line begins.
      begun: what was read of it, more than is permitted.
      block_bytes: how much to read at once.
      max_line_bytes: how much is permitted.

    Returns:
      Its block, where the next line begins, and what was read of that.
    """
    head = _head(begun, max_line_bytes)
    digest = hashlib.sha256(begun)
    size_bytes = len(begun)
    while data := file.read(block_bytes):
        newline = data.find(b"\n")
        part = data if newline < 0 else data[:newline]
        digest.update(part)
        size_bytes += len(part)
        if newline >= 0:
            block = Block(offset, head, size_bytes, digest.hexdigest())
            return block, offset + size_bytes + 1, data[newline + 1 :]
    return Block(offset, head, size_bytes, digest.hexdigest()), offset + size_bytes, b""


def _head(line: bytes, max_line_bytes: int) -> bytes:
    """Cut a line that is longer than is permitted, not within a character of UTF-8."""
    size_bytes = min(CUT_LINE_HEAD_BYTES, max_line_bytes)
    for end in range(size_bytes, max(size_bytes - 4, 0), -1):
        if not _continues_character(line[end]):
            return line[:end]
    return line[:size_bytes]


def _continues_character(byte: int) -> bool:
    return byte & 0b1100_0000 == 0b1000_0000
