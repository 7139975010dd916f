"""Keeps every accepted copy of every event: a file for the events, one to search, and 24 bytes of memory an event.

De-duplication happens when it is asked for, as at Mixpanel:
https://docs.mixpanel.com/reference/event-deduplication
"""

from __future__ import annotations

import shutil
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from io import FileIO
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from beam_mixpanel.emulator.distinct import DistinctKeys, last_of_equals
from beam_mixpanel.emulator.search import label_lines
from beam_mixpanel.emulator.view import StoredEvent, StoreView, stored_event

READ_BUFFER_BYTES = 1 << 20


class EventStore:
    """An append-only file of events in the order of their arrival."""

    def __init__(self, directory: str | Path | None = None) -> None:
        """Open an empty store.

        Args:
          directory: empty or missing, kept at the end; None takes a temporary one, deleted at the end.

        Raises:
          ValueError: the directory already holds something.
        """
        self._temporary = directory is None
        self._directory = Path(directory or tempfile.mkdtemp(prefix="mixpanel-emulator-"))
        self._directory.mkdir(parents=True, exist_ok=True)
        if any(self._directory.iterdir()):
            raise ValueError(f"storage must be an empty or missing directory, but {self._directory} is not empty")
        self._path, self._labels_path = self._directory / "events.log", self._directory / "labels.log"
        self._begin()

    def _begin(self) -> None:
        self._file, self._labels = self._path.open("xb", buffering=0), self._labels_path.open("xb", buffering=0)
        self._keys: array[int] = array("q")
        self._ends: array[int] = array("q", [0])
        self._labels_bytes = 0
        self._counted = 0
        self._distinct = DistinctKeys()

    def append(
        self, events: Sequence[bytes], keys: Sequence[int], labels: Sequence[str], *, received_ms: int, endpoint: str
    ) -> None:
        """Keep events.

        Args:
          events: each JSON without newlines.
          keys: equal for events that de-duplication unites.
          labels: what each event can be found by; see `search.label`.
          received_ms: when they came.
          endpoint: where they came.
        """
        if not events:
            return
        prefix = b"%d %s " % (received_ms, endpoint.encode())
        lines = label_lines(labels)
        _write(self._file, prefix + (b"\n" + prefix).join(events) + b"\n")
        _write(self._labels, lines)
        lengths = np.fromiter(map(len, events), dtype=np.int64, count=len(events)) + (len(prefix) + 1)
        self._ends.frombytes((lengths.cumsum() + self._ends[-1]).tobytes())
        self._labels_bytes += len(lines)
        self._keys.extend(keys)

    def __len__(self) -> int:
        """Return the number of stored copies."""
        return len(self._keys)

    def unique(self) -> int:
        """Return the number of events that de-duplication leaves, looking only at keys that are new."""
        if self._counted < len(self._keys):
            self._distinct.add(np.array(self._keys[self._counted :], dtype=np.int64))
            self._counted = len(self._keys)
        return len(self._distinct)

    def events(self, *, deduplicated: bool = False) -> Iterator[StoredEvent]:
        """Yield what was stored until now, in order; of equal events only the latest copy, if asked."""
        kept = self._latest_copies() if deduplicated else None
        lines = self._lines()
        if kept is not None:
            lines = (line for line, keep in zip(lines, kept.tolist(), strict=True) if keep)
        for line in lines:
            yield stored_event(line[:-1])

    def view(self) -> StoreView:
        """Open what was stored until now, to be searched from its newest event on."""
        return StoreView(self._path, self._labels_path, self._ends, self._labels_bytes)

    def clear(self) -> None:
        """Forget all events; readers that have begun still see what they began to read."""
        self._close_files()
        self._path.unlink()
        self._labels_path.unlink()
        self._begin()

    def close(self) -> None:
        """End, and delete temporary storage."""
        self._close_files()
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _close_files(self) -> None:
        self._file.close()
        self._labels.close()

    def _lines(self) -> Iterator[bytes]:
        count = len(self._keys)
        file = self._path.open("rb", buffering=READ_BUFFER_BYTES)

        def read() -> Iterator[bytes]:
            with file:
                yield from islice(file, count)

        return read()

    def _latest_copies(self) -> NDArray[np.bool_]:
        keys = np.array(self._keys, dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        kept = np.zeros(len(keys), dtype=np.bool_)
        kept[order[last_of_equals(keys[order])]] = True
        return kept


def _write(file: FileIO, data: bytes) -> None:
    """Write all of it: an unbuffered file may take less at once."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
