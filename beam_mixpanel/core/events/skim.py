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
from beam_mixpanel.core.events.validation import Event, SkimmedEvent, SkimmedProperties
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
_ZERO_UUID: Final = max(limits.PLACEHOLDER_IDS, key=len)
_LONGEST_WORD: Final = max(map(len, limits.PLACEHOLDER_IDS - {_ZERO_UUID}))

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
        if not lines or max(map(len, lines)) > limits.MAX_EVENT_BYTES:
            return []
        if not data.isascii():
            b"".join([line for line in lines if not line.isascii()]).decode()
        for line in _lines_near_a_limit(data, lines):
            _decode_event(line)
    except UNREADABLE:
        return []
    properties = [event.properties for event in events]
    in_form = _ids_in_form(properties) and all(map(str.strip, {event.event for event in events}))
    return [skimmed.time for skimmed in properties] if in_form else []


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
    joined = "".join(insert_ids)
    return (
        joined.isascii()
        and not joined.encode().translate(None, _INSERT_ID_CHARS)
        and _no_placeholder_among(insert_ids)
        and _no_placeholder_among([skimmed.distinct_id for skimmed in properties])
    )


def _no_placeholder_among(ids: list[str]) -> bool:
    if min(map(len, ids)) > _LONGEST_WORD:
        return _ZERO_UUID not in ids
    return limits.PLACEHOLDER_IDS.isdisjoint(map(str.lower, ids))
