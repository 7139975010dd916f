"""Delays between attempts: the documented doubling with jitter, or what the server asks for, within bounds."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.sending.backoff import delay_secs


def low(least: float, most: float) -> float:
    return least


@pytest.mark.parametrize(
    ("attempt", "base"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 60), (7, 60), (50, 60), (10**9, 60)]
)
def test_the_delay_doubles_up_to_a_minute(attempt: int, base: float) -> None:
    """2 s doubling to 60 s, with 1 s of jitter at least."""
    assert delay_secs(attempt, retry_after_secs=None, uniform=low) == base + 1


@pytest.mark.parametrize(("asked", "base"), [(0.0, 0), (7.5, 7.5), (60.0, 60), (61.0, 60), (1e9, 60), (-5.0, 0)])
def test_the_servers_wish_replaces_the_doubling(asked: float, base: float) -> None:
    """`Retry-After` is honoured whatever the attempt, and capped."""
    assert [delay_secs(attempt, retry_after_secs=asked, uniform=low) for attempt in (1, 9)] == [base + 1] * 2


@given(
    st.integers(1, 10**6),
    st.none() | st.floats(allow_nan=False),
    st.integers().map(lambda seed: random.Random(seed).uniform),
)
def test_delays_stay_in_bounds(attempt: int, asked: float | None, uniform: Callable[[float, float], float]) -> None:
    """A delay is at least 1 s and at most 65 s; without a wish of the server at least 3 s."""
    assert (3 if asked is None else 1) <= delay_secs(attempt, retry_after_secs=asked, uniform=uniform) <= 65
