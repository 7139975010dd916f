"""Rate limits, on a clock that the tests move."""

from __future__ import annotations

import pytest

from beam_mixpanel.emulator import Emulator

LIMITED = {
    "code": 429,
    "error": "Project exceeded rate limits. Please retry the request with exponential backoff.",
    "status": "Too Many Requests",
}


def attempt(send, emulator, event, count):
    return send(emulator, [event(number) for number in range(count)]).status_code


def test_no_limit_by_default(emulator, send, event):
    """Without settings nothing is limited."""
    assert {attempt(send, emulator, event, 2000) for _ in range(3)} == {200}


def test_rolling_window(emulator, send, event, clock):
    """In any window no more than the limit is accepted; a refused request counts nothing."""
    emulator.set_limits(rolling_limit=10, rolling_window_secs=60)
    steps = [(0, 6), (30, 4), (0, 1), (29, 1), (1, 7), (0, 6), (29, 1), (1, 4)]
    answers = []
    for secs, count in steps:
        clock.now += secs
        answers.append(attempt(send, emulator, event, count))
    assert answers == [200, 200, 429, 429, 429, 200, 429, 200]
    assert emulator.stats()["events_rate_limited"] == 1 + 1 + 7 + 1


def test_documented_answer(emulator, send, event):
    """The answer is the documented 429, without Retry-After, and nothing is stored."""
    emulator.set_limits(rolling_limit=1)
    answer = send(emulator, [event(0), event(1)])
    assert (answer.status_code, answer.json()) == (429, LIMITED)
    assert "Retry-After" not in answer.headers
    assert emulator.events() == []


def test_token_bucket(emulator, send, event, clock):
    """The bucket holds one second's worth, refills with time, and a refused request takes nothing."""
    emulator.set_limits(rate_limit=100)
    steps = [(0, 100), (0, 1), (0.5, 51), (0, 50), (10, 100), (0, 1)]
    answers = []
    for secs, count in steps:
        clock.now += secs
        answers.append(attempt(send, emulator, event, count))
    assert answers == [200, 429, 429, 200, 200, 429]


def test_burst(emulator, send, event):
    """The bucket may hold another amount."""
    emulator.set_limits(rate_limit=1, rate_limit_burst=5)
    assert [attempt(send, emulator, event, count) for count in (4, 1, 1)] == [200, 200, 429]


def test_a_request_above_the_bucket(emulator, send, event, clock):
    """A request larger than the bucket passes when the bucket is full, and its debt is paid back first."""
    emulator.set_limits(rate_limit=10)
    assert attempt(send, emulator, event, 30) == 200
    clock.now += 2.9
    assert attempt(send, emulator, event, 10) == 429
    clock.now += 0.1
    assert attempt(send, emulator, event, 10) == 200


def test_both_limits(emulator, send, event):
    """A request that one limit refuses counts in neither."""
    emulator.set_limits(rate_limit=10, rolling_limit=5)
    assert [attempt(send, emulator, event, count) for count in (6, 6, 5)] == [429, 429, 200]


def test_refused_events_count(emulator, send, event):
    """Events that fail validation count towards the limit all the same."""
    emulator.set_limits(rolling_limit=2)
    assert [send(emulator, [{}]).status_code for _ in range(3)] == [400, 400, 429]


def test_limits_at_the_start(send, event):
    """Limits given at the start hold, and return with a reset."""
    with Emulator(rolling_limit=1, clock=lambda: 1_750_000_000.0) as emulator:
        assert [attempt(send, emulator, event, 1) for _ in range(2)] == [200, 429]
        emulator.set_limits()
        assert attempt(send, emulator, event, 5) == 200
        emulator.reset()
        assert attempt(send, emulator, event, 2) == 429


def test_use_is_shown(emulator, send, event, http):
    """The statistics and the control channel tell how much of each limit is used."""
    emulator.set_limits(rate_limit=8, rolling_limit=4)
    attempt(send, emulator, event, 2)
    limits = emulator.stats()["limits"]
    assert (limits["rate_limit_use"], limits["rolling_limit_use"]) == (0.25, 0.5)
    assert http.get(f"{emulator.url}/_emulator/limits").json() == limits


@pytest.mark.parametrize("limits", [{"rate": 1}, {"rate_limit": 0}, {"rolling_limit": "x"}, {"rate_limit": True}])
def test_bad_limits(emulator, limits):
    """A limit that cannot be understood is refused with the valid names."""
    with pytest.raises(
        ValueError, match="Valid keys: rate_limit, rate_limit_burst, rolling_limit, rolling_window_secs"
    ):
        emulator.set_limits(**limits)
