"""Checks of arguments: a wrong one is refused where it is given, and not on a worker.

A message names the argument between backticks, what is expected, and what was given by its type. It repeats a value
only where that cannot be a secret. A wrong type is a `TypeError`, a wrong value a `ValueError`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

FileNames: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"
"""A file name or glob, or several."""
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping)
"""What can be iterated over, but holds no names: letters, numbers, or names with values."""


def refuse_value_provider(name: str, value: object) -> None:
    """Refuse what gets its value when the pipeline runs.

    Raises:
      TypeError: it is one of Beam's `ValueProvider`s.
    """
    if any(base.__name__ == "ValueProvider" for base in type(value).__mro__):  # known by name: Beam is not loaded here
        raise TypeError(
            f"`{name}` must be known when the pipeline is built, and a ValueProvider is known when it runs; give the "
            "value itself, which a Flex template can take as a parameter"
        )


def wrong_type(name: str, expected: str, value: object) -> TypeError:
    """Make the error of a value of the wrong type, or, for a ValueProvider, its own; shows the type, not the value."""
    try:
        refuse_value_provider(name, value)
    except TypeError as error:
        return error
    given = type(value).__name__
    if value is None:
        given = "None"
    elif isinstance(value, type):
        given = f"the class {value.__name__}"
    return TypeError(f"`{name}` must be {expected}, got {given}")


def check_text(name: str, value: object, expected: str = "text") -> str:
    """Give a text that is not empty.

    Raises:
      TypeError: it is not text.
      ValueError: it is empty.
    """
    if not isinstance(value, str):
        raise wrong_type(name, expected, value)
    if not value.strip():
        raise ValueError(f"`{name}` must be {expected}, and is empty; is a variable not set?")
    return value


def check_path(name: str, value: object, expected: str = "a path") -> str:
    """Give a path as text.

    Raises:
      TypeError: it is neither text nor a path.
      ValueError: it is empty.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return check_text(name, value, expected)


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Give one of some texts.

    Raises:
      TypeError: it is not text.
      ValueError: it is another.
    """
    expected = f"one of {', '.join(choices)}"
    if not isinstance(value, str):
        raise wrong_type(name, expected, value)
    if value not in choices:
        raise ValueError(f"`{name}` must be {expected}, got {value!r}")
    return value


def check_whole_number(name: str, value: Any, least: int, most: int) -> int:
    """Give a whole number within bounds, both included.

    Raises:
      TypeError: it is no whole number.
      ValueError: it is out of bounds.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise wrong_type(name, f"a whole number between {least} and {most}", value)
    number = int(value)
    if not least <= number <= most:
        raise ValueError(f"`{name}` must be between {least} and {most}, got {number}")
    return number


def check_number(name: str, value: Any, least: float, most: float) -> float:
    """Give a number within bounds, both included; NaN is in none.

    Raises:
      TypeError: it is no number.
      ValueError: it is out of bounds.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise wrong_type(name, f"a number between {least:g} and {most:g}", value)
    number = int(value) if isinstance(value, Integral) else float(value)
    if not least <= number <= most:
        raise ValueError(f"`{name}` must be between {least:g} and {most:g}, got {number}")
    return number


def check_flag(name: str, value: object) -> bool:
    """Give True or False.

    Raises:
      TypeError: it is neither.
    """
    if not isinstance(value, bool):
        raise wrong_type(name, "True or False", value)
    return value


def check_names(name: str, values: object, of: str) -> tuple[str, ...]:
    """Give names as a tuple; one text is no list of names, since it would be taken for its letters.

    Args:
      name: of the argument.
      values: the names, in any iterable.
      of: what they are names of, such as `columns`.

    Raises:
      TypeError: they are no list, or one is no text.
      ValueError: one is empty.
    """
    expected = f"a list of names of {of}"
    if isinstance(values, _NO_LISTS) or not isinstance(values, Iterable):
        error = wrong_type(name, expected, values)
        if isinstance(values, str):
            raise TypeError(f"{error}; write `{name}=[...]` for one name, too")
        raise error
    names = tuple(values)
    for each in names:
        check_text(name, each, expected)
    return names


def check_paths(name: str, values: object) -> tuple[str, ...]:
    """Give a path, or several, as a tuple of at least one.

    Raises:
      TypeError: there is something else than paths.
      ValueError: there are none, or one is empty.
    """
    expected = "file names or globs"
    if isinstance(values, (str, os.PathLike)):
        return (check_path(name, values, expected),)
    if isinstance(values, _NO_LISTS) or not isinstance(values, Iterable):
        raise wrong_type(name, expected, values)
    paths = tuple(check_path(name, each, expected) for each in values)
    if not paths:
        raise ValueError(f"`{name}` must be {expected}, got none")
    return paths


def optional(check: Any, name: str, value: Any, *bounds: Any) -> Any:
    """Check a value unless it is None."""
    if value is None:
        return None
    return check(name, value, *bounds)
