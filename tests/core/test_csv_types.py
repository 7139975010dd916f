"""The type of a CSV field: by rule, or as the user says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.formats import csv_types

_encode = msgspec.json.Encoder(decimal_format="number").encode
FIELDS = (
    st.from_regex(r"\A-?[0-9]{0,3}(\.?[0-9]{0,18})?([eE][+-]?[0-9])?\Z")
    | st.sampled_from(["true", "false", "True", "0.0", "-0", "-0.0", "0.000000", "0.0000001", "1\n", "\u0661"])
    | st.integers().map(str)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.floats().map(repr)
    | st.text(max_size=5)
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (None, None),
        ("", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-7", -7),
        ("123456789012345", 123456789012345),
        ("1.5", 1.5),
        ("-0.0", -0.0),
        ("10.50", Decimal("10.50")),
        ("0.000001", Decimal("0.000001")),
    ],
)
def test_unambiguous_fields_have_a_type(field: str | None, value: Any) -> None:
    """Empty is null, and what JSON would write so is a number or a boolean."""
    read = csv_types.value_by_rule(field)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    "field",
    [
        "1234567890123456789",
        "1234567890123456",
        "007",
        "+1",
        "1e5",
        ".5",
        "5.",
        "-0",
        "TRUE",
        "null",
        "NaN",
        "1,000",
        "1 ",
        " 1",
        "1\n",
        "0.0000001",
        "1.2.3",
        "2024-01-01",
        "0x10",
        "\u0661\u0662",
        "-",
        "1_000",
        "12345678.12345678",
    ],
)
def test_all_else_stays_text(field: str) -> None:
    """Ids with more digits than a double holds, leading zeros and other spellings stay as they are."""
    assert csv_types.value_by_rule(field) == field


@given(FIELDS)
def test_the_json_of_a_value_is_the_field(field: str) -> None:
    """Nothing is lost: what is no text is written digit by digit as it was read."""
    value = csv_types.value_by_rule(field)
    if value is not None and not isinstance(value, str):
        assert _encode(value).decode() == field


@given(st.lists(st.none() | FIELDS, max_size=20))
def test_a_column_is_typed_as_its_fields_are(fields: list[str | None]) -> None:
    """The vectorised rule and the rule for one field never differ."""
    literal = csv_types.is_literal(pa.array(fields, pa.string())).to_pylist()
    for field, found in zip(fields, literal, strict=True):
        expected = None if field is None else not isinstance(csv_types.value_by_rule(field), (str, type(None)))
        assert found == expected, field


@pytest.mark.parametrize(
    ("field", "json"),
    [
        ("1", "1"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("007", "7"),
        ("+1.50", "1.5"),
        ("10.50", "10.50"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("1e3", "1000.0"),
        (" 2 ", "2"),
        ("0.12345678901234567890", "0.12345678901234567890"),
        ("-0", "0"),
    ],
)
def test_columns_of_numbers_take_every_spelling(field: str, json: str) -> None:
    """A column that the user calls a number is one in every row, exact, by field and by column."""
    assert _encode(csv_types.number_of(field)).decode() == json
    assert csv_types.json_numbers(pa.array([field, None])) == (pa.array([json, None]), [])


@given(st.lists(st.none() | FIELDS.filter(bool), max_size=20))
def test_numbers_by_column_are_numbers_by_field(fields: list[str | None]) -> None:
    """The column's JSON reads back as the field's number, and the same fields are refused."""
    column, refused = csv_types.json_numbers(pa.array(fields, pa.string()))
    for place, (field, text) in enumerate(zip(fields, column.to_pylist(), strict=True)):
        if field is None:
            assert text is None
            continue
        try:
            number = csv_types.number_of(field)
        except ValueError:
            assert place in refused
            continue
        assert place not in refused
        assert text == _encode(number).decode()
        assert _encode(csv_types.number_of(text)).decode() == text


@pytest.mark.parametrize("field", ["abc", "1,5", "nan", "inf", "1e999", "--1", "1 2", "9" * 5000])
def test_what_is_no_number_is_refused(field: str) -> None:
    """Neither guessed nor dropped."""
    assert csv_types.json_numbers(pa.array(["1", field])) == (pa.array(["1", None]), [1])


def test_columns_of_booleans_take_the_usual_words() -> None:
    """In any case; others are refused."""
    fields = ["true", "F", "Yes", "n", "1", "0", None, "maybe"]
    values = [True, False, True, False, True, False, None, None]
    assert csv_types.booleans(pa.array(fields)) == (pa.array(values), [7])
