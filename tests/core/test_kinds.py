"""The table of formats, and what is made of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from beam_mixpanel.core.formats.detection import format_of
from beam_mixpanel.core.formats.kinds import BY_NAME, KINDS, Kind
from beam_mixpanel.errors import UnknownFormatError
from beam_mixpanel.files.formats import format_named

DOCS = Path(__file__).parents[2] / "docs" / "files.md"


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_has_its_object(kind: Kind) -> None:
    """Under its name, from the module that its entry names."""
    found = format_named(kind.name)
    assert found.kind is kind
    assert found.read.__module__ == f"beam_mixpanel.files.{kind.reader}"


def test_no_two_formats_are_recognized_alike() -> None:
    """Names, suffixes and first bytes belong to one format each."""
    suffixes = [suffix for kind in KINDS for suffix in kind.suffixes]
    magic = [kind.magic for kind in KINDS if kind.magic]
    assert len(BY_NAME) == len(KINDS)
    assert len(set(suffixes)) == len(suffixes)
    assert not [one for one in magic for other in magic if one is not other and one.startswith(other)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.magic])
def test_a_text_that_begins_like_a_binary_file_is_a_text(kind: Kind) -> None:
    """A CSV header may begin with such letters; what no text holds decides."""
    assert format_of("a.csv", kind.magic + b"\0\1") == kind.name
    if kind.magic.isalnum():
        assert format_of("a.csv", kind.magic + b"_ID,name\n1,x\n") == "csv"


def test_the_error_suggests_a_suffix_of_each_format() -> None:
    """So it grows with the table."""
    with pytest.raises(UnknownFormatError) as caught:
        format_of("data", b"a,b\n")
    assert all(f".{kind.suffixes[0]}" in str(caught.value) for kind in KINDS)


def test_the_documentation_lists_the_formats() -> None:
    """With the suffixes and first bytes that they are recognized by."""
    table = re.search(r"<!-- formats -->\n(.*?)\n<!-- end -->", DOCS.read_text(), re.DOTALL)
    assert table
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()[2:]]
    assert [row[:3] for row in rows] == [[f"`{kind.name}`", _suffixes(kind), _first_bytes(kind)] for kind in KINDS]


def _suffixes(kind: Kind) -> str:
    return ", ".join(f"`.{suffix}`" for suffix in kind.suffixes)


def _first_bytes(kind: Kind) -> str:
    shown = "".join(chr(byte) if byte > 31 else f"\\x{byte:02x}" for byte in kind.magic)
    return f"`{shown}`" if shown else ""
