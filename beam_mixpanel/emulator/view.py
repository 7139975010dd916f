"""What the store held at one moment, read from its newest event on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

BLOCK_BYTES = 1 << 18


class StoredEvent(NamedTuple):
    """An event and the circumstances of its arrival."""

    received_ms: int
    endpoint: str
    event: bytes


class LabelBlock(NamedTuple):
    """The labels of consecutive events.

    Attributes:
      first_number: of the first event; the first that was stored has 1.
      events: how many.
      lines: one label an event, each with its newline.
    """

    first_number: int
    events: int
    lines: bytes


class StoreView:
    """A context manager: what was stored when it was made, whatever is stored or forgotten since."""

    def __init__(self, events: Path, labels: Path, ends: Sequence[int], labels_bytes: int) -> None:
        """Open the files.

        Args:
          events: one event a line.
          labels: one label a line.
          ends: 0, and then where each event's line ends; more may be added meanwhile.
          labels_bytes: how much of the labels was written.
        """
        self._events, self._labels = events.open("rb"), labels.open("rb")
        self._ends, self._labels_bytes = ends, labels_bytes
        self.events = len(ends) - 1

    def __enter__(self) -> StoreView:
        """Begin to read."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the files."""
        self._events.close()
        self._labels.close()

    def event(self, number: int) -> StoredEvent:
        """Return one event; the first has number 1."""
        return stored_event(_read_range(self._events.fileno(), self._ends[number - 1], self._ends[number] - 1))

    def newest_blocks(self) -> Iterator[LabelBlock]:
        """Yield all labels in blocks, the newest first; those of a block are in order."""
        number, end, rest = self.events + 1, self._labels_bytes, b""
        while end:
            begin = max(0, end - BLOCK_BYTES)
            text = _read_range(self._labels.fileno(), begin, end) + rest
            cut = text.find(b"\n") + 1 if begin else 0
            rest, lines, end = text[:cut], text[cut:], begin
            events = lines.count(b"\n")
            number -= events
            yield LabelBlock(number, events, lines)


def stored_event(line: bytes) -> StoredEvent:
    """Read a line of the store's file, without its newline."""
    received_ms, endpoint, event = line.split(b" ", 2)
    return StoredEvent(int(received_ms), endpoint.decode(), event)


def _read_range(file: int, begin: int, end: int) -> bytes:
    """Read all of it: the system may give less at once."""
    parts = []
    while begin < end:
        parts.append(os.pread(file, end - begin, begin))
        begin += len(parts[-1])
    return b"".join(parts)
