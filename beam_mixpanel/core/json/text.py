"""What is wrong with text that is not JSON: decided by a look at the text, never by which error a reader raised.

Which class a JSON library raises, and in which words, changes from one of its versions to the next: msgspec 0.23
raises `DecodeError` for invalid UTF-8, where 0.22 raised `UnicodeDecodeError`. So all that code here may learn from an
error of a library is that there was one.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Final, NoReturn

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""Whatever a JSON reader raises for text that it cannot read; before 0.21 msgspec's errors are no `ValueError`s."""
UNWRITABLE: Final = (msgspec.MsgspecError, ValueError)
"""Whatever a JSON writer raises for text with lone surrogates, which has no UTF-8."""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def is_utf8(data: bytes) -> bool:
    """Tell whether bytes are valid UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def fault_of(line: bytes) -> str:
    """Name the rule that a line breaks which no JSON reader could read.

    Returns:
      `not_utf8` for bytes that are not UTF-8, whatever else is wrong; `lone_surrogate` where nothing else is wrong;
      else `invalid_json`.
    """
    if not is_utf8(line):
        return "not_utf8"
    if _SURROGATE.search(line) and _is_json_but_for_surrogates(line):
        return "lone_surrogate"
    return "invalid_json"


def _is_json_but_for_surrogates(line: bytes) -> bool:
    """Read with a parser that accepts lone surrogates, and look for one in what it read."""
    try:
        value = json.loads(line.removeprefix(BOM_UTF8).decode(), parse_constant=_refuse)
        return not is_utf8(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
