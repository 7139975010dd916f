"""Text from bytes of any encoding, where a byte that is none is marked instead of ending the job.

A byte that cannot be decoded becomes a character of a private plane, U+10FF00 plus the byte. So the text around it can
be parsed as usual, the row that holds it found, and its original bytes given back.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from beam_mixpanel.core.formats.byte_ranges import Readable

_FIRST_MARK: Final = 0x10FF00
_ERRORS: Final = "beam_mixpanel_mark"
MARKS: Final = "[\U0010ff00-\U0010ffff]"
"""A regular expression for a mark."""
NUL_MARK: Final = "\U0010fe00"
"""Stands for NUL in a `Utf8Stream`: Arrow, as of version 25, cuts CSV records that hold NUL at wrong places."""
_MARK: Final = re.compile(MARKS)
_MARK_BYTES: Final = "\U0010ff00".encode()[:2]
_UTF16_BOMS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def encoding_of(head: bytes, named: str) -> str:
    """Give the encoding of a text file from its first bytes: UTF-16 where they say so, else the one that is named.

    Raises:
      LookupError: no such encoding.
    """
    codec = codecs.lookup(named).name
    if codec == "utf-8":
        if head.startswith(_UTF16_BOMS):
            return "utf-16"
        if head.startswith(codecs.BOM_UTF8):
            return "utf-8-sig"
        return codec
    return codec


def is_marked(text: str) -> bool:
    """Tell whether a text holds bytes that could not be decoded."""
    return _MARK.search(text) is not None


def original_bytes(text: str) -> bytes:
    """Write text as UTF-8, and what could not be decoded as it was."""
    parts = _MARK.split(text)
    marks = _MARK.findall(text)
    written = [parts[0].encode(errors="surrogatepass")]
    for mark, part in zip(marks, parts[1:], strict=True):
        written += (bytes((ord(mark) - _FIRST_MARK,)), part.encode(errors="surrogatepass"))
    return b"".join(written)


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_FIRST_MARK + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _mark)


class MarkedText:
    """Decodes a file piece by piece.

    Args:
      file: the bytes.
      encoding: as `encoding_of` gives it.
    """

    def __init__(self, file: Readable, encoding: str) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder(encoding)(_ERRORS).decode
        self._ended = False

    def read(self, size: int) -> str:
        """Give the text of about so many bytes; none at the end."""
        text = ""
        while not text and not self._ended:
            data = self._file.read(size)
            self._ended = not data
            text = self._decode(data, self._ended)
        return text


class Utf8Stream:
    """A file's text as UTF-8, for readers of bytes such as Arrow's, with `NUL_MARK` for NUL.

    Args:
      file: the bytes.
      encoding: as `encoding_of` gives it.
      tail: bytes to add at the end.

    Attributes:
      has_marks: something that was read could not be decoded.
      has_nuls: something that was read was NUL.
      closed: part of what Arrow asks of a file.
    """

    def __init__(self, file: Readable, encoding: str, tail: bytes = b"") -> None:
        self._text = MarkedText(file, encoding)
        self._ready = b""
        self._tail = tail
        self.has_marks = False
        self.has_nuls = False
        self.closed = False

    def readable(self) -> bool:
        """Say so."""
        return True

    def close(self) -> None:
        """Leave the file to whoever opened it."""
        self.closed = True

    def read(self, size: int) -> bytes:
        """Give so many bytes, fewer only at the end: Arrow takes a piece without a newline for a record without end."""
        pieces = []
        left = size
        while left and self._fill(left):
            piece, self._ready = self._ready[:left], self._ready[left:]
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _fill(self, size: int) -> bool:
        """Have something ready; tell whether there is anything left."""
        if not self._ready:
            self._ready = self._text.read(size).encode()
            self.has_marks = self.has_marks or _MARK_BYTES in self._ready
            if b"\0" in self._ready:
                self.has_nuls = True
                self._ready = self._ready.replace(b"\0", NUL_MARK.encode())
        if not self._ready:
            self._ready, self._tail = self._tail, b""
        return bool(self._ready)

    def give_back(self, data: bytes) -> None:
        """Have bytes that were read be read again."""
        self._ready = data + self._ready
