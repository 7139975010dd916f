"""Sketches: what they hold depends on what was added, not on how."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.check.sketches import (
    CountedNames,
    DistinctKeys,
    Examples,
    HeavyKeys,
    SampledIds,
    hash_of,
    hashes_of,
)

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=3), max_size=120)


@given(st.lists(WORDS, min_size=1, max_size=5), st.randoms())
def test_distinct_keys_ignore_order_and_parts(parts: list[list[str]], chance: object) -> None:
    """Parts counted apart and merged in any order give the estimate of the whole."""
    whole = DistinctKeys(16)
    whole.add(hashes_of([word for part in parts for word in part]))
    merged = DistinctKeys(16)
    chance.shuffle(parts)  # type: ignore[attr-defined]
    for part in parts:
        one = DistinctKeys(16)
        for word in part:
            one.add(hashes_of([word]))
        merged.merge(one)
    assert (merged.estimate(), merged.exact) == (whole.estimate(), whole.exact)
    if whole.exact:
        assert whole.estimate() == len({word for part in parts for word in part})


@pytest.mark.parametrize("keys", [100, 1_000, 100_000])
def test_distinct_keys_are_exact_or_near(keys: int) -> None:
    """Up to its bound the number is exact; beyond, within four standard errors."""
    counted = DistinctKeys(1_000)
    for start in range(0, keys, 997):
        counted.add(hashes_of(f"user-{number}" for number in range(start, min(keys, start + 997))))
    assert counted.exact == (keys <= 1_000)
    assert abs(counted.estimate() - keys) <= (0 if counted.exact else 4 * 1.2 / 1_000**0.5 * keys)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_counted_names_are_exact_in_any_order(parts: list[list[str]]) -> None:
    """Each name that is held has its exact count; which ones are held does not depend on the parts."""
    truth = Counter(word for part in parts for word in part)
    merged, backwards = CountedNames(5), CountedNames(5)
    for part in parts:
        one = CountedNames(5)
        one.add(Counter(part))
        merged.merge(one)
    for word in reversed([word for part in parts for word in part]):
        backwards.add(Counter([word]))
    held = merged.largest_first()
    assert held == backwards.largest_first()
    assert dict(held).items() <= truth.items()
    assert merged.complete == (len(truth) <= 5)
    assert len(held) == min(5, len(truth))


@given(st.lists(st.lists(st.integers(0, 30), max_size=60), min_size=1, max_size=4))
def test_heavy_keys_err_by_no_more_than_they_say(parts: list[list[int]]) -> None:
    """A count is never too great, at most `error` too small, and the error at most all additions by the bound."""
    truth = Counter(key for part in parts for key in part)
    merged: HeavyKeys[int] = HeavyKeys(4)
    for part in parts:
        one: HeavyKeys[int] = HeavyKeys(4)
        for key in part:
            one.add([key])
        merged.merge(one)
    assert merged.error * 4 <= truth.total()
    held = dict(merged.above(-1))
    for key, count in truth.items():
        assert count - merged.error <= held.get(key, 0) <= count
    assert {key for key, count in truth.items() if count > 10} <= dict(merged.above(10)).keys()


EVENTS = st.tuples(st.text("ab", min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 9))


@given(st.lists(st.lists(EVENTS, max_size=30), min_size=1, max_size=4))
def test_sampled_ids_ignore_order_and_parts(parts: list[list[tuple[str, int, int]]]) -> None:
    """What is known of each id in the sample is all there is, however it was shared out."""
    merged, whole = SampledIds(6), SampledIds(6)
    for part in parts:
        one = SampledIds(6)
        for name, identity, time in part:
            one.add(hash_of(name), identity, time)
        merged.merge(one)
    for name, identity, time in reversed([event for part in parts for event in part]):
        whole.add(hash_of(name), identity, time)
    assert (merged.one_in, sorted(merged.facts())) == (whole.one_in, sorted(whole.facts()))
    assert len(whole.facts()) <= 6


def test_sampled_ids_choose_what_they_would_keep() -> None:
    """`choose` names all places whose ids are in the sample, and only these."""
    sample = SampledIds(10)
    hashes = hashes_of(f"id-{number}" for number in range(1_000))
    for hashed in hashes.tolist():
        sample.add(hashed, 0, 0)
    assert 0 < len(sample.choose(hashes)) == len(sample.facts()) <= 10


@given(WORDS)
def test_examples_are_few_and_the_same(words: list[str]) -> None:
    """The examples are those with the smallest hashes, whatever the order."""
    forth, back = Examples(3), Examples(3)
    for word in words:
        forth.add(hash_of(word), word)
    for word in reversed(words):
        if back.wants(hash_of(word)):
            back.add(hash_of(word), word)
    assert forth.texts() == back.texts() == sorted(set(words), key=hash_of)[:3]


def test_hashes_are_those_of_single_texts() -> None:
    """Hashing many is hashing each, as text or as UTF-8."""
    assert hashes_of(["a", "é"]).tolist() == [hash_of("a"), hash_of("é".encode())]
    assert hashes_of([]).dtype == np.uint64
