"""Which type a field of a CSV file has: told from the field alone, so that splits and re-runs give the same bytes.

By rule, a field is

| field | value |
|---|---|
| empty, quoted or not | null |
| `true`, `false` | boolean |
| a number as JSON writes it, without exponent, of at most 15 digits | number, its digits kept: `10.50` stays `10.50` |
| all else: `007`, `+1`, `1e5`, `.5`, `TRUE`, `1,000`, 16 digits and more | text, as it stands |

A column that the user gives a type is text, number or boolean in every row; a field that is none is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

TEXT: Final = "text"
NUMBER: Final = "number"
BOOLEAN: Final = "boolean"
BY_RULE: Final = "by_rule"
COLUMN_TYPES: Final = (TEXT, NUMBER, BOOLEAN)

TYPED: Final = b"typed"
"""The key of an Arrow field's metadata that says how its text is meant: `by_rule`, `number`, or absent for text.

Empty fields of such columns are null.
"""

_MAX_DIGITS: Final = 15
"""A double holds so many decimal digits."""
_INTEGER: Final = "(?:0|-?[1-9][0-9]*)"
_FRACTION: Final = r"(?:-?(?:0\.0{0,5}[1-9][0-9]*|0\.0{1,6}|[1-9][0-9]*\.[0-9]+))"
"""Not more zeros after the point than a decimal number is written with without an exponent."""
_LITERAL: Final = re.compile(f"{_INTEGER}|{_FRACTION}|true|false")
_PLAIN_NUMBER: Final = re.compile(f"{_INTEGER}|{_FRACTION}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0"})

_MAX_NUMBER_CHARS: Final = 4_000
"""Python reads no integer of more than 4,300 digits."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def value_by_rule(field: str | None) -> bool | int | float | Decimal | str | None:
    """Read a field by the rule above.

    Returns:
      A value whose JSON is the field itself, unless it is text; None where it is empty.
    """
    if not field:
        return None
    if len(field) > _MAX_DIGITS + 2 or not _LITERAL.fullmatch(field):
        return field
    if field in ("true", "false"):
        return field == "true"
    if len(field) - ("-" in field) - ("." in field) > _MAX_DIGITS:
        return field
    return _exact_number(field)


def _exact_number(text: str) -> int | float | Decimal:
    """Read a number so that it is written as it was: as a float where that is how the float is written."""
    if "." not in text:
        return int(text)
    number = float(text)
    if _encode(number) == text.encode():
        return number
    return Decimal(text)


def number_of(field: str) -> int | float | Decimal:
    """Read a field of a column of numbers, however it is written.

    Raises:
      ValueError: it is not a finite number.
    """
    text = field.strip()
    if len(text) > _MAX_NUMBER_CHARS or not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    if text.lstrip("+-").isdigit():
        return int(text)
    if _PLAIN_NUMBER.fullmatch(text):
        return _exact_number(text)
    as_float = float(text)
    if math.isinf(as_float):
        raise ValueError("not a finite number")
    exact = Decimal(text)
    if Decimal(repr(as_float)) == exact:
        return as_float
    return exact


def boolean_of(field: str) -> bool:
    """Read a field of a column of booleans: true/false, t/f, yes/no, y/n, 1/0, in any case.

    Raises:
      ValueError: it is none of them.
    """
    word = field.strip().lower()
    if word not in _TRUE and word not in _FALSE:
        raise ValueError("not a boolean")
    return word in _TRUE


def is_literal(column: pa.Array) -> pa.Array:
    """Tell for each field of a column of text whether it is, by rule, a JSON literal to be written as it stands.

    The same decision as `value_by_rule`, for a whole column; null where the field is null.
    """
    import pyarrow.compute as pc

    digits = pc.binary_length(column)
    shaped = pc.match_substring_regex(column, f"^(?:{_INTEGER}|{_FRACTION}|true|false)$")
    if not pc.any(pc.and_(shaped, pc.greater(digits, _MAX_DIGITS))).as_py():
        return shaped
    for sign in ("-", "."):
        digits = pc.subtract(digits, pc.cast(pc.match_substring(column, sign), digits.type))
    return pc.and_(shaped, pc.less_equal(digits, _MAX_DIGITS))


def json_numbers(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """Bring a column of numbers, however they are written, into the form of JSON.

    Returns:
      The column as text that is JSON, and the places of the fields that are no numbers (null there).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    shaped = pc.match_substring_regex(column, f"^(?:{_INTEGER}|{_FRACTION})$")
    plain = pc.and_(shaped, pc.less_equal(pc.binary_length(column), _MAX_NUMBER_CHARS))
    if pc.all(plain).as_py() is not False:
        return column, []
    values, refused = _read_each(column.to_pylist(), number_of)
    return pa.array([None if value is None else _encode(value).decode() for value in values], pa.string()), refused


def booleans(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """Read a column of booleans.

    Returns:
      The column as booleans, and the places of the fields that are none (null there).
    """
    import pyarrow as pa

    values, refused = _read_each(column.to_pylist(), boolean_of)
    return pa.array(values, pa.bool_()), refused


def _read_each(fields: Iterable[str | None], read: Callable[[str], Any]) -> tuple[list[Any], list[int]]:
    values: list[Any] = []
    refused: list[int] = []
    for place, field in enumerate(fields):
        try:
            values.append(read(field) if field else None)
        except ValueError:
            refused.append(place)
            values.append(None)
    return values, refused
