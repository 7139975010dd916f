"""Compressed input, told by its first bytes, and an error where it is cut short or followed by something else."""

from __future__ import annotations

import bz2
import io
from collections.abc import Callable
from typing import IO, Any, Final, Protocol

from isal import igzip, isal_zlib

MAGIC_BYTES: Final = 4
SUFFIXES: Final = (".gz", ".bz2", ".zst")
"""Of the names of compressed files."""
DAMAGED: Final[tuple[type[Exception], ...]] = (OSError, EOFError, isal_zlib.error)  # type: ignore[assignment]
"""What reading a file that is damaged or cut short may raise."""
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BUFFER_BYTES: Final = 1_000_000
_LEAST_PIECE_BYTES: Final = 256
_INPUT_BYTES: Final = 2_048
"""How much is decompressed at once. Four bytes of Zstandard may stand for 128 KB, so this bounds memory at 64 MB."""


def is_compressed(head: bytes) -> bool:
    """Tell from a file's first bytes whether it is gzip, bzip2 or Zstandard."""
    return head.startswith((_GZIP, _BZIP2, _ZSTD))


def open_decompressed(raw: IO[bytes], head: bytes) -> Any:
    """Read a compressed file's content.

    Args:
      raw: the file, at its beginning.
      head: its first bytes.

    Returns:
      Something to `read` from, which raises one of `DAMAGED` where the file is cut short or damaged, or where anything
      but zeros follows its end; files of several members are read to the last.
    """
    if head.startswith(_GZIP):
        return igzip.IGzipFile(fileobj=raw, mode="rb")
    if head.startswith(_BZIP2):
        return io.BufferedReader(_MembersReader(raw, _Bzip2Member, OSError), _BUFFER_BYTES)
    import zstandard

    decompressor = zstandard.ZstdDecompressor()
    members = _MembersReader(raw, lambda: _ZstdMember(decompressor.decompressobj()), zstandard.ZstdError)
    return io.BufferedReader(members, _BUFFER_BYTES)


class _Member(Protocol):
    """Decompresses one member of a file."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def unused_data(self) -> bytes:
        """What was given and not taken."""

    def decompress(self, data: bytes, /) -> bytes:
        """Take the next bytes."""


class _Bzip2Member:
    """Bounds what is given at once: 30 bytes of bzip2 may stand for 45 MB."""

    def __init__(self) -> None:
        self._inner = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return self._inner.needs_input

    def decompress(self, data: bytes, /) -> bytes:
        return self._inner.decompress(data, _BUFFER_BYTES)


class _ZstdMember:
    """Bounds what is given at once: four bytes of Zstandard may stand for a block of 128 KiB.

    Input is taken in pieces, larger ones while they give little, smaller ones when they give much.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._data = b""
        self._at = 0
        self._piece_bytes = _LEAST_PIECE_BYTES

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data) + self._data[self._at :]

    @property
    def needs_input(self) -> bool:
        return self._at >= len(self._data)

    def decompress(self, data: bytes, /) -> bytes:
        if data:
            self._data, self._at = self._data[self._at :] + data, 0
        piece = self._data[self._at : self._at + self._piece_bytes]
        self._at += len(piece)
        output: bytes = self._inner.decompress(piece)
        if len(output) > _BUFFER_BYTES:
            self._piece_bytes = max(self._piece_bytes // 4, _LEAST_PIECE_BYTES)
        elif len(output) < _BUFFER_BYTES // 4:
            self._piece_bytes = min(self._piece_bytes * 2, _INPUT_BYTES)
        return output


class _MembersReader(io.RawIOBase):
    """Reads member after member.

    python-zstandard's own reader takes a file that is cut short for one that ended, and `bz2` drops what follows.

    Args:
      raw: the compressed file.
      new_member: makes what decompresses one member.
      error: what that raises for damaged data.
    """

    def __init__(self, raw: IO[bytes], new_member: Callable[[], _Member], error: type[Exception]) -> None:
        self._raw = raw
        self._new_member = new_member
        self._error = error
        self._member: _Member | None = None
        self._members = 0
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        """Tell `io` that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, or less; 0 at the end."""
        while not self._output:
            if not self._input and getattr(self._member, "needs_input", True):
                self._input = self._raw.read(_INPUT_BYTES)
                if not self._input:
                    return self._end()
            self._decompress()
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _end(self) -> int:
        if self._member is not None:
            raise EOFError("the compressed data is cut short")
        return 0

    def _decompress(self) -> None:
        if self._member is None:
            if self._members:
                self._input = self._input.lstrip(b"\0")
            if not self._input:
                return
            self._member = self._new_member()
        try:
            self._output = memoryview(self._member.decompress(self._input))
        except self._error as error:
            follows = ", or something else follows its end" if self._members else ""
            raise OSError(f"the compressed data is damaged{follows}: {error}") from None
        self._input = self._member.unused_data if self._member.eof else b""
        if self._member.eof:
            self._member = None
            self._members += 1
