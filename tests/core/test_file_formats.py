"""A file's format, from its first bytes and its name."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.formats.detection import HEAD_BYTES, format_of, may_be_csv
from beam_mixpanel.core.formats.kinds import DELIMITED
from beam_mixpanel.errors import UnknownFormatError


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


@pytest.mark.parametrize(
    ("pattern", "may_be"),
    [
        ("a.csv", True),
        ("a.TSV.gz", True),
        ("*.tab", True),
        ("events/*", True),
        ("events/", True),
        ("events/**", True),
        ("events/*.gz", True),
        ("events/*csv.gz", True),
        ("events/a.*", True),
        ("events/a.[ct]sv", True),
        ("events/a.{csv,json}", True),
        ("events/a.cs?", True),
        ("*ndjson", True),
        ("a.ndjson", False),
        ("csv", False),
        ("a.csv/part-1", False),
        ("*.csv/part-1", False),
        ("events/*.ndjson", False),
        ("events/*.csv.json", False),
        ("gs://bucket/2024-*/events-*.ndjson.gz", False),
        ("events/**.parquet", False),
        ("[a-z]*.json", False),
    ],
)
def test_patterns_that_may_match_csv(pattern: str, may_be: bool) -> None:
    """Where the end of a pattern is literal it decides for all files; elsewhere there may be a CSV file."""
    assert may_be_csv(pattern) is may_be


_PIECES = st.sampled_from(["a", "b/", ".", ".csv", ".tsv", ".gz", ".json", "csv", "sv", "/", ".tab", ".zst"])
_WILD = st.sampled_from(["*", "?", "[.c]", "[!x]", "**"])


@given(
    pieces=st.lists(st.tuples(_PIECES, st.booleans(), _WILD), min_size=1, max_size=6),
    fillings=st.lists(st.sampled_from(["", "a", ".csv", ".c", "c", ".", "csv.gz", "/"]), min_size=6, max_size=6),
)
def test_no_csv_file_is_overlooked(pieces: list[tuple[str, bool, str]], fillings: list[str]) -> None:
    """A pattern for which it is denied matches no file that is taken for CSV or TSV."""
    pattern = name = ""
    for (text, wild, wildcard), filling in zip(pieces, fillings, strict=False):
        pattern += text + (wildcard if wild else "")
        name += text + (filling if wild else "")
    matches = re.match(fnmatch.translate(pattern), name)
    try:
        found = format_of(name, b"{}")
    except UnknownFormatError:
        return
    if matches and found in DELIMITED:
        assert may_be_csv(pattern)
