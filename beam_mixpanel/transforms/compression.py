"""Compressed input, told by its first bytes, and an error where it is cut short."""

from __future__ import annotations

import bz2
import io
from typing import IO, Any, Final

from isal import igzip

MAGIC_BYTES: Final = 4
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES: Final = 1_000_000


def is_compressed(head: bytes) -> bool:
    """Tell from a file's first bytes whether it is gzip, bzip2 or Zstandard."""
    return head.startswith((_GZIP, _BZIP2, _ZSTD))


def open_decompressed(raw: IO[bytes], head: bytes) -> Any:
    """Read a compressed file's content.

    Args:
      raw: the file, at its beginning.
      head: its first bytes.

    Returns:
      Something to `read` from, which raises `EOFError` or `OSError` where the file is cut short or damaged; files of
      several members are read to the last.
    """
    if head.startswith(_GZIP):
        return igzip.IGzipFile(fileobj=raw, mode="rb")
    if head.startswith(_BZIP2):
        return bz2.BZ2File(raw)
    return io.BufferedReader(_ZstdReader(raw), _CHUNK_BYTES)


class _ZstdReader(io.RawIOBase):
    """Reads frame after frame; python-zstandard's own reader takes a file that is cut short for one that ended."""

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._raw = raw
        self._frame: Any = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            if not self._input:
                self._input = self._raw.read(_CHUNK_BYTES)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("the Zstandard file ends inside a frame")
                return 0
            self._decompress()
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _decompress(self) -> None:
        if self._frame is None:
            self._frame = self._new_frame()
        try:
            self._output = memoryview(self._frame.decompress(self._input))
        except self._error as error:
            raise OSError(f"the Zstandard file is damaged: {error}") from None
        self._input = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = None
