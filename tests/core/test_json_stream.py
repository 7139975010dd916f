"""JSON values from a stream: all of them, exact, or an error that says where."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.json import stream as json_stream
from beam_mixpanel.core.json.stream import read_values
from beam_mixpanel.errors import DamagedJsonError


class _Pieces:
    """Gives a text in pieces of a given size."""

    def __init__(self, text: str, size: int) -> None:
        self._text = io.StringIO(text, newline="")
        self._size = size
        self.given = 0

    def read(self, size: int) -> str:
        piece = self._text.read(self._size)
        self.given += len(piece)
        return piece


def _read(text: str, size: int = 7) -> list[Any]:
    return [value for value, _ in read_values(_Pieces(text, size))]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([0.5, -12.25]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(VALUES, max_size=5), st.integers(1, 30), st.sampled_from([None, 2]), st.booleans())
def test_an_array_gives_its_elements_however_it_is_cut(
    values: list[Any], size: int, indent: int | None, ascii_only: bool
) -> None:
    """Each element, in order, whatever the pieces and the layout."""
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    assert _read(text, size) == values


@given(st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=5), st.integers(1, 30))
def test_objects_that_follow_each_other_are_read(values: list[Any], size: int) -> None:
    """Pretty-printed over several lines, with or without space between them."""
    for between in ("", "\n", " \r\n\t"):
        assert _read(between.join(json.dumps(value, indent=1) for value in values), size) == values


def test_numbers_keep_their_digits() -> None:
    """Integers of any size, and fractions that a double may not hold, are exact."""
    assert _read("[12345678901234567890123, 0.1234567890123456789, 1.5, 1e400]") == [
        12345678901234567890123,
        Decimal("0.1234567890123456789"),
        1.5,
        Decimal("1e400"),
    ]


def test_each_value_comes_with_its_text() -> None:
    """As it was written, for dead letters."""
    assert [text for _, text in read_values(_Pieces('[ {"a" : 1} , 2]', 3))] == ['{"a" : 1}', "2"]


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2",
        "[1,]",
        "[1 2]",
        "[,1]",
        '[{"a": 1}, {"a": ]',
        '[{"a": tru',
        '["abc',
        "[1] 2",
        "[1]]",
        "{",
        "[NaN]",
        "]",
        '[{"a": 1, "b": "x',
        "[1,2,",
        "nonsense",
        "[Infinity]",
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1_000])
def test_damage_is_an_error(text: str, size: int) -> None:
    """Cut short or damaged, the file is never taken for one that ended."""
    with pytest.raises(DamagedJsonError):
        _read(text, size)


def test_what_stands_before_the_damage_is_given_first() -> None:
    """And the error says where it is."""
    values: Iterator[Any] = read_values(_Pieces('[{"a": 1}, {"b" 2}, {"c": 3}]', 5))
    assert next(values).value == {"a": 1}
    with pytest.raises(DamagedJsonError, match=r"character 16: Expecting ':' delimiter"):
        next(values)


def test_damage_does_not_read_the_rest_of_the_file_into_memory() -> None:
    """An error that is no cut is told at once; a text that does not end is given up at a bound."""
    damaged = _Pieces("[" + '{"a": 1}, {"b" 2},' + '{"c": 3},' * 1_000_000, 1_000)
    with pytest.raises(DamagedJsonError):
        list(read_values(damaged))
    assert damaged.given <= 2_000
    endless = _Pieces('["' + "x" * (json_stream.MAX_VALUE_CHARS * 2), 1_000_000)
    with pytest.raises(DamagedJsonError, match="too long"):
        list(read_values(endless))
    assert endless.given < json_stream.MAX_VALUE_CHARS + 3_000_000


@pytest.mark.parametrize("size", [1, 7, 40, 1_000])
@pytest.mark.parametrize("text", ["x" * 200, '\\"' * 100, "\\\\" * 100, "ü\\u0041 " * 50])
def test_long_strings_that_are_cut_are_read_on(text: str, size: int) -> None:
    """Whatever quotes and escapes they hold; a string that ends, where none belongs, is told at once."""
    assert _read(f'["{text}", {{"{text}": "{text}"}}]', size)[0] == json.loads(f'"{text}"')
    damaged = _Pieces(f'["a" "{text}", ' + "1," * 10_000, size)
    with pytest.raises(DamagedJsonError, match=r"Expecting ',' delimiter|expected ','"):
        list(read_values(damaged))
    assert damaged.given <= len(text) + size + 100


def test_an_empty_text_holds_nothing() -> None:
    """Neither does white space, nor an empty array."""
    assert _read("") == _read(" \n") == _read("[]") == _read(" [ ] ") == []
