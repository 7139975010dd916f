"""`MatchFiles`: the files that patterns match, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.files.listing import InputFile, in_threads, match_files

_FILES_TOGETHER: Final = 1_000


class MatchFiles(beam.PTransform):
    """Finds the files that patterns match, each once, as lists for `in_threads`.

    All patterns are one element, so that no shuffle is needed to take a file once that several of them match.

    Args:
      patterns: file names or globs.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        super().__init__()
        self._patterns = list(patterns)

    def expand(self, begin: PBegin) -> PCollection[list[InputFile]]:
        """Match when the job runs."""
        return (
            begin
            | "Begin" >> beam.Impulse()
            | "Match" >> beam.FlatMap(_match_once, self._patterns).with_output_types(list[tuple[str, int]])
        )


def _match_once(_: bytes, patterns: Sequence[str]) -> Iterator[list[InputFile]]:
    sizes: dict[str, int] = {}
    for found in in_threads(match_files, patterns):
        for path, size_bytes in found:
            # Listed twice while it grew: what the later listing saw is there.
            sizes[path] = max(size_bytes, sizes.get(path, 0))
    files = (InputFile(path, size_bytes) for path, size_bytes in sizes.items())
    while some := list(islice(files, _FILES_TOGETHER)):
        yield some
