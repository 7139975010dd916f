"""Ids: which texts are usable, and which numbers can be written as text without losing a digit."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Final

from beam_mixpanel.core import limits

_EXACT_IN_DOUBLE: Final = 2**53
_MOST_ID_DIGITS: Final = 1000
"""More than any id has; a number such as 1e999999999 would fill the memory with its digits."""
_MOST_ID_BITS: Final = 3 * _MOST_ID_DIGITS
_ZERO_UUID: Final = max(limits.PLACEHOLDER_IDS, key=len)
_LONGEST_WORD: Final = max(map(len, limits.PLACEHOLDER_IDS - {_ZERO_UUID}))


def is_usable_id(distinct_id: str) -> bool:
    """Return whether no rule on the `distinct_id` refuses this text."""
    return len(distinct_id) <= limits.MAX_DISTINCT_ID_CHARS and distinct_id.lower() not in limits.PLACEHOLDER_IDS


def has_placeholder(ids: Collection[str]) -> bool:
    """Return whether one of many ids is a placeholder; fast where all are longer than a word."""
    if min(map(len, ids), default=0) > _LONGEST_WORD:
        return _ZERO_UUID in ids
    return not limits.PLACEHOLDER_IDS.isdisjoint(map(str.lower, ids))


def unusable_ids(ids: Collection[str]) -> set[str]:
    """Return those of many ids that `is_usable_id` does not pass; fast where there are none."""
    longest = max(map(len, ids), default=0)
    if longest <= limits.MAX_DISTINCT_ID_CHARS and not has_placeholder(ids):
        return set()
    return {distinct_id for distinct_id in ids if not is_usable_id(distinct_id)}


def is_inexact(number: bool | int | float | Decimal) -> bool:
    """Return whether a number has lost digits already, is infinite, or has more digits than any id."""
    if isinstance(number, float):
        return abs(number) >= _EXACT_IN_DOUBLE
    return _has_endless_digits(number)


def id_text(number: bool | int | float | Decimal) -> str:
    """Write a number that serves as an id, digit by digit; `7.0` is the id 7 that passed through a float column.

    Only a number with more digits than any id is written in short.
    """
    if isinstance(number, bool):
        return str(number).lower()
    if isinstance(number, float):
        is_whole = number.is_integer() and abs(number) < _EXACT_IN_DOUBLE
        return str(int(number) if is_whole else number)
    if _has_endless_digits(number):
        return hex(number) if isinstance(number, int) else str(number)
    if isinstance(number, Decimal) and number != number.to_integral_value():
        return format(number, "f")
    return str(int(number))


def _has_endless_digits(number: int | Decimal) -> bool:
    if isinstance(number, Decimal):
        return not number.is_finite() or abs(number.adjusted()) > _MOST_ID_DIGITS
    return number.bit_length() > _MOST_ID_BITS
