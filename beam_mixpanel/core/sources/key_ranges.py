"""Disjoint ranges of a column's values, so that workers can share a table."""

from __future__ import annotations

import itertools
import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

Key: TypeAlias = "int | Decimal | datetime | date"
"""A value that ranges can be made of."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - what has a zone is brought to UTC first
_MICROSECOND: Final = timedelta(microseconds=1)


class KeyRange(NamedTuple):
    """The values from `low` up to, without, `high`; None where there is no such end."""

    low: Key | None
    high: Key | None


def split_range(low: Key, high: Key, parts: int) -> list[KeyRange]:
    """Cut the values from `low` to `high`, both included, into ranges of about equal width.

    Args:
      low: the least value there is.
      high: the greatest value there is, of the same type.
      parts: how many ranges are wanted; there are fewer where there are fewer values.

    Returns:
      Ranges in order, each beginning where the one before it ends, the last one ending just behind `high`: what comes
      later with a greater value is in none of them. Behind the last day and microsecond there is nothing, so a range
      that reaches it has no end.
    """
    first, last = _to_number(low), _to_number(high)
    count = min(parts, last - first + 1)
    cuts = [first + (last - first + 1) * part // count for part in range(count + 1)]
    keys = [_from_number(cut, low) for cut in cuts]
    return [KeyRange(start, stop) for start, stop in itertools.pairwise(keys)]


def _to_number(key: Key) -> int:
    """Count integers, days or microseconds."""
    if isinstance(key, datetime):
        if key.tzinfo is not None:
            key = key.astimezone(timezone.utc).replace(tzinfo=None)
        return (key - _EPOCH) // _MICROSECOND
    if isinstance(key, date):
        return key.toordinal()
    return math.floor(key)


def _from_number(number: int, like: Key) -> Key | None:
    """Give the value of the type of another one; None past what the type can hold."""
    try:
        if isinstance(like, datetime):
            moment = _EPOCH + number * _MICROSECOND
            if like.tzinfo is not None:
                moment = moment.replace(tzinfo=timezone.utc)
            return moment
        if isinstance(like, date):
            return date.fromordinal(number)
    except (OverflowError, ValueError):
        return None
    return number
