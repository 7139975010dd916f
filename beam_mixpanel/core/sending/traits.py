"""What events differ in: their name, their properties, the types of values, the size.

Where Mixpanel refuses a batch and names no event, those at fault mostly have something in common that the others lack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

Trait = tuple[str, ...]
"""`("event", NAME)`, `("property", NAME)`, `("type", NAME, TYPE)` or `("bytes", POWER_OF_TWO)`."""

IDENTITY_EVENTS: Final = frozenset({"$identify", "$create_alias", "$merge"})
"""https://docs.mixpanel.com/reference/create-identity and its neighbours; a project with Simplified ID Merge takes none
(https://docs.mixpanel.com/docs/tracking-methods/id-management/migrating-to-simplified-id-merge-system)."""
_IDENTITY_MARKS: Final = (*(name.encode() for name in IDENTITY_EVENTS), b"\\u")
"""One of these is in each event that may have such a name: the name itself, or an escape."""

_EXACT_INTEGER: Final = 2**53
"""Integers above it are not exact in a double, and some servers refuse them."""
_LONG_TEXT: Final = 255

_decode = msgspec.json.Decoder().decode


class _Named(msgspec.Struct):
    event: object = None


_decode_name = msgspec.json.Decoder(_Named).decode


def identity_events(events: Sequence[bytes]) -> dict[int, str]:
    """Return the names of `$identify`, `$create_alias` and `$merge` events by their places, in order."""
    whole = b"\n".join(events)
    if not _may_be_identity_event(whole):
        return {}
    names = ((place, _name_of(event)) for place, event in enumerate(events) if _may_be_identity_event(event))
    return {place: name for place, name in names if name in IDENTITY_EVENTS}


def _may_be_identity_event(text: bytes) -> bool:
    return any(mark in text for mark in _IDENTITY_MARKS)


def _name_of(event: bytes) -> str:
    try:
        name = _decode_name(event).event
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if isinstance(name, str):
        return name
    return ""


def traits_of(event: bytes) -> frozenset[Trait]:
    """Return what an event may have in common with others; of what is no event, the size alone."""
    size: Trait = ("bytes", str(len(event).bit_length()))
    try:
        parsed = _decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return frozenset({size})
    if not isinstance(parsed, dict):
        return frozenset({size})
    traits: set[Trait] = {size, ("event", str(parsed.get("event")))}
    properties = parsed.get("properties")
    if isinstance(properties, dict):
        for name, value in properties.items():
            traits.add(("property", name))
            traits.add(("type", name, _type_of(value)))
    return frozenset(traits)


def _type_of(value: Any) -> str:
    """Return the type of a value, finer than JSON's where servers are known to be picky."""
    if isinstance(value, str):
        return _type_of_text(value)
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        if abs(value) > _EXACT_INTEGER:
            return "large integer"
        return "integer"
    if isinstance(value, float):
        return "fraction"
    if isinstance(value, dict):
        return _type_of_nested("dict", value.values())
    return _type_of_nested("list", value)


def _type_of_text(value: str) -> str:
    if not value.strip():
        return "blank text"
    if len(value) > _LONG_TEXT:
        return "long text"
    if value.isascii() and value.isprintable():
        return "text"
    return "text of any characters"


def _type_of_nested(kind: str, inner: Iterable[Any]) -> str:
    if any(isinstance(each, (dict, list)) for each in inner):
        return f"{kind} of more"
    return kind


def could_have(trait: Trait, text: bytes) -> bool:
    """Tell whether an event within a text may have a trait that names something; quicker than to read it."""
    return b"\\" in text or trait[1].encode() in text


def by_likeness(traits: Sequence[frozenset[Trait]]) -> list[int]:
    """Return all places, like events beside each other, those with the rarest trait first.

    Halves of such an order part what differs, so that events with a fault in common are found as one.
    """
    counts = Counter(trait for each in traits for trait in each)

    def key(place: int) -> tuple[int, Trait, list[Trait]]:
        rarest = min(traits[place], key=lambda trait: (counts[trait], trait))
        return counts[rarest], rarest, sorted(traits[place])

    return sorted(range(len(traits)), key=key)


def union(traits: Iterable[frozenset[Trait]]) -> set[Trait]:
    """Return every trait that one of them has."""
    return {trait for each in traits for trait in each}
