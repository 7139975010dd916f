"""Values of warehouse rows and Python objects: each type has one stated JSON form."""

from __future__ import annotations

import array
import collections
import dataclasses
import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.json.values import fields_of, to_json_value, unwrap
from beam_mixpanel.errors import UnsupportedValueError

encode = msgspec.json.Encoder(decimal_format="number").encode
PLAIN = (type(None), bool, int, float, str, Decimal, list, dict)
PARIS_SUMMER = timezone(timedelta(hours=2))
NEW_YORK_WINTER = timezone(timedelta(hours=-5))


class Colour(str, Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass
class Place:
    name: str
    point: Point


class BeamRow:
    def as_dict(self) -> dict[str, Any]:
        return {"a": 1, "b": None}


class Timestamp:
    """As Beam's."""

    def __init__(self, micros: int) -> None:
        self.micros = micros


class Duration(Timestamp):
    """As Beam's."""


class NAType:
    """As the missing value of pandas."""


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Exact(Decimal):
    pass


class Stamp(datetime):
    pass


class Unprintable:
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (2**64 + 1, "18446744073709551617"),
        (-(10**40), "-1" + "0" * 40),
        ("Zürich \u2028 \U0001f600", '"Zürich \u2028 \U0001f600"'),
        (0.1, "0.1"),
        (Decimal("1.10"), "1.10"),
        (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
        (Decimal("1E+5"), "1E+5"),
        (Decimal("9.9E+308"), "9.9E+308"),
        (Decimal("1E+309"), "1E+309"),
        (Decimal("-1E+999999"), "-1E+999999"),
        (Decimal("1E-400"), "1E-400"),
        (Decimal("NaN"), "null"),
        (Decimal("sNaN"), "null"),
        (Decimal("-Infinity"), '"-Infinity"'),
        (float("nan"), "null"),
        (float("inf"), '"Infinity"'),
        (float("-inf"), '"-Infinity"'),
        (datetime(2023, 6, 13, 15, 8), '"2023-06-13T15:08:00"'),
        (datetime(2023, 6, 13, 15, 8, 0, 5), '"2023-06-13T15:08:00.000005"'),
        (datetime(2023, 6, 13, 15, 8, tzinfo=PARIS_SUMMER), '"2023-06-13T13:08:00"'),
        (datetime.max.replace(tzinfo=NEW_YORK_WINTER), '"9999-12-31T23:59:59.999999-05:00"'),
        (Stamp(2023, 6, 13, tzinfo=PARIS_SUMMER), '"2023-06-12T22:00:00"'),
        (date(2023, 6, 13), '"2023-06-13"'),
        (time(15, 8), '"15:08:00"'),
        (timedelta(days=1, milliseconds=5), "86400.005"),
        (Timestamp(1_686_668_880_123_456), '"2023-06-13T15:08:00.123456"'),
        (Timestamp(2**63 - 1), "9223372036854.775"),
        (Duration(1_500_000), "1.5"),
        (b"\x00\xff", '"AP8="'),
        (bytearray(b"\x00\xff"), '"AP8="'),
        (memoryview(b"\x00\xff"), '"AP8="'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ({"a": {"b": [1, (2, 3)]}}, '{"a":{"b":[1,[2,3]]}}'),
        ({True: "a", None: "b", 2: "c"}, '{"true":"a","null":"b","2":"c"}'),
        ({1.5: 1, b"x": 2, date(2020, 1, 1): 3, (1, "z"): 4}, '{"1.5":1,"eA==":2,"2020-01-01":3,"[1,\\"z\\"]":4}'),
        ({Colour.RED: Colour.RED}, '{"red":"red"}'),
        (Size.BIG, "3"),
        (collections.OrderedDict(a=1), '{"a":1}'),
        (collections.UserDict(a=1), '{"a":1}'),
        (Point(1, {2.5}), '{"x":1,"y":[2.5]}'),
        (Place("home", Point(1, 2)), '{"name":"home","point":{"x":1,"y":2}}'),
        (BeamRow(), '{"a":1,"b":null}'),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset({"b", "a", None}), '["a","b",null]'),
        (array.array("d", [1.5]), "[1.5]"),
        (Text("NaT"), '"NaT"'),
        (Whole(7), "7"),
        (Real(7.5), "7.5"),
        (Exact("7.50"), "7.50"),
        (NAType(), "null"),
        (np.int64(-5), "-5"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (np.float32(0.5), "0.5"),
        (np.longdouble(1.5), "1.5"),
        (np.float64("nan"), "null"),
        (np.bool_(True), "true"),
        (np.str_("<NA>"), '"<NA>"'),
        (np.bytes_(b"x"), '"eA=="'),
        (np.datetime64("2023-06-13T15:08:00.123456789"), '"2023-06-13T15:08:00.123456"'),
        (np.datetime64("2023"), '"2023-01-01T00:00:00"'),
        (np.datetime64("20000-01-01"), '"20000-01-01T00:00:00.000000"'),
        (np.datetime64("NaT"), "null"),
        (np.timedelta64("NaT", "ns"), "null"),
        (np.timedelta64(5, "s"), "5.0"),
        (np.timedelta64(5_000_000_000, "ns"), "5.0"),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), '[[1.0,null],["Infinity",2.0]]'),
        (np.array(3), "3"),
        (np.array([1.5], dtype=np.longdouble), "[1.5]"),
        (np.array(["2020-01-01", "NaT"], dtype="datetime64[ns]"), '["2020-01-01T00:00:00",null]'),
        (np.array([[5_000_000_000]], dtype="timedelta64[ns]"), "[[5.0]]"),
        (np.array(["20000-01-01"], dtype="datetime64[s]"), '["20000-01-01T00:00:00.000000"]'),
        (np.array([{"a": {1}}], dtype=object), '[{"a":[1]}]'),
        (pa.MonthDayNano([14, -3, 14_706_789_000_000]), '"1-2 -3 4:5:6.789"'),
        (pa.MonthDayNano([-1, 0, -36_000_000_000_001]), '"-0-1 0 -10:0:0.000000001"'),
        (pa.MonthDayNano([0, 0, 0]), '"0-0 0 0:0:0"'),
        (pa.scalar(None, pa.int64()), "null"),
        (pa.scalar(2**63 - 1), "9223372036854775807"),
        (pa.scalar(Decimal("1.50")), "1.50"),
        (pa.scalar(b"\x00\xff"), '"AP8="'),
        (pa.scalar(date(2023, 6, 13)), '"2023-06-13"'),
        (pa.scalar(1_686_668_880_123_456, pa.timestamp("us", "Asia/Tokyo")), '"2023-06-13T15:08:00.123456"'),
        (pa.scalar(1_686_668_880_123_456_789, pa.timestamp("ns")), '"2023-06-13T15:08:00.123456"'),
        (pa.scalar(1_686_668_880_123_456_789, pa.timestamp("ns", "Asia/Tokyo")), '"2023-06-13T15:08:00.123456"'),
        (pa.scalar(1_500_000_001, pa.duration("ns")), "1.5"),
        (pa.scalar(1_001, pa.time64("ns")), '"00:00:00.000001"'),
        (pa.scalar([1_001], pa.list_(pa.time64("ns"))), '["00:00:00.000001"]'),
        (pa.scalar({"t": 1_001}, pa.struct([("t", pa.time64("ns"))])), '{"t":"00:00:00.000001"}'),
        (pa.array([1_001, None], pa.time64("ns")), '["00:00:00.000001",null]'),
        (pa.scalar({"a": [1, None]}), '{"a":[1,null]}'),
    ],
)
def test_each_type_has_its_form(value: Any, text: str) -> None:
    """Every row of the module's table, and every numpy and Arrow type of a warehouse, gives this JSON."""
    assert encode(to_json_value(value)).decode() == text


@pytest.mark.parametrize(
    "value",
    [object(), 1j, np.complex128(1), np.clongdouble(1), range(3), iter([1]), len, int, Point, Place, np.float64,
     pa.Scalar, datetime, Unprintable(), ..., [{"a": {"b": object()}}], {object(): 1}],
)  # fmt: skip
def test_other_types_are_refused_by_name(value: Any) -> None:
    """A type without a stated form raises one error that names the type; `repr` and `str` never serve as a form."""
    with pytest.raises(UnsupportedValueError, match="has no JSON form"):
        to_json_value(value)


def test_a_value_that_contains_itself_is_a_recursion_error() -> None:
    """What nests without end raises what its documentation says, rather than hanging."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RecursionError):
        to_json_value(endless)


def test_fields_are_found_where_they_have_names() -> None:
    """Mappings, named tuples, rows and dataclasses have fields; their classes, lists and texts have none."""
    assert fields_of(Point(1, 2)) == {"x": 1, "y": 2}
    assert fields_of(BeamRow()) == {"a": 1, "b": None}
    assert fields_of(Place("home", Point(1, 2))) == {"name": "home", "point": Point(1, 2)}
    assert [fields_of(value) for value in (Point, Place, [("a", 1)], "a", None, 1)] == [None] * 6


def test_unwrapping_leaves_python_values_alone() -> None:
    """What holds no scalar of a foreign package is given back as the same object."""
    for value in (None, 1, "NaT", [1], {"a": 1}, Decimal(1), object(), memoryview(b"x"), Point(1, 2)):
        assert unwrap(value) is value


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
HASHABLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.uuids()
OBJECTS = st.recursive(
    HASHABLE | st.decimals() | st.datetimes() | st.timedeltas() | st.times(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(HASHABLE | st.tuples(HASHABLE), inner, max_size=4)
        | st.frozensets(HASHABLE, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=10,
)


def is_plain(value: Any) -> bool:
    """Tell whether a value is made of exactly what a JSON writer takes."""
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    return all(map(is_plain, value)) if type(value) is list else type(value) in PLAIN


@given(JSON_VALUES)
def test_json_is_its_own_form(value: Any) -> None:
    """A value that came out of JSON stays equal, with equal types."""
    assert repr(to_json_value(value)) == repr(value)


@given(OBJECTS)
def test_what_comes_out_can_be_written_and_read(value: Any) -> None:
    """Any nesting of Python values becomes JSON that a strict parser takes; doing it twice changes nothing."""
    form = to_json_value(value)
    assert is_plain(form)
    assert to_json_value(form) == form
    json.loads(encode(form), parse_constant=pytest.fail)
