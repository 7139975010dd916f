"""The values of a configuration, as the annotations of a transform's arguments say.

YAML has types of its own, and pipelines in other languages have others: here each value becomes what the argument is
in Python, or an error names its key. Values are not repeated in errors, since any key may have been given a secret.
"""

from __future__ import annotations

import inspect
import math
import operator
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import apache_beam as beam

_Made = TypeVar("_Made")


def values_of(transform: type[beam.PTransform], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return each argument of a transform in the type that its annotation names; a null takes the default.

    Args:
      transform: whose `__init__` has the keys as arguments.
      given: what was configured, by key; other names are left out.

    Raises:
      ValueError: a value has another type, or a key without a default is null; names the key.
    """
    values = {}
    # A subclass of PTransform shows the signature of `object`: https://bugs.python.org/issue40897
    for key, argument in inspect.signature(transform.__init__).parameters.items():
        if key == "self":
            continue
        if given[key] is None:
            if argument.default is inspect.Parameter.empty:
                raise ValueError(f"{key} needs a value")
            values[key] = argument.default
        else:
            values[key] = value_of(argument.annotation, key, given[key])
    return values


def value_of(annotation: Any, key: str, value: Any) -> Any:
    """Return a value in the type that an annotation names.

    Raises:
      ValueError: it has another type; names the key.
    """
    return _READERS[_without_none(annotation)](key, value)


def as_dict(key: str, settings: Any) -> dict[str, Any]:
    """Turn a row into a dict, at any depth, without its null fields; other languages have rows for mixed types.

    Raises:
      ValueError: it has no keys; names the key.
    """
    if isinstance(settings, Mapping):
        return dict(settings)
    if not hasattr(settings, "_asdict"):
        raise ValueError(
            f"{key} must have keys with values, such as {{{_SUCH_AS.get(key, 'name: value')}}}, got {_kind(settings)}"
        )
    fields = settings._asdict()
    return {
        name: as_dict(name, value) if hasattr(value, "_asdict") else value
        for name, value in fields.items()
        if value is not None
    }


def named_by(key: str, make: Callable[[], _Made]) -> _Made:
    """Call a function whose errors do not say which key they are about.

    Raises:
      ValueError: the function did; begins with the key.
    """
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


_SUCH_AS: Final = {"mapping": "event: Order Placed", "error_handling": "output: dead_letters", "csv": "delimiter: ;"}


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(key, "a text", value, "; put it in quotes")
    return value


def _whole(key: str, value: Any) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        return int(value)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise _wrong(key, "a whole number", value)
    return operator.index(value)


def _number(key: str, value: Any) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__") or not math.isfinite(value):
        raise _wrong(key, "a number", value)
    return float(value)


def _switch(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, "true or false", value)
    return value


def _names(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise _wrong(key, "a list of names, such as [a, b]", value)
    return tuple(_text(f"{key}, item {place},", each) for place, each in enumerate(value, 1))


def _wrong(key: str, expected: str, value: Any, cure: str = "") -> ValueError:
    return ValueError(f"{key} must be {expected}, got {_kind(value)}{cure}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        if value:
            return "true"
        return "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    kinds = ((str, "a text"), (int, "a whole number"), (float, "a number with a fraction"), (Mapping, "keys"))
    return next((words for kind, words in kinds if isinstance(value, kind)), f"a {type(value).__name__}")


_READERS: Final[dict[Any, Callable[[str, Any], Any]]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _switch,
    Sequence[str]: _names,
    Mapping[str, Any]: as_dict,
}
"""For each type that annotations of arguments name."""


def _without_none(annotation: Any) -> Any:
    some = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    is_optional = type(None) in typing.get_args(annotation)
    if is_optional:
        return some[0]
    return annotation
