"""The line before the server: who may pass, when, and how waiting ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from beam_mixpanel.client.gate import Gate
from beam_mixpanel.errors import ClosedError, TurnMissedError


def _gate(clock: Any, *, most: int = 4, rate: float | None = 100.0, **options: Any) -> Gate:
    return Gate(
        max_concurrent_requests=most,
        max_events_per_sec=rate,
        **{"clock": clock, "sleep": clock.sleep} | options,
    )


def _strain(pacer: Any, concurrency: Any, now: float) -> None:
    concurrency.strained(now, now)


def test_requests_are_spaced_by_the_rate(clock):
    """At 100 events/s, requests of 50 events pass half a second apart."""
    gate = _gate(clock)
    times = []
    for _ in range(4):
        with gate.passing(50) as sent_at:
            times.append(sent_at)
    assert times == pytest.approx([0, 0.5, 1.0, 1.5])


def test_waiting_is_done_in_short_naps(clock):
    """However long the wait, a change is noticed within half a second."""
    gate = _gate(clock)
    for _ in range(2):
        with gate.passing(1000):
            pass
    gate.nap(7.3)
    assert max(clock.naps) <= 0.5
    assert clock.now == pytest.approx(17.3)


def test_time_held_back_by_the_ceiling_is_told_in_whole_seconds_once(clock):
    """Throttled time is given in whole seconds, the rest later, and nothing twice."""
    gate = _gate(clock)
    for _ in range(2):
        with gate.passing(250):
            pass
    assert gate.take_throttled_secs() == 2
    assert gate.take_throttled_secs() == 0
    with gate.passing(50):
        pass
    assert gate.take_throttled_secs() == 3


def test_a_backoff_is_not_throttling(clock):
    """Waiting because the server failed is not reported as throttled."""
    gate = _gate(clock)
    gate.nap(30)
    assert gate.take_throttled_secs() == 0


def test_a_broken_block_frees_its_place(clock):
    """What goes wrong inside does not keep a place for ever."""
    gate = _gate(clock, most=1)
    for _ in range(3):
        with pytest.raises(RuntimeError), gate.passing(1):
            raise RuntimeError
    assert gate.in_flight == 0


def _refuse(pacer: Any, concurrency: Any, now: float) -> None:
    pacer.refused(10, now, now, retry_after_secs=30.0)


def test_while_the_server_refuses_a_turn_past_the_deadline_is_missed(clock):
    """After a 429, a request whose turn cannot come in time ends at once, counts as not sent, and holds up nobody."""
    gate = _gate(clock)
    with gate.passing(10):
        pass
    gate.learn(_refuse)
    with pytest.raises(TurnMissedError), gate.passing(10, deadline=29):
        pytest.fail("it must not pass")
    assert clock.now == 0
    with gate.passing(10, deadline=40) as sent_at:
        assert sent_at == pytest.approx(30)
    assert gate.in_flight == 0


def test_a_line_that_moves_is_waited_for_past_the_deadline(clock):
    """A low ceiling of one's own is no refusal: the deadline ends no wait for it."""
    gate = _gate(clock)
    for turn in (0, 10, 20):
        with gate.passing(1000, deadline=5) as sent_at:
            assert sent_at == pytest.approx(turn)


@pytest.mark.parametrize("wait", [lambda gate: gate.nap(1), lambda gate: gate.passing(1).__enter__()])
def test_nothing_passes_a_closed_gate(clock, wait: Callable[[Gate], Any]):
    """A closed gate lets nothing through, and says why with the first words it was given."""
    gate = _gate(clock)
    gate.close("the first reason")
    gate.close("another")
    with pytest.raises(ClosedError, match="the first reason"):
        wait(gate)
    assert clock.naps == []


def test_strain_takes_places_away_from_those_who_wait(clock):
    """After a strain, half as many may be in flight: the next waits until enough have ended."""
    gate = _gate(clock, rate=None)
    blocks = [gate.passing(1) for _ in range(3)]
    for block in blocks:
        block.__enter__()
    gate.learn(_strain)
    passed = threading.Event()

    def pass_through() -> None:
        with gate.passing(1):
            passed.set()

    waiting = threading.Thread(target=pass_through)
    waiting.start()
    blocks[0].__exit__(None, None, None)
    assert not passed.wait(0.05)
    for block in blocks[1:]:
        block.__exit__(None, None, None)
    waiting.join(5)
    assert passed.is_set()


def test_closing_ends_all_who_wait_within_a_second():
    """With the real clock: waiting for the rate, for a place, in line behind another and between attempts all end."""
    limited = Gate(max_concurrent_requests=4, max_events_per_sec=1)
    full = Gate(max_concurrent_requests=1, max_events_per_sec=None)
    with limited.passing(1000):
        pass
    taken = full.passing(1)
    taken.__enter__()
    waits: list[Callable[[], Any]] = [
        *[lambda: limited.passing(1).__enter__()] * 3,
        *[lambda: full.passing(1).__enter__()] * 3,
        lambda: limited.nap(100),
        lambda: full.nap(100),
    ]
    ended = []

    def run(wait: Callable[[], Any]) -> None:
        with pytest.raises(ClosedError):
            wait()
        ended.append(wait)

    threads = [threading.Thread(target=run, args=(wait,)) for wait in waits]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    limited.close("the end")
    full.close("the end")
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began < 1
    assert len(ended) == len(waits)
    taken.__exit__(None, None, None)
