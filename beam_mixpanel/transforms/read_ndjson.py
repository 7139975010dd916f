"""Events from files, in blocks of lines or line by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.core.arguments import FileNames, check_paths, check_whole_number
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.formats.byte_ranges import (
    DEFAULT_BLOCK_BYTES,
    DEFAULT_RANGE_BYTES,
    MOST_BYTES,
    ByteRange,
)
from beam_mixpanel.core.formats.kinds import NDJSON
from beam_mixpanel.core.limits import MAX_LINE_BYTES
from beam_mixpanel.files.lines import read_range, split_lines
from beam_mixpanel.files.listing import InputFile, in_threads
from beam_mixpanel.files.row_file import RowSettings, look_at, report_growth_of
from beam_mixpanel.transforms.match_files import MatchFiles


class ReadFromNdjsonBatched(beam.PTransform):
    """Reads NDJSON files in blocks of lines, the fastest way into `WriteToMixpanel`.

    Plain, gzip, bzip2 or Zstandard files, told by their first bytes, on any file system that Beam knows. Plain files
    are split by byte ranges, so that workers share a large one. A file that cannot be read to its end fails the job.

    A line that is longer than any event can be is never held whole: it becomes a block that holds its head, and tells
    its length and hash, of which `WriteToMixpanel` makes a dead letter.

    Args:
      patterns: file names or globs; a file that several of them match is read once.
      range_bytes: the size of the ranges.
      block_bytes: about how long a block is.
      max_line_bytes: a longer line is too long.
    """

    def __init__(
        self,
        patterns: FileNames,
        *,
        range_bytes: int = DEFAULT_RANGE_BYTES,
        block_bytes: int = DEFAULT_BLOCK_BYTES,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        super().__init__()
        self._patterns = check_paths("patterns", patterns)
        self._range_bytes = check_whole_number("range_bytes", range_bytes, 1, MOST_BYTES)
        self._block_bytes = check_whole_number("block_bytes", block_bytes, 1, MOST_BYTES)
        self._max_line_bytes = check_whole_number("max_line_bytes", max_line_bytes, 1, MOST_BYTES)

    def display_data(self) -> dict[str, Any]:
        """Say which files are read, and how they are cut."""
        return {
            "patterns": ", ".join(self._patterns),
            "range_bytes": self._range_bytes,
            "block_bytes": self._block_bytes,
            "max_line_bytes": self._max_line_bytes,
        }

    def expand(self, begin: PBegin) -> PCollection[EventBlock]:
        """Match, split, share out, read."""
        return (
            begin
            | "MatchFiles" >> MatchFiles(self._patterns)
            | "SplitFiles" >> beam.FlatMap(_split_files, self._range_bytes)
            | "ShareOut" >> beam.Reshuffle()
            | "ReadBlocks"
            >> beam.FlatMap(read_range, self._block_bytes, self._max_line_bytes).with_output_types(EventBlock)
        )


class ReadFromNdjson(beam.PTransform):
    """Reads NDJSON files line by line, for pipelines that look at each event before `WriteToMixpanel`.

    Files as in `ReadFromNdjsonBatched`, which is several times faster where nothing needs to look. Of a line that is
    too long its head is given, followed by ` ...[cut: line of N bytes, SHA-256 H]`, which no JSON ends with.

    Args:
      patterns: file names or globs.
      max_line_bytes: a longer line is too long.
    """

    def __init__(self, patterns: FileNames, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        super().__init__()
        self._patterns = check_paths("patterns", patterns)
        self._max_line_bytes = check_whole_number("max_line_bytes", max_line_bytes, 1, MOST_BYTES)

    def display_data(self) -> dict[str, Any]:
        """Say which files are read."""
        return {"patterns": ", ".join(self._patterns), "max_line_bytes": self._max_line_bytes}

    def expand(self, begin: PBegin) -> PCollection[bytes]:
        """Give each line that is not blank, as bytes without its newline."""
        return (
            begin
            | "Blocks" >> ReadFromNdjsonBatched(self._patterns, max_line_bytes=self._max_line_bytes)
            | "SplitLines" >> beam.FlatMap(lines_of).with_output_types(bytes)
        )


def lines_of(block: EventBlock) -> list[bytes]:
    """Give the lines of a block that are not blank."""
    if block.cut_line_bytes:
        facts = f"line of {block.cut_line_bytes} bytes, SHA-256 {block.cut_line_sha256}"
        return [block.data + f" ...[cut: {facts}]".encode()]
    return [line for _, line in block.lines()]


def _split_files(files: list[InputFile], range_bytes: int) -> Iterator[ByteRange]:
    # A generator: --runtime_type_check would empty any other iterator before the next step sees it.
    for file in in_threads(lambda given: look_at(*given, RowSettings(NDJSON.name)), files):
        report_growth_of(file)
        yield from split_lines(file, range_bytes)
