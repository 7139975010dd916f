"""Compressed files are read whole, or the job fails."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
import zstandard
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from beam_mixpanel import ReadFromNdjson
from beam_mixpanel.errors import UnreadableFileError

LINES = [b'{"line":%d,"text":"%s"}' % (number, b"abc" * (number % 50)) for number in range(20_000)]
CONTENT = b"\n".join(LINES)
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


def _read(path: Path, expected: list[bytes]) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        assert_that(pipeline | ReadFromNdjson(str(path)), equal_to(expected))


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_files_are_told_by_their_first_bytes(tmp_path: Path, kind: str) -> None:
    """A compressed file is read whole even if its name says nothing."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(COMPRESSORS[kind](CONTENT))
    _read(path, LINES)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_files_of_several_members_are_read_to_the_last(tmp_path: Path, kind: str) -> None:
    """Compressed files that were joined give all their lines."""
    path = tmp_path / f"events.ndjson.{kind}"
    half = len(CONTENT) // 2
    path.write_bytes(COMPRESSORS[kind](CONTENT[:half]) + COMPRESSORS[kind](CONTENT[half:]))
    _read(path, LINES)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_file_that_is_cut_short_fails_the_job(tmp_path: Path, kind: str) -> None:
    """Lines that are missing at the end of a compressed file are not overlooked."""
    path = tmp_path / f"events.ndjson.{kind}"
    compressed = COMPRESSORS[kind](CONTENT)
    path.write_bytes(compressed[: len(compressed) - 20])
    with pytest.raises(UnreadableFileError, match=r"cannot read .* to its end"):
        _read(path, LINES)


def test_a_plain_file_named_gz_is_read_as_it_is(tmp_path: Path) -> None:
    """A name does not make a file compressed: some stores decompress while they serve."""
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(CONTENT)
    _read(path, LINES)
