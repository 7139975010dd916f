"""JSON files as rows: arrays, objects that follow each other, and lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from beam_mixpanel.core.events.dead_letter import PARSE, DeadLetter
from beam_mixpanel.core.events.prepare import EventBlock, cut_line_letter
from beam_mixpanel.core.events.reading import parse_object
from beam_mixpanel.core.events.rules import Violation
from beam_mixpanel.core.formats.byte_ranges import ByteRange
from beam_mixpanel.core.formats.detection import HEAD_BYTES
from beam_mixpanel.core.formats.marked_text import MarkedText, encoding_of, is_marked, original_bytes
from beam_mixpanel.core.json.stream import JsonValue, read_values
from beam_mixpanel.core.limits import MAX_LINE_BYTES
from beam_mixpanel.core.rows.batches import RefusedRows, RowList, with_columns
from beam_mixpanel.files.checks import reading
from beam_mixpanel.files.lines import read_range, split_lines
from beam_mixpanel.files.listing import open_file
from beam_mixpanel.files.row_file import RowFile, RowSettings, content_of
from beam_mixpanel.metrics import LIVE

MAX_ROWS: Final = 1_000
SAMPLE_ROWS: Final = 1_000
"""So many rows are read for the names of the columns, which JSON does not list."""


class JsonPart(NamedTuple):
    """A file of one array, or of values that follow each other."""

    path: str
    encoding: str


class LinesPart(NamedTuple):
    """A byte range of a file of lines."""

    lines: ByteRange


def split(file: RowFile, settings: RowSettings) -> Iterator[JsonPart]:
    """Give the file in one part: where a value begins cannot be told from the middle."""
    yield _whole(file)


def split_ndjson(file: RowFile, settings: RowSettings) -> Iterator[LinesPart]:
    """Cut a file of lines into byte ranges."""
    for lines in split_lines(file, settings.range_bytes):
        yield LinesPart(lines)


def columns(file: RowFile, settings: RowSettings) -> list[str]:
    """Tell the names that the first rows hold."""
    with open_file(file.path) as raw, reading(file.path):
        values = read_values(MarkedText(content_of(raw), _whole(file).encoding))
        return _names_in(value for value, _ in islice(values, SAMPLE_ROWS))


def columns_of_ndjson(file: RowFile, settings: RowSettings) -> list[str]:
    """Tell the names that the first lines hold."""
    whole = file.head if len(file.head) < HEAD_BYTES else file.head[: file.head.rfind(b"\n") + 1]
    return _names_in(parse_object(line) for line in whole.split(b"\n"))


def read(part: JsonPart, settings: RowSettings) -> Iterator[RowList | RefusedRows]:
    """Read a file; what is no object is refused."""
    with open_file(part.path) as raw, reading(part.path):
        values = read_values(MarkedText(content_of(raw), part.encoding))
        read_to = first_row = 0
        while some := list(islice(values, MAX_ROWS)):
            yield from _sorted(some, part.path, first_row, settings)
            first_row += len(some)
            LIVE.add("input_bytes", raw.tell() - read_to)
            read_to = raw.tell()


def read_ndjson(part: LinesPart, settings: RowSettings) -> Iterator[EventBlock | RowList | RefusedRows]:
    """Read lines as blocks of events, or as rows where these are to be mapped."""
    blocks = read_range(part.lines, settings.block_bytes, MAX_LINE_BYTES)
    return _rows_of_lines(blocks, settings) if settings.ndjson_as_rows else blocks


def _whole(file: RowFile) -> JsonPart:
    return JsonPart(file.path, encoding_of(file.head, "utf-8"))


def _sorted(
    values: list[JsonValue], path: str, first_row: int, settings: RowSettings
) -> Iterator[RowList | RefusedRows]:
    """Part rows from what is none, in order."""
    rows: list[Any] = []
    for row, (value, text) in enumerate(values, first_row):
        rule = "not_an_object" if not isinstance(value, dict) else "not_utf8" if is_marked_text(text) else None
        if rule is None:
            rows.append(value)
            continue
        if rows:
            yield RowList(with_columns(rows, settings.columns), path, row - len(rows))
            rows = []
        message = Violation(rule, "").message
        letter = DeadLetter(original_bytes(text), PARSE, rule, message=message, source=f"{path}#{row}")
        yield RefusedRows([letter])
    if rows:
        yield RowList(with_columns(rows, settings.columns), path, first_row + len(values) - len(rows))


def is_marked_text(text: str) -> bool:
    """Tell whether text holds bytes that could not be decoded; fast for most text."""
    return not text.isascii() and is_marked(text)


def _rows_of_lines(blocks: Iterator[EventBlock], settings: RowSettings) -> Iterator[RowList | RefusedRows]:
    for block in blocks:
        yield from _rows_of_block(block, settings)


def _rows_of_block(block: EventBlock, settings: RowSettings) -> Iterator[RowList | RefusedRows]:
    """Parse each line; rows are numbered within their block, whose place in the file is part of the source's name."""
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
        yield RowList(with_columns(rows, settings.columns), source, 0)
    if refused:
        yield RefusedRows(refused)


def _names_in(rows: Iterable[Any]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        if isinstance(row, dict):
            names.update(dict.fromkeys(row))
    return list(names)
