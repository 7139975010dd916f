"""Lines that are longer than an event can be, where lines are read one by one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from beam_mixpanel import ReadDeadLetters, ReadFromNdjson
from beam_mixpanel.core.events.dead_letter import DeadLetter, to_json_line
from beam_mixpanel.core.limits import MAX_LINE_BYTES


def test_a_line_that_is_too_long_cannot_be_taken_for_an_event(tmp_path: Path) -> None:
    """Its head is followed by what happened, which is no JSON even if the head is."""
    long = b'{"event":"e"}' + b" " * 200
    file = tmp_path / "f"
    file.write_bytes(b"\n".join((b"{}", long, b"[]")))
    cut = long[:100] + b" ...[cut: line of 213 bytes, SHA-256 %s]" % hashlib.sha256(long).hexdigest().encode()
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        lines = pipeline | ReadFromNdjson(str(file), max_line_bytes=100)
        assert_that(lines, equal_to([b"{}", cut, b"[]"]))


def test_a_dead_letter_of_the_longest_line_is_read_whole(tmp_path: Path) -> None:
    """As JSON in a dead letter, each byte of a line may take six."""
    letter = DeadLetter(b"\x01" * MAX_LINE_BYTES, "parse", "invalid_json", message="m" * 5_000)
    file = tmp_path / "f"
    file.write_bytes(to_json_line(letter) + b"\n")
    assert file.stat().st_size > 6 * MAX_LINE_BYTES
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        letters = pipeline | ReadDeadLetters(str(file))
        assert_that(letters | beam.Map(lambda found: found == letter), equal_to([True]))
