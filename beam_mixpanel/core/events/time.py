"""An event's `time`: whatever form it comes in, it leaves as integer milliseconds since 1970 in UTC."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import MAX_EMAX, MIN_EMIN, ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Final

SECONDS_BELOW: Final = 10**10
"""Read as seconds this is the year 2286, read as milliseconds it is April 1970, before the earliest time that
Mixpanel takes; so every valid time falls on one side only. The same holds for the bounds below."""
MILLISECONDS_BELOW: Final = 10**13
_MICROSECONDS_BELOW: Final = 10**16
_NANOSECONDS_BELOW: Final = 10**19

_MS_PER_UNIT: Final = (
    (SECONDS_BELOW, 3),
    (MILLISECONDS_BELOW, 0),
    (_MICROSECONDS_BELOW, -3),
    (_NANOSECONDS_BELOW, -6),
)
"""For numbers below each bound, the power of ten that makes them milliseconds."""
POWER_OF_UNIT: Final = {"s": 3, "ms": 0, "us": -3, "ns": -6}
"""For each unit that a user may name, the power of ten that makes it milliseconds."""
_FARTHEST: Final = 10**22
"""No number past it is a time in any unit, and none of a thousand digits need be multiplied."""
_UNITS_PER_MS: Final = {0: 1, -3: 1000, -6: 1_000_000}
_ROUND_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND: Final = timedelta(milliseconds=1)
_ISO_8601: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?"
    r"\s?(Z|UTC|GMT|[+-]\d\d(?::?[0-5]\d)?)?",
    re.IGNORECASE | re.ASCII,
)


def to_epoch_ms(value: object, *, zone: tzinfo = timezone.utc) -> int | None:
    """Read a time in any of the forms that sources hold it in; never guess one.

    Args:
      value: a number of seconds, milliseconds, microseconds or nanoseconds (told apart by magnitude), the same as
        text, ISO 8601 text, a `datetime`, a `date` (its midnight), or a Beam `Timestamp`.
      zone: the zone of dates and clock times that name none.

    Returns:
      Milliseconds since 1970-01-01T00:00:00Z, fractions rounded down (float seconds to the nearest), or None where the
      value is not a time.
    """
    if type(value) is int and 0 < value < SECONDS_BELOW:
        return value * 1000  # the commonest form, told first
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float, Decimal)):
        return _from_number(value)
    if isinstance(value, str):
        return _from_text(value.strip(), zone)
    if isinstance(value, date):
        return _from_date(value, zone)
    micros = getattr(value, "micros", None)
    if isinstance(micros, int):
        return micros // 1000
    return None


def from_unit(value: object, unit: str, *, zone: tzinfo = timezone.utc) -> int | None:
    """Read a time as `to_epoch_ms` does, but its numbers in the unit that the user names, whatever their size.

    Args:
      value: as there.
      unit: a key of `POWER_OF_UNIT`.
      zone: as there.
    """
    number = value
    if isinstance(value, str):
        number = _number_of(value.strip())
    if isinstance(number, bool) or not isinstance(number, (int, float, Decimal)):
        return to_epoch_ms(value, zone=zone)
    if isinstance(number, Decimal) and not number.is_finite():
        return None
    if -_FARTHEST < number < _FARTHEST:
        return _scale(number, POWER_OF_UNIT[unit])
    return None


def from_format(value: object, time_format: str, *, zone: tzinfo = timezone.utc) -> int | None:
    """Read a time as `to_epoch_ms` does, but text in a format of `strptime`; empty text is no time."""
    if not isinstance(value, str):
        return to_epoch_ms(value, zone=zone)
    try:
        return _from_date(datetime.strptime(value.strip(), time_format), zone)  # noqa: DTZ007 - gets the zone there
    except (ValueError, OverflowError):
        return None


def _from_number(value: int | float | Decimal) -> int | None:
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    for bound, power in _MS_PER_UNIT:
        if -bound < value < bound:
            return _scale(value, power)
    return None


def _scale(value: int | float | Decimal, power: int) -> int:
    """Multiply by a power of ten, losing no digit that counts."""
    if isinstance(value, Decimal):
        return int(_ROUND_DOWN.to_integral_value(_ROUND_DOWN.scaleb(value, power)))
    if power > 0:
        return round(value * 1000)
    return int(value // _UNITS_PER_MS[power])


def _from_text(text: str, zone: tzinfo) -> int | None:
    iso = _ISO_8601.fullmatch(text)
    if iso:
        return _from_iso(iso, zone)
    number = _number_of(text)
    if number is not None:
        return _from_number(number)
    return None


def _number_of(text: str) -> Decimal | None:
    try:
        number = Decimal(text) if text.isascii() and "_" not in text else None
    except InvalidOperation:
        return None
    if number is not None and number.is_finite():
        return number
    return None


def _from_iso(match: re.Match[str], zone: tzinfo) -> int | None:
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
            tzinfo=_zone(offset) or zone,
        )  # fmt: skip
        return _ms_since_epoch(moment) + int((fraction or "0").ljust(3, "0")[:3])
    except (ValueError, OverflowError):
        return None


def _zone(offset: str | None) -> tzinfo | None:
    if offset is None:
        return None
    if offset[0] not in "+-":
        return timezone.utc
    minutes = int(offset[1:3]) * 60 + int(offset[3:].lstrip(":") or 0)
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def _from_date(value: date, zone: tzinfo) -> int:
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=zone)
    elif value.utcoffset() is None:
        value = value.replace(tzinfo=zone)
    return _ms_since_epoch(value)


def _ms_since_epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
