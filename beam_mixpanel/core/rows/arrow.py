"""Arrow record batches as rows of Python values and back, exact as far as JSON will show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from beam_mixpanel.core.formats import csv_types
from beam_mixpanel.core.json.values import to_json_key, unless_null
from beam_mixpanel.core.rows.arrow_json import json_reader

_TYPES: Final[dict[type, pa.DataType]] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
}
"""Types whose JSON is the same whether a value goes through Arrow or not."""

_NO_PYTHON_VALUE: Final = (OverflowError, ValueError, TypeError)
"""What Arrow raises for moments that Python has no values for, for text that is not UTF-8, and for records as keys."""

UNFIT: Final = (pa.ArrowException, UnicodeError, OverflowError)
"""What Arrow raises for a batch that it cannot convert by column, such as one whose text is not UTF-8."""


def without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give a batch whose text is held in a way that all of Arrow's functions take."""
    views = [place for place, field in enumerate(batch.schema) if pa.types.is_string_view(field.type)]
    for place in views:
        field = batch.schema.field(place).with_type(pa.large_string())
        batch = batch.set_column(place, field, batch.column(place).cast(pa.large_string()))
    return batch


def batch_of(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch | None:
    """Make a batch of rows; None where they differ in their columns, or a column in its values' types."""
    names = list(rows[0])
    if not names or any(list(row) != names for row in rows):
        return None
    columns = []
    for name in names:
        column = array_of([row[name] for row in rows])
        if column is None:
            return None
        columns.append(column)
    try:
        return pa.RecordBatch.from_arrays(columns, names=names)
    except (TypeError, UnicodeEncodeError):
        return None  # names that are no text


def array_of(values: Sequence[Any]) -> pa.Array | None:
    """Make an array of values of one type; None where there are several, or one that Arrow would write otherwise."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.array(values, pa.string())
    if len(kinds) > 1:
        return None
    kind = kinds.pop()
    arrow = _TYPES.get(kind)
    if kind is datetime and {value.tzinfo for value in values if value is not None} == {timezone.utc}:
        arrow = pa.timestamp("us", "UTC")
    if arrow is None:
        return None
    try:
        return pa.array(values, arrow)
    except (UnicodeEncodeError, OverflowError, pa.ArrowException):
        return None


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Give each row with its values by column name.

    Decimals, moments, days, bytes and nested data come as the Python types that `to_json_value` knows; maps as dicts;
    text that is typed by rule (`csv_types`) with its type, text that is marked as JSON (`arrow_json`) as what it says.
    Nanoseconds are cut to microseconds.
    """
    readers = [json_reader(field) for field in batch.schema]
    columns = list(map(_values, batch.columns, batch.schema, readers))
    names = batch.schema.names
    if columns:
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return []


def _values(column: pa.Array, field: pa.Field, read_json: Callable[[Any], Any] | None) -> list[Any]:
    typed = (field.metadata or {}).get(csv_types.TYPED, b"").decode()
    if typed == csv_types.BY_RULE:
        return [csv_types.value_by_rule(text) for text in column.to_pylist()]
    if typed == csv_types.NUMBER:
        return unless_null(csv_types.number_of, column.to_pylist())
    values = values_of(column)
    if read_json is None:
        return values
    return [read_json(value) for value in values]


def values_of(column: pa.Array) -> list[Any]:
    """Give the values of a column, whatever its field says of text."""
    column = in_microseconds(column)
    try:
        return list(column.to_pylist(maps_as_pydicts="lossy"))
    except _NO_PYTHON_VALUE:
        return [_value_or_text(value) for value in column]


def _value_or_text(value: pa.Scalar) -> Any:
    """Give a value, and what Python has none for as text: a moment past the year 9999, or bytes that are not UTF-8."""
    try:
        return value.as_py(maps_as_pydicts="lossy")
    except _NO_PYTHON_VALUE:
        return _part_by_part(value)


def _part_by_part(value: pa.Scalar) -> Any:
    kind = value.type
    if pa.types.is_struct(kind):
        return {kind.field(place).name: _value_or_text(value[place]) for place in range(kind.num_fields)}
    if pa.types.is_map(kind):
        entries = value.values
        keys, items = entries.field(0), entries.field(1)
        return {_key(_value_or_text(key)): _value_or_text(item) for key, item in zip(keys, items, strict=True)}
    if pa.types.is_nested(kind):
        return [_value_or_text(each) for each in value]
    if isinstance(value, pa.DictionaryScalar):
        return _value_or_text(value.value)
    if hasattr(value, "as_buffer"):
        return value.as_buffer().to_pybytes().decode(errors="surrogateescape")
    if pa.types.is_timestamp(kind) and kind.tz not in (None, "UTC"):
        return _in_utc_or_text(value)
    return str(pc.cast(value, pa.string()).as_py())


def _in_utc_or_text(value: pa.Scalar) -> Any:
    """Give a moment that may lie in the years 1 to 9999 in UTC alone, not on the clocks of its zone."""
    try:
        return pc.cast(value, pa.timestamp(value.type.unit, "UTC")).as_py()
    except _NO_PYTHON_VALUE:
        return str(pc.cast(value, pa.string()).as_py())


def _key(key: Any) -> Any:
    """Give a map's key, as text where it is a record or a list, which Python takes for no key."""
    if isinstance(key, (dict, list)):
        return to_json_key(key)
    return key


def in_microseconds(column: pa.Array) -> pa.Array:
    """Cut a column to microseconds where it has nanoseconds, which Python has no values for."""
    plain = _in_microseconds(column.type)
    if plain == column.type:
        return column
    return pc.cast(column, plain, safe=False)


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    """Give the type with microseconds where it has nanoseconds."""
    if getattr(kind, "unit", "") == "ns":
        if pa.types.is_timestamp(kind):
            return pa.timestamp("us", kind.tz)
        if pa.types.is_duration(kind):
            return pa.duration("us")
        return pa.time64("us")
    if pa.types.is_dictionary(kind):
        return _in_microseconds(kind.value_type)
    if pa.types.is_nested(kind):
        return _nested_in_microseconds(kind)
    return kind


def _nested_in_microseconds(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_in_microseconds(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_in_microseconds(kind.key_type), _in_microseconds(kind.item_type))
    for is_list, make in (
        (pa.types.is_list, pa.list_),
        (pa.types.is_large_list, pa.large_list),
    ):
        if is_list(kind):
            return make(kind.value_field.with_type(_in_microseconds(kind.value_type)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_in_microseconds(kind.value_type)), kind.list_size)
    return kind
