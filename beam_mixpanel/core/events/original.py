"""An event that came as an object, as JSON text: what its dead letter keeps, and what a repair gives back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from beam_mixpanel.core.json.exact import encode_in_order
from beam_mixpanel.core.json.text import UNWRITABLE
from beam_mixpanel.core.json.values import fields_of, to_json_fields, to_json_value
from beam_mixpanel.errors import UnsupportedValueError


def write_as_given(fields: Mapping[Any, Any], time_key: str = "time") -> bytes:
    """Write an event that came as an object as JSON text, its time with its zone, as faithfully as JSON can.

    Raises:
      UnsupportedValueError: a value has no JSON form.
      ValueError: a text holds lone surrogates, or a number has too many digits.
      RecursionError: it nests too deeply.
    """
    return encode_in_order(_as_given(fields, time_key))


def original_text(value: Any, time_key: str = "time") -> bytes:
    """Write an event that came as an object as JSON text, or as well as it can be told where it has no JSON form."""
    try:
        fields = fields_of(value) if isinstance(value, Mapping) else None
        if fields is None:
            return encode_in_order(to_json_value(value))
        return write_as_given(fields, time_key)
    except (UnsupportedValueError, *UNWRITABLE, RecursionError):
        return _last_resort(value)


def _as_given(fields: Mapping[Any, Any], time_key: str = "time") -> dict[str, Any]:
    given = to_json_fields(fields, moment=time_key)
    if time_key in given:
        given[time_key] = _with_zone(given[time_key])
    if "properties" in given:
        inner = fields_of(fields["properties"])
        if inner is not None:
            given["properties"] = _as_given(inner)
    return given


def _with_zone(plain: Any) -> Any:
    """Say in which zone a moment is: without, it would be read in the zone that the user names."""
    if isinstance(plain, datetime) and plain.utcoffset() is not None:
        return plain.isoformat()
    form = to_json_value(plain)
    if isinstance(form, str) and hasattr(plain, "micros"):
        return f"{form}Z"
    return form


def _last_resort(value: Any) -> bytes:
    try:
        return repr(value).encode(errors="backslashreplace")
    except (RecursionError, ValueError):
        return f"<{type(value).__name__} nested too deeply, or with a number too long, to write>".encode()
    except Exception:  # noqa: BLE001 - it is the value's own code
        return f"<{type(value).__name__} that cannot be written>".encode()
