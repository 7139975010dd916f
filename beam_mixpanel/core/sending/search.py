"""The search for those at fault among events that were refused together, by halves and by what they have in common."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from beam_mixpanel.core.sending.traits import Trait, by_likeness, traits_of, union

_MOST_SUSPICIONS: Final = 16
_ENOUGH_CULPRITS: Final = 2
"""With a trait in common that no accepted event has, before later batches set such events apart."""
_HALF_CHANCE: Final = math.log(2)
"""Divided by the share of culprits, it is the size of a group that holds none in half of all cases, so that its answer
tells most (Hwang, https://doi.org/10.1080/01621459.1972.10481257)."""


class Search:
    """The search among events that were refused together, as one group of them after another is asked for.

    At each time there are events that nothing is known of, and perhaps a tainted group, which is known to hold a
    culprit. A tainted group is halved until the culprit stands alone. Then the others are told apart by its traits.

    Attributes:
      suspicions: traits of culprits that no accepted event has.
    """

    def __init__(self, places: Sequence[int], events: Sequence[bytes], suspicions: frozenset[Trait]) -> None:
        traits = [traits_of(events[place]) for place in places]
        self._traits = dict(zip(places, traits, strict=True))
        self._unknown = [places[nth] for nth in by_likeness(traits)]
        self._tainted: list[int] = []
        self._group: list[int] = []
        self._innocent: set[Trait] = set()
        self._culprits: list[int] = []
        self._settled = 0
        self._earlier = suspicions
        self.suspicions = suspicions
        if not all(self._is_suspect(place) for place in self._unknown):
            self._tainted, self._unknown = self._unknown, []

    @property
    def open(self) -> list[int]:
        """The events that are not settled."""
        return self._tainted + self._unknown

    @property
    def lasting_suspicions(self) -> frozenset[Trait]:
        """Those that may be worth looking for in every later batch: of several culprits, and quickly looked for."""
        counts = Counter(trait for place in self._culprits for trait in self._traits[place] & self.suspicions)
        shared = [trait for trait, count in counts.most_common() if count >= _ENOUGH_CULPRITS]
        named = [trait for trait in shared if trait[0] in ("event", "property")]
        return frozenset([*(self._earlier & self.suspicions), *named][:_MOST_SUSPICIONS])

    def next_group(self) -> list[int]:
        """Choose the events to ask for next."""
        if self._tainted:
            self._group = self._tainted[: max(len(self._tainted) // 2, 1)]
        else:
            self._unknown.sort(key=self._is_suspect)
            self._group = self._unknown[: self._group_size()]
        return self._group

    def accepted(self) -> None:
        """Learn that the group was accepted."""
        self._innocent |= union(self._traits[place] for place in self._group)
        self._settled += len(self._group)
        self.suspicions = self._common_to_culprits()
        self.take_away()

    def refused(self, places: Sequence[int]) -> None:
        """Learn that of the group these were refused, and the others are settled."""
        self._without_group()
        self._tainted = list(places)

    def refused_alone(self) -> None:
        """Learn that the group, a single event, was refused."""
        self._culprits.append(self._group[0])
        self._settled += 1
        self._without_group()
        self.suspicions = self._common_to_culprits()

    def take_away(self) -> None:
        """Forget the group, which is settled, or searched elsewhere; what it was part of stays tainted."""
        gone = set(self._group)
        self._tainted = [place for place in self._tainted if place not in gone]
        self._unknown = [place for place in self._unknown if place not in gone]

    def _without_group(self) -> None:
        """Take the group away where it holds a culprit, so that nothing is known any more of those it was among."""
        self.take_away()
        self._unknown = self._tainted + self._unknown
        self._tainted = []

    def _group_size(self) -> int:
        """Give how many of the unknown to ask for: single suspects, and of the others as many as are likely clean."""
        unsuspected = sum(not self._is_suspect(place) for place in self._unknown)
        if not unsuspected:
            return 1
        unexplained = sum(self.suspicions.isdisjoint(self._traits[place]) for place in self._culprits)
        if not unexplained:
            return unsuspected
        return max(1, min(unsuspected, int(_HALF_CHANCE * self._settled / unexplained)))

    def _is_suspect(self, place: int) -> bool:
        return not self.suspicions.isdisjoint(self._traits[place])

    def _common_to_culprits(self) -> frozenset[Trait]:
        """Give the traits of culprits that no accepted event has; those of earlier batches where none was accepted."""
        earlier = self._earlier - self._innocent
        if not self._innocent:
            return earlier
        return earlier | (union(self._traits[place] for place in self._culprits) - self._innocent)
