"""The files that names and globs match: those known when the graph is built, or those that come while the job runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import apache_beam as beam
from apache_beam.io.filesystem import FileMetadata
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


class MatchEach(beam.PTransform):
    """Finds the files that each element names, as lists for `in_threads`.

    Elements are file names, globs, `pathlib` paths, or `FileMetadata` as Beam's `MatchAll` and `MatchContinuously`
    return. Bounded or unbounded; windows stay. A file is read for each element that names it.
    """

    def expand(self, names: PCollection[Any]) -> PCollection[list[InputFile]]:
        """Match when a name arrives."""
        return names | "Match" >> beam.FlatMap(_match_each).with_output_types(list[tuple[str, int]])


def _match_each(name: Any) -> Iterator[list[InputFile]]:
    """Look at the file now: what listed it may have given no size, or one of before."""
    path = name.path if isinstance(name, FileMetadata) else name
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"an element must be a file name, glob or FileMetadata, got {type(name).__name__}")
    yield from _together(iter(match_files(os.fspath(path))))


def _match_once(_: bytes, patterns: Sequence[str]) -> Iterator[list[InputFile]]:
    sizes: dict[str, int] = {}
    for found in in_threads(match_files, patterns):
        for path, size_bytes in found:
            # Listed twice while it grew: what the later listing saw is there.
            sizes[path] = max(size_bytes, sizes.get(path, 0))
    yield from _together(InputFile(path, size_bytes) for path, size_bytes in sizes.items())


def _together(files: Iterator[InputFile]) -> Iterator[list[InputFile]]:
    while some := list(islice(files, _FILES_TOGETHER)):
        yield some
