"""The end of an ORC file, which lists its stripes, types and statistics; and the same end for some of its stripes.

Arrow reads an ORC file from its beginning in batches, or one stripe as a whole, which may hold any number of rows. With
an end that lists some stripes only, the same bytes are a file of these stripes, and batches stay small.

Source: https://orc.apache.org/specification/ORCv1/ (file tail), and
https://github.com/apache/orc-format/blob/main/src/main/proto/orc/proto/orc_proto.proto (numbers of fields and kinds).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

NANOSECONDS_END_MS: Final = 9_223_286_400_000
"""2262-04-10: a day before 2**63 ns, since older writers state bounds on the clocks of their zone."""

_POSTSCRIPT, _FOOTER = 1, 2
_FOOTER_LENGTH, _COMPRESSION, _BLOCK_SIZE, _METADATA_LENGTH, _STRIPE_STATISTICS_LENGTH = 1, 2, 3, 5, 7
_STRIPES, _TYPES, _METADATA, _ROWS, _STATISTICS = 3, 4, 5, 6, 7
_ENCRYPTION: Final = 10
_KIND, _SUBTYPES = 1, 2
_TIMESTAMP, _INSTANT = 9, 18
_VALUES, _TIMESTAMP_STATISTICS = 1, 9
_DEFAULT_BLOCK_BYTES: Final = 262_144

_Value = int | bytes
_Fields = list[tuple[int, _Value]]


class Stripe(NamedTuple):
    """Rows that stand together in a file.

    Attributes:
      start: its first byte.
      stop: one past its last byte.
      rows: how many rows it holds.
    """

    start: int
    stop: int
    rows: int


class Moments(NamedTuple):
    """What the statistics of a file say about a column of timestamps, at any depth.

    Attributes:
      column: the place of the column at top level that it belongs to.
      bounds_ms: the earliest and the latest, in milliseconds since 1970; None where the file has no bounds.
    """

    column: int
    bounds_ms: tuple[int, int] | None


class OrcTail:
    """The end of a file.

    Args:
      serialized: the message `FileTail`, as Arrow returns it.

    Raises:
      ValueError: it contradicts itself.
    """

    def __init__(self, serialized: bytes) -> None:
        tail = dict(_fields(serialized))
        self._postscript = list(_fields(_bytes(tail[_POSTSCRIPT])))
        self._footer = list(_fields(_bytes(tail[_FOOTER])))
        self._stripes = [_bytes(value) for number, value in self._footer if number == _STRIPES]
        self.stripes = list(map(_stripe, self._stripes))
        rows, declared = sum(stripe.rows for stripe in self.stripes), int(_first(self._footer, _ROWS) or 0)
        if rows != declared:
            raise ValueError(f"its stripes hold {rows} rows, but its end declares {declared}")

    @property
    def is_encrypted(self) -> bool:
        """Whether some columns are encrypted; without the key they would be read as masked values."""
        return any(number == _ENCRYPTION for number, _ in self._footer)

    def moments(self) -> Iterator[Moments]:
        """Yield the columns of timestamps that hold any, with their bounds."""
        types = [list(_fields(_bytes(value))) for number, value in self._footer if number == _TYPES]
        statistics = [list(_fields(_bytes(value))) for number, value in self._footer if number == _STATISTICS]
        tops = list(_subtypes(types[0])) if types else []
        for number, fields in enumerate(types):
            if _first(fields, _KIND) not in (_TIMESTAMP, _INSTANT):
                continue
            # Types are numbered in depth-first order, so a column's types follow its own.
            column = sum(top <= number for top in tops) - 1
            known = statistics[number] if number < len(statistics) else []
            if not known or _first(known, _VALUES):
                yield Moments(column, _bounds(known))

    def only(self, chosen: Sequence[int]) -> bytes:
        """Return the end of a file that holds some of the stripes, which stay where they are."""
        rows = sum(self.stripes[number].rows for number in chosen)
        # Statistics are of the whole file, and no reader needs them.
        kept = [field for field in self._footer if field[0] not in (_STRIPES, _ROWS, _METADATA, _STATISTICS)]
        listed = [(_STRIPES, self._stripes[place]) for place in chosen]
        stored = self._stored(b"".join(_field(*field) for field in (*kept, *listed, (_ROWS, rows))))
        lengths = {_FOOTER_LENGTH: len(stored), _METADATA_LENGTH: 0}
        postscript = b"".join(
            _field(number, lengths.get(number, value))
            for number, value in self._postscript
            if number != _STRIPE_STATISTICS_LENGTH
        )
        return stored + postscript + bytes((len(postscript),))

    def _stored(self, footer: bytes) -> bytes:
        """Write a footer as the file's compression wants it: in pieces that say that they are not compressed."""
        if not _first(self._postscript, _COMPRESSION):
            return footer
        most = int(_first(self._postscript, _BLOCK_SIZE) or _DEFAULT_BLOCK_BYTES)
        pieces = [footer[start : start + most] for start in range(0, len(footer), most)]
        return b"".join((len(piece) << 1 | 1).to_bytes(3, "little") + piece for piece in pieces)


def _stripe(encoded: bytes) -> Stripe:
    """Read `StripeInformation`: offset, length of index, data and footer, number of rows."""
    known = dict(_fields(encoded))
    start, *lengths, rows = (int(known.get(number, 0)) for number in range(1, 6))
    return Stripe(start, start + sum(lengths), rows)


def _bounds(statistics: _Fields) -> tuple[int, int] | None:
    """Read the bounds of `TimestampStatistics`: in UTC (3, 4), or those of older writers (1, 2)."""
    found = _first(statistics, _TIMESTAMP_STATISTICS)
    known = dict(_fields(_bytes(found))) if found else {}
    for first, last in ((3, 4), (1, 2)):
        if first in known and last in known:
            return _signed(known[first]), _signed(known[last])
    return None


def _subtypes(fields: _Fields) -> Iterator[int]:
    """Yield the numbers of a type's parts, which are written packed or one by one."""
    for number, value in fields:
        if number == _SUBTYPES and isinstance(value, int):
            yield value
        elif number == _SUBTYPES:
            packed, at = _bytes(value), 0
            while at < len(packed):
                part, at = _varint(packed, at)
                yield part


# The encoding of messages: https://protobuf.dev/programming-guides/encoding/


def _fields(message: bytes) -> Iterator[tuple[int, _Value]]:
    """Yield the fields of a message: numbers, and texts or messages as bytes. ORC's tail uses no other types."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value, at = _varint(message, at)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2:
            yield key >> 3, message[at : at + value]
            at += value
        else:
            raise ValueError("the end of the file holds a field of an unknown type")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _field(number: int, value: _Value) -> bytes:
    if isinstance(value, int):
        return _as_varint(number << 3) + _as_varint(value)
    return _as_varint(number << 3 | 2) + _as_varint(len(value)) + value


def _as_varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _first(fields: Iterable[tuple[int, _Value]], wanted: int) -> _Value | None:
    return next((value for number, value in fields if number == wanted), None)


def _signed(value: _Value) -> int:
    number = int(value)
    return (number >> 1) ^ -(number & 1)


def _bytes(value: _Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("the end of the file holds a number in place of a message")  # noqa: TRY004 - it is damaged
    return value
