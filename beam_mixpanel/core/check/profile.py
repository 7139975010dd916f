"""What is in events, before they are imported: counts, times, users, duplicates, sizes; mergeable, and of bounded size.

A profile takes prepared events and dead letters. Exact, however the input is shared out: events, days, hours, names (up
to a bound), times, sizes, and dead letters by rule. Users and `$insert_id`s are exact while there are few, and then
estimated from samples by hash. Properties come from an even sample; see `property_table`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from beam_mixpanel.core import limits
from beam_mixpanel.core.check.masking import example_of, mask
from beam_mixpanel.core.check.property_table import PropertySample
from beam_mixpanel.core.check.sketches import (
    CountedNames,
    DistinctKeys,
    Examples,
    Hashes,
    HeavyKeys,
    SampledIds,
    hash_of,
    hashes_of,
)
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.rules import RULES
from beam_mixpanel.core.events.shapes import SkimmedEvent, SkimmedProperties
from beam_mixpanel.core.json.text import UNREADABLE
from beam_mixpanel.core.sending.encoding import compress, encode_json

MOST_KEYS: Final = 16_384
"""Hashes of users, and of `$insert_id`s, that are held; beyond them a count is off by 1 % or so."""
MOST_NAMES: Final = 2 * limits.MAX_EVENT_NAMES
MOST_HEAVY: Final = 10_000
SHOWN_USERS: Final = 20
_MOST_EXAMPLES: Final = 5
_MOST_REASONS: Final = 200
_SAMPLED_BYTES: Final = 1_000_000
"""Of events that are compressed to learn how well they compress."""
SIZE_BOUNDS: Final = tuple(2**power for power in range(7, 21))

_MS_PER_HOUR: Final = 3_600_000
_MS_PER_DAY: Final = 86_400_000
_YEAR_2000_MS: Final = 946_684_800_000
_LARGEST_HASH: Final = 2**64 - 1
_MIX: Final = 0x9E3779B97F4A7C15
"""Odd, with ones and zeros in no order: spreads neighbouring times over all hashes
(https://en.wikipedia.org/wiki/Hash_function#Fibonacci_hashing)."""

_time_of = attrgetter("time")
_decode = msgspec.json.Decoder(SkimmedEvent).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


class ProfileSettings(NamedTuple):
    """What a profile depends on besides events.

    Attributes:
      now_ms: the present.
      retention_days: how long the project keeps events.
      show_values: whether examples show values, not only their shape.
    """

    now_ms: int
    retention_days: int = limits.DEFAULT_RETENTION_DAYS
    show_values: bool = False


class _Times:
    """What is to be noticed about times; each count is exact."""

    def __init__(self) -> None:
        self.days: Counter[int] = Counter()
        self.hours: Counter[int] = Counter()
        self.first = 0
        self.last = 0
        self.counts: Counter[str] = Counter()

    def add(self, times: NDArray[np.int64], settings: ProfileSettings) -> None:
        first, last = int(times.min()), int(times.max())
        self.first = min(self.first or first, first)
        self.last = max(self.last, last)
        _count_into(self.days, times // _MS_PER_DAY)
        _count_into(self.hours, times // _MS_PER_HOUR % 24)
        in_day = times % _MS_PER_DAY
        oldest = settings.now_ms - settings.retention_days * _MS_PER_DAY
        self.counts.update(
            past_retention=int(np.count_nonzero(times < oldest)),
            ahead=int(np.count_nonzero(times > settings.now_ms)),
            before_2000=int(np.count_nonzero(times < _YEAR_2000_MS)),
            midnight=int(np.count_nonzero(in_day == 0)),
            whole_hour=int(np.count_nonzero(in_day % _MS_PER_HOUR == 0)),
            whole_second=int(np.count_nonzero(in_day % 1000 == 0)),
        )

    def merge(self, other: _Times) -> None:
        self.first = min(self.first or other.first, other.first or self.first)
        self.last = max(self.last, other.last)
        self.days.update(other.days)
        self.hours.update(other.hours)
        self.counts.update(other.counts)

    def result(self) -> dict[str, Any]:
        names = ("past_retention", "ahead", "before_2000", "midnight", "whole_hour", "whole_second")
        return {"first_ms": self.first, "last_ms": self.last} | {name: self.counts[name] for name in names}


class _Sizes:
    """How large events are, and some of them, to compress."""

    def __init__(self) -> None:
        self.total = 0
        self.largest = 0
        self.histogram: Counter[int] = Counter()
        self._bodies: dict[int, bytes] = {}
        self._held = 0
        self._bound = 1 << 64

    def add(self, bodies: Sequence[bytes], hashes: Hashes) -> None:
        sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
        self.total += int(sizes.sum())
        self.largest = max(self.largest, int(sizes.max()))
        _count_into(self.histogram, np.searchsorted(SIZE_BOUNDS, sizes))
        chosen = np.flatnonzero(hashes < np.uint64(min(self._bound, _LARGEST_HASH)))
        for place, hashed in zip(chosen.tolist(), hashes[chosen].tolist(), strict=True):
            self._hold(hashed, bodies[place])

    def merge(self, other: _Sizes) -> None:
        self.total += other.total
        self.largest = max(self.largest, other.largest)
        self.histogram.update(other.histogram)
        for hashed, body in other._bodies.items():
            self._hold(hashed, body)

    def compressed_share(self) -> float:
        """Tell how much of an event is left when a request is compressed."""
        self._trim()
        if not self._bodies:
            return 0.0
        text = encode_json([self._bodies[hashed] for hashed in sorted(self._bodies)])
        return len(compress(text)) / len(text)

    @property
    def sampled_bytes(self) -> int:
        return self._held

    def _hold(self, hashed: int, body: bytes) -> None:
        known = self._bodies.get(hashed)
        # Of several bodies with one hash the least is kept, so that the order does not matter.
        if known is None or body < known:
            self._held += len(body) - len(known or b"")
            self._bodies[hashed] = body
            if self._held > 2 * _SAMPLED_BYTES:  # not each time: to trim is to sort
                self._trim()

    def _trim(self) -> None:
        """Keep the events with the smallest hashes, up to and with the one that fills the room."""
        kept: dict[int, bytes] = {}
        held = 0
        for hashed in sorted(self._bodies):
            if held >= _SAMPLED_BYTES:
                self._bound = hashed
                break
            kept[hashed] = self._bodies[hashed]
            held += len(kept[hashed])
        self._bodies, self._held = kept, held


class _Refused:
    """The dead letters of one rule."""

    def __init__(self) -> None:
        self.events = 0
        self.examples = Examples(_MOST_EXAMPLES)

    def merge(self, other: _Refused) -> None:
        self.events += other.events
        self.examples.merge(other.examples)


class Profile:
    """What is in some events; profiles of parts merge into that of the whole.

    Args:
      settings: the same for all that are to be merged.
    """

    def __init__(self, settings: ProfileSettings) -> None:
        self._settings = settings
        self._events = 0
        self._changed = 0
        self._without_user = 0
        self._times = _Times()
        self._sizes = _Sizes()
        self._names = CountedNames(MOST_NAMES)
        self._users = DistinctKeys(MOST_KEYS)
        self._ids = SampledIds(MOST_KEYS)
        self._heavy: HeavyKeys[tuple[int, str]] = HeavyKeys(MOST_HEAVY)
        self._properties = PropertySample(show_values=settings.show_values)
        self._refused: dict[str, _Refused] = {}

    @property
    def events(self) -> int:
        """How many events would be imported."""
        return self._events

    def add_events(self, bodies: Sequence[bytes], originals: Sequence[bytes | None] = ()) -> None:
        """Take in prepared events.

        Args:
          bodies: their final JSON.
          originals: what they were read as, where that differs.
        """
        if not bodies:
            return
        events = _skimmed(bodies)
        properties = [event.properties for event in events]
        times = np.fromiter(map(_time_of, properties), np.int64, len(events))
        ids = hashes_of([found.insert_id for found in properties])
        users = [found.distinct_id or found.user_id or found.device_id for found in properties]
        # Not by the id alone: where many events share one, all of them would be sampled, or none.
        hashes = ids ^ (times.astype(np.uint64) * np.uint64(_MIX))
        self._events += len(events)
        self._changed += len(originals) - originals.count(None)
        self._names.add(Counter([event.event for event in events]))
        self._times.add(times, self._settings)
        self._sizes.add(bodies, hashes)
        self._add_users(users, times)
        self._add_ids(events, ids)
        self._add_properties(bodies, hashes)

    def add_letter(self, letter: DeadLetter) -> None:
        """Take in an event that was refused."""
        reason = letter.reason
        if reason not in self._refused and len(self._refused) >= _MOST_REASONS:
            reason = "other"
        refused = self._refused.setdefault(reason, _Refused())
        refused.events += 1
        hashed = hash_of(letter.event)
        if refused.examples.wants(hashed):
            refused.examples.add(hashed, _example(letter, show_values=self._settings.show_values))

    def merge(self, other: Profile) -> None:
        """Take in the profile of another part."""
        self._events += other._events
        self._changed += other._changed
        self._without_user += other._without_user
        self._times.merge(other._times)
        self._sizes.merge(other._sizes)
        self._names.merge(other._names)
        self._users.merge(other._users)
        self._ids.merge(other._ids)
        self._heavy.merge(other._heavy)
        self._properties.merge(other._properties)
        for reason, refused in other._refused.items():
            self._refused.setdefault(reason, _Refused()).merge(refused)

    def result(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        rows, complete = self._properties.rows()
        return {
            "valid": self._events,
            "changed": self._changed,
            "invalid": sum(refused.events for refused in self._refused.values()),
            "refused": self._refusals(),
            "days": [[int(day), count] for day, count in sorted(self._times.days.items())],
            "hours": [self._times.hours[hour] for hour in range(24)],
            "times": self._times.result(),
            "names": {"counts": self._names.largest_first(), "complete": self._names.complete},
            "users": {
                "distinct": self._users.estimate(),
                "exact": self._users.exact,
                "events_without": self._without_user,
            },
            "heavy_users": self._heavy_users(),
            "insert_ids": self._insert_ids(),
            "properties": {
                "sampled_events": self._properties.events,
                "one_in": self._properties.one_in,
                "complete": complete,
                "rows": [row._asdict() for row in rows],
            },
            "sizes": {
                "bytes": self._sizes.total,
                "largest": self._sizes.largest,
                "compressed_share": round(self._sizes.compressed_share(), 4),
                "sampled_bytes": self._sizes.sampled_bytes,
                "histogram": [self._sizes.histogram[place] for place in range(len(SIZE_BOUNDS) + 1)],
            },
        }

    def _add_users(self, users: list[str], times: NDArray[np.int64]) -> None:
        self._users.add(hashes_of(set(users) - {""}))
        pairs: Iterable[tuple[int, str]] = zip((times // _MS_PER_DAY).tolist(), users, strict=True)
        missing = users.count("")
        if missing:
            self._without_user += missing
            pairs = (pair for pair in pairs if pair[1])
        self._heavy.add(pairs)

    def _add_ids(self, events: list[SkimmedEvent], ids: Hashes) -> None:
        chosen = self._ids.choose(ids)
        for place, id_hash in zip(chosen, ids[chosen].tolist(), strict=True):
            event = events[place]
            found = event.properties
            self._ids.add(id_hash, hash_of(_encode([event.event, found.distinct_id, found.time])), found.time)

    def _add_properties(self, bodies: Sequence[bytes], hashes: Hashes) -> None:
        bound = self._properties.bound
        chosen: Iterable[int] = range(len(bodies))
        if bound <= _LARGEST_HASH:
            chosen = np.flatnonzero(hashes < np.uint64(bound)).tolist()
        self._properties.add((int(hashes[place]), bodies[place]) for place in chosen)

    def _refusals(self) -> list[dict[str, Any]]:
        by_count = sorted(self._refused.items(), key=lambda item: (-item[1].events, item[0]))
        return [
            {
                "rule": rule,
                "meaning": RULES[rule].message if rule in RULES else "",
                "docs": RULES[rule].source if rule in RULES else "",
                "events": refused.events,
                "examples": [json.loads(example) for example in refused.examples.texts()],
            }
            for rule, refused in by_count
        ]

    def _heavy_users(self) -> dict[str, Any]:
        heavy = self._heavy.above(limits.HOT_SHARD_EVENTS_PER_DAY)
        shown = str if self._settings.show_values else mask
        return {
            "limit": limits.HOT_SHARD_EVENTS_PER_DAY,
            "number": len(heavy),
            "undercount": self._heavy.error,
            "largest": [
                {"user": shown(user), "day": int(day), "events": events} for (day, user), events in heavy[:SHOWN_USERS]
            ],
        }

    def _insert_ids(self) -> dict[str, Any]:
        facts, one_in = self._ids.facts(), self._ids.one_in
        mixed = [found for found in facts if found.least != found.greatest]
        # Of events of one id that were read twice, with and without a zone, the times differ by whole hours.
        spans_ms = [found.last_ms - found.first_ms for found in mixed]
        hours_apart = sum(span_ms > 0 and span_ms % _MS_PER_HOUR == 0 for span_ms in spans_ms)
        return {
            "exact": one_in == 1,
            "distinct": len(facts) * one_in,
            "repeated_events": one_in * sum(found.events - 1 for found in facts if found.least == found.greatest),
            "ids_of_different_events": len(mixed) * one_in,
            "events_of_such_ids": one_in * sum(found.events for found in mixed),
            "ids_whole_hours_apart": hours_apart * one_in,
        }


def _skimmed(bodies: Sequence[bytes]) -> list[SkimmedEvent]:
    try:
        return list(map(_decode, bodies))
    except UNREADABLE:
        return list(map(_skimmed_by_last_keys, bodies))


def _skimmed_by_last_keys(body: bytes) -> SkimmedEvent:
    """Read an event in which a key may stand twice: the last one counts, whatever the first one is."""
    event = json.loads(body)
    found = event["properties"]
    ids = [found.get(key, "") for key in ("distinct_id", "$user_id", "$device_id")]
    return SkimmedEvent(event["event"], SkimmedProperties(found["time"], found["$insert_id"], *ids))


def _count_into(counts: Counter[int], values: NDArray[Any]) -> None:
    found, times = np.unique(values, return_counts=True)
    for value, count in zip(found.tolist(), times.tolist(), strict=True):
        counts[value] += count


def _example(letter: DeadLetter, *, show_values: bool) -> str:
    facts = {
        "source": letter.source,
        "field": letter.field,
        "message": letter.message,
        "event": example_of(letter.event, show_values=show_values),
    }
    return json.dumps(facts, sort_keys=True)
