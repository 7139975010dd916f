"""Files of JSON lines: blocks of events, or rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.prepare import EventBlock, cut_line_letter
from beam_mixpanel.core.events.reading import parse_object
from beam_mixpanel.core.formats import kinds
from beam_mixpanel.core.formats.byte_ranges import ByteRange
from beam_mixpanel.core.formats.detection import HEAD_BYTES
from beam_mixpanel.core.limits import MAX_LINE_BYTES
from beam_mixpanel.core.rows.batches import RefusedRows, RowList, names_in, with_columns
from beam_mixpanel.files.lines import read_range, split_lines
from beam_mixpanel.files.row_file import Format, RowFile, RowSettings


def columns(file: RowFile, settings: RowSettings) -> list[str]:
    """Return the names that the first lines hold."""
    whole = file.head if len(file.head) < HEAD_BYTES else file.head[: file.head.rfind(b"\n") + 1]
    return names_in(parse_object(line) for line in whole.split(b"\n"))


def split(file: RowFile, settings: RowSettings) -> Iterator[ByteRange]:
    """Cut a file of lines into byte ranges."""
    return split_lines(file, settings.range_bytes)


def read(part: ByteRange, settings: RowSettings) -> Iterator[EventBlock | RowList | RefusedRows]:
    """Read lines as blocks of events, or as rows where these are to be mapped."""
    for block in read_range(part, settings.block_bytes, MAX_LINE_BYTES):
        if settings.ndjson_as_rows or settings.extended_json:
            yield from rows_of_block(block, settings.columns)
        else:
            yield block


def rows_of_block(block: EventBlock, columns: tuple[str, ...] | None = None) -> Iterator[RowList | RefusedRows]:
    """Parse each line of a block.

    Rows are numbered within their block, whose place in the file is part of the source's name.

    Args:
      block: the lines.
      columns: those that rows have; None for all.

    Yields:
      The rows, unless there are none; then the lines that are not JSON objects, unless there are none.
    """
    if block.cut_line_bytes:
        yield RefusedRows([cut_line_letter(block)])
        return
    rows: list[Any] = []
    refused: list[DeadLetter] = []
    source = f"{block.source}@{block.offset}"
    offset = block.offset
    for line in block.data.split(b"\n"):
        if line and not line.isspace():
            parsed = parse_object(line)
            if isinstance(parsed, DeadLetter):
                refused.append(parsed._replace(source=f"{block.source}@{offset}"))
            else:
                rows.append(parsed)
        offset += len(line) + 1
    if rows:
        yield RowList(with_columns(rows, columns), source, 0)
    if refused:
        yield RefusedRows(refused)


FORMATS: Final = (Format(kinds.NDJSON, columns, split, read),)
