"""Splitting a column's values into ranges."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.sources.key_ranges import Key, KeyRange, split_range


@given(st.integers(), st.integers(min_value=0, max_value=10**20), st.integers(min_value=1, max_value=64))
def test_ranges_cover_each_integer_once(low: int, width: int, parts: int) -> None:
    """The ranges touch, none is empty, and they end just behind the greatest value."""
    ranges = split_range(low, low + width, parts)
    assert len(ranges) == min(parts, width + 1)
    assert (ranges[0].low, ranges[-1].high) == (low, low + width + 1)
    assert [part.high for part in ranges[:-1]] == [part.low for part in ranges[1:]]
    assert all(part.low < part.high for part in ranges)  # type: ignore[operator]
    widths = [part.high - part.low for part in ranges]  # type: ignore[operator]
    assert max(widths) - min(widths) <= 1


@given(st.datetimes(), st.datetimes(), st.integers(min_value=1, max_value=9))
def test_ranges_of_moments_cover_each_microsecond(one: datetime, other: datetime, parts: int) -> None:
    """Moments are split to the microsecond, and keep having a zone or none."""
    low, high = sorted((one, other))
    for zone in (None, timezone.utc):
        ranges = split_range(low.replace(tzinfo=zone), high.replace(tzinfo=zone), parts)
        assert ranges[0].low == low.replace(tzinfo=zone)
        end = ranges[-1].high
        if high < datetime.max:
            assert end == (high + timedelta(microseconds=1)).replace(tzinfo=zone)
        else:
            assert end is None
        assert [part.high for part in ranges[:-1]] == [part.low for part in ranges[1:]]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (date(2024, 2, 28), date(2024, 3, 1), [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 2)]),
        (date(9999, 12, 31), date.max, [date(9999, 12, 31), None]),
        (Decimal("1.5"), Decimal("3.5"), [1, 2, 4]),
        (7, 7, [7, 8]),
        (-(2**63), 2**63 - 1, [-(2**63), 0, 2**63]),
    ],
)
def test_two_ranges(low: Key, high: Key, expected: list[Key | None]) -> None:
    """Days, decimals, a single value and all of int64 are split so that both ends are read."""
    assert split_range(low, high, 2) == [KeyRange(*pair) for pair in itertools.pairwise(expected)]
