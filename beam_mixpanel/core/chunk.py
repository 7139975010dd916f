"""Prepared events that travel together, in columns: a Python object for each event would cost more than the event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload


class PreparedEvent(NamedTuple):
    """An event as it will be sent.

    Attributes:
      body: its final JSON bytes.
      original: the bytes it was read as; None where they are the body.
      source: the file it came from; empty where unknown; a `#` at the end where offset is the number of a row.
      offset: where it begins in that file, in bytes; -1 where unknown.
    """

    body: bytes
    original: bytes | None
    source: str
    offset: int

    @property
    def origin(self) -> str:
        """`FILE@OFFSET` or `SOURCE#ROW`, or what is known of it."""
        return origin_of(self.source, self.offset)


def origin_of(source: str, offset: int) -> str:
    """Name the place of an event for people."""
    if not source or offset < 0:
        return source
    return f"{source}{offset}" if source.endswith("#") else f"{source}@{offset}"


class EventChunk(Sequence[PreparedEvent]):
    """A sequence of prepared events, held as one list for each field of `PreparedEvent`."""

    __slots__ = ("bodies", "offsets", "originals", "sources")

    def __init__(
        self,
        bodies: list[bytes] | None = None,
        originals: list[bytes | None] | None = None,
        sources: list[str] | None = None,
        offsets: list[int] | None = None,
    ) -> None:
        self.bodies = bodies or []
        self.originals = originals or []
        self.sources = sources or []
        self.offsets = offsets or []

    @classmethod
    def of(cls, events: Iterable[PreparedEvent]) -> EventChunk:
        """Gather single events."""
        chunk = cls()
        for event in events:
            chunk.append(*event)
        return chunk

    def placed(self, source: str, offsets: list[int]) -> EventChunk:
        """Give the same events with another source and other offsets."""
        return EventChunk(self.bodies, self.originals, [source] * len(self), offsets)

    def append(self, body: bytes, original: bytes | None, source: str, offset: int) -> None:
        """Add an event at the end, by the fields of `PreparedEvent`."""
        self.bodies.append(body)
        self.originals.append(original)
        self.sources.append(source)
        self.offsets.append(offset)

    def extend(self, other: EventChunk) -> None:
        """Add the events of another chunk at the end."""
        self.bodies += other.bodies
        self.originals += other.originals
        self.sources += other.sources
        self.offsets += other.offsets

    def __len__(self) -> int:
        return len(self.bodies)

    @overload
    def __getitem__(self, place: int) -> PreparedEvent: ...
    @overload
    def __getitem__(self, place: slice) -> EventChunk: ...
    def __getitem__(self, place: int | slice) -> PreparedEvent | EventChunk:
        columns = (self.bodies[place], self.originals[place], self.sources[place], self.offsets[place])
        return EventChunk(*columns) if isinstance(place, slice) else PreparedEvent(*columns)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[PreparedEvent]:
        return map(PreparedEvent, self.bodies, self.originals, self.sources, self.offsets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        """Tell the size, never the content."""
        return f"EventChunk({len(self)} events)"

    __hash__ = None  # type: ignore[assignment]
