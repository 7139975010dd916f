"""MongoDB's extended JSON as plain values: `{"$oid": "5f…"}` as its text, `{"$date": …}` as a moment, and so on.

https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/ lists the forms, canonical and relaxed; those of
version 1, which older exports have, are read, too. A document gives the same value from either, and from the driver,
which has types instead (`databases/mongodb.py`): both make plain values of what is inside first, then call
`plain_object`.

An object that only looks like such a form, such as `{"$date": "soon"}`, stays an object with its text.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

UUID_SUBTYPE: Final = 4
"""https://www.mongodb.com/docs/manual/reference/bson-types/#binary-data; subtype 3 does not say the order of bytes."""
_UUID_BYTES: Final = 16
_REGEX_FLAGS: Final = "ilmsux"
"""The options that the driver, too, keeps."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LEAST_MS: Final = -62_135_596_800_000
_MOST_MS: Final = 253_402_300_799_999
"""The years 1 to 9999, for which Python has values."""
_INT64: Final = range(-(2**63), 2**63)
_NOT_A_TIME: Final = -(2**63)
"""The one number of milliseconds that numpy has no moment for."""

_INTEGER: Final = re.compile(r"[+-]?\d{1,19}")
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?|NaN|[+-]?Infinity")
_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|([+-])(\d\d):?(\d\d))",
    re.ASCII,
)
_HEX_ID: Final = re.compile(r"[0-9a-fA-F]{24}")
_SUBTYPE: Final = re.compile(r"[0-9a-fA-F]{1,2}")

_AS_IT_IS: Final = object()
"""What a reader returns for an object that only looks like its form."""


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of extended JSON with plain values.

    A row that nests too deep for Python is returned as it is; it is refused for that where it is written.
    """
    try:
        return {name: plain(value) for name, value in row.items()}
    except RecursionError:
        return dict(row)


def plain(value: Any) -> Any:
    """Return the plain value of what a JSON reader gave.

    Raises:
      RecursionError: it nests too deep.
    """
    if isinstance(value, dict):
        return plain_object({name: plain(each) for name, each in value.items()})
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, Decimal):
        # A number that is written with a fraction is a double; a decimal has a form of its own.
        double = float(value)
        if math.isfinite(double):
            return double
        return value
    return value


def plain_object(fields: dict[str, Any]) -> Any:
    """Return what an object stands for whose values are plain; the object itself where it is no form of these."""
    if "$ref" in fields:
        return _reference(fields)
    read = _READERS.get(tuple(sorted(fields))) if len(fields) in _SIZES else None
    if read is None:
        return fields
    value = read(fields)
    if value is _AS_IT_IS:
        return fields
    return value


def moment(milliseconds: int) -> datetime | str:
    """Return a moment; one outside the years 1 to 9999 as ISO text."""
    if _LEAST_MS <= milliseconds <= _MOST_MS:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    if milliseconds == _NOT_A_TIME:
        return str(milliseconds)
    import numpy as np

    year, rest = re.split(r"(?<=\d)(?=-)", str(np.datetime64(milliseconds, "ms")), maxsplit=1)
    return f"{int(year):05}{rest}"


def binary(data: bytes, subtype: int) -> bytes | str:
    """Return bytes, and of a UUID its text."""
    if subtype == UUID_SUBTYPE and len(data) == _UUID_BYTES:
        return str(UUID(bytes=data))
    return data


def regex(pattern: str, options: str) -> str:
    """Return a regular expression as text, its options in alphabetical order."""
    return f"/{pattern}/{''.join(sorted(set(options) & set(_REGEX_FLAGS)))}"


def timestamp(seconds: int, ordinal: int) -> dict[str, int]:
    """Return MongoDB's internal timestamp, whose parts stay apart: it is no moment, and its order must not be lost."""
    return {"t": seconds, "i": ordinal}


MIN_KEY: Final = "MinKey"
MAX_KEY: Final = "MaxKey"


def code(text: str, scope: Any) -> Any:
    """Return JavaScript as text; with a scope, as an object."""
    if scope is None:
        return text
    return {"code": text, "scope": scope}


def _reference(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to another document; the driver does not tell an absent `$id` from null."""
    return {name: value for name, value in fields.items() if value is not None or name not in ("$id", "$db")}


def _object_id(fields: dict[str, Any]) -> Any:
    value = fields["$oid"]
    if isinstance(value, str) and _HEX_ID.fullmatch(value):
        return value.lower()
    return _AS_IT_IS


def _date(fields: dict[str, Any]) -> Any:
    value = fields["$date"]
    if isinstance(value, int) and not isinstance(value, bool):
        if value in _INT64:
            return moment(value)
        return _AS_IT_IS
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return _AS_IT_IS
    clock, fraction, sign, hours, minutes = found.groups()
    try:
        local = datetime.fromisoformat(f"{clock}.{(fraction or '').ljust(6, '0')}+00:00")
        ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        if sign == "-":
            return local + ahead
        return local - ahead
    except (ValueError, OverflowError):
        return _AS_IT_IS


def _whole_number(name: str) -> Callable[[dict[str, Any]], Any]:
    def read(fields: dict[str, Any]) -> Any:
        value = fields[name]
        if not isinstance(value, str) or not _INTEGER.fullmatch(value):
            return _AS_IT_IS
        number = int(value)
        if number in _INT64:
            return number
        return _AS_IT_IS

    return read


def _double(fields: dict[str, Any]) -> Any:
    value = fields["$numberDouble"]
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return float(value)
    return _AS_IT_IS


def _decimal(fields: dict[str, Any]) -> Any:
    value = fields["$numberDecimal"]
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    return _AS_IT_IS


def _binary(fields: dict[str, Any]) -> Any:
    value = fields["$binary"]
    if not isinstance(value, dict) or set(value) != {"base64", "subType"}:
        return _AS_IT_IS
    return _decoded(value["base64"], value["subType"])


def _binary_of_version_1(fields: dict[str, Any]) -> Any:
    return _decoded(fields["$binary"], fields["$type"])


def _decoded(text: Any, subtype: Any) -> Any:
    if not isinstance(text, str) or not isinstance(subtype, str) or not _SUBTYPE.fullmatch(subtype):
        return _AS_IT_IS
    try:
        return binary(base64.b64decode(text, validate=True), int(subtype, 16))
    except binascii.Error:
        return _AS_IT_IS


def _uuid(fields: dict[str, Any]) -> Any:
    with suppress(ValueError):
        if isinstance(fields["$uuid"], str):
            return str(UUID(fields["$uuid"]))
    return _AS_IT_IS


def _timestamp(fields: dict[str, Any]) -> Any:
    value = fields["$timestamp"]
    if not isinstance(value, dict) or set(value) != {"t", "i"}:
        return _AS_IT_IS
    if any(type(part) is not int for part in value.values()):
        return _AS_IT_IS
    return timestamp(value["t"], value["i"])


def _regex(fields: dict[str, Any]) -> Any:
    value = fields["$regularExpression"]
    if not isinstance(value, dict) or set(value) != {"pattern", "options"}:
        return _AS_IT_IS
    return _regex_of(value["pattern"], value["options"])


def _regex_of_version_1(fields: dict[str, Any]) -> Any:
    return _regex_of(fields["$regex"], fields["$options"])


def _regex_of(pattern: Any, options: Any) -> Any:
    if isinstance(pattern, str) and isinstance(options, str):
        return regex(pattern, options)
    return _AS_IT_IS


def _code(fields: dict[str, Any]) -> Any:
    if isinstance(fields["$code"], str):
        return fields["$code"]
    return _AS_IT_IS


def _code_with_scope(fields: dict[str, Any]) -> Any:
    text, scope = fields["$code"], fields["$scope"]
    if isinstance(text, str) and isinstance(scope, dict):
        return code(text, scope)
    return _AS_IT_IS


def _symbol(fields: dict[str, Any]) -> Any:
    if isinstance(fields["$symbol"], str):
        return fields["$symbol"]
    return _AS_IT_IS


def _pointer(fields: dict[str, Any]) -> Any:
    value = fields["$dbPointer"]
    if isinstance(value, dict) and "$ref" in value:
        return value
    return _AS_IT_IS


def _is_one(value: Any) -> bool:
    return type(value) is int and value == 1


def _min_key(fields: dict[str, Any]) -> Any:
    if _is_one(fields["$minKey"]):
        return MIN_KEY
    return _AS_IT_IS


def _max_key(fields: dict[str, Any]) -> Any:
    if _is_one(fields["$maxKey"]):
        return MAX_KEY
    return _AS_IT_IS


def _undefined(fields: dict[str, Any]) -> Any:
    if fields["$undefined"] is True:
        return None
    return _AS_IT_IS


_READERS: Final[dict[tuple[str, ...], Callable[[dict[str, Any]], Any]]] = {
    ("$oid",): _object_id,
    ("$date",): _date,
    ("$numberInt",): _whole_number("$numberInt"),
    ("$numberLong",): _whole_number("$numberLong"),
    ("$numberDouble",): _double,
    ("$numberDecimal",): _decimal,
    ("$binary",): _binary,
    ("$binary", "$type"): _binary_of_version_1,
    ("$uuid",): _uuid,
    ("$timestamp",): _timestamp,
    ("$regularExpression",): _regex,
    ("$options", "$regex"): _regex_of_version_1,
    ("$code",): _code,
    ("$code", "$scope"): _code_with_scope,
    ("$symbol",): _symbol,
    ("$dbPointer",): _pointer,
    ("$minKey",): _min_key,
    ("$maxKey",): _max_key,
    ("$undefined",): _undefined,
}
"""What reads the object with exactly these keys, in alphabetical order."""
_SIZES: Final = frozenset(map(len, _READERS))
