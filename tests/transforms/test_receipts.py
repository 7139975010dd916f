"""The receipt of a request, split into one for each set of windows."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.client.results import ImportReceipt
from beam_mixpanel.transforms.receipts import receipts_by_windows

places = st.lists(st.tuples(st.integers(0, 50), st.sampled_from([b"a", b"b", b"c"])), min_size=1)


@given(places, st.data())
def test_counts_of_windows_are_those_of_their_events(
    given_places: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """And they add up to the request's, whatever it carried, rejected and confirmed."""
    positions = st.sets(st.sampled_from(range(len(given_places))))
    carried = sorted(data.draw(positions))
    rejected = sorted(data.draw(st.sets(st.sampled_from(carried))) if carried else [])
    imported = data.draw(st.sampled_from([0, len(carried) - len(rejected)]))
    whole = ImportReceipt(200, len(carried), imported, len(rejected), 1, 10, 5, 0.5, "id")
    parts = list(receipts_by_windows(whole, carried, rejected, given_places))
    in_windows = Counter(given_places[position][1] for position in carried)
    refused = Counter(given_places[position][1] for position in rejected)
    assert {windows: part.events for part, (_, windows) in parts} == dict(in_windows)
    for part, (micros, windows) in parts:
        assert part.rejected == refused[windows]
        assert part.imported == (in_windows[windows] - refused[windows] if imported else 0)
        assert micros == max(given_places[position][0] for position in carried if given_places[position][1] == windows)
        assert part[4:] == whole[4:]
    assert sum(part.imported for part, _ in parts) == imported
