"""Records of a CSV file belong to exactly one range, wherever it is cut."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.formats.csv_ranges import CsvRange, Stretch, find_record, plan, ranges_of, survey, survey_range

FIELDS = st.text(alphabet='ab,"\n\r;é', max_size=4)
FILES = st.tuples(
    st.lists(st.lists(FIELDS, min_size=2, max_size=3), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.booleans(),
)


def _written(rows: list[list[str]], line_end: str, quote_all: bool, last_end: bool) -> list[bytes]:
    """Write records as RFC 4180 says, and have the standard library confirm it."""
    records = []
    for row in rows:
        quoted = ['"' + field.replace('"', '""') + '"' for field in row]
        fields = [
            after if quote_all or set(before) & set('",\r\n') else before
            for before, after in zip(row, quoted, strict=True)
        ]
        records.append((",".join(fields) + line_end).encode())
    if not last_end:
        records[-1] = records[-1].removesuffix(line_end.encode())
    assert list(csv.reader(io.StringIO(b"".join(records).decode(), newline=""))) == rows
    return records


def _planned(data: bytes, start: int, range_bytes: int) -> list[CsvRange]:
    ranges = list(ranges_of(start, len(data), range_bytes))
    surveys = []
    for number, (begin, stop) in enumerate(ranges):
        file = io.BytesIO(data)
        file.seek(begin if number == 0 else begin - 1)
        surveys.append(survey_range(file, begin, stop, first=number == 0, delimiter=","))
    return plan(ranges, surveys)


def _read(data: bytes, records: CsvRange, start: int) -> bytes:
    def find(place: int, inside: bool) -> int:
        file = io.BytesIO(data)
        file.seek(place - 1)
        return find_record(file, place, inside=inside)

    begin = start if records.start == start else find(records.start, records.inside_at_start)
    end = len(data) if records.stop < 0 else find(records.stop, records.inside_at_stop)
    return data[begin:end]


@given(FILES, st.integers(1, 40), st.sampled_from([b"", b"h,i\n", b'"h\n""",i\r\n']))
def test_ranges_hold_each_record_once(
    file: tuple[list[list[str]], str, bool, bool], range_bytes: int, header: bytes
) -> None:
    """Put together, the ranges are the file; each begins with a record, and knows how many come before."""
    records = _written(*file)
    data = header + b"".join(records)
    parts = _planned(data, len(header), range_bytes)
    assert b"".join(_read(data, part, len(header)) for part in parts) == data[len(header) :]
    starts = [len(header) + len(b"".join(records[:number])) for number in range(len(records))]
    for part in parts:
        assert part.first_row == sum(start < part.start for start in starts)
        content = _read(data, part, len(header))
        begins = [start for start in starts if part.start <= start and (part.stop < 0 or start < part.stop)]
        assert content == b"".join(records[starts.index(start)] for start in begins)


@given(st.binary(max_size=60), st.integers(1, 20))
def test_ranges_of_any_bytes_hold_each_byte_once(data: bytes, range_bytes: int) -> None:
    """Whatever a file holds, nothing is lost and nothing is read twice; empty lines aside."""
    if data:
        pieces = b"".join(_read(data, part, 0) for part in _planned(data, 0, range_bytes))
        assert pieces.strip(b"\r\n") == data.strip(b"\r\n")


@given(st.text(alphabet='a",\n', max_size=40), st.integers(0, 40))
def test_surveys_add_up(text: str, cut: int) -> None:
    """The surveys of two stretches, put together, are the survey of both."""
    data = text.encode()
    first, second = data[:cut], data[cut:]
    if first and second:
        apart = survey(b"\n", first, second[:1], ",").then(survey(first[-1:], second, b"", ","))
        assert apart == survey(b"\n", data, b"", ",")


def test_quotes_in_unquoted_fields_keep_a_file_in_one_piece() -> None:
    """Where quotes are not those of RFC 4180, they do not tell where records begin."""
    for line in (b'5" pipe,1\n6" pipe,2\n', b'5",1\n6",2\n', b'"a"b,1\n', b'a""b,1\n', b'a"b,1\n'):
        assert _planned(line, 0, 8) == [CsvRange(0, -1, False, False, 0)]


def test_empty_lines_are_no_records() -> None:
    """They count for no row number, wherever the file is cut."""
    data = b"a,1\n\n\r\n\nb,2\n\nc,3\n"
    for range_bytes in range(1, len(data)):
        for part in _planned(data, 0, range_bytes):
            assert part.first_row == sum(data.index(name) < part.start for name in (b"a", b"b", b"c"))


def test_a_stretch_ends_where_it_should() -> None:
    """So many bytes, or all."""
    assert Stretch(io.BytesIO(b"abcdef"), 4).read(10) == b"abcd"
    stretch = Stretch(io.BytesIO(b"abcdef"), 4)
    assert [stretch.read(3), stretch.read(3), stretch.read(3)] == [b"abc", b"d", b""]
    assert Stretch(io.BytesIO(b"abc"), -1).read(10) == b"abc"
