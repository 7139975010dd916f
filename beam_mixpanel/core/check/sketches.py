"""Small summaries of things without number, which merge: counted apart and merged is as counted together.

All but `HeavyKeys` depend on nothing but what was added: not on its order, nor on how it was shared out. They sample by
hash: a key is kept while its hash is below a bound that only ever falls, so no key that counts is ever missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from operator import itemgetter
from typing import Final, Generic, NamedTuple, TypeVar

import mmh3
import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_Key = TypeVar("_Key", bound=Hashable)

_HASH_BITS: Final = 64
_first = itemgetter(0)


def hash_of(text: str | bytes) -> int:
    """Give 64 bits that look random, the same for the same text everywhere."""
    hashed: int = mmh3.hash64(text, signed=False)[0]
    return hashed


def hashes_of(texts: Iterable[str | bytes]) -> Hashes:
    """Hash many texts."""
    return np.fromiter(map(_first, map(mmh3.hash64, texts)), np.int64).view(np.uint64)


def below(level: int) -> int:
    """Give the bound below which one hash in `2 ** level` lies."""
    return 1 << (_HASH_BITS - level)


def _chosen(hashes: Hashes, level: int) -> NDArray[np.intp]:
    if level == 0:
        return np.arange(len(hashes))
    return np.flatnonzero(hashes < np.uint64(below(level)))


class DistinctKeys:
    """Estimates how many different keys there were; exact up to `most`.

    The standard error of an estimate is about `1.2 / sqrt(most)`.

    Args:
      most: so many hashes are held at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._level = 0
        self._hashes: set[int] = set()

    def add(self, hashes: Hashes) -> None:
        """Take in keys by their hashes."""
        self._hashes.update(hashes[_chosen(hashes, self._level)].tolist())
        self._trim()

    def merge(self, other: DistinctKeys) -> None:
        """Take in what another counted."""
        self._level = max(self._level, other._level)
        self._hashes |= other._hashes
        self._hashes = {key for key in self._hashes if key < below(self._level)}
        self._trim()

    @property
    def exact(self) -> bool:
        """Whether the estimate is the number itself."""
        return self._level == 0

    def estimate(self) -> int:
        """Give the number of different keys."""
        return len(self._hashes) << self._level

    def _trim(self) -> None:
        while len(self._hashes) > self._most:
            self._level += 1
            self._hashes = {key for key in self._hashes if key < below(self._level)}


class IdFacts(NamedTuple):
    """What was seen of one `$insert_id`.

    Attributes:
      events: that carry it.
      least: the smallest and `greatest` the greatest hash of what identifies these events.
      first_ms: the earliest and `last_ms` the latest of their times.
    """

    events: int
    least: int
    greatest: int
    first_ms: int
    last_ms: int

    def joined(self, other: IdFacts) -> IdFacts:
        """Give both together."""
        return IdFacts(
            events=self.events + other.events,
            least=min(self.least, other.least),
            greatest=max(self.greatest, other.greatest),
            first_ms=min(self.first_ms, other.first_ms),
            last_ms=max(self.last_ms, other.last_ms),
        )


class SampledIds:
    """An even sample of `$insert_id`s with all that was seen of each; all of them while there are few.

    Args:
      most: so many ids are held at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._level = 0
        self._facts: dict[int, IdFacts] = {}

    def choose(self, hashes: Hashes) -> list[int]:
        """Give the places of the ids that `add` would keep now."""
        places: list[int] = _chosen(hashes, self._level).tolist()
        return places

    def add(self, id_hash: int, identity: int, time_ms: int) -> None:
        """Take in one event.

        Args:
          id_hash: of its `$insert_id`.
          identity: hash of all that identifies it.
          time_ms: its time.
        """
        if id_hash < below(self._level):
            seen = IdFacts(events=1, least=identity, greatest=identity, first_ms=time_ms, last_ms=time_ms)
            self._join(id_hash, seen)
            self._trim()

    def merge(self, other: SampledIds) -> None:
        """Take in what another saw."""
        self._level = max(self._level, other._level)
        self._keep()
        for id_hash, facts in other._facts.items():
            if id_hash < below(self._level):
                self._join(id_hash, facts)
        self._trim()

    @property
    def one_in(self) -> int:
        """Tell that one id in so many is in the sample; 1 for all."""
        return 1 << self._level

    def facts(self) -> list[IdFacts]:
        """Give what was seen of each id in the sample."""
        return list(self._facts.values())

    def _join(self, id_hash: int, facts: IdFacts) -> None:
        known = self._facts.get(id_hash)
        self._facts[id_hash] = facts if known is None else known.joined(facts)

    def _keep(self) -> None:
        bound = below(self._level)
        self._facts = {id_hash: facts for id_hash, facts in self._facts.items() if id_hash < bound}

    def _trim(self) -> None:
        while len(self._facts) > self._most:
            self._level += 1
            self._keep()


class CountedNames:
    """Counts by name, each exact; of more names than `most`, those are counted whose hashes are smallest.

    Args:
      most: so many names are held at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()
        self._bound = below(0)

    def add(self, counts: Counter[str]) -> None:
        """Take in counts."""
        known = self._counts
        for name, count in counts.items():
            # A name is hashed only where that decides, since most are known.
            if name in known or self._bound == below(0) or hash_of(name) < self._bound:
                known[name] += count
        self._trim()

    def merge(self, other: CountedNames) -> None:
        """Take in what another counted."""
        self._bound = min(self._bound, other._bound)
        self._counts.update(other._counts)
        self._counts = Counter({name: n for name, n in self._counts.items() if self._is_kept(name)})
        self._trim()

    @property
    def complete(self) -> bool:
        """Whether no name is missing."""
        return self._bound == below(0)

    def largest_first(self) -> list[tuple[str, int]]:
        """Give names and counts."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))

    def _is_kept(self, name: str) -> bool:
        return self.complete or hash_of(name) < self._bound

    def _trim(self) -> None:
        if len(self._counts) > self._most:
            by_hash = sorted((hash_of(name), name) for name in self._counts)
            self._bound = by_hash[self._most][0]
            self._counts = Counter({name: self._counts[name] for hashed, name in by_hash if hashed < self._bound})


class Examples:
    """The few of many texts whose hashes are smallest, each once.

    Args:
      most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._texts: dict[int, str] = {}

    def wants(self, hashed: int) -> bool:
        """Tell whether a text with this hash would be kept now."""
        return len(self._texts) < self._most or hashed <= max(self._texts)

    def add(self, hashed: int, text: str) -> None:
        """Take in a text."""
        self._texts[hashed] = min(text, self._texts.get(hashed, text))
        if len(self._texts) > self._most:
            del self._texts[max(self._texts)]

    def merge(self, other: Examples) -> None:
        """Take in another's."""
        for hashed, text in other._texts.items():
            self.add(hashed, text)

    def texts(self) -> list[str]:
        """Give them, in the order of their hashes."""
        return [self._texts[hashed] for hashed in sorted(self._texts)]


class HeavyKeys(Generic[_Key]):
    """Finds the keys that were added most often, by the algorithm of Misra and Gries.

    Exact while there are at most `most` keys. Beyond that a count is at most `error` too small, never too great, and
    `error` is at most the number of all additions by `most`; which keys below that are seen may depend on the order.

    Args:
      most: keys that are held; twice as many for a while.

    Source: https://doi.org/10.1016/0167-6423(82)90012-0, merged as in https://doi.org/10.1145/2213556.2213562
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[_Key] = Counter()
        self.error = 0

    def add(self, keys: Iterable[_Key]) -> None:
        """Count keys, each once."""
        self._counts.update(keys)
        if len(self._counts) > 2 * self._most:
            self._trim()

    def merge(self, other: HeavyKeys[_Key]) -> None:
        """Take in what another counted."""
        self._counts.update(other._counts)
        self.error += other.error
        if len(self._counts) > 2 * self._most:
            self._trim()

    def above(self, count: int) -> list[tuple[_Key, int]]:
        """Give all keys that may have been added more than `count` times, with their counts, the greatest first."""
        found = [(key, held) for key, held in self._counts.items() if held + self.error > count]
        return sorted(found, key=lambda item: (-item[1], repr(item[0])))

    def _trim(self) -> None:
        # The same is taken from each key, so those that are commoner than the error stay.
        cut = sorted(self._counts.values(), reverse=True)[self._most]
        self.error += cut
        self._counts = Counter({key: count - cut for key, count in self._counts.items() if count > cut})
