"""Which format a file has, told from its first bytes and its name."""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import Final

import msgspec

from beam_mixpanel.core.json.text import UNREADABLE
from beam_mixpanel.errors import UnknownFormatError

AUTO: Final = "auto"
NDJSON: Final = "ndjson"
JSON: Final = "json"
CSV: Final = "csv"
TSV: Final = "tsv"
AVRO: Final = "avro"
PARQUET: Final = "parquet"
FORMATS: Final = (NDJSON, JSON, CSV, TSV, AVRO, PARQUET)

HEAD_BYTES: Final = 65_536
"""How much of a file's beginning is looked at."""

_MAGIC: Final = ((b"PAR1", PARQUET), (b"Obj\x01", AVRO))
_WILDCARDS: Final = re.compile(r"[*?\[\]{}\\]")
"""Of any file system that Beam knows, and what only some take for wildcards."""
_COMPRESSIONS: Final = frozenset({"gz", "gzip", "bz2", "zst", "zstd"})
_SUFFIXES: Final = {
    "ndjson": NDJSON,
    "jsonl": NDJSON,
    "csv": CSV,
    "tsv": TSV,
    "tab": TSV,
    "avro": AVRO,
    "parquet": PARQUET,
    "pq": PARQUET,
}


def format_of(name: str, head: bytes) -> str:
    """Tell a file's format.

    The first bytes decide for Parquet and Avro; then the name, `.gz` and the like left aside; then the first bytes
    for JSON, where `.json` may be an array, lines or objects that follow each other.

    Args:
      name: the file's.
      head: its first `HEAD_BYTES`, decompressed; all of it if it is shorter.

    Raises:
      UnknownFormatError: neither tells, or it is JSON in UTF-16.
    """
    for magic, file_format in _MAGIC:
        if head.startswith(magic):
            return file_format
    return _by_name(name) or _json_by_content(head)


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
        return _by_name(base) in (CSV, TSV)
    # What stands before the first dot belongs to a part of the name that is not known.
    suffixes = base.lower().split(".")[1:]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    return not suffixes or _SUFFIXES.get(suffixes[-1]) in (CSV, TSV)


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
    return _SUFFIXES.get(parts[-1]) if len(parts) > 1 else None


def _json_by_content(head: bytes) -> str:
    refuse_utf16(head)
    content = head.removeprefix(BOM_UTF8).lstrip()
    if content.startswith(b"["):
        return JSON
    if not content:
        return NDJSON
    if not content.startswith(b"{"):
        raise UnknownFormatError(
            "nothing tells its format: its name should end in .ndjson, .json, .csv, .tsv, .avro or .parquet "
            "(.gz, .bz2 or .zst behind it where compressed); or name it as `format`"
        )
    line, newline, _ = content.partition(b"\n")
    if not newline and len(head) >= HEAD_BYTES:
        return NDJSON
    try:
        msgspec.json.decode(line)
    except UNREADABLE:
        return JSON
    return NDJSON
