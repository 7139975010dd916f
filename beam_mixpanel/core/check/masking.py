"""Shows what a value looks like without showing the value: letters become `a`, digits `9`."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from beam_mixpanel.core.json.text import UNREADABLE

_WORD: Final = re.compile(r"[^\W\d_]")
_DIGIT: Final = re.compile(r"\d")
_LONGEST: Final = 400
"""Characters of an example."""
_LONGEST_LINE: Final = 20_000
"""Bytes of an event that are worth reading for an example."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def mask(text: str) -> str:
    """Keep the shape of a text, and nothing of what it says."""
    return _WORD.sub("a", _DIGIT.sub("9", text))


def masked_value(value: Any) -> Any:
    """Mask the texts and numbers in a value, to be written as JSON; names of keys, true, false and null stay."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: masked_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked_value(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return msgspec.Raw(_DIGIT.sub("9", str(value)).encode())
    return value


def example_of(text: bytes, *, show_values: bool) -> str:
    """Give an event that was refused as an example for people: as it is, or only its shape."""
    if show_values:
        return shorten(text[: 4 * _LONGEST].decode(errors="replace"))
    if len(text) <= _LONGEST_LINE:
        try:
            event = _decode(text)
        except UNREADABLE:
            event = None
        # Of an object the names of keys are shown, which say what is wrong with it.
        if isinstance(event, dict):
            return shorten(_encode(masked_value(event)).decode())
    return shorten(mask(text[: 4 * _LONGEST].decode(errors="replace")))


def shorten(text: str) -> str:
    """Cut a text for an example."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}…"
