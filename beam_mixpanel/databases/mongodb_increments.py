"""What is new in a collection since the last run, by a field that grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final, NamedTuple

from bson.errors import InvalidId

from beam_mixpanel.core.sources.increments import Increment, Mark, State
from beam_mixpanel.databases.mongodb import Decimal128, MongoCollection, ObjectId
from beam_mixpanel.errors import IncrementalError

_NOTHING: Final[dict[str, Any]] = {"$nor": [{}]}
"""A filter that no document fulfils."""


class Selected(NamedTuple):
    """What a run reads, and remembers when it has been imported.

    Attributes:
      condition: the filter.
      mark: the greatest value that it reads; None where it reads none.
      highest: the greatest value that there is.
    """

    condition: dict[str, Any]
    mark: Mark | None
    highest: Mark | None


def select_new(
    place: MongoCollection, condition: Mapping[str, Any], increment: Increment, state: State | None, zone: tzinfo
) -> Selected:
    """Choose the documents of an increment, up to the greatest value that there is now.

    MongoDB compares values of one type only. Documents where the field is missing, null, or of another type than where
    it is greatest, are read while there is no lower bound.

    Args:
      place: the collection.
      condition: the filter of the user.
      increment: what the user says of the run.
      state: what the run before left.
      zone: of bounds that name none.

    Raises:
      IncrementalError: the bounds do not suit the field.
    """
    increment.check()
    field = increment.cursor_column
    raw = _highest(place, field, condition)
    if raw is None:
        reads_new_only = increment.since is not None or state is not None
        return Selected(_both(condition, _NOTHING) if reads_new_only else dict(condition), None, None)
    highest = _as_mark(raw)
    lower, upper = increment.bounds(highest, state, zone)
    value = _writer_of(raw)
    mark: Mark | None = highest
    if upper is not None:
        below = _both(condition, {field: {"$lt": value(upper)}})
        raw_below = _highest(place, field, below)
        mark = None if raw_below is None else _as_mark(raw_below)
    if lower is None:
        bounds = {} if upper is None else {field: {"$not": {"$gte": value(upper)}}}
    else:
        end = {"$lte": raw} if upper is None else {"$lt": value(upper)}
        bounds = {field: {"$gte": value(lower), **end}}
    return Selected(_both(condition, bounds), mark, highest)


def _highest(place: MongoCollection, field: str, condition: Mapping[str, Any]) -> Any:
    raw = place.highest(field, condition)
    if raw is not None and _is_endless(raw):
        raw = place.highest(field, _both(condition, {field: {"$lt": math.inf}}))
    if raw is None or _is_endless(raw):
        return None
    return raw


def _is_endless(raw: Any) -> bool:
    """Return whether a number is infinite, or NaN, which MongoDB sorts below all."""
    if isinstance(raw, Decimal128):
        return not raw.to_decimal().is_finite()
    return isinstance(raw, float) and not math.isfinite(raw)


def _both(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    if not first or not second:
        return dict(first or second)
    return {"$and": [dict(first), dict(second)]}


def _as_mark(raw: Any) -> Mark:
    """Return a value of BSON as a state remembers it; an ObjectId as its text.

    Raises:
      IncrementalError: it is of a type that does not grow.
    """
    if isinstance(raw, datetime):
        return raw.astimezone(timezone.utc)
    if isinstance(raw, (ObjectId, str)):
        return str(raw)
    if isinstance(raw, (int, float, Decimal128)) and not isinstance(raw, bool):
        # A double is written with digits from which the same double is read.
        number = raw.to_decimal() if isinstance(raw, Decimal128) else Decimal(repr(raw))
        if number == number.to_integral_value():
            return int(number)
        return number
    raise IncrementalError(
        f"a cursor column must hold numbers, moments, text or ObjectIds, not {type(raw).__name__}; choose another, or "
        "leave out documents of other types by `filter`"
    )


def _writer_of(raw: Any) -> Callable[[Any], Any]:
    """Return what makes a value of BSON, of the same type, of a mark."""
    if isinstance(raw, ObjectId):
        return _object_id
    if isinstance(raw, Decimal128):
        return lambda mark: Decimal128(Decimal(mark))
    if isinstance(raw, (int, float)):
        return lambda mark: mark if isinstance(mark, int) and -(2**63) <= mark < 2**63 else float(mark)
    return lambda mark: mark


def _object_id(mark: str) -> ObjectId:
    try:
        return ObjectId(mark)
    except InvalidId:
        raise IncrementalError(f"{mark!r} is no ObjectId; the column holds values of 24 hexadecimal digits") from None
