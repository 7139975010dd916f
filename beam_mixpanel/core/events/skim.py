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
from beam_mixpanel.core.events.facts import Fact
from beam_mixpanel.core.events.ids import has_placeholder
from beam_mixpanel.core.events.shapes import Event, SkimmedEvent, SkimmedProperties
from beam_mixpanel.core.json.text import UNREADABLE

_NOT_OPENING_OR_NEWLINE: Final = bytes(code for code in range(256) if code not in b"{[\n")
_MOST_OPENING: Final = 2 + limits.MAX_NESTING
"""The event, its properties, and as many levels as are allowed."""
_MOST_COMMAS: Final = limits.MAX_LIST_ELEMENTS - 1
_SHORTEST_LONG_LIST: Final = 2 * (limits.MAX_LIST_ELEMENTS + 1)
"""A shorter line has no room for a list with too many elements, nor for as many keys."""
_MOST_DIGITS: Final = 4300
"""The decoder refuses a longer integer; in a property that is skipped it would not notice."""
_INSERT_ID_CHARS: Final = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

FACTS: Final = frozenset({Fact.READ, Fact.SHAPE, Fact.NAME, Fact.COUNTS, Fact.IDS, Fact.SIZE})
"""What is certain of the lines that are passed. Their times are given back, to be compared with the present."""

_skim_event = msgspec.json.Decoder(SkimmedEvent).decode
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
        events = list(map(_skim_event, lines))
        # The decoder looks at no text that it skips: neither at its bytes nor at how long a line is.
        if not lines or max(map(len, lines)) > limits.MAX_EVENT_BYTES:
            return []
        if not data.isascii():
            b"".join([line for line in lines if not line.isascii()]).decode()
        for line in _lines_near_a_limit(data, lines):
            _decode_event(line)
    except UNREADABLE:
        return []
    if not all(map(str.strip, {event.event for event in events})):
        return []
    properties = [event.properties for event in events]
    times = [skimmed.time for skimmed in properties]
    if _ids_in_form(properties):
        return times
    return []


def _lines_near_a_limit(data: bytes, lines: list[bytes]) -> list[bytes]:
    long_ones = [
        line
        for line in lines
        if len(line) >= _SHORTEST_LONG_LIST and (line.count(b",") > _MOST_COMMAS or len(line) > _MOST_DIGITS)
    ]
    brackets = data.translate(None, _NOT_OPENING_OR_NEWLINE).split(b"\n")
    if max(map(len, brackets)) <= _MOST_OPENING:
        return long_ones
    return long_ones + [line for line, opening in zip(lines, brackets, strict=False) if len(opening) > _MOST_OPENING]


def _ids_in_form(properties: list[SkimmedProperties]) -> bool:
    insert_ids = [skimmed.insert_id for skimmed in properties]
    distinct_ids = [skimmed.distinct_id for skimmed in properties]
    joined = "".join(insert_ids)
    if not joined.isascii() or joined.encode().translate(None, _INSERT_ID_CHARS):
        return False
    return not has_placeholder(insert_ids) and not has_placeholder(distinct_ids)
