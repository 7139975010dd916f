"""The search for events at fault, against models of a server that refuses whole requests."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_mixpanel.core.sending.culprits import MAX_VAIN_REQUESTS, Delivery
from beam_mixpanel.core.sending.lessons import HOPELESS_EVENTS, Lessons
from beam_mixpanel.core.sending.steps import (
    IDENTITY_REFUSED,
    NOT_TOLD_APART,
    Ask,
    Blame,
    End,
    Leave,
    Verdict,
)

IDENTITY_WORDS = "identity events are not allowed when project is using simplified identity management"
ACCEPTED = Verdict(accepted=True)

Server = Callable[[Sequence[int], int], Verdict]


class Ended(NamedTuple):
    """What became of a batch."""

    requests: list[list[int]]
    imported: set[int]
    rejected: dict[int, str]
    left: set[int]
    end: End | None

    @property
    def all_settled(self) -> set[int]:
        return self.imported | self.rejected.keys() | self.left


def deliver(events: Sequence[bytes], server: Server, lessons: Lessons | None = None) -> Ended:
    """Let a server answer what is asked; no event may be asked for once it is settled, nor settled twice."""
    steps = Delivery(events, lessons or Lessons()).steps()
    ended = Ended([], set(), {}, set(), None)
    verdict: Verdict | None = None
    while True:
        try:
            step = steps.send(verdict)
        except StopIteration:
            return ended
        verdict = None
        if isinstance(step, End):
            return ended._replace(end=step)
        places = list(step.places)
        assert places
        assert len(set(places)) == len(places)
        assert not ended.all_settled & set(places)
        if isinstance(step, Ask):
            ended.requests.append(places)
            verdict = server(places, sum(len(events[place]) + 1 for place in places) + 1)
            ended.imported.update(set(places) - set(verdict.open) if verdict.accepted else ())
        elif isinstance(step, Blame):
            ended.rejected.update(dict.fromkeys(places, step.reason))
        else:
            assert isinstance(step, Leave)
            assert step.reason == NOT_TOLD_APART
            ended.left.update(places)


def refusing(guilty: set[int], message: str = "no reason given") -> Server:
    """Refuse a request that holds a culprit."""

    def answer(places: Sequence[int], body_bytes: int) -> Verdict:
        if guilty & set(places):
            return Verdict(places, refused=True, message=message, body_bytes=body_bytes)
        return ACCEPTED._replace(body_bytes=body_bytes)

    return answer


def too_large(most_bytes: float, largest_event: float = math.inf, sizes: Sequence[int] = ()) -> Server:
    """Refuse bodies above a size, and such with an event above another."""

    def answer(places: Sequence[int], body_bytes: int) -> Verdict:
        if body_bytes > most_bytes or any(sizes[place] > largest_event for place in places if sizes):
            return Verdict(places, refused=True, too_large=True, message="too large", body_bytes=body_bytes)
        return ACCEPTED._replace(body_bytes=body_bytes)

    return answer


def event(name: str = "e", **properties: Any) -> bytes:
    return json.dumps({"event": name, "properties": properties}).encode()


def plain(count: int) -> list[bytes]:
    return [event("abc"[number % 3], number=number) for number in range(count)]


EVENTS = st.builds(
    event,
    st.sampled_from(["a", "b", "$identify", "$merge"]),
    x=st.none() | st.integers(0, 2**60) | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    y=st.booleans(),
) | st.sampled_from([b"", b"not JSON", b"[1]", b'{"event":7}', b'{"event":"\\u0024identify"}', b"\xff"])


class TestUnnamed:
    @settings(max_examples=300, deadline=None)
    @given(st.lists(EVENTS, min_size=1, max_size=60), st.data())
    def test_nobody_innocent_is_rejected(self, events: list[bytes], data: st.DataObject) -> None:
        """Whoever is guilty: every event has one fate, the innocent are imported or left, the requests are bounded."""
        guilty = data.draw(st.sets(st.sampled_from(range(len(events)))))
        lessons = Lessons()
        lessons.accepted_any = data.draw(st.booleans())
        ended = deliver(events, refusing(guilty), lessons)
        by_kind = {place for place, reason in ended.rejected.items() if reason == IDENTITY_REFUSED}
        assert ended.rejected.keys() - by_kind <= guilty
        assert ended.imported <= set(range(len(events))) - guilty
        assert len(ended.requests) <= 3 + MAX_VAIN_REQUESTS + HOPELESS_EVENTS
        if ended.end:
            assert not ended.imported
            assert len(guilty) >= HOPELESS_EVENTS
        else:
            assert ended.all_settled == set(range(len(events)))
            alone = {places[0] for places in ended.requests if len(places) == 1}
            assert ended.rejected.keys() - by_kind <= alone

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 40), st.integers(0, 2**32))
    def test_few_culprits_cost_no_innocent_event(self, guilty_count: int, seed: int) -> None:
        """Up to 40 of 500 events that differ in nothing else: all others are imported, within the stated bound."""
        guilty = set(random.Random(seed).sample(range(500), guilty_count))
        ended = deliver(plain(500), refusing(guilty))
        assert (ended.rejected.keys(), ended.left) == (guilty, set())
        assert len(ended.requests) <= 12 + guilty_count * (math.log2(500 / guilty_count) + 3)

    @pytest.mark.parametrize(
        "fault",
        [
            lambda number: event("bad", number=number),
            lambda number: event("a", number=number, extra=1),
            lambda number: event("a", number=str(number)),
            lambda number: event("a", number=number, text="\x00"),
            lambda number: event("a", number=2**60 + number),
            lambda number: event("a", number=number, text="x" * 3000),
        ],
        ids=["name", "property", "type", "characters", "large integer", "size"],
    )
    def test_what_culprits_have_in_common_finds_them(self, fault: Callable[[int], bytes]) -> None:
        """100 of 2000 with something in common: found by some 20 requests, and each proven by one of its own."""
        events = [event("abc"[n % 3], number=n, text="ok") for n in range(2000)]
        guilty = set(range(7, 2000, 20))
        for place in guilty:
            events[place] = fault(place)
        ended = deliver(events, refusing(guilty))
        assert (ended.rejected.keys(), ended.left) == (guilty, set())
        assert len(ended.requests) <= 100 + 30

    def test_later_batches_set_suspects_apart(self) -> None:
        """Once a name or a property is suspected, the others of a batch go through in its first request."""
        events = plain(500)
        for place in (3, 200, 401):
            events[place] = event("bad", number=place)
        lessons = Lessons()
        first = deliver(events, refusing({3, 200, 401}), lessons)
        assert first.rejected.keys() == {3, 200, 401}
        second = deliver(events, refusing({3, 200, 401}), lessons)
        assert second.rejected.keys() == {3, 200, 401}
        assert len(second.requests) == 1 + 1 + 3
        cured = deliver(events, refusing(set()), lessons)
        assert (len(cured.imported), len(cured.requests)) == (500, 2)
        assert len(deliver(events, refusing(set()), lessons).requests) == 1

    def test_a_server_that_refuses_from_now_on_costs_no_request_an_event(self) -> None:
        """Where nothing of a batch is accepted, the search is given up; what was not refused alone is left."""
        lessons = Lessons()
        lessons.accepted_any = True
        ended = deliver(plain(2000), refusing(set(range(2000))), lessons)
        assert len(ended.requests) == 1 + MAX_VAIN_REQUESTS
        assert len(ended.left) > 1900

    def test_a_refusal_that_ends_rejects_nobody(self) -> None:
        """Two requests refused while nothing was accepted yet, the second of a single event: all is imported."""
        answers = iter([refusing({0}), refusing(set(range(2000)))])
        ended = deliver(plain(2000), lambda *asked: next(answers, refusing(set()))(*asked))
        assert (ended.imported, ended.rejected) == (set(range(2000)), {})


class TestIdentityEvents:
    @pytest.mark.parametrize("count", [1, 2, 5, 100, 1999])
    def test_they_cost_one_request_once(self, count: int) -> None:
        """The words refuse exactly the identity events; the others are sent once, and in later batches at first."""
        verbs = set(range(count))
        events = [event(("$identify", "$create_alias", "$merge")[n % 3] if n in verbs else "e") for n in range(2000)]
        lessons = Lessons()
        first = deliver(events, refusing(verbs, IDENTITY_WORDS), lessons)
        assert first.rejected == dict.fromkeys(verbs, IDENTITY_REFUSED)
        assert [len(places) for places in first.requests] == [2000, 2000 - count]
        later = deliver(events, refusing(verbs, IDENTITY_WORDS), lessons)
        assert later.rejected == dict.fromkeys(verbs, IDENTITY_REFUSED)
        assert [len(places) for places in later.requests] == [2000 - count]

    def test_a_batch_of_nothing_else_is_not_the_end(self) -> None:
        """A file that begins with identity events goes on: those that follow may be good."""
        lessons = Lessons()
        verbs = [event("$identify")] * 2000
        for _ in range(2):
            assert len(deliver(verbs, refusing(set(range(2000)), IDENTITY_WORDS), lessons).rejected) == 2000
        assert len(deliver(plain(10), refusing(set()), lessons).imported) == 10

    def test_other_words_are_believed_after_three_of_a_name(self) -> None:
        """Where the words do not speak of identity, three single events of a name, and the accepted rest, say it."""
        events = [event("$identify" if n % 20 == 0 else "e", number=n) for n in range(2000)]
        verbs = set(range(0, 2000, 20))
        lessons = Lessons()
        first = deliver(events, refusing(verbs), lessons)
        assert first.rejected.keys() == verbs
        assert len(first.requests) == 5
        assert [len(places) for places in deliver(events, refusing(verbs), lessons).requests] == [1900]

    def test_a_name_that_was_accepted_is_not_refused_as_such(self) -> None:
        """In a project that takes identity events, only the bad ones are rejected."""
        events = [event("$identify" if n % 20 == 0 else "e", number=n) for n in range(2000)]
        ended = deliver(events, refusing({0, 20, 60}))
        assert ended.rejected == {0: "rejected", 20: "rejected", 60: "rejected"}
        assert not ended.left


class TestHopeless:
    @pytest.mark.parametrize("size", [HOPELESS_EVENTS, 100, 2000])
    def test_a_job_that_can_never_succeed_ends(self, size: int) -> None:
        """The batch and a few single events are refused with one message, and nothing was accepted: the job ends."""
        ended = deliver(plain(size), refusing(set(range(size)), "project 7 is gone, request 0a1b-22"))
        assert ended.end is not None
        assert ended.end.message == "project 7 is gone, request 0a1b-22"
        assert len(ended.requests) == 1 + HOPELESS_EVENTS

    def test_small_batches_count_together(self) -> None:
        """Batches of one event: the twelfth refusal ends the job."""
        lessons = Lessons()
        ends = [deliver(plain(1), refusing({0}), lessons).end for _ in range(HOPELESS_EVENTS)]
        assert [end is None for end in ends] == [True] * (HOPELESS_EVENTS - 1) + [False]

    def test_one_accepted_event_is_hope(self) -> None:
        """Where one event of a sample is accepted, the others are searched."""
        ended = deliver(plain(100), refusing(set(range(100)) - {99 * 11 // 12}))
        assert ended.end is None or not ended.imported

    def test_messages_that_differ_are_no_proof(self) -> None:
        """Refusals in different words do not end the job."""
        words = iter("abcdefghijklmnopqrstuvwxyz" * 100)
        ended = deliver(
            plain(100), lambda places, size: Verdict(places, refused=True, message=next(words), body_bytes=size)
        )
        assert ended.end is None
        assert ended.all_settled == set(range(100))


class TestTooLarge:
    @settings(max_examples=200, deadline=None)
    @given(
        sizes=st.lists(st.integers(40, 3000), min_size=1, max_size=80),
        most_bytes=st.integers(100, 30_000),
        largest_event=st.integers(40, 4000),
    )
    def test_exactly_what_is_too_large_alone_is_rejected(
        self, sizes: list[int], most_bytes: int, largest_event: int
    ) -> None:
        """Whatever limits there are on bodies and on events: all that fits alone is imported, and nothing else."""
        events = [b"x" * size for size in sizes]
        ended = deliver(events, too_large(most_bytes, largest_event, sizes))
        at_fault = {place for place, size in enumerate(sizes) if size + 2 > most_bytes or size > largest_event}
        if ended.end:
            assert len(at_fault) == len(sizes) >= HOPELESS_EVENTS
            return
        assert ended.rejected.keys() == at_fault
        assert ended.imported == set(range(len(sizes))) - at_fault

    def test_one_event_that_is_too_large_alone_shrinks_nobodys_requests(self) -> None:
        """It costs its own batch three requests; later ones are sent whole."""
        sizes = [300] * 2000
        sizes[700] = 100_000
        lessons = Lessons()
        ended = deliver([b"x" * size for size in sizes], too_large(math.inf, 50_000, sizes), lessons)
        assert [len(places) for places in ended.requests] == [2000, 1, 1999]
        assert lessons.max_body_bytes == math.inf

    def test_many_events_that_are_too_large_alone_are_found_by_size(self) -> None:
        """500 of 2000: a dozen requests find the size from which on nothing is taken."""
        sizes = [300 + place for place in range(2000)]
        ended = deliver([b"x" * size for size in sizes], too_large(math.inf, 1800, sizes))
        assert ended.rejected.keys() == set(range(1501, 2000))
        assert len(ended.requests) <= 18

    def test_a_size_is_learnt_and_recovers(self) -> None:
        """A limit on bodies is found once; when it is gone, requests become whole again."""
        events = [b"x" * 999] * 2000
        lessons = Lessons()
        first = deliver(events, too_large(600_000), lessons)
        assert len(first.imported) == 2000
        assert len(first.requests) <= 10
        for _ in range(5):
            assert len(deliver(events, too_large(600_000), lessons).requests) <= 6
        for _ in range(60):
            last = deliver(events, too_large(math.inf), lessons)
        assert len(last.requests) == 1

    def test_a_limit_that_stays_costs_few_refusals(self) -> None:
        """Larger sizes are tried ever more seldom: a hundred batches meet fewer than twenty refusals."""
        events = [b"x" * 999] * 2000
        lessons = Lessons()
        refused = 0
        for _ in range(100):
            ended = deliver(events, too_large(500_000), lessons)
            refused += sum(len(places) * 1000 > 500_000 for places in ended.requests)
            assert len(ended.imported) == 2000
        assert refused < 20

    @pytest.mark.parametrize("accepted_before", [0, 50, 5000])
    def test_413_for_everything_ends_the_job(self, accepted_before: int) -> None:
        """From the start, or after smaller or larger events were accepted: the job ends after some batches at most."""
        lessons = Lessons()
        if accepted_before:
            deliver([b"x" * accepted_before] * 20, too_large(math.inf), lessons)
        ended = [deliver([b"x" * 300] * 2000, too_large(0), lessons) for _ in range(3)]
        assert next(each.end for each in ended if each.end).too_large
        assert all(len(each.requests) <= 64 for each in ended)

    def test_an_odd_413_shrinks_nobodys_requests(self) -> None:
        """One event that gets a 413 although larger ones do not is found, and no size is learnt of it."""
        events = [b"x" * 300] * 2000
        lessons = Lessons()

        def odd(places: Sequence[int], body_bytes: int) -> Verdict:
            if 5 in places:
                return Verdict(places, refused=True, too_large=True, message="too large", body_bytes=body_bytes)
            return ACCEPTED._replace(body_bytes=body_bytes)

        deliver([b"x" * 400] * 3, too_large(math.inf), lessons)
        ended = deliver(events, odd, lessons)
        assert ended.rejected == {5: "too_large"}
        assert len(ended.imported) == 1999
        assert len(ended.requests) <= 30
        assert lessons.max_body_bytes == math.inf


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=40), st.data())
def test_whatever_is_answered_every_event_has_one_fate(events: list[bytes], data: st.DataObject) -> None:
    """A server that answers at random, refuses parts, names some: the search ends, within bounds, and loses nothing."""

    def mad(places: Sequence[int], body_bytes: int) -> Verdict:
        kind = data.draw(st.sampled_from(["ok", "refused", "too large", "partly", "gone"]))
        if kind in ("ok", "gone"):
            return Verdict(accepted=kind == "ok", body_bytes=body_bytes)
        still_open = places[: data.draw(st.integers(1, len(places)))] if kind == "partly" else places
        too_large = data.draw(st.booleans()) if kind == "partly" else kind == "too large"
        return Verdict(still_open, True, too_large, data.draw(st.sampled_from("ab")), body_bytes, kind == "partly")

    steps = Delivery(events, Lessons()).steps()
    settled: Counter[int] = Counter()
    requests = 0
    verdict: Verdict | None = None
    while True:
        try:
            step = steps.send(verdict)
        except StopIteration:
            break
        verdict = None
        if isinstance(step, End):
            return
        if isinstance(step, Ask):
            requests += 1
            verdict = mad(step.places, 2 + sum(len(events[place]) + 1 for place in step.places))
            settled.update(set(step.places) - set(verdict.open))
        else:
            settled.update(step.places)
    assert settled == Counter(range(len(events)))
    assert requests <= 3 * MAX_VAIN_REQUESTS + 2 * len(events)
