"""The store: what is distinct, what is latest, and finding it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.emulator import view as view_module
from beam_mixpanel.emulator.distinct import DistinctKeys
from beam_mixpanel.emulator.search import EventFilter, label
from beam_mixpanel.emulator.store import EventStore

KEYS = st.lists(st.integers(-5, 40) | st.integers(-(2**63), 2**63 - 1), max_size=40)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    opened = EventStore(tmp_path / "events")
    yield opened
    opened.close()


def _append(store: EventStore, *labels: tuple[str, str, str]) -> None:
    """Store events that have their labels as properties."""
    events = [json.dumps(parts).encode() for parts in labels]
    keys = range(len(store), len(store) + len(events))
    store.append(events, keys, [label(*parts) for parts in labels], received_ms=7, endpoint="/import")


def _found(store: EventStore, wanted: EventFilter) -> list[tuple[int, object]]:
    with store.view() as view:
        numbers = [number for block in view.newest_blocks() for number in wanted.find(block)]
        return [(number, json.loads(view.event(number).event)) for number in numbers]


@given(st.lists(KEYS, max_size=12))
def test_distinct_keys_are_counted_as_a_set_counts_them(added: list[list[int]]) -> None:
    """However keys are spread over additions, as many are counted as are different."""
    keys, seen = DistinctKeys(), set()
    for some in added:
        keys.add(np.array(some, dtype=np.int64))
        seen.update(some)
        assert len(keys) == len(seen)


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1000, 1 << 18])
def test_all_events_are_found_once(store: EventStore, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    """Blocks of any size give all events, the newest first, each with its number."""
    monkeypatch.setattr(view_module, "BLOCK_BYTES", block_bytes)
    labels = [("e" * (number % 50), str(number), "i") for number in range(60)]
    for begin in range(0, 60, 7):
        _append(store, *labels[begin : begin + 7])
    assert _found(store, EventFilter()) == [(number, list(labels[number - 1])) for number in range(60, 0, -1)]


def test_a_view_shows_what_was_there_when_it_was_made(store: EventStore) -> None:
    """Events that come while somebody reads are not shown, and a reset takes nothing away."""
    _append(store, ("first", "", ""))
    with store.view() as view:
        _append(store, ("second", "", ""))
        store.clear()
        _append(store, ("third", "", ""), ("fourth", "", ""))
        assert [(block.first_number, block.lines) for block in view.newest_blocks()] == [(1, b"first\0\0\n")]
        assert view.event(1).event == b'["first", "", ""]'
    assert [number for number, _ in _found(store, EventFilter())] == [2, 1]


@pytest.mark.parametrize(
    ("name_part", "id_part", "found"),
    [
        ("", "", [4, 3, 2, 1]),
        ("sign", "", [3, 1]),
        ("\u00e9T\u00e9", "", [2]),
        ("", "jos", [2]),
        ("", "JOS\u00c9", [2]),
        ("", "4711", [3]),
        ("", 'a"b', [1]),
        ("", "7i", []),
        ("out", "id-3", [3]),
        ("sign", "id-2", []),
        ("id", "", []),
        ("two lines", "", [4]),
        ("", "x y", [4]),
        ("n", "", [4, 3, 1]),
    ],
)
def test_events_are_found_by_parts_in_either_case(
    store: EventStore, name_part: str, id_part: str, found: list[int]
) -> None:
    """Parts of names and ids are found in any case, in the right place, and whatever characters are beside them."""
    _append(store, ("Sign Up", 'a"b', "id-1"), ("\u00c9t\u00e9", "u", "jos\u00e9"))
    _append(store, ("sign out", "4711", "id-3"), ("two\nlines", "x\0y", "z"))
    assert [number for number, _ in _found(store, EventFilter(name_part, id_part))] == found


@given(
    st.lists(st.tuples(*[st.text("aBc\n", max_size=4)] * 3), max_size=20),
    *[st.text("abC", max_size=2)] * 2,
    st.sampled_from([1, 5, 1 << 18]),
)
def test_a_search_finds_what_looking_at_each_event_finds(
    tmp_path_factory: pytest.TempPathFactory,
    labels: list[tuple[str, str, str]],
    name_part: str,
    id_part: str,
    block_bytes: int,
) -> None:
    """A search agrees with a look at each label."""

    def matches(name: str, *ids: str) -> bool:
        return name_part.lower() in name.lower() and any(id_part.lower() in text.lower() for text in ids)

    store = EventStore(tmp_path_factory.mktemp("store"))
    _append(store, *labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_module, "BLOCK_BYTES", block_bytes)
        found = [number for number, _ in _found(store, EventFilter(name_part, id_part))]
    store.close()
    expected = [number for number, label in enumerate(labels, 1) if matches(*label)]
    assert found == expected[::-1]
