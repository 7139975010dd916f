"""How a run went over time, and how long the rest takes."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from beam_mixpanel.launcher.progress import secs_left, share_done
from beam_mixpanel.launcher.reports.course import Course, Moment


def _course(secs: int) -> Course:
    """Note what a run of so many seconds does, with ten events read in each, at the pace that the course has."""
    now = [0.0]
    course = Course(lambda: Counter(read=round(now[0]) * 10, latency_ms=7), lambda: now[0])
    course._started = 0.0
    while now[0] < secs:
        now[0] += course._pace_secs
        course.note()
    return course


def test_moments_hold_the_counts() -> None:
    """In all, since the beginning."""
    assert _course(2).moments == [Moment(1.0, 10, 0, 0, 7), Moment(2.0, 20, 0, 0, 7)]


@pytest.mark.parametrize("secs", [600, 601, 5_000, 100_000])
def test_a_long_run_has_no_more_moments_than_a_short_one(secs: int) -> None:
    """They are at even distances, and the last one stays."""
    noted = _course(secs).moments
    assert 300 <= len(noted) <= 600
    assert noted[-1].seconds >= secs
    assert len({after.seconds - before.seconds for before, after in pairwise(noted)}) == 1


def test_the_last_moment_is_noted_at_the_end() -> None:
    """Even of a run that is over at once."""
    with Course(lambda: Counter(read=3)) as course:
        pass
    assert [moment.read for moment in course.moments] == [3]


@pytest.mark.parametrize(
    ("elapsed", "share", "left"), [(10, 0.5, 10), (30, 0.75, 10), (5, 0, 0), (5, 0.001, 0), (9, 1, 0)]
)
def test_the_time_left_is_guessed_from_the_time_gone(elapsed: float, share: float, left: float) -> None:
    """As soon as a hundredth is done."""
    assert secs_left(elapsed, share) == pytest.approx(left)


@pytest.mark.parametrize(
    ("counts", "share"),
    [
        ({}, 0.0),
        ({"input_bytes": 50, "read": 10}, 0.5),
        ({"input_bytes": 100, "read": 10, "in_flight": 2}, 0.0),
        ({"input_bytes": 100, "read": 10, "in_flight": 1, "imported": 2, "invalid": 1, "filtered": 1}, 0.4),
        ({"input_bytes": 60, "read": 10, "in_flight": 1, "imported": 5}, 0.3),
        ({"input_bytes": 120, "read": 10, "imported": 10}, 1.0),
    ],
)
def test_what_waits_to_be_sent_is_not_done(counts: dict[str, int], share: float) -> None:
    """A slow server keeps the share, and the time left, from telling that all is over once all is read."""
    assert share_done(Counter(counts), 100) == pytest.approx(share)


def test_nothing_is_told_of_an_input_of_unknown_size() -> None:
    """Where nobody knows how much there is, no share is invented."""
    assert share_done(Counter(read=5, imported=5), 0) == 0.0
