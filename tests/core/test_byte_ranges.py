"""Byte ranges: wherever a file is cut, every line belongs to exactly one range."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beam_mixpanel.core.formats.byte_ranges import Block, ByteRange, read_blocks, split
from beam_mixpanel.core.limits import MAX_LINE_BYTES

PIECES = st.sampled_from([b"\n", b"\r\n", b"a", b"bc\n", b'{"event":1}\n', b"\n\n\n", b"x" * 30, b"\x00\xff\n", b" "])
CONTENTS = st.lists(PIECES, max_size=25).map(b"".join)


class Trickle(io.BytesIO):
    """A file that gives fewer bytes than it is asked for, as sockets do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(max(1, (size or 1) // 2))


CUTS = st.lists(st.integers(0, 400), max_size=6)
KINDS = st.sampled_from([io.BytesIO, Trickle])


def blocks_of(
    content: bytes,
    start: int,
    stop: int,
    block_bytes: int,
    kind: type[io.BytesIO] = io.BytesIO,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> list[Block]:
    file = kind(content)
    file.seek(max(start - 1, 0))
    return list(read_blocks(file, start, stop, block_bytes, max_line_bytes))


def ranges_of(content: bytes, cuts: list[int]) -> Iterator[tuple[int, int]]:
    """Cut a content at these places, where they lie in it."""
    return pairwise(sorted({0, len(content), *(cut for cut in cuts if cut < len(content))}))


def oracle(content: bytes, start: int, stop: int) -> list[tuple[int, bytes]]:
    """Give the lines whose first byte lies in [start, stop), with their offsets, one byte at a time."""
    found: list[tuple[int, bytes]] = []
    begin = 0
    for place in range(len(content)):
        if content[place : place + 1] == b"\n" or place == len(content) - 1:
            if start <= begin < stop:
                found.append((begin, content[begin : place + 1]))
            begin = place + 1
    return found


@given(CONTENTS, CUTS, st.integers(1, 60), KINDS)
@example(b"a\nb\nc", [1, 2, 3, 4], 1, io.BytesIO)
@example(b"\n\n\n", [1, 2], 1, io.BytesIO)
@example(b"x" * 100, [1, 50, 99], 7, Trickle)
@example(b"", [0], 1, io.BytesIO)
def test_every_line_is_read_exactly_once(
    content: bytes, cuts: list[int], block_bytes: int, kind: type[io.BytesIO]
) -> None:
    """Cut anywhere and read in blocks of any size, the ranges give the file once, in order, with right offsets."""
    whole: list[Block] = []
    for start, stop in ranges_of(content, cuts):
        blocks = blocks_of(content, start, stop, block_bytes, kind)
        whole += blocks
        expected = oracle(content, start, stop)
        assert b"".join(block.data for block in blocks) == b"".join(line for _, line in expected)
        assert {block.offset for block in blocks} <= {offset for offset, _ in expected}
    assert b"".join(block.data for block in whole) == content
    assert all(content[block.offset : block.end] == block.data != b"" for block in whole)
    assert all(block.data.endswith(b"\n") or block.end == len(content) for block in whole)


@given(CONTENTS, CUTS, st.integers(1, 60), st.integers(1, 35), KINDS)
@example(b"x" * 9 + b"\ny\n" + b"z" * 9, [1, 5, 10, 12, 20], 4, 8, io.BytesIO)
@example(b"x" * 8 + b"\n" + b"y" * 9 + b"\n", [9], 60, 8, Trickle)
def test_a_line_is_cut_by_its_length_alone(
    content: bytes, cuts: list[int], block_bytes: int, max_line_bytes: int, kind: type[io.BytesIO]
) -> None:
    """However ranges and blocks fall, a line that is too long gives head, length and hash; others come whole, once."""
    whole: list[tuple[int, bytes]] = []
    for start, stop in ranges_of(content, cuts):
        for block in blocks_of(content, start, stop, block_bytes, kind, max_line_bytes):
            line = content[block.offset : block.end]
            if block.cut_line_bytes:
                assert len(line) == block.cut_line_bytes > max_line_bytes
                assert b"\n" not in line
                assert line.startswith(block.data)
                assert max_line_bytes - 4 < len(block.data) <= max_line_bytes
                assert block.cut_line_sha256 == hashlib.sha256(line).hexdigest()
                whole.append((block.offset, line + content[block.end : block.end + 1]))
            else:
                lines = [(block.offset + at, part) for at, part in oracle(block.data, 0, len(block.data))]
                assert all(len(part.removesuffix(b"\n")) <= max_line_bytes for _, part in lines)
                whole += lines
    assert whole == oracle(content, 0, len(content))


@given(CONTENTS, st.integers(0, 300), st.integers(1, 60))
def test_a_range_without_end_is_the_rest(content: bytes, start: int, block_bytes: int) -> None:
    """With stop -1, as for compressed files, all lines from the start on are read."""
    start = min(start, len(content))
    read = b"".join(block.data for block in blocks_of(content, start, -1, block_bytes))
    assert read == b"".join(line for _, line in oracle(content, start, len(content) + 1))


@given(CONTENTS, st.integers(0, 300), st.integers(0, 300), st.integers(1, 60))
def test_any_range_gives_the_lines_that_begin_in_it(content: bytes, start: int, stop: int, block_bytes: int) -> None:
    """An empty range or one inside a line gives nothing; others just their lines."""
    stop = min(stop, len(content))
    read = b"".join(block.data for block in blocks_of(content, start, stop, block_bytes))
    assert read == b"".join(line for _, line in oracle(content, start, stop))


@given(CONTENTS, st.integers(0, 300), st.integers(1, 100), st.integers(1, 60), st.integers(1, 60))
def test_a_file_that_ends_before_its_range_is_an_error(
    content: bytes, start: int, missing: int, block_bytes: int, max_line_bytes: int
) -> None:
    """A file that has become shorter is not taken for one that ended, and no half of a line is given."""
    stop = max(len(content), start) + missing
    file = io.BytesIO(content)
    file.seek(max(start - 1, 0))
    read = []
    with pytest.raises(EOFError, match=rf"and had at least {stop}"):
        read += read_blocks(file, start, stop, block_bytes, max_line_bytes)
    whole_lines = (block for block in read if not block.cut_line_bytes)
    assert all(block.data.endswith(b"\n") for block in whole_lines)


@given(st.text(alphabet="aé€😀", min_size=30), st.integers(1, 60))
def test_the_head_of_a_cut_line_is_text_if_the_line_is(text: str, block_bytes: int) -> None:
    """No character is cut in two."""
    (block,) = blocks_of(text.encode(), 0, -1, block_bytes, max_line_bytes=20)
    assert text.startswith(block.data.decode())
    assert len(block.data) > 16


def test_a_range_inside_a_long_line_is_not_read_past_its_end() -> None:
    """A line as long as many ranges is read to its end by the range that holds its first byte, and by no other."""
    file = io.BytesIO(b"x" * 10_000)
    file.seek(999)
    assert list(read_blocks(file, 1000, 2000, 100)) == []
    assert file.tell() <= 2100


@pytest.mark.parametrize("lines", [b"", b'{"event":1}\n' * 10])
def test_memory_does_not_grow_with_a_line(lines: bytes) -> None:
    """A line of 100 MB is read holding no more than what is permitted and some blocks."""
    file = LongLine(lines, 100_000_000)
    tracemalloc.start()
    try:
        blocks = list(read_blocks(file, 0, -1, 10_000, 100_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [block.cut_line_bytes for block in blocks if block.cut_line_bytes] == [100_000_000]
    assert b"".join(block.data for block in blocks if not block.cut_line_bytes) == lines * 2
    assert peak < 500_000


class LongLine:
    """A file made while it is read: some lines, a line of so many `x`, and the lines again."""

    def __init__(self, lines: bytes, line_bytes: int) -> None:
        self._after = b"\n" + lines
        self._left = line_bytes
        self._before = lines

    def read(self, size: int, /) -> bytes:
        if self._before:
            given, self._before = self._before[:size], self._before[size:]
            return given
        if self._left:
            given = b"x" * min(size, self._left)
            self._left -= len(given)
            return given
        given, self._after = self._after[:size], self._after[size:]
        return given


def test_blocks_are_about_as_long_as_asked() -> None:
    """Lines are handled many at a time, and no block grows beyond what was asked and a line."""
    content = b"0123456789\n" * 1000
    sizes = [len(block.data) for block in blocks_of(content, 0, len(content), 1000)]
    assert max(sizes) <= 1011
    assert len(sizes) <= 13


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, []), (1, [(0, 1)]), (10, [(0, 10)]), (11, [(0, 10), (10, 11)]), (30, [(0, 10), (10, 20), (20, 30)])],
)
def test_a_file_is_cut_without_gaps(size: int, expected: list[tuple[int, int]]) -> None:
    """Ranges follow each other to the file's end, which the last one knows; none is longer than asked."""
    assert list(split("f", size, 10)) == [ByteRange("f", start, stop, last=stop == size) for start, stop in expected]
