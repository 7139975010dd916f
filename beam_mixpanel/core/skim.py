"""Tells for many lines at once whether each can be sent as it stands.

A full decode makes an object of every property; most of that work is wasted on events that need no change. So only the
few properties with rules of their own are decoded, and the limits on counts and nesting are told from the brackets and
commas of a line: what has at most five opening brackets cannot nest too deep, what has at most 253 commas cannot have
too many of anything. A line that may break a limit is decoded in full, which settles it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from beam_mixpanel.core import limits
from beam_mixpanel.core.validation import Event, SkimmedEvent

_NOT_OPENING_OR_NEWLINE: Final = bytes(code for code in range(256) if code not in b"{[\n")
_MOST_OPENING: Final = 2 + limits.MAX_NESTING
"""The event, its properties, and as many levels as are allowed."""
_MOST_COMMAS: Final = limits.MAX_LIST_ELEMENTS - 1
_SHORTEST_LONG_LIST: Final = 2 * (limits.MAX_LIST_ELEMENTS + 1)
"""A shorter line has no room for a list with too many elements, nor for as many keys."""
_PLACEHOLDER_LENGTHS: Final = frozenset(map(len, limits.PLACEHOLDER_IDS))
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_lines = msgspec.json.Decoder(SkimmedEvent).decode_lines
_decode_event = msgspec.json.Decoder(Event).decode


def skim(data: bytes, lines: list[bytes]) -> list[int]:
    r"""Tell whether every line of a block is an event that can be sent as it stands, but for bounds that move.

    Args:
      data: the block.
      lines: the same, split at `\n`.

    Returns:
      The events' times, or nothing if there is a line that needs a closer look.
    """
    try:
        events = _decode_lines(data)
        if len(events) != len(lines) or not events or max(map(len, lines)) > limits.MAX_EVENT_BYTES:
            return []
        b"".join([line for line in lines if not line.isascii()]).decode()
        for line in _lines_near_a_limit(data, lines):
            _decode_event(line)
    except _UNREADABLE:
        return []
    return [event.properties.time for event in events] if _ids_in_form(events) else []


def _lines_near_a_limit(data: bytes, lines: list[bytes]) -> list[bytes]:
    long_ones = [
        line for line in lines if len(line) >= _SHORTEST_LONG_LIST and line.count(b",") > _MOST_COMMAS
    ]
    brackets = data.translate(None, _NOT_OPENING_OR_NEWLINE).split(b"\n")
    if max(map(len, brackets)) <= _MOST_OPENING:
        return long_ones
    return long_ones + [line for line, opening in zip(lines, brackets, strict=False) if len(opening) > _MOST_OPENING]


def _ids_in_form(events: list[SkimmedEvent]) -> bool:
    insert_ids = [event.properties.insert_id for event in events]
    joined = "".join(insert_ids)
    return (
        joined.isascii()
        and joined.replace("-", "").isalnum()
        and _no_placeholder_among(insert_ids)
        and _no_placeholder_among([event.properties.distinct_id for event in events])
        and all(map(str.strip, {event.event for event in events}))
    )


def _no_placeholder_among(ids: list[str]) -> bool:
    suspects = [value for value in ids if len(value) in _PLACEHOLDER_LENGTHS]
    return limits.PLACEHOLDER_IDS.isdisjoint(map(str.lower, suspects))
