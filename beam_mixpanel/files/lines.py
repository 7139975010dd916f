"""Files of lines: cut into byte ranges, and read in blocks of whole lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.formats.byte_ranges import Block, ByteRange, read_blocks, split
from beam_mixpanel.core.formats.detection import refuse_utf16
from beam_mixpanel.files.checks import grown_size, has_more, reading, report_growth
from beam_mixpanel.files.compression import MAGIC_BYTES, open_decompressed
from beam_mixpanel.files.listing import open_file
from beam_mixpanel.files.row_file import RowFile
from beam_mixpanel.metrics import LIVE


def split_lines(file: RowFile, range_bytes: int) -> Iterator[ByteRange]:
    """Cut a file of lines into byte ranges; one that is compressed is a range of its own.

    Raises:
      UnreadableFileError: it is no text in UTF-8.
    """
    with reading(file.path):
        refuse_utf16(file.head)
    if file.compressed:
        return iter([ByteRange(file.path, 0, -1)])
    return split(file.path, file.size_bytes, range_bytes)


def read_range(part: ByteRange, block_bytes: int, max_line_bytes: int) -> Iterator[EventBlock]:
    """Read the lines that begin in a byte range, in blocks.

    Raises:
      UnreadableFileError: the file cannot be read to its end, or to the end of the range.
    """
    path, start, stop, last = part
    with open_file(path) as raw, reading(path):
        read_to = 0
        for block in _blocks_of(raw, start, stop, block_bytes, max_line_bytes):
            yield EventBlock(block.data, path, block.offset, block.cut_line_bytes, block.cut_line_sha256)
            at = raw.tell() if stop < 0 else block.end - start
            LIVE.add("input_bytes", at - read_to)
            read_to = at
        if last and has_more(raw, max(start + read_to, stop)):
            report_growth(path, stop, grown_size(path, stop))


def _blocks_of(raw: Any, start: int, stop: int, block_bytes: int, max_line_bytes: int) -> Iterator[Block]:
    if stop < 0:
        head = raw.read(MAGIC_BYTES)
        raw.seek(0)
        return read_blocks(open_decompressed(raw, head), 0, -1, block_bytes, max_line_bytes)
    if start:
        raw.seek(start - 1)
    return read_blocks(raw, start, stop, block_bytes, max_line_bytes)
