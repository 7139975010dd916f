"""Which records of a CSV file belong to which byte range: every record to exactly one, wherever a file is cut.

A record belongs to the range that holds its first byte. Whether a line break ends a record depends on whether it
stands inside quotes, and that on all that comes before. So ranges are surveyed first, each on its own and for both
cases; then the surveys, put together in order, tell for each range whether it begins inside quotes.

That holds for files whose quotes are those of RFC 4180, which the surveys check. Others must be read in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np

from beam_mixpanel.core.formats.byte_ranges import Readable

_QUOTE: Final = ord('"')
_CR: Final = ord("\r")
_LF: Final = ord("\n")
_CHUNK_BYTES: Final = 1_000_000
_SEARCH_BYTES: Final = 64_000

_Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_Places = np.ndarray[Any, np.dtype[np.intp]]


class Survey(NamedTuple):
    """What is known of a stretch of a file without knowing what comes before; pairs: begun outside and inside quotes.

    Attributes:
      quotes: how many there are.
      records: how many records begin there.
      regular: every quote stands where RFC 4180 wants it.
    """

    quotes: int = 0
    records: tuple[int, int] = (0, 0)
    regular: tuple[bool, bool] = (True, True)

    def then(self, following: Survey) -> Survey:
        """Put the survey of the stretch that follows behind this one."""
        turned = self.quotes % 2
        return Survey(
            self.quotes + following.quotes,
            (self.records[0] + following.records[turned], self.records[1] + following.records[1 - turned]),
            (self.regular[0] and following.regular[turned], self.regular[1] and following.regular[1 - turned]),
        )


class CsvRange(NamedTuple):
    """A byte range of a CSV file, and what must be known of the file before it.

    Attributes:
      start: its first byte.
      stop: one past its last byte; -1 for the end of the file.
      inside_at_start: it begins inside quotes.
      inside_at_stop: it ends inside quotes.
      first_row: how many records begin before it.
    """

    start: int
    stop: int
    inside_at_start: bool
    inside_at_stop: bool
    first_row: int


def survey(before: bytes, data: bytes, after: bytes, delimiter: str) -> Survey:
    """Survey a stretch of a file.

    Args:
      before: the byte before it; a line break where the file's records begin.
      data: the stretch.
      after: the byte behind it; none at the end of the file.
      delimiter: what separates fields.
    """
    framed = np.frombuffer(before + data + (after or b"\n"), np.uint8)
    inner = framed[1:-1]
    quotes = np.flatnonzero(inner == _QUOTE)
    starts = _line_starts(framed[:-1])
    insides = np.searchsorted(quotes, starts) & 1
    edges = np.zeros(256, bool)
    edges[[_QUOTE, _CR, _LF, ord(delimiter)]] = True
    may_open = edges[framed[quotes]]
    may_close = edges[framed[quotes + 2]]
    return Survey(
        len(quotes),
        (int((insides == 0).sum()), int((insides == 1).sum())),
        (
            bool(may_open[0::2].all() and may_close[1::2].all()),
            bool(may_open[1::2].all() and may_close[0::2].all()),
        ),
    )


def _line_starts(framed: _Bytes) -> _Places:
    """Find where lines that are not empty begin, given the byte before."""
    breaks = (framed == _LF) | (framed == _CR)
    return np.flatnonzero(breaks[:-1] & ~breaks[1:])


def survey_range(file: Readable, start: int, stop: int, *, first: bool, delimiter: str) -> Survey:
    """Survey a range of a file.

    Args:
      file: positioned at start, or one byte before it if the range is not the first.
      start: the range's first byte.
      stop: one past its last byte.
      first: the file's records begin at start.
      delimiter: what separates fields.
    """
    found = Survey()
    before = b"\n" if first else file.read(1)
    left = stop - start
    data = file.read(min(left, _CHUNK_BYTES))
    while data:
        left -= len(data)
        following = file.read(min(left, _CHUNK_BYTES) or 1)
        found = found.then(survey(before, data, following[:1], delimiter))
        before, data = data[-1:], following if left else b""
    return found


def plan(ranges: Sequence[tuple[int, int]], surveys: Sequence[Survey]) -> list[CsvRange]:
    """Tell how to read a file in ranges, or in one piece where its quotes are not those of RFC 4180.

    Args:
      ranges: (start, stop) of each, in order, without gaps.
      surveys: of each.
    """
    before = list(accumulate(surveys, Survey.then, initial=Survey()))
    if before[-1].quotes % 2 or not before[-1].regular[0]:
        return [CsvRange(ranges[0][0], -1, False, False, 0)]
    return [
        CsvRange(start, stop, here.quotes % 2 == 1, there.quotes % 2 == 1, here.records[0])
        for (start, stop), here, there in zip(ranges, before, before[1:], strict=False)
    ]


def find_record(file: Readable, place: int, *, inside: bool) -> int:
    """Find the first record that begins at a place or behind it.

    Args:
      file: positioned one byte before the place.
      place: where to begin.
      inside: the place is inside quotes.

    Returns:
      Where the record begins; where the file ends if there is none.
    """
    before = file.read(1)
    while data := file.read(_SEARCH_BYTES):
        framed = np.frombuffer(before + data, np.uint8)
        starts = _line_starts(framed)
        quotes = np.flatnonzero(framed[1:] == _QUOTE)
        outside = starts[(np.searchsorted(quotes, starts) & 1) == int(inside)]
        if len(outside):
            return place + int(outside[0])
        inside ^= len(quotes) % 2 == 1
        place += len(data)
        before = data[-1:]
    return place


class Stretch:
    """The next so many bytes of a file.

    Args:
      file: positioned where they begin.
      size: how many; -1 for all.
    """

    def __init__(self, file: Readable, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int, /) -> bytes:
        """Give at most so many bytes; none at the end."""
        data = self._file.read(size if self._left < 0 else min(size, self._left))
        if self._left > 0:
            self._left -= len(data)
        return data


def ranges_of(start: int, stop: int, range_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut the records of a file into ranges of at most so many bytes."""
    for first in range(start, stop, range_bytes):
        yield first, min(first + range_bytes, stop)
