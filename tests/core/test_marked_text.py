"""Text of any encoding; bytes that are none are marked and come back as they were."""

from __future__ import annotations

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.formats.marked_text import (
    NUL_MARK,
    MarkedText,
    Utf8Stream,
    encoding_of,
    is_marked,
    original_bytes,
)


def _read_all(stream: Utf8Stream, size: int) -> bytes:
    pieces = []
    while piece := stream.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    return b"".join(pieces)


@given(st.binary(max_size=50), st.integers(1, 9))
def test_any_bytes_come_back(data: bytes, size: int) -> None:
    """Decoded in pieces and written again, the bytes are the same; marked if and only if they are not UTF-8."""
    text = "".join(iter(lambda file=MarkedText(io.BytesIO(data), "utf-8"): file.read(size), ""))  # type: ignore[misc]
    assert original_bytes(text) == data
    try:
        plain = data.decode()
    except UnicodeDecodeError:
        assert is_marked(text)
    else:
        assert text == plain


@given(st.binary(max_size=50), st.integers(1, 9), st.binary(max_size=3))
def test_the_stream_is_always_utf8(data: bytes, size: int, tail: bytes) -> None:
    """What is read is valid, tells whether there are marks and NULs, and ends with the tail."""
    stream = Utf8Stream(io.BytesIO(data), "utf-8", tail)
    read = _read_all(stream, size).removesuffix(tail)
    assert b"\0" not in read
    assert original_bytes(read.decode().replace(NUL_MARK, "\0")) == data
    assert stream.has_nuls == (b"\0" in data)
    assert stream.has_marks or data.decode() is not None


@given(st.text(), st.sampled_from(["utf-8", "utf-16"]), st.integers(1, 20))
def test_pieces_are_as_long_as_was_asked_for(text: str, encoding: str, size: int) -> None:
    """But for the last one, wherever the pieces of the file cut its characters."""
    stream = Utf8Stream(io.BytesIO(text.encode(encoding, "replace")), encoding, b"tail")
    pieces = list(iter(lambda: stream.read(size), b""))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert len(pieces[-1]) <= size


@pytest.mark.parametrize(
    ("data", "named", "text"),
    [
        (codecs.BOM_UTF8 + "é".encode(), "utf-8", "é"),
        (codecs.BOM_UTF16_LE + "é".encode("utf-16-le"), "utf-8", "é"),
        (codecs.BOM_UTF16_BE + "é".encode("utf-16-be"), "UTF8", "é"),
        ("é".encode("utf-16-le"), "utf-16-le", "é"),
        (b"\xe9", "latin-1", "é"),
        (b"\x80", "cp1252", "€"),
    ],
)
def test_encodings(data: bytes, named: str, text: str) -> None:
    """Named, or told by the first bytes."""
    assert _read_all(Utf8Stream(io.BytesIO(data), encoding_of(data, named)), 100) == text.encode()


def test_bytes_can_be_given_back() -> None:
    """They are read again first."""
    stream = Utf8Stream(io.BytesIO(b"abc"), "utf-8")
    stream.give_back(stream.read(3))
    assert _read_all(stream, 2) == b"abc"
