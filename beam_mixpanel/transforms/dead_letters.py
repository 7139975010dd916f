"""Dead letters into files, back, and on the way to another try."""

from __future__ import annotations

import contextlib
import os
import random
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, Final

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_mixpanel.core.arguments import FileNames, check_path, check_paths
from beam_mixpanel.core.events.chunk import origin_of
from beam_mixpanel.core.events.dead_letter import PARSE, DeadLetter, RefusedLetter, from_json_line, to_json_line
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.events.repair import as_given, refuse, repaired
from beam_mixpanel.core.limits import MAX_LINE_BYTES
from beam_mixpanel.core.user_function import Failure, call, load
from beam_mixpanel.metrics import CHOSEN_PREFIX, LEFT_OUT_PREFIX, Ledger
from beam_mixpanel.transforms.read_ndjson import ReadFromNdjsonBatched, lines_of
from beam_mixpanel.transforms.windows import GLOBAL, ParDoInWindows, in_global_window

SUFFIX: Final = ".jsonl"
NOT_A_DEAD_LETTER: Final = "not_a_dead_letter"
MAX_DEAD_LETTER_LINE_BYTES: Final = 6 * MAX_LINE_BYTES + 1_000_000
"""A dead letter holds a line as a JSON string, where each character may take six bytes, and some words beside it."""
MAX_FILE_BYTES: Final = 16_000_000
"""How many bytes of letters a bundle holds before it writes them into a file: of each part, in each thread."""
LETTER: Final = DeadLetter | RefusedLetter
"""What is read of files of dead letters: a line that is none is refused, to end as invalid in the books."""
_UNFINISHED: Final = ".unfinished"
_AS_THEY_COME: Final = Windowing(
    GlobalWindows(), triggerfn=Repeatedly(AfterCount(1)), accumulation_mode=AccumulationMode.DISCARDING
)
_KEYS: Final = 8
"""Names are few; a stream needs some keys to rename on several workers, and a state that does not grow with them."""


class WriteDeadLetters(beam.PTransform):
    """Writes dead letters as JSON lines, one line per event, each once.

    Takes one PCollection or several (`WriteToMixpanelResult.dead_letter_parts`), bounded or unbounded, in any windows
    and triggers, and returns the names of the files, in the global window. No dead letters, no files.

    Each bundle writes its letters into files of its own, in the stage where they arise, up to 16 MB in one: a million
    letters need no more memory than a thousand. A file has a temporary name until the runner has committed the bundle.
    Only then is it renamed, so a bundle that is tried again leaves no letter twice. A runner that repeats bundles after
    it committed them (Flink, from a checkpoint) may repeat their letters.

    Args:
      prefix: files are named `PREFIX-TIME-PART-ID.jsonl`. TIME is when the pipeline was built and ID is unique, so no
        run overwrites the letters of another. Temporary names begin with a dot and do not match `PREFIX-*`.
    """

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        super().__init__()
        self.prefix = f"{check_path('prefix', prefix)}-{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}"

    def display_data(self) -> dict[str, Any]:
        """Say where the files are."""
        return {"prefix": self.prefix}

    def expand(self, letters: PCollection[DeadLetter] | tuple[PCollection[DeadLetter], ...]) -> PCollection[str]:
        """Write, group the names, rename."""
        parts = letters if isinstance(letters, tuple) else (letters,)
        written = [self._write(part, number, len(parts)) for number, part in enumerate(parts)]
        # Names are flattened, not letters: a Flatten before the writer would make a runner hold every letter back.
        names = written[0] if len(written) == 1 else tuple(written) | "FlattenNames" >> beam.Flatten()
        renamed: PCollection[str] = (
            names | "GroupNames" >> beam.GroupByKey() | "Rename" >> beam.FlatMap(_rename).with_output_types(str)
        )
        renamed._windowing = GLOBAL  # as Beam's Reshuffle does it: the trigger is for the grouping alone
        return renamed

    def _write(self, part: PCollection[DeadLetter], number: int, parts: int) -> PCollection[tuple[int, str]]:
        label = "Write" if parts == 1 else f"Write{number}"
        # Windows and triggers of the letters must not act on the names. WindowInto cannot stand before the writer: it
        # would multiply letters that are in several windows.
        write = ParDoInWindows(_WriteBundleFn(f"{self.prefix}-{number}"), _AS_THEY_COME)
        written: PCollection[tuple[int, str]] = part | label >> write.with_input_types(DeadLetter).with_output_types(
            tuple[int, str]
        )
        return written


class _WriteBundleFn(beam.DoFn):
    """Writes the letters of a bundle into files with temporary names, and returns the names that they shall have.

    Beam's file sinks group by window, where late letters would be dropped, and wait for windows to end.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def start_bundle(self) -> None:
        self._lines = bytearray()
        self._names: list[str] = []

    def process(self, letter: DeadLetter) -> None:
        self._lines += to_json_line(letter)
        self._lines += b"\n"
        if len(self._lines) >= MAX_FILE_BYTES:
            self._write()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._lines:
            self._write()
        for name in self._names:
            key = random.randrange(_KEYS)  # noqa: S311 - any spread will do
            yield in_global_window((key, name), GlobalWindow().max_timestamp())
        self._names = []

    def _write(self) -> None:
        name = f"{self._prefix}-{uuid.uuid4().hex}{SUFFIX}"
        temporary = _temporary(name)
        try:
            with FileSystems.create(temporary) as file:
                file.write(bytes(self._lines))
        except OSError:
            with contextlib.suppress(OSError):
                FileSystems.delete([temporary])
            raise
        self._names.append(name)
        self._lines = bytearray()


def _temporary(name: str) -> str:
    """Return the name that a file has until it is committed.

    Whatever `PREFIX` is, `.PREFIX-1` does not begin with `PREFIX-`, as `beam-temp-beam-1` would for the prefix `beam`.
    Hadoop's readers skip such names, too.
    """
    base = os.path.basename(name)
    return f"{name.removesuffix(base)}.{base}{_UNFINISHED}"


def _rename(group: tuple[int, Iterable[str]]) -> list[str]:
    """Give files their names, when the bundles that wrote them are committed; those that have them keep them.

    Raises:
      OSError: a file cannot be renamed, or is gone.
    """
    names = sorted(set(group[1]))
    try:
        FileSystems.rename([_temporary(name) for name in names], names)
    except BeamIOError as error:
        if not error.exception_details:
            raise
        for (temporary, name), why in error.exception_details.items():
            # This bundle may be tried again after it renamed some.
            if FileSystems.exists(temporary):
                raise OSError(f"cannot rename {temporary}: {why}") from error
            if not FileSystems.exists(name):
                raise OSError(f"{temporary} was written, and is gone: {why}") from error
    return names


def remove_unfinished(prefix: str) -> None:
    """Remove the files of a run that were never committed, and nothing of other runs; on local file systems.

    What a failed run read is read again when it is run again; what a bundle wrote that was tried again is elsewhere.

    Args:
      prefix: of one run that is over, from `WriteDeadLetters.prefix`.
    """
    folder, name = os.path.split(prefix)
    if "://" in prefix or not os.path.isdir(folder or "."):
        return
    for found in os.listdir(folder or "."):
        if found.startswith(f".{name}-") and found.endswith(_UNFINISHED):
            with contextlib.suppress(OSError):
                os.remove(os.path.join(folder, found))


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

    def expand(self, begin: PBegin) -> PCollection[DeadLetter | RefusedLetter]:
        """Give each dead letter; a line that is none is refused, to end as invalid in the books."""
        blocks = ReadFromNdjsonBatched(self._patterns, max_line_bytes=MAX_DEAD_LETTER_LINE_BYTES)
        return begin | "ReadLines" >> blocks | "Parse" >> beam.FlatMap(_letters_of).with_output_types(LETTER)


class SelectDeadLetters(beam.PTransform):
    """Keeps the dead letters of some reasons; the others are counted as read and filtered.

    What was refused as no dead letter at all has no reason, and is kept, to end in the books.

    Args:
      reasons: as dead letters name them, such as `time_missing` or `http_503`.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        super().__init__()
        self._reasons = frozenset(reasons)

    def expand(self, letters: PCollection[DeadLetter | RefusedLetter]) -> PCollection[DeadLetter | RefusedLetter]:
        """Give the letters to try again."""
        select = beam.ParDo(_SelectFn(self._reasons)).with_input_types(LETTER).with_output_types(LETTER)
        return letters | "Select" >> select


class _SelectFn(beam.DoFn):
    def __init__(self, reasons: frozenset[str]) -> None:
        self._reasons = reasons

    def setup(self) -> None:
        self._ledger = Ledger()

    def process(self, letter: DeadLetter | RefusedLetter) -> Iterator[DeadLetter | RefusedLetter]:
        if isinstance(letter, RefusedLetter):
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

    def expand(self, letters: PCollection[DeadLetter | RefusedLetter]) -> PCollection[DeadLetter | RefusedLetter]:
        """Give the repaired letters to try again, and those on which the function failed."""
        fix = beam.ParDo(_FixFn(self._function)).with_input_types(LETTER).with_output_types(LETTER)
        return letters | "Fix" >> fix


class _FixFn(beam.DoFn):
    def __init__(self, function: str | Callable[[Any], Any]) -> None:
        self._function = function

    def setup(self) -> None:
        self._call = load(self._function)
        self._ledger = Ledger()

    def process(self, letter: DeadLetter | RefusedLetter) -> Iterator[DeadLetter | RefusedLetter]:
        if isinstance(letter, RefusedLetter):
            yield letter
            return
        result = call(self._call, as_given(letter.event))
        fixed = refuse(letter, result.message) if isinstance(result, Failure) else repaired(letter, result)
        if isinstance(fixed, RefusedLetter):
            yield fixed
        elif fixed:
            yield from fixed
        else:
            self._ledger.count_filtered()


def _letters_of(block: EventBlock) -> Iterator[DeadLetter | RefusedLetter]:
    if block.cut_line_bytes:
        (head,) = lines_of(block)
        yield _read_line(head, origin_of(block.source, block.offset))
        return
    for offset, line in block.lines():
        yield _read_line(line, origin_of(block.source, offset))


def _read_line(line: bytes, place: str) -> DeadLetter | RefusedLetter:
    try:
        return from_json_line(line)
    except ValueError as error:
        return RefusedLetter(DeadLetter(line, PARSE, NOT_A_DEAD_LETTER, message=str(error), source=place))
