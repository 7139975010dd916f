"""The one way in which JSON is read without losing a digit, and the one order in which it is written."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

_EXACT_CHARS: Final = 15
"""A double holds so many decimal digits."""


def exact_number(text: str) -> float | Decimal:
    """Read a number that is no integer; one that a double may not hold exactly keeps its digits.

    One whose exponent has more than 18 digits is infinite, or 0.
    """
    if len(text) <= _EXACT_CHARS and "e" not in text and "E" not in text:
        return float(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(float(text))


def double(text: str) -> float | Decimal:
    """Read a number that is no integer as the double that it is to Mixpanel; one past all doubles keeps its digits."""
    number = float(text)
    if math.isfinite(number):
        return number
    return exact_number(text)


decode_exact: Final = msgspec.json.Decoder(float_hook=exact_number).decode
"""Reads JSON; no number loses a digit."""

decode_doubles: Final = msgspec.json.Decoder(float_hook=double).decode
"""Reads JSON; numbers that are no integers are doubles, where a double can be so large."""

encode_sorted: Final = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
"""Writes JSON with sorted keys, so that equal values have equal bytes: `$insert_id`s are made from them."""

encode_in_order: Final = msgspec.json.Encoder(decimal_format="number").encode
"""Writes JSON with keys in the order that they have."""
