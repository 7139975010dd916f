"""A file's format, from its first bytes and its name."""

from __future__ import annotations

import pytest

from beam_mixpanel.core.file_formats import HEAD_BYTES, UnknownFormatError, format_of


@pytest.mark.parametrize(
    ("name", "head", "file_format"),
    [
        ("a.csv", b"a,b\n", "csv"),
        ("gs://bucket/2024.01/a.CSV.gz", b"a,b\n", "csv"),
        ("a.tsv.zst", b"a\tb\n", "tsv"),
        ("a.tab", b"", "tsv"),
        ("a.ndjson", b"nonsense", "ndjson"),
        ("a.jsonl.bz2", b"{", "ndjson"),
        ("a.avro", b"Obj\x01", "avro"),
        ("a.parquet", b"", "parquet"),
        ("part-0001", b"PAR1\x15", "parquet"),
        ("a.csv", b"PAR1\x15", "parquet"),
        ("part-0001", b"Obj\x01\x04", "avro"),
        ("a.json", b'[{"a":1}]', "json"),
        ("a.json", b'\xef\xbb\xbf \n[{"a":1}]', "json"),
        ("a.json", b'{"a":1}\n{"a":2}\n', "ndjson"),
        ("a.json", b'{"a":1}', "ndjson"),
        ("a.json", b'{\n "a": 1\n}\n', "json"),
        ("a.json", b'{"a":1}{"a":2}', "json"),
        ("a.json", b'{"a":"' + b"x" * HEAD_BYTES, "ndjson"),
        ("events.txt", b'{"a":1}\n', "ndjson"),
        ("events", b"[\n", "json"),
        ("events", b"", "ndjson"),
        ("csv", b"", "ndjson"),
    ],
)
def test_formats(name: str, head: bytes, file_format: str) -> None:
    """Magic bytes first, then the name without its compression, then what JSON looks like."""
    assert format_of(name, head) == file_format


@pytest.mark.parametrize(("name", "head"), [("events.txt", b"a,b\n1,2\n"), ("data.json", b"a,b"), ("x", b"\xff")])
def test_what_nothing_tells_is_an_error_with_the_cure(name: str, head: bytes) -> None:
    """Never a guess."""
    with pytest.raises(UnknownFormatError, match="name it as `format`"):
        format_of(name, head)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_json_in_utf16_is_an_error_with_the_cure(codec: str) -> None:
    """No line of it could be read."""
    with pytest.raises(UnknownFormatError, match="UTF-16; convert it to UTF-8"):
        format_of("events", '{"a":1}\n'.encode(codec))
