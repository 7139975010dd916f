"""Events from files, in blocks of lines or line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.client.errors import MixpanelError
from beam_mixpanel.core.byte_ranges import (
    DEFAULT_BLOCK_BYTES,
    DEFAULT_RANGE_BYTES,
    ByteRange,
    read_blocks,
    split,
)
from beam_mixpanel.core.prepare import EventBlock
from beam_mixpanel.transforms.compression import MAGIC_BYTES, is_compressed, open_decompressed
from beam_mixpanel.transforms.metrics import LIVE


class UnreadableFileError(MixpanelError):
    """A file cannot be read to its end, so its events cannot be accounted for."""


class ReadEventBlocksFromFiles(beam.PTransform):
    """Reads NDJSON files in blocks of lines, the fastest way into `WriteToMixpanel`.

    Plain, gzip, bzip2 or Zstandard files, told by their first bytes, on any file system that Beam knows. Plain files
    are split by byte ranges, so that workers share a large one. A file that cannot be read fails the job.

    Args:
      patterns: file names or globs; a file that several of them match is read once.
      range_bytes: the size of the ranges.
      block_bytes: about how long a block is.
    """

    def __init__(
        self,
        patterns: str | Iterable[str],
        *,
        range_bytes: int = DEFAULT_RANGE_BYTES,
        block_bytes: int = DEFAULT_BLOCK_BYTES,
    ) -> None:
        super().__init__()
        self._patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self._range_bytes = range_bytes
        self._block_bytes = block_bytes

    def expand(self, begin: PBegin) -> PCollection[EventBlock]:
        """Match, split, share out, read."""
        return (
            begin
            | "Patterns" >> beam.Create(self._patterns)
            | "MatchFiles" >> fileio.MatchAll(fileio.EmptyMatchTreatment.DISALLOW)
            | "FileSizes" >> beam.Map(_path_and_size)
            | "OncePerFile" >> beam.Distinct()
            | "SplitFiles" >> beam.FlatMap(_split_file, self._range_bytes)
            | "ShareOut" >> beam.Reshuffle()
            | "ReadBlocks" >> beam.FlatMap(_read_range, self._block_bytes).with_output_types(EventBlock)
        )


class ReadEventsFromFiles(beam.PTransform):
    """Reads NDJSON files line by line, for pipelines that look at each event before `WriteToMixpanel`.

    Files as in `ReadEventBlocksFromFiles`, which is several times faster where nothing needs to look.

    Args:
      patterns: file names or globs.
    """

    def __init__(self, patterns: str | Iterable[str]) -> None:
        super().__init__()
        self._patterns = patterns

    def expand(self, begin: PBegin) -> PCollection[bytes]:
        """Give each line that is not blank, as bytes without its newline."""
        return (
            begin
            | "ReadBlocks" >> ReadEventBlocksFromFiles(self._patterns)
            | "SplitLines" >> beam.FlatMap(lines_of).with_output_types(bytes)
        )


def lines_of(block: EventBlock) -> list[bytes]:
    """Give the lines of a block that are not blank."""
    return [line for line in block.data.split(b"\n") if line and not line.isspace()]


def _path_and_size(metadata: FileMetadata) -> tuple[str, int]:
    return metadata.path, metadata.size_in_bytes


def _split_file(file: tuple[str, int], range_bytes: int) -> Iterator[ByteRange]:
    path, size_bytes = file
    with _open(path) as raw:
        compressed = is_compressed(raw.read(MAGIC_BYTES))
    if compressed:
        yield ByteRange(path, 0, -1)
    else:
        yield from split(path, size_bytes, range_bytes)


def _read_range(part: ByteRange, block_bytes: int) -> Iterator[EventBlock]:
    path, start, stop, _ = part
    with _open(path) as raw:
        if stop < 0:
            head = raw.read(MAGIC_BYTES)
            raw.seek(0)
            blocks = read_blocks(open_decompressed(raw, head), 0, -1, block_bytes)
        else:
            if start:
                raw.seek(start - 1)
            blocks = read_blocks(raw, start, stop, block_bytes)
        read_to = 0
        try:
            for block in blocks:
                yield EventBlock(block.data, path, block.offset, block.cut_line_bytes, block.cut_line_sha256)
                at = raw.tell() if stop < 0 else block.end - start
                LIVE.add("input_bytes", at - read_to)
                read_to = at
        except (OSError, EOFError) as error:
            raise UnreadableFileError(f"cannot read {path} to its end: {error}") from error


def _open(path: str) -> Any:
    try:
        return FileSystems.open(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED)
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error}") from error
