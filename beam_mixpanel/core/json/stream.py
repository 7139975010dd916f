"""JSON values one after the other, from an array or concatenated, without holding the whole text.

The standard library's scanner reads each value where the last one ended; measured no slower than ijson, whose numbers
are inexact or `Decimal`s throughout, and a dependency fewer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from beam_mixpanel.core.json.exact import exact_number
from beam_mixpanel.errors import DamagedJsonError

MAX_VALUE_CHARS: Final = 16_000_000
"""Longer values are taken for damage; Mixpanel's limit on an event is a sixteenth."""
_PIECE_BYTES: Final = 1_000_000
_LOOKS_CUT_CHARS: Final = 12
"""An error so near to the end of what was read may be but the cut: a literal or an escape is no longer."""
_NUMBER_CUT_CHARS: Final = 3
"""Of a number that is cut off, so many characters may look like something that follows it: `1.`, `1e` or `1e+`."""

_match_string = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL).match
_skip_space = re.compile(r"[ \t\r\n]*").match


class ReadableText(Protocol):
    """A file opened for text."""

    def read(self, size: int, /) -> str:
        """Give the text of about so many bytes; none at the end."""


class JsonValue(NamedTuple):
    """A value and the text it was read from."""

    value: Any
    text: str


def read_values(file: ReadableText) -> Iterator[JsonValue]:
    """Read the elements of an array, or values that follow each other.

    Yields:
      Each value; integers exact, fractions as floats where these hold them exactly, else as `Decimal`.

    Raises:
      DamagedJsonError: the text is not JSON, or ends in the middle of a value or of the array.
    """
    text = _Text(file)
    if text.next_char() != "[":
        while text.next_char():
            yield text.read_value()
        return
    yield from _read_elements(text)
    if text.next_char():
        text.fail("expected nothing behind the array")


def _read_elements(text: _Text) -> Iterator[JsonValue]:
    text.skip("[")
    if text.next_char() == "]":
        text.skip("]")
        return
    while True:
        text.next_char()
        yield text.read_value()
        if text.next_char() == "]":
            text.skip("]")
            return
        text.skip(",")


class _Text:
    """A window on a text.

    Attributes:
      at: the place of the next character in the window.
    """

    def __init__(self, file: ReadableText) -> None:
        self._file = file
        self._window = ""
        self._before = 0
        self.at = 0

    def next_char(self) -> str:
        """Skip white space, and give the character there; none at the end."""
        while True:
            self.at = _skip_space(self._window, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self._window):
                return self._window[self.at]
            if not self._read_on():
                return ""

    def skip(self, char: str) -> None:
        """Go past a character that must be here."""
        found = self.next_char()
        if found != char:
            if not found:
                self.fail("the array does not end")
            self.fail(f"expected {char!r}")
        self.at += 1

    def read_value(self) -> JsonValue:
        """Read the value that begins here."""
        while True:
            start = self.at
            try:
                value, end = _scan(self._window, start)
            except (StopIteration, json.JSONDecodeError) as error:
                self._go_on_after(error)
                continue
            except RecursionError:
                self.fail("a value nests too deep")
            if end <= len(self._window) - _NUMBER_CUT_CHARS or not self._read_on():
                self.at += end - start
                return JsonValue(value, self._window[self.at - (end - start) : self.at])

    def _go_on_after(self, error: StopIteration | json.JSONDecodeError) -> None:
        """Read on where the value may only be cut off."""
        # StopIteration is raised where no value begins at all.
        at = error.pos if isinstance(error, json.JSONDecodeError) else int(error.value)
        cut = at >= len(self._window) - _LOOKS_CUT_CHARS or self._is_open_string(at)
        too_long = len(self._window) - self.at > MAX_VALUE_CHARS
        if not cut or too_long or not self._read_on():
            self.at = at
            if cut and too_long:
                self.fail("a value is too long")
            self.fail(getattr(error, "msg", "expected a value"))

    def _is_open_string(self, at: int) -> bool:
        """Tell whether a string begins here that does not end in the window."""
        return self._window[at] == '"' and _match_string(self._window, at) is None

    def _read_on(self) -> bool:
        """Move the window: drop what was read, add what follows; tell whether there was more."""
        more = self._file.read(_PIECE_BYTES)
        if more:
            self._before += self.at
            self._window = self._window[self.at :] + more
            self.at = 0
        return bool(more)

    def fail(self, reason: str) -> NoReturn:
        raise DamagedJsonError(f"not JSON at character {self._before + self.at:,}: {reason}")


def _refuse_constant(name: str) -> NoReturn:
    raise DamagedJsonError(f"{name} is not JSON")


_scan = json.JSONDecoder(parse_float=exact_number, parse_constant=_refuse_constant).scan_once  # type: ignore[attr-defined]
