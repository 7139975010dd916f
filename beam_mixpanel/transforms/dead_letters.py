"""Dead letters into files and back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Final

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.core.dead_letter import DeadLetter, from_json_line, to_json_line
from beam_mixpanel.core.limits import MAX_LINE_BYTES
from beam_mixpanel.transforms.read import ReadEventsFromFiles

SUFFIX: Final = ".jsonl"
MAX_DEAD_LETTER_LINE_BYTES: Final = 6 * MAX_LINE_BYTES + 1_000_000
"""A dead letter holds a line as a JSON string, where each character may take six bytes, and some words beside it."""
_TEMPORARY: Final = "beam-temp-"
"""How Beam begins the names of the folders in which its file sinks write before they rename."""


class WriteDeadLetters(beam.PTransform):
    """Writes dead letters as JSON lines, a line an event.

    Takes one PCollection or several (`WriteToMixpanelResult.dead_letter_parts`); each is written in the stage where it
    arises, so that a million of them need no memory. No dead letters, no files.

    Args:
      prefix: files are named `PREFIX-TIME-PART-SHARD.jsonl`, TIME being when the pipeline was built, so that no run
        overwrites the letters of another.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = f"{prefix}-{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}"

    def expand(
        self, letters: PCollection[DeadLetter] | tuple[PCollection[DeadLetter], ...]
    ) -> tuple[PCollection[str], ...]:
        """Give the names of the files written."""
        parts = letters if isinstance(letters, tuple) else (letters,)
        return tuple(
            part
            | f"DeadLetterLines{number}" >> beam.Map(to_json_line).with_output_types(bytes)
            | f"WriteDeadLetters{number}"
            >> beam.io.WriteToText(
                f"{self.prefix}-{number}", SUFFIX, coder=beam.coders.BytesCoder(), skip_if_empty=True
            )
            for number, part in enumerate(parts)
        )


def remove_unfinished(prefix: str) -> None:
    """Remove what a run that failed left of files it had begun, and nothing of other runs; on local file systems.

    The events in them are read again when the job is.

    Args:
      prefix: of one run, from `WriteDeadLetters.prefix`.
    """
    folder, name = os.path.split(prefix)
    if "://" in prefix or not os.path.isdir(folder or "."):
        return
    for found in os.listdir(folder or "."):
        if found.startswith(f"{_TEMPORARY}{name}-"):
            shutil.rmtree(os.path.join(folder, found), ignore_errors=True)


class ReadDeadLetters(beam.PTransform):
    """Reads the files that `WriteDeadLetters` wrote, for `WriteToMixpanel` to try again.

    Args:
      patterns: file names or globs; plain or compressed.
    """

    def __init__(self, patterns: str | Iterable[str]) -> None:
        super().__init__()
        self._patterns = patterns

    def expand(self, begin: PBegin) -> PCollection[DeadLetter | bytes]:
        """Give each dead letter; a line that is none is given as it is, to end as invalid in the books."""
        lines = ReadEventsFromFiles(self._patterns, max_line_bytes=MAX_DEAD_LETTER_LINE_BYTES)
        return begin | "ReadLines" >> lines | "Parse" >> beam.FlatMap(_parse_line)


def _parse_line(line: bytes) -> Iterator[DeadLetter | bytes]:
    try:
        yield from_json_line(line)
    except ValueError:
        yield line
