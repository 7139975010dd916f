"""What the fast ways make sure of before they pass an event without asking the rules.

A fast way answers only "certainly fine" or "look closer"; the rules alone say what is wrong (`rules.py`). A rule names
the fact under which it cannot be broken, and a fast way lists the facts that it makes sure of. A rule that names none,
as a new one does, or one that the way does not list, makes that way step aside: every event is then looked at closely.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from beam_mixpanel.core import limits


class Fact(Enum):
    """Something that is certain about an event; it is more than enough for the rules that name it."""

    READ = auto()
    """It is one JSON object in UTF-8, without half of a surrogate pair, on a line that can be held."""
    SHAPE = auto()
    """Its properties are an object, and nothing stands beside them with another value."""
    NAME = auto()
    """Its name is a text of 1 to 255 characters that is not blank."""
    COUNTS = auto()
    """It has at most 254 properties with its `$insert_id`, and nothing in it is larger than that, or nests too deep."""
    TIME = auto()
    """Its time is a number of milliseconds within `time_bounds`."""
    IDS = auto()
    """Its ids are text, its `distinct_id` is usable (`ids.is_usable_id`), its `$insert_id` is acceptable or made."""
    SIZE = auto()
    """As it is sent, it has at most `limits.MAX_EVENT_BYTES`."""


EVERY_FACT: Final = frozenset(Fact)


def time_bounds(now_ms: int, max_age_ms: int | None) -> tuple[int, int]:
    """Return the first and the last millisecond that no rule on times refuses.

    Args:
      now_ms: the present.
      max_age_ms: events older than this are refused; None for no such bound.
    """
    latest = now_ms + limits.MAX_AHEAD_MS
    if max_age_ms is None:
        return limits.EARLIEST_TIME_MS, latest
    return max(limits.EARLIEST_TIME_MS, now_ms - max_age_ms), latest
