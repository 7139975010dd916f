"""Which windows a receipt belongs to: a request may carry events of many."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from beam_mixpanel.client.results import ImportReceipt
from beam_mixpanel.core.events.chunk import Place


def receipts_by_windows(
    receipt: ImportReceipt, carried: Sequence[int], rejected: Collection[int], places: Sequence[Place]
) -> Iterator[tuple[ImportReceipt, Place]]:
    """Split the receipt of a request into one for each set of windows that its events are in.

    Args:
      receipt: of the whole request.
      carried: positions, in the batch, of the events that the request carried.
      rejected: those of them that the answer named as rejected.
      places: of each event of the batch.

    Yields:
      A receipt whose `events`, `imported`, `rejected` and `dropped` count the events of those windows, and the place
      that it belongs to, with the latest timestamp of these events. The counts add up to those of the request. Which
      events were dropped is unknown: they are counted in the first windows that have room for them.
    """
    # Most batches are in one window, and many events share a place: then no event is looked at by itself.
    distinct = set(places if len(carried) == len(places) else (places[position] for position in carried))
    if len({windows for _, windows in distinct}) == 1:
        yield receipt, max(distinct)
        return
    events: dict[bytes, int] = {}
    refused: dict[bytes, int] = {}
    latest: dict[bytes, int] = {}
    for position in carried:
        micros, windows = places[position]
        events[windows] = events.get(windows, 0) + 1
        latest[windows] = max(latest.get(windows, micros), micros)
    for position in rejected:
        windows = places[position][1]
        refused[windows] = refused.get(windows, 0) + 1
    # An answer confirms all that it neither rejects nor leaves out, or nothing.
    confirms = receipt.imported + receipt.dropped > 0
    dropped_left = receipt.dropped  # which events these are is not known
    for windows, count in events.items():
        not_imported = refused.get(windows, 0)
        confirmed = count - not_imported if confirms else 0
        dropped = min(confirmed, dropped_left)
        dropped_left -= dropped
        yield (
            receipt._replace(events=count, imported=confirmed - dropped, rejected=not_imported, dropped=dropped),
            (latest[windows], windows),
        )
