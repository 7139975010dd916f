"""CSV and TSV files as Arrow record batches of text, with how each column is typed in its field's metadata."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from beam_mixpanel.core.events.dead_letter import PARSE, DeadLetter
from beam_mixpanel.core.formats import csv_types, kinds, marked_text
from beam_mixpanel.core.formats.csv_format import header_end, header_names, is_bytewise
from beam_mixpanel.core.formats.csv_ranges import CsvRange, Stretch, Survey, find_record, plan, ranges_of, survey_range
from beam_mixpanel.core.formats.marked_text import MARKS, NUL_MARK, Utf8Stream, original_bytes
from beam_mixpanel.core.rows.arrow import rows_of
from beam_mixpanel.core.rows.batches import RefusedRows, RowBatch
from beam_mixpanel.files.checks import reading
from beam_mixpanel.files.listing import open_file
from beam_mixpanel.files.row_file import Format, RowFile, RowSettings, as_wanted, content_of
from beam_mixpanel.metrics import LIVE

MAX_RECORD_BYTES: Final = 4_000_000
"""A longer record fails the job: most likely its last quote is missing. An event may have a quarter of that."""
_END: Final = "\U0010fe01end of file\U0010fe01"
"""Begins a record, too long for its file, that is added behind the last: the reader refuses it, unless a quote that
was never closed has swallowed it."""

_encode_row = msgspec.json.Encoder(decimal_format="number").encode


class CsvPart(NamedTuple):
    """Some of a CSV file's records.

    Attributes:
      path: the file.
      names: of its columns.
      delimiter: what separates fields.
      encoding: of the file.
      records: which; None for all of the file, which then is decompressed and its header skipped.
      has_header: the file's first record names its columns.
    """

    path: str
    names: tuple[str, ...]
    delimiter: str
    encoding: str
    records: CsvRange | None
    has_header: bool


class CsvRangeToSurvey(NamedTuple):
    """A byte range of a file that is too large for one part, before it is known how to read it."""

    part: CsvPart
    start: int
    stop: int
    number: int


def columns(file: RowFile, settings: RowSettings) -> list[str]:
    """Return the names of a file's columns; none for an empty file."""
    return list(_whole(file, settings).names)


def split(file: RowFile, settings: RowSettings) -> Iterator[CsvPart | CsvRangeToSurvey]:
    """Give a file in one part, or ranges to survey where it is large and can be cut."""
    whole = _whole(file, settings)
    if not whole.names:
        return
    large = file.size_bytes > settings.range_bytes and not file.compressed
    start = _first_record(file, whole) if large and is_bytewise(whole.encoding) else None
    if start is None:
        yield whole
        return
    for number, (begin, stop) in enumerate(ranges_of(start, file.size_bytes, settings.range_bytes)):
        yield CsvRangeToSurvey(whole, begin, stop, number)


def survey(piece: CsvRangeToSurvey) -> tuple[str, tuple[CsvRangeToSurvey, Survey]]:
    """Count the quotes of a range."""
    path = piece.part.path
    first = piece.number == 0
    with open_file(path) as raw, reading(path):
        raw.seek(piece.start if first else piece.start - 1)
        found = survey_range(raw, piece.start, piece.stop, first=first, delimiter=piece.part.delimiter)
    return path, (piece, found)


def parts_of(surveyed: tuple[str, Any]) -> Iterator[CsvPart]:
    """Give the parts of a file whose ranges are all surveyed."""
    pieces = sorted(surveyed[1], key=lambda pair: pair[0].number)
    ranges = plan([(piece.start, piece.stop) for piece, _ in pieces], [found for _, found in pieces])
    for records in ranges:
        yield pieces[0][0].part._replace(records=records)


def read(part: CsvPart, settings: RowSettings) -> Iterator[RowBatch | RefusedRows]:
    """Read a part: columns of text, each field's metadata telling how it is typed, and the rows that are none."""
    with open_file(part.path) as raw, reading(part.path):
        stream, tell = _open_records(raw, part)
        read_to = tell()
        for rows in _Reader(part, settings, stream).read():
            yield rows
            at = tell()
            LIVE.add("input_bytes", at - read_to)
            read_to = at


def _whole(file: RowFile, settings: RowSettings) -> CsvPart:
    """Describe a file: its delimiter, encoding and columns."""
    form = settings.csv
    delimiter = form.delimiter or ("\t" if file.file_format == kinds.TSV.name else ",")
    encoding = marked_text.encoding_of(file.head, form.encoding)
    names = list(form.columns)
    if not names:
        with open_file(file.path) as raw, reading(file.path):
            header = _take_header(Utf8Stream(content_of(raw), encoding))
            names = header_names(header.decode().replace(NUL_MARK, "\0"), delimiter) if header.strip() else []
    return CsvPart(file.path, tuple(names), delimiter, encoding, None, not form.columns)


def _take_header(stream: Utf8Stream) -> bytes:
    """Read the first record of a file, and leave the stream behind it."""
    data = b""
    end = None
    while end is None and len(data) <= MAX_RECORD_BYTES and (more := stream.read(64_000)):
        data += more
        end = header_end(data)
    if end is None:
        if len(data) > MAX_RECORD_BYTES:
            raise ValueError(f"its header does not end within {MAX_RECORD_BYTES:,} bytes")
        return data
    stream.give_back(data[end:])
    return data[:end]


def _first_record(file: RowFile, part: CsvPart) -> int | None:
    """Tell where the records begin behind the header; None if that is not among the first bytes."""
    bom = 3 if part.encoding == "utf-8-sig" else 0
    if not part.has_header:
        return bom
    end = header_end(file.head[bom:])
    if end is None:
        return None
    return bom + end


def _open_records(raw: Any, part: CsvPart) -> tuple[Utf8Stream, Callable[[], int]]:
    """Give the bytes of a part's records, and what tells how much of the file was read."""
    tail = f"\n{_last_record(part)}\n".encode()
    if part.records is None:
        stream = Utf8Stream(content_of(raw), part.encoding, tail)
        if part.has_header:
            _take_header(stream)
        return stream, raw.tell
    start, stop, inside_at_start, inside_at_stop, first_row = part.records
    size = -1
    if stop >= 0:
        raw.seek(stop - 1)
        end = find_record(raw, stop, inside=inside_at_stop)
    if first_row:
        raw.seek(start - 1)
        start = find_record(raw, start, inside=inside_at_start)
    if stop >= 0:
        size = max(end - start, 0)
    raw.seek(start)
    return Utf8Stream(Stretch(raw, size), part.encoding, tail), raw.tell


def _last_record(part: CsvPart) -> str:
    return _END + part.delimiter * len(part.names)


class _Reader:
    """Reads the records of one part."""

    def __init__(self, part: CsvPart, settings: RowSettings, stream: Utf8Stream) -> None:
        self._part = part
        self._stream = stream
        self._first_row = part.records.first_row if part.records else 0
        self._refused: deque[csv.InvalidRow] = deque()
        self._ended = False
        wanted = part.names if settings.columns is None else settings.columns
        self._read = [name for name in wanted if name in part.names] or list(part.names[:1])
        self._wanted = list(wanted)
        types = settings.csv.types
        default = csv_types.TEXT if settings.csv.text else csv_types.BY_RULE
        self._types = {name: types.get(name, default) for name in self._read}

    def read(self) -> Iterator[RowBatch | RefusedRows]:
        """Give the rows in order, those that are refused between the others."""
        at = 0
        for batch in self._batches():
            place = 0
            while place < batch.num_rows:
                ragged = self._take_ragged(at)
                if ragged:
                    at += len(ragged)
                    yield RefusedRows(ragged)
                    continue
                until = self._refused[0].number - 1 - at if self._refused else batch.num_rows
                rows = batch.slice(place, until)
                yield from self._typed(rows, at)
                place += rows.num_rows
                at += rows.num_rows
        if ragged := self._take_ragged(at):
            yield RefusedRows(ragged)
        if not self._ended:
            raise ValueError("a quote is opened and never closed")

    def _batches(self) -> Iterator[pa.RecordBatch]:
        part = self._part
        try:
            reader = csv.open_csv(
                pa.PythonFile(self._stream, mode="r"),
                read_options=csv.ReadOptions(
                    use_threads=False, block_size=MAX_RECORD_BYTES, column_names=list(part.names)
                ),
                parse_options=csv.ParseOptions(
                    delimiter=part.delimiter, newlines_in_values=True, invalid_row_handler=self._refuse
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(part.names, pa.string()),
                    include_columns=self._read,
                    null_values=[""],
                    strings_can_be_null=True,
                    check_utf8=False,
                ),
            )
            yield from reader
        except pa.ArrowInvalid as error:
            if "straddl" in str(error):
                raise ValueError(
                    f"a record is longer than {MAX_RECORD_BYTES:,} bytes; is a quote opened and never closed?"
                ) from None
            raise

    def _refuse(self, row: csv.InvalidRow) -> str:
        """Take a row that has too many or too few fields; called by Arrow."""
        if row.text == _last_record(self._part):
            self._ended = True
        else:
            self._refused.append(row)
        return "skip"

    def _take_ragged(self, at: int) -> list[DeadLetter]:
        """Give the ragged rows that stand at this place."""
        letters: list[DeadLetter] = []
        while self._refused and self._refused[0].number - 1 == at + len(letters):
            row = self._refused.popleft()
            letters.append(
                DeadLetter(
                    original_bytes(row.text.replace(NUL_MARK, "\0")),
                    PARSE,
                    "csv_columns",
                    message=f"the row has {row.actual_columns} fields, the file {row.expected_columns} columns",
                    source=self._source(row.number - 1),
                )
            )
        return letters

    def _source(self, row: int) -> str:
        return f"{self._part.path}#{self._first_row + row}"

    def _typed(self, batch: pa.RecordBatch, at: int) -> Iterator[RowBatch | RefusedRows]:
        """Give rows of text with their types, and apart those that have none."""
        refused: dict[int, tuple[str, str, str]] = {}
        arrays, fields = [], []
        if self._stream.has_nuls:
            columns = [pc.replace_substring(column, NUL_MARK, "\0") for column in batch.columns]
            batch = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
        for name, column in zip(self._read, batch.columns, strict=True):
            if self._stream.has_marks:
                marked = pc.indices_nonzero(pc.match_substring_regex(column, MARKS)).to_pylist()
                refused |= dict.fromkeys(marked, ("not_utf8", name, "is not in the encoding of the file"))
            array, field, wrong = _typed_column(name, self._types[name], column)
            refused |= dict.fromkeys(wrong, ("csv_type", name, f"is no {self._types[name]}"))
            arrays.append(array)
            fields.append(field)
        typed = as_wanted(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), self._wanted)
        place = 0
        for row in sorted(refused):
            if row > place:
                yield self._rows(typed.slice(place, row - place), at + place)
            yield RefusedRows([self._letter(batch.slice(row, 1), at + row, *refused[row])])
            place = row + 1
        if place < batch.num_rows:
            yield self._rows(typed.slice(place), at + place)

    def _rows(self, batch: pa.RecordBatch, at: int) -> RowBatch:
        return RowBatch(batch, self._part.path, self._first_row + at)

    def _letter(self, row: pa.RecordBatch, at: int, reason: str, column: str, message: str) -> DeadLetter:
        """Make a dead letter of a row whose text is no longer there: of its columns, as JSON."""
        fields = [
            pa.field(name, pa.string(), metadata=_metadata(self._types[name]) if reason == "not_utf8" else None)
            for name in self._read
        ]
        by_name = rows_of(pa.RecordBatch.from_arrays(row.columns, schema=pa.schema(fields)))[0]
        event = original_bytes(_encode_row(by_name).decode())
        return DeadLetter(event, PARSE, reason, column, f"{column} {message}", source=self._source(at))


def _typed_column(name: str, kind: str, column: pa.Array) -> tuple[pa.Array, pa.Field, list[int]]:
    """Type a column of text: the column, its field, and the places of fields that are not of the type."""
    if kind == csv_types.NUMBER:
        numbers, wrong = csv_types.json_numbers(column)
        return numbers, pa.field(name, pa.string(), metadata=_metadata(kind)), wrong
    if kind == csv_types.BOOLEAN:
        values, wrong = csv_types.booleans(column)
        return values, pa.field(name, pa.bool_()), wrong
    return column, pa.field(name, pa.string(), metadata=_metadata(kind)), []


def _metadata(kind: str) -> dict[bytes, bytes] | None:
    if kind in (csv_types.TEXT, csv_types.BOOLEAN):
        return None
    return {csv_types.TYPED: kind.encode()}


FORMATS: Final = (Format(kinds.CSV, columns, split, read), Format(kinds.TSV, columns, split, read))
