"""Lines of NDJSON files, in blocks or one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

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
from beam_mixpanel.transforms.match_files import MatchEach, MatchFiles


class ReadFromNdjsonBatched(beam.PTransform):
    """Reads NDJSON files in blocks of lines, the fastest way into `WriteToMixpanel`.

    Plain, gzip, bzip2 or Zstandard files, detected by their first bytes, on any file system that Beam knows. Bounded.
    Plain files are split by byte ranges, so that workers share a large one; a runner that repeats a bundle reads the
    same blocks again. A file that cannot be read to its end fails the job.

    A line that is longer than any event can be is never held whole: it becomes a block with its head, its length and
    its hash, of which `WriteToMixpanel` makes a dead letter.

    Args:
      patterns: file names or globs; a file that several of them match is read once.
      range_bytes: the size of the ranges.
      block_bytes: about how long a block is.
      max_line_bytes: a longer line is too long.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument has a wrong value.
      UnreadableFileError: when the job runs, a file cannot be read, or a pattern matches none.
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
        self._sizes = _Sizes.checked(range_bytes, block_bytes, max_line_bytes)

    def display_data(self) -> dict[str, Any]:
        """Say which files are read, and how they are cut."""
        return {"patterns": ", ".join(self._patterns), **self._sizes._asdict()}

    def expand(self, begin: PBegin) -> PCollection[EventBlock]:
        """Match, split, share out, read."""
        return begin | "MatchFiles" >> MatchFiles(self._patterns) | _ReadMatched(self._sizes)


class ReadFromNdjson(beam.PTransform):
    """Reads NDJSON files line by line, for pipelines that look at each event before `WriteToMixpanel`.

    Returns each line that is not blank, as bytes without its newline. Files as in `ReadFromNdjsonBatched`, which is
    several times faster where nothing needs to look. Of a line that is too long its head is returned, followed by
    ` ...[cut: line of N bytes, SHA-256 H]`, which no JSON ends with.

    Args:
      patterns: file names or globs; a file that several of them match is read once.
      max_line_bytes: a longer line is too long.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument has a wrong value.
      UnreadableFileError: when the job runs, a file cannot be read, or a pattern matches none.
    """

    def __init__(self, patterns: FileNames, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        super().__init__()
        self._patterns = check_paths("patterns", patterns)
        self._max_line_bytes = check_whole_number("max_line_bytes", max_line_bytes, 1, MOST_BYTES)

    def display_data(self) -> dict[str, Any]:
        """Say which files are read."""
        return {"patterns": ", ".join(self._patterns), "max_line_bytes": self._max_line_bytes}

    def expand(self, begin: PBegin) -> PCollection[bytes]:
        """Read blocks, and take them apart."""
        return (
            begin
            | "Blocks" >> ReadFromNdjsonBatched(self._patterns, max_line_bytes=self._max_line_bytes)
            | "SplitLines" >> beam.FlatMap(lines_of).with_output_types(bytes)
        )


class ReadAllFromNdjsonBatched(beam.PTransform):
    """Reads the NDJSON files that its input names, in blocks of lines.

    The input is bounded or unbounded: file names, globs, `pathlib` paths, or `FileMetadata` as Beam's
    `MatchContinuously` returns. A file is read once for each element that names it, as it is when the element arrives.
    Blocks have the windows and timestamps of their elements. Else as `ReadFromNdjsonBatched`.

    Args:
      range_bytes: the size of the ranges.
      block_bytes: about how long a block is.
      max_line_bytes: a longer line is too long.

    Raises:
      TypeError: an argument has the wrong type; when the job runs, an element names no file.
      ValueError: an argument has a wrong value.
      UnreadableFileError: when the job runs, a file cannot be read, or an element matches none; a runner of streams
        tries it again without end.
    """

    def __init__(
        self,
        *,
        range_bytes: int = DEFAULT_RANGE_BYTES,
        block_bytes: int = DEFAULT_BLOCK_BYTES,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        super().__init__()
        self._sizes = _Sizes.checked(range_bytes, block_bytes, max_line_bytes)

    def display_data(self) -> dict[str, Any]:
        """Say how files are cut."""
        return self._sizes._asdict()

    def expand(self, names: PCollection[Any]) -> PCollection[EventBlock]:
        """Match, split, share out, read."""
        return names | "MatchFiles" >> MatchEach() | _ReadMatched(self._sizes)


class ReadAllFromNdjson(beam.PTransform):
    """Reads the NDJSON files that its input names, line by line.

    Input as in `ReadAllFromNdjsonBatched`, lines as in `ReadFromNdjson`.

    Args:
      max_line_bytes: a longer line is too long.

    Raises:
      TypeError: an argument has the wrong type; when the job runs, an element names no file.
      ValueError: an argument has a wrong value.
      UnreadableFileError: when the job runs, a file cannot be read, or an element matches none.
    """

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        super().__init__()
        self._max_line_bytes = check_whole_number("max_line_bytes", max_line_bytes, 1, MOST_BYTES)

    def display_data(self) -> dict[str, Any]:
        """Say how long a line may be."""
        return {"max_line_bytes": self._max_line_bytes}

    def expand(self, names: PCollection[Any]) -> PCollection[bytes]:
        """Read blocks, and take them apart."""
        return (
            names
            | "Blocks" >> ReadAllFromNdjsonBatched(max_line_bytes=self._max_line_bytes)
            | "SplitLines" >> beam.FlatMap(lines_of).with_output_types(bytes)
        )


class _Sizes(NamedTuple):
    """How files are cut, in bytes."""

    range_bytes: int
    block_bytes: int
    max_line_bytes: int

    @classmethod
    def checked(cls, range_bytes: int, block_bytes: int, max_line_bytes: int) -> _Sizes:
        return cls(
            check_whole_number("range_bytes", range_bytes, 1, MOST_BYTES),
            check_whole_number("block_bytes", block_bytes, 1, MOST_BYTES),
            check_whole_number("max_line_bytes", max_line_bytes, 1, MOST_BYTES),
        )


class _ReadMatched(beam.PTransform):
    """Splits files that were matched, shares the parts out, and reads them."""

    def __init__(self, sizes: _Sizes) -> None:
        super().__init__()
        self._sizes = sizes

    def expand(self, files: PCollection[list[InputFile]]) -> PCollection[EventBlock]:
        sizes = self._sizes
        read = beam.FlatMap(read_range, sizes.block_bytes, sizes.max_line_bytes)
        return (
            files
            | "SplitFiles" >> beam.FlatMap(_split_files, sizes.range_bytes)
            | "ShareOut" >> beam.Reshuffle()
            | "ReadBlocks" >> read.with_output_types(EventBlock)
        )


def lines_of(block: EventBlock) -> list[bytes]:
    """Return the lines of a block that are not blank."""
    if block.cut_line_bytes:
        facts = f"line of {block.cut_line_bytes} bytes, SHA-256 {block.cut_line_sha256}"
        return [block.data + f" ...[cut: {facts}]".encode()]
    return [line for _, line in block.lines()]


def _split_files(files: list[InputFile], range_bytes: int) -> Iterator[ByteRange]:
    # A generator: --runtime_type_check would empty any other iterator before the next step sees it.
    for file in in_threads(lambda given: look_at(*given, RowSettings(NDJSON.name)), files):
        report_growth_of(file)
        yield from split_lines(file, range_bytes)
