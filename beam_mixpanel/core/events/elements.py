"""What an element that cannot be an event is, and what to do with it upstream."""

from __future__ import annotations

from typing import Any, Final

_ANY: Final = "map it to a dict with `event`, `time` and `distinct_id` first"
_SINGLE: Final = "emit its events one by one first, such as by `beam.FlatMap`"
_CURES: Final[dict[str, str]] = {
    "NoneType": "filter out elements that are None first",
    "tuple": "of a key and a value keep the value first, by `beam.Values()`, or map it to a dict",
    "list": _SINGLE,
    "set": _SINGLE,
    "frozenset": _SINGLE,
    "generator": _SINGLE,
    "PubsubMessage": "use its `data` first, or read with `with_attributes=False`",
    "DataFrame": "emit its rows one by one first, such as by `beam.FlatMap(lambda frame: frame.to_dict('records'))`",
    "Series": "map it to a dict first, such as by `row.to_dict()`",
    "RecordBatch": "wrap it first: `RowBatch(batch, 'name of the source', 0)`",
    "Table": "emit its batches first: `RowBatch(batch, 'name of the source', -1)` for each of `table.to_batches()`",
    "bytearray": "make it `bytes` first",
    "memoryview": "make it `bytes` first",
    "KafkaRecord": "use its `value` first",
}
"""By the name of the type, so that no package is imported for it."""


def type_name(value: Any) -> str:
    """Return the name of a value's type, never the value."""
    return type(value).__name__


def advice_for(name: str, *, is_message: bool = False) -> str:
    """Return what a pipeline has to do with elements of a type before they can be events.

    Args:
      name: of the type.
      is_message: whether it is a message of Protocol Buffers.
    """
    if is_message:
        return "map it to a dict first, by `google.protobuf.json_format.MessageToDict`"
    return _CURES.get(name, _ANY)


def why_no_event(value: Any) -> str:
    """Name the type of an element that is no event, and the cure."""
    name = type_name(value)
    return f"{name}; {advice_for(name, is_message=hasattr(type(value), 'SerializeToString'))}"
