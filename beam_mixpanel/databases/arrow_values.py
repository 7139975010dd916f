"""Rows of drivers as Arrow record batches whose columns mean what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from beam_mixpanel.core.json.values import unless_null
from beam_mixpanel.core.rows.arrow import array_of, rows_of

if TYPE_CHECKING:
    from beam_mixpanel.databases.database import Rows

_WIDEST_128: Final = 38
_WIDEST_256: Final = 76
_NOT_FINITE: Final = {"nan": None, "inf": '"Infinity"', "-inf": '"-Infinity"'}
_INFINITE_DAYS: Final = {
    2**31 - 1: "Infinity",
    -(2**31) + 10_956: "Infinity",
    -(2**31) + 1: "-Infinity",
    -(2**31) + 10_957: "-Infinity",
}
_INFINITE_MICROSECONDS: Final = {
    2**63 - 1: "Infinity",
    -(2**63) + 946_684_799_999_999: "Infinity",
    -(2**63) + 1: "-Infinity",
    -(2**63) + 946_684_800_000_000: "-Infinity",
}
"""DuckDB's, and PostgreSQL's after ADBC has added the years from 1970 to 2000 to them, past the end of the integer."""
_EARLIEST_MICROSECONDS: Final = -(2**62)
"""No database goes back so far; PostgreSQL's last two thousand years end up here for the same reason."""
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - moments are in UTC here
_CYCLE_DAYS: Final = 146_097
_US_PER_DAY: Final = 86_400_000_000
_US: Final = pa.timestamp("us")


class _Unit(NamedTuple):
    """How a column counts moments since 1970.

    Attributes:
      infinite: the numbers that stand for infinite moments.
      low: the first number of the year 1.
      high: the last number of the year 9999.
      cycle: how many there are in 400 years.
      step: the time between two.
    """

    infinite: Mapping[int, str]
    low: int
    high: int
    cycle: int
    step: timedelta


_DAYS: Final = _Unit(_INFINITE_DAYS, low=-719_162, high=2_932_896, cycle=_CYCLE_DAYS, step=timedelta(days=1))
_MICROSECONDS: Final = _Unit(
    _INFINITE_MICROSECONDS,
    low=-62_135_596_800_000_000,
    high=253_402_300_799_999_999,
    cycle=_CYCLE_DAYS * _US_PER_DAY,
    step=timedelta(microseconds=1),
)


def from_python(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> Rows:
    """Make a batch of a driver's rows.

    Returns:
      A record batch; or dicts where a column has several types or one that Arrow would write otherwise, since what
      becomes of a row must not depend on its neighbours.
    """
    columns = [array_of(values) for values in zip(*rows, strict=True)]
    if any(column is None for column in columns):
        return [dict(zip(names, row, strict=True)) for row in rows]
    return pa.RecordBatch.from_arrays(columns, names=list(names))


def as_json(column: pa.Array) -> pa.Array:
    """Say of a column of text that it is JSON: its values stand for what they write."""
    text = _stored(column)
    return pa.ExtensionArray.from_storage(pa.json_(), text.cast(pa.string()))


def _stored(column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        return column.storage
    return column


def from_numeric(column: pa.Array, precision: int, scale: int) -> pa.Array:
    """Make exact numbers of a column of text that writes them.

    Args:
      column: digits, `nan`, `inf` or `-inf`.
      precision: how many digits the column was declared with; 0 for no bound.
      scale: how many of them stand behind the point.

    Returns:
      Decimals where all have the declared scale; else JSON, so that each keeps its own.
    """
    text = _stored(column)
    if 0 < precision <= _WIDEST_256 and 0 <= scale <= precision:
        kind = (pa.decimal128 if precision <= _WIDEST_128 else pa.decimal256)(precision, scale)
        return pc.cast(pc.if_else(pc.equal(text, "nan"), pa.scalar(None, pa.string()), text), kind)
    if pc.any(pc.match_substring_regex(text, "[a-z]")).as_py():
        text = pa.array([_NOT_FINITE.get(value, value) for value in text.to_pylist()], pa.string())
    return as_json(text)


def without_endless_moments(batch: pa.RecordBatch) -> Rows:
    """Give a batch as dicts where it holds moments that Python has no values for: these as text.

    Infinite ones are `Infinity` and `-Infinity`, as infinite numbers are; those before the year 1 or past 9999 are in
    the form of ISO 8601, with as many digits as they need; the end of a day is `24:00:00`.
    """
    endless = {name for name, column in zip(batch.schema.names, batch.columns, strict=True) if _is_endless(column)}
    if not endless:
        return batch
    plain = [
        _as_text(column) if name in endless else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    rows: list[Mapping[str, Any]] = list(rows_of(pa.RecordBatch.from_arrays(plain, names=batch.schema.names)))
    return rows


def _numbers(column: pa.Array) -> Any:
    """Give moments and times of day as they count microseconds or days; None for anything else."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "us":
        return column.cast(_US).view(pa.int64())
    if pa.types.is_time64(column.type) and column.type.unit == "us":
        return column.view(pa.int64())
    if pa.types.is_date32(column.type):
        return column.view(pa.int32())
    return None


def _is_endless(column: pa.Array) -> bool:
    numbers = _numbers(column)
    if numbers is None or numbers.null_count == len(numbers):
        return False
    bounds = pc.min_max(numbers).as_py()
    if pa.types.is_time64(column.type):
        return bool(bounds["max"] >= _US_PER_DAY)
    unit = _unit_of(column)
    return bool(bounds["min"] < unit.low or bounds["max"] > unit.high)


def _unit_of(column: pa.Array) -> _Unit:
    if pa.types.is_date32(column.type):
        return _DAYS
    return _MICROSECONDS


def _as_text(column: pa.Array) -> pa.Array:
    """Write moments as JSON would have them: in UTC, without zone."""
    numbers = _numbers(column)
    if pa.types.is_time64(column.type):
        return pa.array(unless_null(_time_of_day, numbers.to_pylist()), pa.string())
    moment = partial(_moment, unit=_unit_of(column))
    return pa.array(unless_null(moment, numbers.to_pylist()), pa.string())


def _time_of_day(number: int) -> str:
    """Write a time of day; midnight at the day's end, which SQL knows, is `24:00:00`."""
    if number >= _US_PER_DAY:
        return "24:00:00"
    return (_EPOCH + timedelta(microseconds=number)).time().isoformat()


def _moment(number: int, unit: _Unit) -> str:
    """Write a moment of any year; the calendar repeats itself every 400 years."""
    if number in unit.infinite:
        return unit.infinite[number]
    if unit is _MICROSECONDS and number < _EARLIEST_MICROSECONDS:
        number += 2**64
    cycles = 0
    if not unit.low <= number <= unit.high:
        cycles = (number - unit.low) // unit.cycle
    # Python's calendar has the years 1 to 9999, so the moment is written as one of these, and its year put right.
    moment: date = _EPOCH + (number - cycles * unit.cycle) * unit.step
    if unit is _DAYS and isinstance(moment, datetime):
        moment = moment.date()
    year = moment.year + 400 * cycles
    width = 4 if year >= 0 else 5  # with the sign
    return f"{year:0{width}d}{moment.isoformat()[4:]}"
