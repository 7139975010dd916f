"""Prepared events that travel together, in columns: a Python object for each event would cost more than the event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, overload

Place: TypeAlias = tuple[int, bytes]
"""Where an event belongs in a pipeline: its timestamp in microseconds, and its windows as a coder wrote them."""


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
    if source.endswith("#"):
        return f"{source}{offset}"
    return f"{source}@{offset}"


class EventChunk(Sequence[PreparedEvent]):
    """A sequence of prepared events, held as one list for each field of `PreparedEvent`.

    Attributes:
      places: the windows and timestamp of each event, once events of different windows may share the chunk; empty
        while all of them belong where the chunk itself does.
    """

    __slots__ = ("bodies", "offsets", "originals", "places", "sources")

    def __init__(
        self,
        bodies: list[bytes] | None = None,
        originals: list[bytes | None] | None = None,
        sources: list[str] | None = None,
        offsets: list[int] | None = None,
        places: list[Place] | None = None,
    ) -> None:
        self.bodies = bodies or []
        self.originals = originals or []
        self.sources = sources or []
        self.offsets = offsets or []
        self.places = places or []

    @classmethod
    def of(cls, events: Iterable[PreparedEvent]) -> EventChunk:
        """Gather single events."""
        chunk = cls()
        for event in events:
            chunk.append(*event)
        return chunk

    def placed(self, source: str, offsets: list[int]) -> EventChunk:
        """Give the same events with another source and other offsets."""
        return EventChunk(self.bodies, self.originals, [source] * len(self), offsets, self.places)

    def in_place(self, place: Place) -> EventChunk:
        """Return the same events, each with this place."""
        return EventChunk(self.bodies, self.originals, self.sources, self.offsets, [place] * len(self))

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
        self.places += other.places

    def __len__(self) -> int:
        return len(self.bodies)

    @overload
    def __getitem__(self, index: int) -> PreparedEvent: ...
    @overload
    def __getitem__(self, index: slice) -> EventChunk: ...
    def __getitem__(self, index: int | slice) -> PreparedEvent | EventChunk:
        columns = (self.bodies[index], self.originals[index], self.sources[index], self.offsets[index])
        if isinstance(index, slice):
            return EventChunk(*columns, self.places[index])  # type: ignore[arg-type]
        return PreparedEvent(*columns)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[PreparedEvent]:
        return map(PreparedEvent, self.bodies, self.originals, self.sources, self.offsets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        """Tell the size, never the content."""
        return f"EventChunk({len(self)} events)"

    __hash__ = None  # type: ignore[assignment]
