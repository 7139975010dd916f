"""The JSON form of the values that warehouse rows and Python objects hold.

| value | JSON |
|---|---|
| None, bool, int (at most 4300 digits), str, finite float | itself, digits exact |
| `Decimal` | number with its exact digits |
| NaN, `NaT`, `NA` | null |
| infinities | the text `Infinity` or `-Infinity` |
| `datetime`, Beam `Timestamp` | text `YYYY-MM-DDTHH:MM:SS[.ffffff]` in UTC; without zone as it stands |
| `date`, `time` | ISO text |
| `timedelta`, Beam `Duration` | number of seconds |
| Arrow interval of months, days and nanoseconds | text `Y-M D H:M:S[.F]`, as BigQuery writes it |
| bytes | base64 text |
| `UUID` | text with hyphens |
| mapping, Beam Row, NamedTuple, dataclass | object, keys as text |
| list, tuple, set, array | list (sets sorted by their JSON) |
| numpy and Arrow scalars | as the Python value they hold |
| `Enum` | as its value |

Dates follow https://docs.mixpanel.com/docs/data-structure/property-reference/data-type.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, MutableSequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from beam_mixpanel.core.json.exact import encode_sorted
from beam_mixpanel.errors import UnsupportedValueError

_MISSING: Final = ("NaTType", "NAType")
"""The types of the missing values of pandas."""
_INTERVAL: Final = "MonthDayNano"
"""The type that Arrow gives intervals of months, days and nanoseconds."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NS_PER_SEC: Final = 10**9

_TOO_MANY_DIGITS: Final = 10**4300
"""Python writes and reads no more, since that takes quadratic time (`sys.get_int_max_str_digits`)."""


def _read_foreign(value: Any, read: Callable[[], Any]) -> Any:
    """Run code of a value's own type, which may raise anything.

    Raises:
      UnsupportedValueError: it raised; a pipeline that retried such an element would never end.
    """
    try:
        return read()
    except (RecursionError, UnsupportedValueError):
        raise
    except Exception as error:
        raise UnsupportedValueError(
            f"{type(value).__name__}, which raised {type(error).__name__} when it was read"
        ) from error


def unwrap(value: Any) -> Any:
    """Give the Python value that a numpy, pandas or Arrow scalar holds, anything else as it is.

    Returns:
      None for their missing values (`NaT`, `NA`); moments and durations in microseconds; a moment past the year 9999
      and an interval as text.
    """
    kind = type(value)
    if kind in _CONVERTERS or isinstance(value, (type, memoryview)):
        return value
    if kind.__name__ in _MISSING:
        return None
    if kind.__name__ == _INTERVAL:
        return _interval(value)
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "dtype"):
        return _from_numpy(value)
    for method in ("as_py", "tolist"):
        read = _attribute(value, method)
        if callable(read):
            return _read_foreign(value, lambda read=read: _from_arrow(value, read))  # type: ignore[misc]
    return value


def _attribute(value: Any, name: str) -> Any:
    return _read_foreign(value, lambda: getattr(value, name, None))


def _from_arrow(value: Any, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ValueError:
        if not hasattr(value, "type"):
            raise
        return _from_arrow_nanoseconds(value)


def _from_numpy(value: Any) -> Any:
    kind = value.dtype.kind
    if kind in "mM":
        if value.ndim:
            return list(value)
        value = value.astype(f"{kind}8[us]")
    plain = value.tolist()
    if kind == "M" and isinstance(plain, int):
        return str(value)
    if type(plain) is not type(value):
        return plain
    if kind == "f":
        return float(value)
    return value


def _from_arrow_nanoseconds(value: Any) -> Any:
    """Read what Arrow refuses to give as a Python value since that would lose nanoseconds, or what contains such."""
    name = str(value.type).partition("[ns")[0]
    if name not in ("timestamp", "duration", "time64") or not hasattr(value, "as_py"):
        if isinstance(value, Mapping):
            return dict(value.items())
        return list(value)
    plain = value.cast(f"{name}[us]", safe=False).as_py()
    if getattr(value.type, "tz", None):
        return plain.replace(tzinfo=timezone.utc)
    return plain


def to_json_value(value: Any) -> Any:
    """Turn a value into what JSON can hold, as the table above says.

    Returns:
      None, bool, int, finite float, `Decimal`, str, or a list or dict of these; dict keys are str.

    Raises:
      UnsupportedValueError: the type has no form in the table.
      UnicodeEncodeError: a set or a key that is not text holds lone surrogates.
      RecursionError: the value nests deeper than Python can follow.
    """
    convert = _CONVERTERS.get(type(value))
    if convert:
        return convert(value)
    return _convert_unlisted(value)


def _itself(value: Any) -> Any:
    return value


def _int(value: int) -> int:
    if -_TOO_MANY_DIGITS < value < _TOO_MANY_DIGITS:
        return value
    raise UnsupportedValueError("an integer of more than 4300 digits; convert it to text first")


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return _not_finite(value, is_nan=math.isnan(value))


def _decimal(value: Decimal) -> Any:
    if value.is_finite():
        return value
    return _not_finite(value, is_nan=value.is_nan())


def _not_finite(value: float | Decimal, *, is_nan: bool) -> str | None:
    """Give what stands for a number that JSON cannot hold: text for the infinite ones, null for NaN."""
    if is_nan:
        return None
    if value > 0:
        return "Infinity"
    return "-Infinity"


def _datetime(value: datetime) -> str:
    if value.utcoffset() is None:
        return datetime.isoformat(value.replace(tzinfo=None))
    try:
        return datetime.isoformat(value.astimezone(timezone.utc).replace(tzinfo=None))
    except OverflowError:
        return datetime.isoformat(value)


def _microseconds(value: Any) -> Any:
    """Give the form of Beam's `Timestamp`, a moment, or `Duration`, seconds; seconds past the year 9999, too."""
    if type(value).__name__ != "Duration":
        try:
            return _datetime(_EPOCH + timedelta(microseconds=value.micros))
        except OverflowError:
            pass
    return value.micros / 1_000_000


def _interval(value: Any) -> str:
    """Write an interval in SQL's form, each part with its sign."""
    years, months = divmod(abs(value.months), 12)
    seconds, nanoseconds = divmod(abs(value.nanoseconds), _NS_PER_SEC)
    minutes, seconds = divmod(seconds, 60)
    fraction = ""
    if nanoseconds:
        fraction = f".{nanoseconds:09}".rstrip("0")
    calendar, clock = ("-" if part < 0 else "" for part in (value.months, value.nanoseconds))
    return f"{calendar}{years}-{months} {value.days} {clock}{minutes // 60}:{minutes % 60}:{seconds}{fraction}"


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {key if type(key) is str else to_json_key(key): to_json_value(item) for key, item in value.items()}


def to_json_fields(
    fields: Mapping[Any, Any],
    *,
    moment: str = "",
    numbers: frozenset[str] = frozenset(),
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Turn the values of an object into what JSON can hold, and its keys into text.

    Args:
      fields: the object.
      moment: the key whose value stays the Python value that it is, with its zone, unless it is null.
      numbers: keys whose values stay numbers where they are infinite.
      without: keys to leave out.

    Raises:
      as `to_json_value`.
    """
    converted: dict[str, Any] = {}
    for key, value in fields.items():
        if key in without:
            continue
        if type(value) in _AS_THEY_ARE:
            form = value
        elif key == moment:
            plain = unwrap(value)
            form = plain
            if isinstance(plain, Decimal) and plain.is_nan():
                form = None
        elif key in numbers:
            form = _number_or_form(unwrap(value))
        else:
            form = to_json_value(value)
        converted[key if type(key) is str else to_json_key(key)] = form
    return converted


def _number_or_form(value: Any) -> Any:
    if isinstance(value, Decimal):
        if value.is_infinite():
            return value
        return to_json_value(value)
    if isinstance(value, float) and math.isinf(value):
        return value
    return to_json_value(value)


def to_json_key(key: Any) -> str:
    """Turn a key into text: its JSON form, which text is itself."""
    form = to_json_value(key)
    if isinstance(form, str):
        return form
    return encode_sorted(form).decode()


def _sequence(value: Any) -> list[Any]:
    return [to_json_value(item) for item in value]


def _set(value: Any) -> list[Any]:
    return sorted(_sequence(value), key=encode_sorted)


_CONVERTERS: Final[dict[type, Callable[[Any], Any]]] = {
    type(None): _itself,
    bool: _itself,
    int: _int,
    str: _itself,
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: timedelta.total_seconds,
    bytes: lambda value: base64.b64encode(value).decode(),
    UUID: str,
    dict: _mapping,
    list: _sequence,
    tuple: _sequence,
    set: _set,
    frozenset: _set,
}


_AS_THEY_ARE: Final = frozenset(kind for kind, convert in _CONVERTERS.items() if convert is _itself)
"""Types whose every value is its own JSON form."""

_EXACT: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    Decimal: Decimal,
}
"""Makes values of subclasses plain, since JSON writers take no others."""


def _convert_unlisted(value: Any) -> Any:
    """Handle subclasses, and foreign types by what they offer, so that none of their packages is imported."""
    plain = unwrap(value)
    if plain is not value:
        return to_json_value(plain)
    if isinstance(value, Enum):
        return to_json_value(value.value)
    fields = fields_of(value)
    if fields is not None:
        return _mapping(fields)
    if isinstance(value, (bytearray, memoryview)):
        return _CONVERTERS[bytes](bytes(value))
    if not isinstance(value, type) and isinstance(_attribute(value, "micros"), int):
        return _microseconds(value)
    return _convert_subclass(value)


def _convert_subclass(value: Any) -> Any:
    for base in type(value).__mro__[1:]:
        if base in _CONVERTERS:
            plain = _EXACT.get(base, _itself)(value)
            return _CONVERTERS[base](plain)
    if isinstance(value, MutableSequence):
        # Such as Protocol Buffers' ListValue, whose items are values in turn.
        return _sequence(_read_foreign(value, lambda: list(value)))
    raise UnsupportedValueError(f"{type(value).__name__}; convert it to text or a number first")


def fields_of(value: Any) -> dict[Any, Any] | None:
    """Return the named fields of a mapping, NamedTuple, Beam Row or dataclass; None for anything else.

    A mapping that is no dict is copied: some, such as Protocol Buffers' `Struct`, lack methods of a dict.

    Raises:
      UnsupportedValueError: the value's own code raised.
    """
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, Mapping):
        return _read_foreign(value, lambda: {key: value[key] for key in value})  # type: ignore[no-any-return]
    if isinstance(value, type):
        return None
    for method in ("_asdict", "as_dict"):
        read = _attribute(value, method)
        if callable(read):
            return _read_foreign(value, lambda read=read: dict(read()))  # type: ignore[misc, no-any-return]
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return _read_foreign(  # type: ignore[no-any-return]
            value, lambda: {field.name: getattr(value, field.name) for field in fields}
        )
    return None


def unless_null(function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    """Apply a function to each value that is not null; nulls stay."""
    return [None if value is None else function(value) for value in values]
