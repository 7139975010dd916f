"""Dead letters into files, back, and on the way to another try."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, Final

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.core.arguments import FileNames, check_path, check_paths
from beam_mixpanel.core.chunk import origin_of
from beam_mixpanel.core.dead_letter import PARSE, DeadLetter, Refused, from_json_line, to_json_line
from beam_mixpanel.core.limits import MAX_LINE_BYTES
from beam_mixpanel.core.prepare import EventBlock
from beam_mixpanel.core.repair import as_given, refuse, repaired
from beam_mixpanel.core.user_function import Failure, call, load
from beam_mixpanel.transforms.metrics import CHOSEN_PREFIX, LEFT_OUT_PREFIX, Ledger
from beam_mixpanel.transforms.read import ReadEventBlocksFromFiles, lines_of

SUFFIX: Final = ".jsonl"
NOT_A_DEAD_LETTER: Final = "not_a_dead_letter"
MAX_DEAD_LETTER_LINE_BYTES: Final = 6 * MAX_LINE_BYTES + 1_000_000
"""A dead letter holds a line as a JSON string, where each character may take six bytes, and some words beside it."""
_MAX_BUNDLE_BYTES: Final = 16_000_000
_TEMPORARY: Final = "beam-temp-"
"""How Beam begins the names of the folders in which its file sinks write before they rename."""


class WriteDeadLetters(beam.PTransform):
    """Writes dead letters as JSON lines, a line an event.

    Takes one PCollection or several (`WriteToMixpanelResult.dead_letter_parts`); each is written in the stage where it
    arises, so that a million of them need no memory. No dead letters, no files. Those of a stream are in files of a
    bundle each, written before the bundle is committed: a bundle that the runner retries may leave its letters twice.

    Args:
      prefix: files are named `PREFIX-TIME-PART-SHARD.jsonl`, TIME being when the pipeline was built, so that no run
        overwrites the letters of another; those of a stream have something unique for the shard.
    """

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        super().__init__()
        self.prefix = f"{check_path('prefix', prefix)}-{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}"

    def display_data(self) -> dict[str, Any]:
        """Say where the files are."""
        return {"prefix": self.prefix}

    def expand(
        self, letters: PCollection[DeadLetter] | tuple[PCollection[DeadLetter], ...]
    ) -> tuple[PCollection[str], ...]:
        """Give the names of the files written; none for streams."""
        parts = letters if isinstance(letters, tuple) else (letters,)
        return tuple(
            part
            | f"DeadLetterLines{number}" >> beam.Map(to_json_line).with_output_types(bytes)
            | f"WriteDeadLetters{number}" >> self._write(number, part.is_bounded)
            for number, part in enumerate(parts)
        )

    def _write(self, number: int, bounded: bool) -> beam.PTransform:
        prefix = f"{self.prefix}-{number}"
        if bounded:
            return beam.io.WriteToText(prefix, SUFFIX, coder=beam.coders.BytesCoder(), skip_if_empty=True)
        return beam.ParDo(_WriteBundleFn(prefix))


class _WriteBundleFn(beam.DoFn):
    """Writes the lines of a bundle into a file of their own.

    Beam's file sinks group by window, where late lines would be dropped, and wait for windows to end.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def start_bundle(self) -> None:
        self._lines: list[bytes] = []
        self._bytes = 0

    def process(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes > _MAX_BUNDLE_BYTES:
            self._write()

    def finish_bundle(self) -> None:
        self._write()

    def _write(self) -> None:
        if not self._lines:
            return
        with FileSystems.create(f"{self._prefix}-{uuid.uuid4().hex}{SUFFIX}") as file:
            file.write(b"".join(line + b"\n" for line in self._lines))
        self._lines, self._bytes = [], 0


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

    def __init__(self, patterns: FileNames) -> None:
        super().__init__()
        self._patterns = check_paths("patterns", patterns)

    def display_data(self) -> dict[str, Any]:
        """Say which files are read."""
        return {"patterns": ", ".join(self._patterns)}

    def expand(self, begin: PBegin) -> PCollection[DeadLetter | Refused]:
        """Give each dead letter; a line that is none is refused, to end as invalid in the books."""
        blocks = ReadEventBlocksFromFiles(self._patterns, max_line_bytes=MAX_DEAD_LETTER_LINE_BYTES)
        return begin | "ReadLines" >> blocks | "Parse" >> beam.FlatMap(_letters_of)


class SelectDeadLetters(beam.PTransform):
    """Keeps the dead letters of some reasons; the others are counted as read and filtered.

    What was refused as no dead letter at all has no reason, and is kept, to end in the books.

    Args:
      reasons: as dead letters name them, such as `time_missing` or `http_503`.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        super().__init__()
        self._reasons = frozenset(reasons)

    def expand(self, letters: PCollection[DeadLetter | Refused]) -> PCollection[DeadLetter | Refused]:
        """Give the letters to try again."""
        return letters | "Select" >> beam.ParDo(_SelectFn(self._reasons))


class _SelectFn(beam.DoFn):
    def __init__(self, reasons: frozenset[str]) -> None:
        self._reasons = reasons

    def setup(self) -> None:
        self._ledger = Ledger()

    def process(self, letter: DeadLetter | Refused) -> Iterator[DeadLetter | Refused]:
        if isinstance(letter, Refused):
            yield letter
        elif letter.reason in self._reasons:
            self._ledger.count(CHOSEN_PREFIX + letter.reason, 1)
            yield letter
        else:
            self._ledger.count_filtered()
            self._ledger.count_reason(letter.reason, prefix=LEFT_OUT_PREFIX)


class FixDeadLetters(beam.PTransform):
    """Repairs the events of dead letters by a function of the user's, from event to event, list of events or None.

    The function is given the event's fields as a dict where its text is a JSON object, else the text, or bytes that are
    not UTF-8. An event for which it gives none is counted as read and filtered. One on which it fails is refused, with
    its original text, as `fix_failed`. What it gives is tried again, under the identity that the original was sent
    with unless the function changed that (`core.repair.repaired`).

    Args:
      function: the function, or `module:function`, which the workers import by that name.

    Raises:
      UserFunctionError: there is no such function.
    """

    def __init__(self, function: str | Callable[[Any], Any]) -> None:
        super().__init__()
        load(function)
        self._function = function

    def expand(self, letters: PCollection[DeadLetter | Refused]) -> PCollection[DeadLetter | Refused]:
        """Give the repaired letters to try again, and those on which the function failed."""
        return letters | "Fix" >> beam.ParDo(_FixFn(self._function))


class _FixFn(beam.DoFn):
    def __init__(self, function: str | Callable[[Any], Any]) -> None:
        self._function = function

    def setup(self) -> None:
        self._call = load(self._function)
        self._ledger = Ledger()

    def process(self, letter: DeadLetter | Refused) -> Iterator[DeadLetter | Refused]:
        if isinstance(letter, Refused):
            yield letter
            return
        result = call(self._call, as_given(letter.event))
        fixed = refuse(letter, result.message) if isinstance(result, Failure) else repaired(letter, result)
        if isinstance(fixed, Refused):
            yield fixed
        elif fixed:
            yield from fixed
        else:
            self._ledger.count_filtered()


def _letters_of(block: EventBlock) -> Iterator[DeadLetter | Refused]:
    if block.cut_line_bytes:
        (head,) = lines_of(block)
        yield _read_line(head, origin_of(block.source, block.offset))
        return
    for offset, line in block.lines():
        yield _read_line(line, origin_of(block.source, offset))


def _read_line(line: bytes, place: str) -> DeadLetter | Refused:
    try:
        return from_json_line(line)
    except ValueError as error:
        return Refused(DeadLetter(line, PARSE, NOT_A_DEAD_LETTER, message=str(error), source=place))
