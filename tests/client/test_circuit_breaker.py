"""The circuit breaker: when it opens, whom it lets through, how it recovers; with a clock that a test moves."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.client.circuit_breaker import CLOSED, HALF_OPEN, OPEN, PROBE, REFUSE, SEND, CircuitBreaker
from beam_mixpanel.client.client import BatchResult, MixpanelClient
from beam_mixpanel.client.credentials import ProjectToken
from beam_mixpanel.client.transport import Answer
from beam_mixpanel.errors import NoAnswerError, RefusedError

DEADLINE_SECS = 300.0
WHY = "http_503: the server answered 503"
EVENTS = [b'{"event":"A","properties":{}}'] * 3


def _breaker(clock: Any, after_secs: float = 150.0) -> CircuitBreaker:
    return CircuitBreaker(after_secs=after_secs, clock=clock, uniform=lambda low, high: low)


def _opened(clock: Any) -> CircuitBreaker:
    breaker = _breaker(clock)
    clock.now += DEADLINE_SECS
    breaker.gave_up(0.0, WHY)
    return breaker


class TestStates:
    def test_closed_at_first_it_lets_everything_through(self, clock: Any) -> None:
        """Until a batch is given up, every batch is sent."""
        breaker = _breaker(clock)
        assert [breaker.admit() for _ in range(3)] == [SEND] * 3
        assert (breaker.state, breaker.why, breaker.take_counts()) == (CLOSED, "", {})

    def test_a_whole_deadline_without_a_good_answer_opens_it(self, clock: Any) -> None:
        """Batches are refused from then on, and the reason is known."""
        breaker = _opened(clock)
        assert (breaker.state, breaker.why) == (OPEN, WHY)
        assert [breaker.admit() for _ in range(3)] == [REFUSE] * 3

    def test_a_good_answer_to_another_batch_keeps_it_closed(self, clock: Any) -> None:
        """A batch that fails alone says nothing of the server."""
        breaker = _breaker(clock)
        clock.now += 1
        breaker.answered()
        clock.now += DEADLINE_SECS
        breaker.gave_up(0.5, WHY)
        assert breaker.state == CLOSED

    def test_a_batch_that_was_given_up_early_keeps_it_closed(self, clock: Any) -> None:
        """A `Retry-After` beyond the deadline ends a batch at once; that is no outage yet."""
        breaker = _breaker(clock)
        clock.now += 149
        breaker.gave_up(0.0, WHY)
        assert breaker.state == CLOSED

    def test_infinite_after_secs_never_opens(self, clock: Any) -> None:
        """Where undelivered batches fail the job, there is nothing to decide."""
        breaker = _breaker(clock, after_secs=float("inf"))
        clock.now += 1e9
        breaker.gave_up(0.0, WHY)
        assert breaker.admit() == SEND

    def test_one_probe_at_a_time(self, clock: Any) -> None:
        """When the delay is over, one batch is let through; others are refused until its end."""
        breaker = _opened(clock)
        clock.now += 2.99
        assert breaker.admit() == REFUSE
        clock.now += 0.01
        assert [breaker.admit() for _ in range(3)] == [PROBE, REFUSE, REFUSE]
        assert breaker.state == HALF_OPEN

    def test_probes_become_rarer(self, clock: Any) -> None:
        """The delay doubles from 2 s to 60 s, plus jitter; here the least of it, 1 s."""
        breaker = _opened(clock)
        delays = []
        for _ in range(8):
            since = clock.now
            while breaker.admit() != PROBE:
                clock.now += 0.5
            delays.append(clock.now - since)
            breaker.probe_ended()
        assert delays == [3, 5, 9, 17, 33, 61, 61, 61]

    def test_a_good_probe_closes_it(self, clock: Any) -> None:
        """All batches are sent again, and the next outage begins with short delays."""
        breaker = _opened(clock)
        clock.now += 3
        assert breaker.admit() == PROBE
        breaker.answered()
        breaker.probe_ended()
        assert (breaker.state, breaker.why, breaker.admit()) == (CLOSED, "", SEND)
        began_at = clock.now = clock.now + 1
        clock.now += DEADLINE_SECS
        breaker.gave_up(began_at, WHY)
        clock.now += 3
        assert breaker.admit() == PROBE

    def test_a_late_good_answer_closes_it(self, clock: Any) -> None:
        """A request that was under way when it opened may be the first sign that the server is back."""
        breaker = _opened(clock)
        breaker.answered()
        assert breaker.admit() == SEND

    def test_batches_that_give_up_together_open_it_once(self, clock: Any) -> None:
        """Twenty batches that end at one deadline are one outage."""
        breaker = _opened(clock)
        for _ in range(19):
            breaker.gave_up(0.0, WHY)
        clock.now += 3
        assert breaker.admit() == PROBE
        assert breaker.take_counts() == {"circuit_opened": 1, "circuit_probes": 1}
        assert breaker.take_counts() == {}

    def test_each_change_is_logged_once(self, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
        """One line when it opens and one when it closes, whatever happens between."""
        with caplog.at_level(logging.INFO):
            breaker = _opened(clock)
            breaker.gave_up(0.0, WHY)
            breaker.admit()
            breaker.answered()
            breaker.answered()
        assert [record.getMessage().rpartition("(")[2] for record in caplog.records] == [
            "circuit open)",
            "circuit closed)",
        ]

    @given(st.lists(st.sampled_from(["admit", "answered", "gave_up", "probe_ended", "wait"]), max_size=60))
    def test_it_never_sticks(self, steps: list[str]) -> None:
        """Whatever happened, once probes have ended a batch is let through within 65 s."""
        now = [0.0]
        breaker = CircuitBreaker(after_secs=1.0, clock=lambda: now[0], uniform=lambda low, high: high)
        for step in steps:
            if step == "wait":
                now[0] += 7
            elif step == "gave_up":
                breaker.gave_up(now[0] - 2, WHY)
            else:
                getattr(breaker, step)()
        breaker.probe_ended()
        now[0] += 65
        assert breaker.admit() in (SEND, PROBE)


class Server:
    """Is down until a moment of the clock."""

    def __init__(self, clock: Any, back_at: float, status: int = 503) -> None:
        self.clock, self.back_at, self.status = clock, back_at, status
        self.sent_at: list[float] = []

    def __call__(self, url: str, headers: Any, body: bytes) -> Answer:
        self.sent_at.append(self.clock())
        if self.clock() < self.back_at:
            if not self.status:
                raise NoAnswerError("timeout", "no whole answer in time")
            return Answer(self.status, {}, b"")
        return Answer(200, {}, json.dumps({"code": 200, "num_records_imported": 3, "status": "OK"}).encode())


def _client(server: Server, clock: Any, **options: Any) -> MixpanelClient:
    return MixpanelClient(
        ProjectToken("a-token"),
        host="http://localhost",
        transport=server,
        clock=clock,
        sleep=clock.sleep,
        uniform=lambda low, high: low,
        retry_deadline_secs=DEADLINE_SECS,
        **{"circuit_breaker": True} | options,
    )


def _reasons(result: BatchResult) -> set[tuple[str, int]]:
    return {(failure.reason, failure.attempts) for failure in result.failures}


@pytest.mark.parametrize("status", [503, 429, 0])
def test_an_outage_costs_one_deadline_and_ends_by_a_probe(clock: Any, status: int) -> None:
    """The first batch is tried for the whole deadline, later ones not at all, and a probe finds the server back."""
    server = Server(clock, back_at=1000.0, status=status)
    client = _client(server, clock)
    reason = f"http_{status}" if status else "timeout"
    assert {name for name, _ in _reasons(client.import_batch(EVENTS))} == {reason}
    assert DEADLINE_SECS - 66 <= clock.now <= DEADLINE_SECS
    sent, asked_at = len(server.sent_at), clock.now
    results = [client.import_batch(EVENTS) for _ in range(100)]
    assert [_reasons(result) for result in results] == [{("circuit_open", 0)}] * 100
    assert (len(server.sent_at), clock.now) == (sent, asked_at)
    while not (result := client.import_batch(EVENTS)).imported:
        clock.now += 1
    assert result.imported == 3
    assert server.back_at <= clock.now <= server.back_at + 66
    assert client.import_batch(EVENTS).imported == 3
    assert len(server.sent_at) - sent <= (server.back_at - DEADLINE_SECS) / 33 + 8


def test_a_probe_is_sent_once(clock: Any) -> None:
    """It is not tried again and again: its events become undelivered with what the server said."""
    server = Server(clock, back_at=1e9)
    client = _client(server, clock)
    client.import_batch(EVENTS)
    sent = len(server.sent_at)
    clock.now += 10
    assert _reasons(client.import_batch(EVENTS)) == {("http_503", 1)}
    assert len(server.sent_at) == sent + 1


def test_a_probe_that_is_refused_leaves_no_batch_waiting(clock: Any) -> None:
    """A 401 to the probe ends the job, as to any other request, and the circuit is open, not half open."""
    server = Server(clock, back_at=1e9)
    client = _client(server, clock)
    client.import_batch(EVENTS)
    clock.now += 10
    server.status = 401
    with pytest.raises(RefusedError):
        client.import_batch(EVENTS)
    assert client.breaker.state == OPEN


def test_without_it_every_batch_is_tried(clock: Any) -> None:
    """Where undelivered batches fail the bundle, each is tried until its own deadline."""
    server = Server(clock, back_at=1e9)
    client = _client(server, clock, circuit_breaker=False)
    for _ in range(2):
        before = clock.now
        client.import_batch(EVENTS)
        assert clock.now - before >= DEADLINE_SECS - 66
