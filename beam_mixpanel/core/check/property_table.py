"""What properties hold: types, nulls, how many values, long texts; of all events, or of an even sample of many."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from beam_mixpanel.core.check.masking import masked_value, shorten
from beam_mixpanel.core.check.sketches import DistinctKeys, Examples, below, hash_of, hashes_of
from beam_mixpanel.core.json.text import UNREADABLE
from beam_mixpanel.core.limits import MAX_TEXT_CHARS

SAMPLED_EVENTS: Final = 10_000
"""So many events are looked at in full at most; half as many at least, where there are more."""
MOST_PROPERTIES: Final = 1_000
_MOST_VALUES: Final = 500
_MOST_EXAMPLES: Final = 3
_MOST_PENDING: Final = 2_000
_MOST_PENDING_BYTES: Final = 2_000_000
_HASH_BITS: Final = 64
_OWN_PLACE: Final = frozenset({"time", "$insert_id"})
"""Told elsewhere in the report."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?", re.ASCII)

_TYPES: Final[dict[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
}
_NULL: Final = b"null"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class PropertyFacts:
    """What was seen of one property."""

    def __init__(self) -> None:
        self.types: Counter[str] = Counter()
        self.cut = 0
        self.values = DistinctKeys(_MOST_VALUES)
        self.examples = Examples(_MOST_EXAMPLES)

    def add(self, values: list[Any], *, show_values: bool) -> None:
        """Take in the values of some events; there is one at least."""
        kinds = Counter(map(type, values))
        for kind, count in kinds.items():
            self.types[_TYPES[kind]] += count
        if str in kinds:
            self._add_dates([value for value in values if type(value) is str])
        if list in kinds:
            self.cut += sum(_is_cut(item) for item in values if type(item) is list)
        written = list(set(map(_encode, values)) - {_NULL})
        hashes = hashes_of(written)
        self.values.add(hashes)
        for place in np.argsort(hashes)[:_MOST_EXAMPLES].tolist():
            if self.examples.wants(int(hashes[place])):
                self.examples.add(int(hashes[place]), shorten(_shown(written[place], show_values=show_values)))

    def _add_dates(self, texts: list[str]) -> None:
        if max(map(len, texts)) > MAX_TEXT_CHARS:
            self.cut += sum(len(text) > MAX_TEXT_CHARS for text in texts)
        dates = sum(_DATE.fullmatch(text) is not None for text in texts if text[4:5] == "-")
        self.types["text"] -= dates
        self.types["date"] += dates

    def merge(self, other: PropertyFacts) -> None:
        """Take in what was seen elsewhere."""
        self.types.update(other.types)
        self.cut += other.cut
        self.values.merge(other.values)
        self.examples.merge(other.examples)


class _Table:
    """The properties of some events."""

    def __init__(self) -> None:
        self.events = 0
        self.complete = True
        self.facts: dict[str, PropertyFacts] = {}
        self._bound = below(0)

    def add(self, events: list[dict[str, Any]], *, show_values: bool) -> None:
        self.events += len(events)
        columns: defaultdict[str, list[Any]] = defaultdict(list)
        for properties in events:
            for name, value in properties.items():
                columns[name].append(value)
        for name, values in columns.items():
            if name not in _OWN_PLACE and self._is_kept(name):
                self._facts_of(name).add(values, show_values=show_values)
        self._trim()

    def merge(self, other: _Table) -> None:
        self.events += other.events
        self._bound = min(self._bound, other._bound)
        self.complete = self.complete and other.complete
        for name, facts in other.facts.items():
            self._facts_of(name).merge(facts)
        self.facts = {name: facts for name, facts in self.facts.items() if self._is_kept(name)}
        self._trim()

    def _facts_of(self, name: str) -> PropertyFacts:
        return self.facts.setdefault(name, PropertyFacts())

    def _is_kept(self, name: str) -> bool:
        return self.complete or hash_of(name) < self._bound

    def _trim(self) -> None:
        if len(self.facts) > MOST_PROPERTIES:
            by_hash = sorted((hash_of(name), name) for name in self.facts)
            self._bound = by_hash[MOST_PROPERTIES][0]
            self.complete = False
            self.facts = {name: self.facts[name] for hashed, name in by_hash if hashed < self._bound}


class PropertyRow(NamedTuple):
    """A line of the table of properties.

    Attributes:
      name: the property's.
      events: of the sample, that have it.
      types: how many of its values are null, boolean, number, text, date, list or object.
      cut: texts, alone or in a list, that Mixpanel will cut at 255 characters.
      distinct: how many different values that are not null there were in the sample.
      exact: whether `distinct` is the number itself.
      examples: a few values as JSON, perhaps masked.
    """

    name: str
    events: int
    types: dict[str, int]
    cut: int
    distinct: int
    exact: bool
    examples: list[str]


class PropertySample:
    """Looks at the properties of an even sample of the events: all of them while there are few.

    Events are sampled by hash. For each number of leading zeros of the hash there is a table; when there are too many
    events the table of the fewest zeros goes. So the sample depends on nothing but the events.

    Args:
      show_values: whether examples are values, not only their shape.
      most_events: so many are in the sample at most.
    """

    def __init__(self, *, show_values: bool, most_events: int = SAMPLED_EVENTS) -> None:
        self._show_values = show_values
        self._most_events = most_events
        self._level = 0
        self._tables: dict[int, _Table] = {}
        self._pending: defaultdict[int, list[bytes]] = defaultdict(list)
        self._pending_events = 0
        self._pending_bytes = 0

    @property
    def bound(self) -> int:
        """Hashes of events that are in the sample are below it."""
        return below(self._level)

    @property
    def one_in(self) -> int:
        """Tell that one event in so many is in the sample; 1 for all."""
        return 1 << self._level

    @property
    def events(self) -> int:
        """How many events are in the sample."""
        return self._pending_events + sum(table.events for table in self._tables.values())

    def add(self, events: Iterable[tuple[int, bytes]]) -> None:
        """Take in events, each with its hash; they are looked at when there are some together, since that is faster."""
        bound = self.bound
        for hashed, body in events:
            if hashed < bound:
                # By the number of leading zeros, so that a table can be dropped as a whole when the bound falls.
                self._pending[_HASH_BITS - hashed.bit_length()].append(body)
                self._pending_events += 1
                self._pending_bytes += len(body)
        self._trim()
        if self._pending_events > _MOST_PENDING or self._pending_bytes > _MOST_PENDING_BYTES:
            self._look()

    def merge(self, other: PropertySample) -> None:
        """Take in another's sample."""
        self._look()
        other._look()
        # The sample of both is that of the one that has dropped more.
        self._level = max(self._level, other._level)
        for level, table in other._tables.items():
            self._tables.setdefault(level, _Table()).merge(table)
        self._tables = {level: table for level, table in self._tables.items() if level >= self._level}
        self._trim()

    def rows(self) -> tuple[list[PropertyRow], bool]:
        """Give the table, the commonest properties first, and whether it names all properties of the sample."""
        self._look()
        joined = _Table()
        for table in self._tables.values():
            joined.merge(table)
        rows = [_row(name, facts) for name, facts in joined.facts.items()]
        return sorted(rows, key=lambda row: (-row.events, row.name)), joined.complete

    def _trim(self) -> None:
        while self.events > self._most_events and len(self._tables.keys() | self._pending.keys()) > 1:
            lowest = min(self._tables.keys() | self._pending.keys())
            self._tables.pop(lowest, None)
            dropped = self._pending.pop(lowest, [])
            self._pending_events -= len(dropped)
            self._pending_bytes -= sum(map(len, dropped))
            self._level = lowest + 1

    def _look(self) -> None:
        for level, bodies in self._pending.items():
            events = list(map(_properties_of, bodies))
            self._tables.setdefault(level, _Table()).add(events, show_values=self._show_values)
        self._pending.clear()
        self._pending_events = self._pending_bytes = 0


def _properties_of(body: bytes) -> dict[str, Any]:
    try:
        event = _decode(body)
    except UNREADABLE:
        event = json.loads(body)  # it holds a number past all doubles
    properties: dict[str, Any] = event["properties"]
    return properties


def _row(name: str, facts: PropertyFacts) -> PropertyRow:
    types = {kind: count for kind, count in sorted(facts.types.items(), key=lambda item: (-item[1], item[0])) if count}
    events = facts.types.total()
    return PropertyRow(
        name=name,
        events=events,
        types=types,
        cut=facts.cut,
        # An estimate may be a little more than there are values.
        distinct=min(facts.values.estimate(), events - facts.types["null"]),
        exact=facts.values.exact,
        examples=facts.examples.texts(),
    )


def _is_cut(items: list[Any]) -> bool:
    return any(type(item) is str and len(item) > MAX_TEXT_CHARS for item in items)


def _shown(written: bytes, *, show_values: bool) -> str:
    """Show a value that was written as JSON, or its shape."""
    if show_values:
        return written.decode()
    return _encode(masked_value(_decode(written))).decode()
