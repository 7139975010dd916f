"""`make bench-refusals`: what refusals that name no event cost, in requests, and whom they cost.

The client sends 2,000 and 1,000,000 events, some of which a model of the server refuses, one batch after another, so
that the numbers are the same each time. The table is in docs/explanation/limits.md; a test holds its small rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from beam_mixpanel.client.client import MixpanelClient
from beam_mixpanel.client.credentials import ProjectToken
from beam_mixpanel.client.transport import Answer
from beam_mixpanel.core.limits import MAX_BATCH_EVENTS
from beam_mixpanel.errors import RefusedError

SMALL: Final = 2_000
LARGE: Final = 1_000_000
AT_FAULT: Final = (1, 2, 5, 10, 20, 50, 100)
_IDENTITY_WORDS: Final = "identity events are not allowed when project is using simplified identity management"
_MARK: Final = "-bad"
_LARGE_EVENT_BYTES: Final = 50_000
_MOST_BODY_BYTES: Final = 100_000
_ANSWER_SECS: Final = 0.2

Refuse = Callable[[bytes], Answer | None]


class Row(NamedTuple):
    """What became of some events.

    Attributes:
      requests: that were sent.
      imported: events that were imported.
      dead_letters: events that were not.
      lost: of these, those that the server would have taken.
      ended: the job ended since it cannot succeed.
    """

    requests: int
    imported: int
    dead_letters: int
    lost: int
    ended: bool


class Kind(NamedTuple):
    """A kind of fault: what an event has that is at fault, and how the server refuses it."""

    name: str
    event_name: str
    properties: Mapping[str, object]
    refuse: Refuse


def _unnamed(body: bytes) -> Answer | None:
    refused = _MARK.encode() in body
    return _answer(400, {"code": 400, "error": "the request is bad", "status": "Bad Request"}) if refused else None


def _identity(body: bytes) -> Answer | None:
    if b'"$identify"' not in body:
        return None
    return _answer(400, {"code": 400, "failed_records": [_IDENTITY_WORDS], "num_records_imported": 0})


def _large_event(body: bytes) -> Answer | None:
    return _too_large() if b"x" * _LARGE_EVENT_BYTES in body else None


def _large_body(body: bytes) -> Answer | None:
    return _too_large() if len(body) > _MOST_BODY_BYTES else None


def _too_large() -> Answer:
    return _answer(413, {"code": 413, "error": "request exceeds max limit", "status": "Request Entity Too Large"})


def _answer(status: int, content: Mapping[str, object]) -> Answer:
    return Answer(status, {}, json.dumps(content).encode())


IDENTITY: Final = Kind("identity events", "$identify", {}, _identity)
LIKE: Final = Kind("400, with a property in common", "Ordered", {"odd": True}, _unnamed)
UNLIKE: Final = Kind("400, with nothing in common", "Ordered", {}, _unnamed)
TOO_LARGE: Final = Kind("413, too large alone", "Ordered", {"text": "x" * _LARGE_EVENT_BYTES}, _large_event)
KINDS: Final = (IDENTITY, LIKE, UNLIKE, TOO_LARGE)

ALL_REFUSED: Final = Kind("400 for everything", "Ordered", {}, lambda _: _unnamed(_MARK.encode()))
ALL_TOO_LARGE: Final = Kind("413 for everything", "Ordered", {}, lambda _: _too_large())
SMALL_BODIES: Final = Kind(f"413 above {_MOST_BODY_BYTES:,} bytes", "Ordered", {}, _large_body)


def measure(kind: Kind, count: int, at_fault: int) -> Row:
    """Send events, some of them at fault, and count.

    Args:
      kind: of fault.
      count: events in all.
      at_fault: how many of them, spread at random.
    """
    bad = frozenset(random.Random(at_fault).sample(range(count), at_fault))
    requests = 0
    clock = _Clock()

    def transport(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        nonlocal requests
        requests += 1
        clock.sleep(_ANSWER_SECS)
        text = gzip.decompress(body)
        events = text.count(b'{"event"')
        return kind.refuse(text) or _answer(200, {"code": 200, "num_records_imported": events, "status": "OK"})

    client = MixpanelClient(
        ProjectToken("a-token"), host="http://localhost", transport=transport, clock=clock, sleep=clock.sleep
    )
    fates: Counter[str] = Counter()
    for start, events in _batches(kind, count, bad):
        try:
            result = client.import_batch(events)
        except RefusedError:
            return Row(requests, fates["imported"], fates["dead"], fates["lost"], True)
        fates["imported"] += result.imported
        fates["dead"] += len(result.failures)
        fates["lost"] += sum(start + failure.position not in bad for failure in result.failures) + result.dropped
    return Row(requests, fates["imported"], fates["dead"], fates["lost"], False)


class _Clock:
    """Goes on only where somebody waits."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def sleep(self, secs: float) -> None:
        self._now += secs


def _batches(kind: Kind, count: int, bad: frozenset[int]) -> Iterator[tuple[int, list[bytes]]]:
    for start in range(0, count, MAX_BATCH_EVENTS):
        numbers = range(start, min(start + MAX_BATCH_EVENTS, count))
        yield start, [_event(number, kind if number in bad else None) for number in numbers]


def _event(number: int, fault: Kind | None) -> bytes:
    name = fault.event_name if fault else ("Viewed", "Ordered", "Paid")[number % 3]
    properties = {
        "time": 1_700_000_000_000 + number,
        "distinct_id": f"user-{number}{_MARK if fault else '-ok!'}",
        "$insert_id": f"{number:032x}",
        "price": number % 97,
        "page": f"/shop/{number % 1013}",
        **(fault.properties if fault else {}),
    }
    return json.dumps({"event": name, "properties": properties}, separators=(",", ":")).encode()


def table(counts: tuple[int, ...] = (SMALL, LARGE)) -> list[str]:
    """Measure, and return the lines of a table in Markdown."""
    heads = " | ".join(f"requests, of {count:,} | imported | dead letters | good ones lost" for count in counts)
    lines = [f"| refused | at fault | {heads} |", "|---" * (2 + 4 * len(counts)) + "|"]
    cases = [(kind, number) for kind in KINDS for number in AT_FAULT]
    for kind, number in [(IDENTITY, 0), *cases]:
        lines.append(_line(kind.name if number else "nothing", str(number), kind, dict.fromkeys(counts, number)))
    lines.append(_line(IDENTITY.name, "5 %", IDENTITY, {count: count // 20 for count in counts}))
    lines.append(_line(LIKE.name, "5 %", LIKE, {count: count // 20 for count in counts}))
    whole = (SMALL_BODIES, ALL_REFUSED, ALL_TOO_LARGE)
    return [*lines, *(_line(kind.name, "", kind, dict.fromkeys(counts, 0)) for kind in whole)]


def _line(name: str, at_fault: str, kind: Kind, numbers: Mapping[int, int]) -> str:
    cells = []
    for count, number in numbers.items():
        row = measure(kind, count, number)
        what = f"{row.requests:,}, then the job ends" if row.ended else f"{row.requests:,}"
        cells += [what, f"{row.imported:,}", f"{row.dead_letters:,}", f"{row.lost:,}"]
    return f"| {name} | {at_fault} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Count the requests that refusals cost.")
    parser.add_argument("--only_small", action="store_true", help=f"of {SMALL:,} events only")
    counts = (SMALL,) if parser.parse_args().only_small else (SMALL, LARGE)
    print("\n".join(table(counts)))


if __name__ == "__main__":
    main()
