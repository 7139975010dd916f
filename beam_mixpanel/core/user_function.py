"""A function that the user names, such as `my_events:to_event`: how it is found, called, and what its results mean."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from beam_mixpanel.core.json.values import fields_of
from beam_mixpanel.errors import UserFunctionError

FAILED: Final = "map_failed"
NO_EVENT: Final = "map_gave_no_event"


class Failure(str):
    """Why a call gave no events: a short stable reason, with the words for people beside it.

    Attributes:
      message: what went wrong; never a value.
    """

    __slots__ = ("message",)
    message: str

    def __new__(cls, reason: str, message: str) -> Failure:
        """Make a reason with its message."""
        failure = super().__new__(cls, reason)
        failure.message = message
        return failure


def load(reference: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Import a function by `module:function`; a function is itself.

    Modules of the current folder are found, too, after all that are installed.

    Raises:
      UserFunctionError: there is no such module, or no such function in it.
    """
    if callable(reference):
        return reference
    module, _, name = reference.partition(":")
    if not module or not name:
        raise UserFunctionError(f"{reference!r} names no function; give module:function, such as my_events:repair")
    found = _import(module, reference)
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise UserFunctionError(f"module {module} has no {name}, as {reference} says") from None
    if not callable(found):
        raise UserFunctionError(f"{reference} is no function")
    return found  # type: ignore[no-any-return]


def _import(module: str, reference: str) -> Any:
    try:
        return _import_from_folder(module)
    except ImportError as error:
        raise UserFunctionError(
            f"cannot import {module} for {reference}: {error}; run from its folder, or put that on PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        raise UserFunctionError(
            f"cannot import {module} for {reference}: it raised {type(error).__name__}: {error}"
        ) from error


def _import_from_folder(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        folder = os.getcwd()
        if error.name != module.partition(".")[0] or folder in sys.path:
            raise
    # An installed command does not look into the current folder, nor do the workers that Beam starts for it. At the end
    # of the path, a file of the folder hides nothing that is installed.
    sys.path.append(folder)
    return importlib.import_module(module)


def call(function: Callable[[Any], Any], value: Any) -> list[Mapping[Any, Any]] | Failure:
    """Give the events that a function makes of a value: of None none, of one event it, of several all.

    Whatever the function raises ends here, since one bad row is no reason to end a job.
    """
    try:
        events = _events_of(function(value))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's function may raise anything
        return Failure(FAILED, f"the function raised {type(error).__name__}{_place(error)}")
    if None in events:
        return Failure(NO_EVENT, "the function gave something that is no event; an event is a dict")
    return events  # type: ignore[return-value]


def _events_of(result: Any) -> list[Mapping[Any, Any] | None]:
    if result is None:
        return []
    fields = fields_of(result)
    if fields is not None:
        return [fields]
    if isinstance(result, (str, bytes)) or not isinstance(result, Iterable):
        return [None]
    return [fields_of(event) for event in result]


def _place(error: BaseException) -> str:
    """Name the line that raised; the error's own words may hold a value of the row."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first one is ours
    if not frames:
        return ""
    return f" in {frames[-1].name}, line {frames[-1].lineno}"
