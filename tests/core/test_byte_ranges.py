"""Byte ranges: wherever a file is cut, every line belongs to exactly one range."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beam_mixpanel.core.byte_ranges import ByteRange, read_blocks, split

PIECES = st.sampled_from([b"\n", b"\r\n", b"a", b"bc\n", b'{"event":1}\n', b"\n\n\n", b"x" * 30, b"\x00\xff\n", b" "])
CONTENTS = st.lists(PIECES, max_size=25).map(b"".join)


class Trickle(io.BytesIO):
    """A file that gives fewer bytes than it is asked for, as sockets do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(max(1, (size or 1) // 2))


def blocks_of(
    content: bytes, start: int, stop: int, block_bytes: int, kind: type[io.BytesIO] = io.BytesIO
) -> list[tuple[int, bytes]]:
    file = kind(content)
    file.seek(max(start - 1, 0))
    return list(read_blocks(file, start, stop, block_bytes))


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


@given(CONTENTS, st.lists(st.integers(0, 400), max_size=6), st.integers(1, 60), st.sampled_from([io.BytesIO, Trickle]))
@example(b"a\nb\nc", [1, 2, 3, 4], 1, io.BytesIO)
@example(b"\n\n\n", [1, 2], 1, io.BytesIO)
@example(b"x" * 100, [1, 50, 99], 7, Trickle)
@example(b"", [0], 1, io.BytesIO)
def test_every_line_is_read_exactly_once(
    content: bytes, cuts: list[int], block_bytes: int, kind: type[io.BytesIO]
) -> None:
    """Cut anywhere and read in blocks of any size, the ranges give the file once, in order, with right offsets."""
    bounds = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    whole: list[tuple[int, bytes]] = []
    for start, stop in pairwise(bounds):
        blocks = blocks_of(content, start, stop, block_bytes, kind)
        whole += blocks
        expected = oracle(content, start, stop)
        assert b"".join(block for _, block in blocks) == b"".join(line for _, line in expected)
        assert {offset for offset, _ in blocks} <= {offset for offset, _ in expected}
    assert b"".join(block for _, block in whole) == content
    assert all(content[offset : offset + len(block)] == block != b"" for offset, block in whole)
    assert all(block.endswith(b"\n") or offset + len(block) == len(content) for offset, block in whole)


@given(CONTENTS, st.integers(0, 300), st.integers(1, 60))
def test_a_range_without_end_is_the_rest(content: bytes, start: int, block_bytes: int) -> None:
    """With stop -1, as for compressed files, all lines from the start on are read."""
    start = min(start, len(content))
    read = b"".join(block for _, block in blocks_of(content, start, -1, block_bytes))
    assert read == b"".join(line for _, line in oracle(content, start, len(content) + 1))


@given(CONTENTS, st.integers(0, 300), st.integers(0, 300), st.integers(1, 60))
def test_any_range_gives_the_lines_that_begin_in_it(content: bytes, start: int, stop: int, block_bytes: int) -> None:
    """An empty range, one inside a line or one past the end gives nothing; others just their lines."""
    read = b"".join(block for _, block in blocks_of(content, start, stop, block_bytes))
    assert read == b"".join(line for _, line in oracle(content, start, stop))


def test_blocks_are_about_as_long_as_asked() -> None:
    """Lines are handled many at a time, and no block grows beyond what was asked and a line."""
    content = b"0123456789\n" * 1000
    sizes = [len(block) for _, block in blocks_of(content, 0, len(content), 1000)]
    assert max(sizes) <= 1011
    assert len(sizes) <= 13


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, []), (1, [(0, 1)]), (10, [(0, 10)]), (11, [(0, 10), (10, 11)]), (30, [(0, 10), (10, 20), (20, 30)])],
)
def test_a_file_is_cut_without_gaps(size: int, expected: list[tuple[int, int]]) -> None:
    """Ranges follow each other to the file's end, none longer than asked; an empty file has none."""
    assert list(split("f", size, 10)) == [ByteRange("f", start, stop) for start, stop in expected]
