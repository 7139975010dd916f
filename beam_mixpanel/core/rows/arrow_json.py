"""JSON that Arrow holds as text: told by a type of Arrow or a mark of BigQuery, and read as what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from beam_mixpanel.core.json.exact import decode_exact
from beam_mixpanel.core.json.text import UNREADABLE

_EXTENSION: Final = b"ARROW:extension:name"
_JSON: Final = b"google:sqlType:json"
"""Source: https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details"""


def json_reader(field: pa.Field) -> Callable[[Any], Any] | None:
    """Give what reads the JSON texts in a field's Python values, at any depth; None where there are none.

    What is no JSON after all stays text.
    """
    kind = field.type
    if pa.types.is_list(kind):
        return _each(_read_text if _is_marked(field) else json_reader(kind.value_field))
    if pa.types.is_struct(kind):
        return _in_record({inner.name: read for inner in kind if (read := json_reader(inner))})
    if _is_marked(field):
        return _read_text
    return None


def _is_marked(field: pa.Field) -> bool:
    return isinstance(field.type, pa.JsonType) or (field.metadata or {}).get(_EXTENSION) == _JSON


def _read_text(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return decode_exact(text)
    except UNREADABLE:
        return text


def _each(read: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return read and (lambda values: values if values is None else [read(value) for value in values])


def _in_record(readers: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any] | None:
    def read(record: Any) -> Any:
        if record is None:
            return None
        return {name: readers[name](value) if name in readers else value for name, value in record.items()}

    if readers:
        return read
    return None
