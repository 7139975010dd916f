"""Which events to send next, given what Mixpanel said of those sent before; a pure plan, which sends nothing itself.

Mixpanel names the events that it refuses. Where it names none, an innocent event may be among those refused, so:

* what was refused alone is rejected, and nothing else, but for two refusals that say more: that of identity events
  names their kind, and a 413 of one event is true of all larger ones;
* what is left when the search is given up is not rejected, but undelivered;
* a server that has accepted nothing, and refuses single events with one message, refuses everything: the job ends.

The search is a generator, `Delivery.steps`: it yields steps, and is sent a `Verdict` for each `Ask`. One module, since
all ways of asking share what is settled, what is waiting, and what was learnt of sizes.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from typing import Final, NamedTuple

from beam_mixpanel.core.sending.lessons import HOPELESS_EVENTS, IDENTITY_SAMPLE, Lessons
from beam_mixpanel.core.sending.search import Search
from beam_mixpanel.core.sending.steps import (
    IDENTITY_REFUSED,
    NOT_TOLD_APART,
    Ask,
    Blame,
    End,
    Leave,
    Step,
    Verdict,
)
from beam_mixpanel.core.sending.traits import could_have, identity_events, traits_of, union

MAX_VAIN_REQUESTS: Final = 64
"""For the search in a batch of which nothing was accepted: a server that refuses everything, or almost."""
MAX_SEARCH_SHARE: Final = 0.5
"""Of a batch's events: so many requests, at most, for the search in it. 100 culprits among 2,000 events that differ in
nothing else take some 700 (`make bench-refusals`), and whoever has more has less than 2 events a request to gain."""
_IDENTITY_WORDS: Final = re.compile(r"identity (event|management)", re.IGNORECASE)
"""Of `identity events are not allowed when project is using simplified identity management`, as recorded by
https://github.com/ak--47/mixpanel-import in probes of the live server."""

_TOO_LARGE_SHARE: Final = 0.75
"""Of a size that was too large; above it, nothing of the same batch is sent whole. Just below that size, parts that are
a little smaller would each find out anew; a half would cut the halves of a batch once more than they need."""

_CURE_OF_ALL: Final = (
    "it was the same for single events, and no event was ever accepted, so the job ends; check the project id, the API "
    "host, any proxy between, and one of the events by themselves"
)
_CURE_OF_SIZE: Final = (
    "it was the same for the smallest event alone, so the job ends; a proxy between, or the API host, takes no larger "
    "requests"
)


def _end(verdict: Verdict) -> End:
    cure = _CURE_OF_SIZE if verdict.too_large else _CURE_OF_ALL
    return End(verdict.message, cure, verdict.too_large)


class _Refused(NamedTuple):
    """Events that a request held when it was refused."""

    places: Sequence[int]
    verdict: Verdict


class Delivery:
    """What to do with the events of one batch.

    Args:
      events: encoded.
      lessons: of all batches; read and changed while a step is made.
    """

    def __init__(self, events: Sequence[bytes], lessons: Lessons) -> None:
        self._events = events
        self._lessons = lessons
        self._settled: list[Sequence[int]] = []
        self._waiting: deque[Sequence[int] | _Refused] = deque()
        self._max_body_bytes = math.inf
        self._refused_sizes: list[int] = []
        self._accepted_sizes: list[int] = []
        self._search_requests = 0
        self._accepted = False
        self._searching = False
        self._tried_without_identity = False
        self._suspects: frozenset[int] = frozenset()

    @property
    def open(self) -> list[int]:
        """The places of the events whose fate is not known yet."""
        known = {place for places in self._settled for place in places}
        return [place for place in range(len(self._events)) if place not in known]

    def steps(self) -> Generator[Step, Verdict | None, None]:
        """Yield what to do, until every event is settled; each `Ask` expects a `Verdict`."""
        places: Sequence[int] = range(len(self._events))
        if self._lessons.identity_refusals:
            refused = yield from self._blame_identity_events(places)
            if refused:
                places = [place for place in places if place not in refused]
        self._waiting.extend(each for each in self._without_suspects(places) if each)
        while self._waiting:
            next_one = self._waiting.popleft()
            if isinstance(next_one, _Refused):
                yield from self._explain(next_one)
            else:
                yield from self._send(next_one)
        self._learn_size()

    def _learn_size(self) -> None:
        """Keep to the size that was accepted of what was too large, if it was the size."""
        too_large = min(self._refused_sizes, default=0)
        smaller = [size for size in self._accepted_sizes if size < too_large]
        if smaller:
            self._lessons.refused_size(max(smaller))

    def give_up_search(self) -> None:
        """Ask no more about events that are known to have been refused; they are left."""
        self._search_requests = len(self._events) + MAX_VAIN_REQUESTS

    # Asking

    def _send(self, places: Sequence[int]) -> Generator[Step, Verdict | None, None]:
        """Send events of which nothing is known, in as many requests as the sizes need."""
        packs = self._packs(places, min(self._lessons.max_body_bytes, self._max_body_bytes))
        self._waiting.extendleft(reversed(packs[1:]))
        verdict = yield from self._ask(packs[0], in_search=False)
        if verdict.refused:
            self._search_requests += self._searching
            self._waiting.appendleft(_Refused(verdict.open, verdict))

    def _ask(self, places: Sequence[int], *, in_search: bool = True) -> Generator[Step, Verdict | None, Verdict]:
        self._search_requests += in_search
        verdict = yield Ask(places)
        assert verdict is not None  # noqa: S101 - the protocol of the generator
        settled = places
        if verdict.open:
            still_open = set(verdict.open)
            settled = [place for place in places if place not in still_open]
        self._settled.append(settled)
        if verdict.accepted:
            self._accepted = True
            self._accepted_sizes.append(verdict.body_bytes)
            self._lessons.accepted(max((len(self._events[place]) for place in settled), default=0))
            if not self._suspects.isdisjoint(settled):
                self._acquit(settled)
        return verdict

    def _blame(self, places: Sequence[int], verdict: Verdict) -> Blame:
        """Reject events for what the server said of them, or of a smaller one."""
        self._settled.append(places)
        reason = "too_large" if verdict.too_large else "rejected"
        return Blame(places, reason, verdict.message, verdict.too_large)

    def _leave(self, places: Sequence[int], message: str) -> Leave:
        self._settled.append(places)
        return Leave(places, NOT_TOLD_APART, message)

    @property
    def _exhausted(self) -> bool:
        most = MAX_VAIN_REQUESTS
        if self._accepted:
            most = max(most, int(len(self._events) * MAX_SEARCH_SHARE))
        return self._search_requests >= most

    def _packs(self, places: Sequence[int], max_bytes: float) -> list[Sequence[int]]:
        """Cut events into groups whose bodies stay within a size, as far as single events do."""
        if max_bytes == math.inf:
            return [places]
        packs: list[list[int]] = []
        size = math.inf
        for place in places:
            size += len(self._events[place]) + 1
            if size > max_bytes:
                packs.append([])
                size = len(self._events[place]) + 2
            packs[-1].append(place)
        return [*packs]

    # Explaining a refusal

    def _explain(self, refused: _Refused) -> Generator[Step, Verdict | None, None]:
        self._searching = True
        places, verdict = refused
        if len(places) == 1:
            yield from self._refused_alone(refused)
        elif self._exhausted:
            yield self._leave(places, verdict.message)
        elif verdict.too_large:
            yield from self._too_large(refused)
        else:
            yield from self._unnamed(refused)

    def _refused_alone(self, refused: _Refused) -> Generator[Step, Verdict | None, None]:
        (place,), verdict = refused
        if verdict.too_large:
            yield from self._one_too_large(place, verdict)
            return
        if self._lessons.refused_alone(verdict.message):
            yield _end(verdict)
        yield self._blame([place], verdict)

    # 400 that names no event

    def _unnamed(self, refused: _Refused) -> Generator[Step, Verdict | None, None]:
        places, verdict = refused
        if _IDENTITY_WORDS.search(verdict.message) and self._identity_events(places):
            self._lessons.identity_refused(verdict.message)
            refused_ones = yield from self._blame_identity_events(places)
            self._searching = False
            others = [place for place in places if place not in refused_ones]
            if others:
                self._waiting.appendleft(others)
            return
        verbs: dict[int, str] = {}
        if not self._tried_without_identity:
            verbs = self._identity_events(places)
        others = [place for place in places if place not in verbs]
        if verbs and others:
            self._tried_without_identity = True
            yield from self._without_identity(verbs, others)
        else:
            yield from self._search(refused)

    def _identity_events(self, places: Sequence[int]) -> dict[int, str]:
        found = identity_events([self._events[place] for place in places])
        return {places[nth]: name for nth, name in found.items()}

    def _blame_identity_events(self, places: Sequence[int]) -> Generator[Step, Verdict | None, set[int]]:
        """Reject the events of names that this project does not take, and return their places."""
        refused: set[int] = set()
        verbs = self._identity_events(places)
        for name, message in self._lessons.identity_refusals.items():
            of_name = [place for place, each in verbs.items() if each == name]
            if of_name:
                self._settled.append(of_name)
                yield Blame(of_name, IDENTITY_REFUSED, message)
                refused.update(of_name)
        return refused

    def _without_identity(self, verbs: dict[int, str], others: Sequence[int]) -> Generator[Step, Verdict | None, None]:
        """Find out whether it was for the identity events that a batch was refused, in words that do not say so."""
        answer = yield from self._ask(others)
        if answer.refused:
            self._waiting.extendleft([list(verbs), _Refused(answer.open, answer)])
            return
        for name in sorted(set(verbs.values())):
            for place in [place for place, each in verbs.items() if each == name][:IDENTITY_SAMPLE]:
                answer = yield from self._ask([place])
                del verbs[place]
                self._lessons.identity_answer(name, refused=answer.refused, message=answer.message)
                if answer.refused:
                    self._waiting.appendleft(_Refused(answer.open, answer))
        refused = yield from self._blame_identity_events(list(verbs))
        rest = [place for place in verbs if place not in refused]
        if rest:
            self._waiting.append(rest)

    def _search(self, refused: _Refused) -> Generator[Step, Verdict | None, None]:
        """Find those at fault: sample, then bisect, with an eye on what those found have in common."""
        places, verdict = refused
        if not self._lessons.accepted_any:
            places = yield from self._sample(places)
        search = Search(places, self._events, self._lessons.suspicions)
        message = verdict.message
        while search.open:
            if self._exhausted:
                yield self._leave(search.open, message)
                break
            group = search.next_group()
            answer = yield from self._ask(group)
            if answer.refused and answer.too_large:
                # A matter of size, not of what the events hold: it says nothing of traits.
                search.take_away()
                self._waiting.append(_Refused(answer.open, answer))
            elif answer.refused and len(answer.open) == 1 == len(group):
                message = answer.message
                if self._lessons.refused_alone(message):
                    yield _end(answer)
                search.refused_alone()
                yield self._blame(group, answer)
            elif answer.refused:
                message = answer.message
                search.refused(answer.open)
            else:
                search.accepted()
        self._lessons.suspicions = search.lasting_suspicions

    def _sample(self, places: Sequence[int]) -> Generator[Step, Verdict | None, Sequence[int]]:
        """Send single events until one is accepted; where none is, the job ends, or there was none but culprits.

        One that is refused while nothing was ever accepted is not proven to be at fault: it is tried once more when
        the server has shown that it accepts others.
        """
        spread = [places[nth * len(places) // HOPELESS_EVENTS] for nth in range(HOPELESS_EVENTS)]
        sample = list(dict.fromkeys(spread))
        refused: list[int] = []
        for place in sample:
            answer = yield from self._ask([place])
            if not answer.refused:
                return [each for each in places if each != place]
            if self._lessons.refused_alone(answer.message):
                yield _end(answer)
            refused.append(place)
        if len(refused) == len(places):
            yield self._blame(refused, answer)
            return ()
        return places

    # 413

    def _too_large(self, refused: _Refused) -> Generator[Step, Verdict | None, None]:
        """Find out whether all events together are too large, or some of them alone."""
        places, verdict = refused
        by_size = sorted(places, key=lambda place: (len(self._events[place]), place))
        largest = by_size[-1]
        if len(self._events[largest]) <= self._lessons.largest_accepted:
            self._smaller(places, verdict)
            return
        alone = yield from self._ask([largest])
        others = [place for place in places if place != largest]
        if not alone.refused:
            self._smaller(others, verdict)
            return
        self._waiting.appendleft(_Refused([largest], alone))
        rest = yield from self._ask(others)
        if not rest.refused:
            return
        if not rest.too_large:
            self._waiting.append(_Refused(rest.open, rest))
            return
        still = set(rest.open)
        yield from self._too_large_alone([place for place in by_size if place in still])

    def _smaller(self, places: Sequence[int], verdict: Verdict) -> None:
        """Send half as much at once: no event is too large alone."""
        self._refused_sizes.append(verdict.body_bytes)
        self._max_body_bytes = min(self._max_body_bytes, verdict.body_bytes * _TOO_LARGE_SHARE)
        sizes = [len(self._events[place]) + 1 for place in places]
        packs = self._packs(places, sum(sizes) / 2 + max(sizes) + 1)
        self._waiting.extendleft(reversed(packs))

    def _too_large_alone(self, by_size: list[int]) -> Generator[Step, Verdict | None, None]:
        """Find the size from which on single events are too large: the smallest first, then by bisection.

        What is larger than an event that was refused alone need not be sent: the answer speaks of size.
        """
        low, high = 0, len(by_size)
        middle = 0
        while low < high and not self._exhausted:
            place = by_size[middle]
            answer = yield from self._ask([place])
            if not answer.refused:
                low = middle + 1
            elif not answer.too_large:
                yield self._blame([place], answer)
                by_size.pop(middle)
                high -= 1
            elif len(self._events[place]) <= self._lessons.largest_accepted:
                self._wait(each for each in by_size if each != place)
                yield from self._one_too_large(place, answer)
                return
            else:
                larger = by_size[middle:high]
                hopeless = self._lessons.refused_alone(answer.message, len(larger))
                if hopeless or (middle == 0 and self._lessons.refused_smallest()):
                    yield _end(answer)
                yield self._blame(larger, answer)
                high = middle
            middle = (low + high) // 2
        self._wait(by_size)

    def _wait(self, places: Iterable[int]) -> None:
        """Keep those that are not settled to be sent later, in their order."""
        known = {place for places in self._settled for place in places}
        rest = sorted(place for place in places if place not in known)
        if rest:
            self._waiting.append(rest)

    def _one_too_large(self, place: int, verdict: Verdict) -> Generator[Step, Verdict | None, None]:
        """Reject an event that was refused alone; what was learnt of sizes while it was in company is void."""
        self._refused_sizes.clear()
        self._max_body_bytes = math.inf
        contradicts = len(self._events[place]) <= self._lessons.largest_accepted
        if self._lessons.refused_alone(verdict.message, contradicts=contradicts):
            yield _end(verdict)
        yield self._blame([place], verdict)
        if contradicts:
            yield from self._ask_for_the_smallest()

    def _ask_for_the_smallest(self) -> Generator[Step, Verdict | None, None]:
        """Find out whether the server, which has accepted larger events, takes any now."""
        others = self.open
        if not others or self._exhausted:
            return
        smallest = min(others, key=lambda place: len(self._events[place]))
        self._drop_from_waiting(smallest)
        answer = yield from self._ask([smallest])
        if answer.refused:
            self._waiting.appendleft(_Refused(answer.open, answer))

    def _drop_from_waiting(self, place: int) -> None:
        kept: deque[Sequence[int] | _Refused] = deque()
        for each in self._waiting:
            if isinstance(each, _Refused):
                left = [other for other in each.places if other != place]
                if left:
                    kept.append(each._replace(places=left))
            else:
                left = [other for other in each if other != place]
                if left:
                    kept.append(left)
        self._waiting = kept

    # What earlier batches taught

    def _without_suspects(self, places: Sequence[int]) -> list[Sequence[int]]:
        """Set apart the events that have what earlier culprits had, so that the others go through at once."""
        suspicions = self._lessons.suspicions
        if not suspicions:
            return [places]
        whole = b"\n".join(self._events)
        likely = [trait for trait in suspicions if could_have(trait, whole)]
        self._suspects = frozenset(
            place
            for place in places
            if any(could_have(trait, self._events[place]) for trait in likely)
            and not suspicions.isdisjoint(traits_of(self._events[place]))
        )
        return [[each for each in places if each not in self._suspects], sorted(self._suspects)]

    def _acquit(self, places: Sequence[int]) -> None:
        """Suspect no longer what accepted events have, too."""
        innocent = union(traits_of(self._events[place]) for place in places if place in self._suspects)
        self._lessons.suspicions -= innocent
