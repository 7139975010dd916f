"""JSON files as rows: arrays, and objects that follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from beam_mixpanel.core.events.dead_letter import PARSE, DeadLetter
from beam_mixpanel.core.events.rules import Violation
from beam_mixpanel.core.formats import kinds
from beam_mixpanel.core.formats.marked_text import MarkedText, encoding_of, is_marked, original_bytes
from beam_mixpanel.core.json.stream import JsonValue, read_values
from beam_mixpanel.core.rows.batches import RefusedRows, RowList, names_in, with_columns
from beam_mixpanel.files.checks import reading
from beam_mixpanel.files.listing import open_file
from beam_mixpanel.files.row_file import Format, RowFile, RowSettings, content_of
from beam_mixpanel.metrics import LIVE

MAX_ROWS: Final = 1_000
SAMPLE_ROWS: Final = 1_000
"""So many rows are read for the names of the columns, which JSON does not list."""


class JsonPart(NamedTuple):
    """A file of one array, or of values that follow each other."""

    path: str
    encoding: str


def split(file: RowFile, settings: RowSettings) -> Iterator[JsonPart]:
    """Give the file in one part: where a value begins cannot be told from the middle."""
    yield _whole(file)


def columns(file: RowFile, settings: RowSettings) -> list[str]:
    """Return the names that the first rows hold."""
    with open_file(file.path) as raw, reading(file.path):
        values = read_values(MarkedText(content_of(raw), _whole(file).encoding))
        return names_in(value for value, _ in islice(values, SAMPLE_ROWS))


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


FORMATS: Final = (Format(kinds.JSON, columns, split, read),)
