"""Events from files, in blocks of lines or line by line."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.core.byte_ranges import (
    DEFAULT_BLOCK_BYTES,
    DEFAULT_RANGE_BYTES,
    Block,
    ByteRange,
    read_blocks,
    split,
)
from beam_mixpanel.core.limits import MAX_LINE_BYTES
from beam_mixpanel.core.prepare import EventBlock
from beam_mixpanel.transforms.compression import (
    DAMAGED,
    MAGIC_BYTES,
    SUFFIXES,
    is_compressed,
    open_decompressed,
)
from beam_mixpanel.transforms.files import UnreadableFileError as UnreadableFileError
from beam_mixpanel.transforms.files import (
    in_words,
    match_files,
    open_file,
    size_now,
)
from beam_mixpanel.transforms.metrics import LIVE, Ledger

_FOREIGN: Final = {
    b"PK\x03\x04": "it is a zip archive; unpack it",
    b"\xfd7zX": "it is xz-compressed; decompress it",
}

_log = logging.getLogger(__name__)


class ReadEventBlocksFromFiles(beam.PTransform):
    """Reads NDJSON files in blocks of lines, the fastest way into `WriteToMixpanel`.

    Plain, gzip, bzip2 or Zstandard files, told by their first bytes, on any file system that Beam knows. Plain files
    are split by byte ranges, so that workers share a large one. A file that cannot be read to its end fails the job.

    A line that is longer than any event can be is never held whole: it becomes a block that holds its head, and tells
    its length and hash, of which `WriteToMixpanel` makes a dead letter.

    Args:
      patterns: file names or globs; a file that several of them match is read once.
      range_bytes: the size of the ranges.
      block_bytes: about how long a block is.
      max_line_bytes: a longer line is too long.
    """

    def __init__(
        self,
        patterns: str | Iterable[str],
        *,
        range_bytes: int = DEFAULT_RANGE_BYTES,
        block_bytes: int = DEFAULT_BLOCK_BYTES,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        super().__init__()
        self._patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self._range_bytes = range_bytes
        self._block_bytes = block_bytes
        self._max_line_bytes = max_line_bytes

    def expand(self, begin: PBegin) -> PCollection[EventBlock]:
        """Match, split, share out, read."""
        return (
            begin
            | "Patterns" >> beam.Create(self._patterns)
            | "MatchFiles" >> beam.FlatMap(_match_files).with_output_types(tuple[str, int])
            | "OncePerFile" >> beam.CombinePerKey(max)
            | "SplitFiles" >> beam.FlatMap(_split_file, self._range_bytes)
            | "ShareOut" >> beam.Reshuffle()
            | "ReadBlocks"
            >> beam.FlatMap(_read_range, self._block_bytes, self._max_line_bytes).with_output_types(EventBlock)
        )


class ReadEventsFromFiles(beam.PTransform):
    """Reads NDJSON files line by line, for pipelines that look at each event before `WriteToMixpanel`.

    Files as in `ReadEventBlocksFromFiles`, which is several times faster where nothing needs to look. Of a line that is
    too long its head is given, followed by ` ...[cut: line of N bytes, SHA-256 H]`, which no JSON ends with.

    Args:
      patterns: file names or globs.
      max_line_bytes: a longer line is too long.
    """

    def __init__(self, patterns: str | Iterable[str], *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        super().__init__()
        self._patterns = patterns
        self._max_line_bytes = max_line_bytes

    def expand(self, begin: PBegin) -> PCollection[bytes]:
        """Give each line that is not blank, as bytes without its newline."""
        return (
            begin
            | "ReadBlocks" >> ReadEventBlocksFromFiles(self._patterns, max_line_bytes=self._max_line_bytes)
            | "SplitLines" >> beam.FlatMap(lines_of).with_output_types(bytes)
        )


def lines_of(block: EventBlock) -> list[bytes]:
    """Give the lines of a block that are not blank."""
    if block.cut_line_bytes:
        facts = f"line of {block.cut_line_bytes} bytes, SHA-256 {block.cut_line_sha256}"
        return [block.data + f" ...[cut: {facts}]".encode()]
    return [line for _, line in block.lines()]


def _match_files(pattern: str) -> list[tuple[str, int]]:
    return [(file.path, file.size_bytes) for file in match_files(pattern)]


def _split_file(file: tuple[str, int], range_bytes: int) -> Iterator[ByteRange]:
    path, size_bytes = file
    with open_file(path) as raw, _failing_by_name(path):
        head = raw.read(MAGIC_BYTES)
        if is_compressed(head):
            yield ByteRange(path, 0, -1)
            return
        if not head and path.endswith(SUFFIXES):
            raise EOFError("it is empty, and no compressed file is; write it again, or remove it")
        _refuse_foreign(head)
        if head and not size_bytes:
            _look_at_growth(path, size_bytes)
    yield from split(path, size_bytes, range_bytes)


def _read_range(part: ByteRange, block_bytes: int, max_line_bytes: int) -> Iterator[EventBlock]:
    path, start, stop, last = part
    with open_file(path) as raw, _failing_by_name(path):
        read_to = 0
        for block in _blocks_of(raw, start, stop, block_bytes, max_line_bytes):
            if not block.offset:
                _refuse_foreign(block.data[:MAGIC_BYTES], unpacked=stop < 0)
            yield EventBlock(block.data, path, block.offset, block.cut_line_bytes, block.cut_line_sha256)
            at = raw.tell() if stop < 0 else block.end - start
            LIVE.add("input_bytes", at - read_to)
            read_to = at
        if last and _has_more(raw, max(start + read_to, stop)):
            _look_at_growth(path, stop)


def _blocks_of(raw: Any, start: int, stop: int, block_bytes: int, max_line_bytes: int) -> Iterator[Block]:
    if stop < 0:
        head = raw.read(MAGIC_BYTES)
        raw.seek(0)
        return read_blocks(open_decompressed(raw, head), 0, -1, block_bytes, max_line_bytes)
    if start:
        raw.seek(start - 1)
    return read_blocks(raw, start, stop, block_bytes, max_line_bytes)


@contextlib.contextmanager
def _failing_by_name(path: str) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read."""
    try:
        yield
    except DAMAGED as error:
        raise UnreadableFileError(f"cannot read {in_words(path)} to its end: {error}") from error


def _refuse_foreign(head: bytes, *, unpacked: bool = False) -> None:
    """Fail for a file of which no line can be an event, rather than make a dead letter of every line.

    Args:
      head: its first bytes.
      unpacked: they were decompressed.
    """
    if _looks_like_utf16(head):
        raise OSError("it looks like UTF-16; convert it to UTF-8, such as with iconv -f UTF-16 -t UTF-8")
    if unpacked and is_compressed(head):
        raise OSError("it is compressed twice; decompress it once")
    if head in _FOREIGN:
        raise OSError(_FOREIGN[head])


def _looks_like_utf16(head: bytes) -> bool:
    """Tell by the mark at the beginning, or by every other byte being zero, which JSON in UTF-8 never holds."""
    zeros = [not byte for byte in head]
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or zeros in ([True, False] * 2, [False, True] * 2)


def _has_more(raw: Any, offset: int) -> bool:
    """Tell whether a file goes on, but for the newline of its last line."""
    raw.seek(offset)
    return bool(raw.read(2).removeprefix(b"\n"))


def _look_at_growth(path: str, size_bytes: int) -> None:
    """Warn of what was added to a file after it was listed; fail if its size was wrong from the beginning."""
    size_bytes_now = size_now(path)
    if size_bytes_now <= size_bytes:
        raise OSError(f"it holds more than the {size_bytes} bytes that its file system says; copy it and read the copy")
    Ledger().count("grown_files", 1)
    _log.warning(
        "%s had %d bytes when the job began and has %d now; what was added is not read: run the job again when "
        "the file is complete, duplicates do no harm",
        in_words(path),
        size_bytes,
        size_bytes_now,
    )
