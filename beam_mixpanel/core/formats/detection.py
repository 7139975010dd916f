"""Which format a file has, told from its first bytes and its name."""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import Final

import msgspec

from beam_mixpanel.core.formats.kinds import DELIMITED, JSON, KINDS, NDJSON
from beam_mixpanel.core.json.text import UNREADABLE
from beam_mixpanel.errors import UnknownFormatError

HEAD_BYTES: Final = 65_536
"""How much of a file's beginning is looked at."""

_WILDCARDS: Final = re.compile(r"[*?\[\]{}\\]")
"""Of any file system that Beam knows, and what only some take for wildcards."""
_COMPRESSIONS: Final = frozenset({"gz", "gzip", "bz2", "zst", "zstd"})
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Bytes that no text holds, and every binary file has near its beginning: a CSV header may begin with `PAR1`, too."""
_BY_SUFFIX: Final = {suffix: kind.name for kind in KINDS for suffix in kind.suffixes}


def format_of(name: str, head: bytes) -> str:
    """Detect a file's format.

    The first bytes decide for binary formats; then the name, `.gz` and the like left aside; then the first bytes
    for JSON, where `.json` may be an array, lines or objects that follow each other.

    Args:
      name: the file's.
      head: its first `HEAD_BYTES`, decompressed; all of it if it is shorter.

    Raises:
      UnknownFormatError: neither tells, or it is JSON in UTF-16.
    """
    for kind in KINDS:
        if kind.magic and head.startswith(kind.magic) and _CONTROL.search(head):
            return kind.name
    named = _by_name(name)
    # Under `.json` are arrays, lines, and objects that follow each other.
    if named in (None, JSON.name):
        return _json_by_content(head)
    return named


def may_be_csv(pattern: str) -> bool:
    """Tell whether `format_of` may name CSV or TSV for a file that a name or glob matches; where in doubt, True.

    Only a name makes a file CSV, never its first bytes, and only what stands behind the last dot (behind the last but
    one, where it is compressed). So a pattern that ends in literal text from there on decides for all its files.
    """
    if pattern.endswith("/"):
        return True
    literal = _WILDCARDS.split(pattern)[-1]
    _, folder, base = literal.rpartition("/")
    if folder or literal == pattern:
        return _by_name(base) in DELIMITED
    # What stands before the first dot belongs to a part of the name that is not known.
    suffixes = base.lower().split(".")[1:]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    return not suffixes or _BY_SUFFIX.get(suffixes[-1]) in DELIMITED


def refuse_utf16(head: bytes) -> None:
    """Fail for a file of which no line is JSON in UTF-8, rather than make a dead letter of every line.

    It is told by the mark at the beginning, or by every other byte being zero, which JSON in UTF-8 never holds.

    Raises:
      UnknownFormatError: it looks like UTF-16.
    """
    zeros = [not byte for byte in head[:4]]
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or zeros in ([True, False] * 2, [False, True] * 2):
        raise UnknownFormatError("it looks like UTF-16; convert it to UTF-8, such as with iconv -f UTF-16 -t UTF-8")


def _by_name(name: str) -> str | None:
    parts = name.lower().rpartition("/")[2].split(".")
    if len(parts) > 1 and parts[-1] in _COMPRESSIONS:
        parts.pop()
    if len(parts) > 1:
        return _BY_SUFFIX.get(parts[-1])
    return None


def _json_by_content(head: bytes) -> str:
    refuse_utf16(head)
    content = head.removeprefix(BOM_UTF8).lstrip()
    if content.startswith(b"["):
        return JSON.name
    if not content:
        return NDJSON.name
    if not content.startswith(b"{"):
        *most, last = [f".{kind.suffixes[0]}" for kind in KINDS]
        raise UnknownFormatError(
            f"nothing tells its format: its name should end in {', '.join(most)} or {last} "
            "(.gz, .bz2 or .zst behind it where compressed); or name it as `format`"
        )
    line, newline, _ = content.partition(b"\n")
    if not newline and len(head) >= HEAD_BYTES:
        return NDJSON.name
    try:
        msgspec.json.decode(line)
    except UNREADABLE:
        return JSON.name
    return NDJSON.name
