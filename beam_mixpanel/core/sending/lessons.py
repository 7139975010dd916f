"""What all batches of a process learn from the server's answers."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

from beam_mixpanel.core.limits import MAX_BATCH_BYTES
from beam_mixpanel.core.sending.traits import IDENTITY_EVENTS, Trait

HOPELESS_EVENTS: Final = 12
"""So many events refused alone with one message, and nothing ever accepted: no sample of a file that is in part good.
If half of the events were good, it would happen once in 4,096 jobs."""
_HOPELESS_BATCHES: Final = 3
"""So many batches in a row whose smallest event was too large alone, and nothing accepted meanwhile."""
IDENTITY_SAMPLE: Final = 3
"""Single events of a name that were refused, and none accepted, where the words do not speak of identity."""
_VARYING: Final = re.compile(r"[0-9a-f-]*\d[0-9a-f-]*", re.IGNORECASE)
"""Numbers and ids, in which two messages of one meaning may differ."""
_GROWTH: Final = 1.5
_FIRST_PATIENCE: Final = 16
_MAX_PATIENCE: Final = 4096
"""Requests accepted before a larger size is tried; doubled each time that this was in vain."""


class Lessons:
    """What all batches of a process learn from the server's answers.

    Attributes:
      accepted_any: whether the server confirmed or named an event.
      identity_refusals: its words for refusing `$identify` and its like, by their names.
      suspicions: traits of events that were refused alone, and of none that was accepted.
      largest_accepted: bytes of the largest event in an accepted request.
      max_body_bytes: above it nothing is sent whole.
    """

    def __init__(self) -> None:
        self.accepted_any = False
        self.identity_refusals: dict[str, str] = {}
        self.suspicions: frozenset[Trait] = frozenset()
        self.largest_accepted = 0
        self.max_body_bytes = math.inf
        self._refused_alone: Counter[str] = Counter()
        self._refused_smallest = 0
        self._identity_refused: Counter[str] = Counter()
        self._identity_accepted: set[str] = set()
        self._accepted_since = 0
        self._patience = _FIRST_PATIENCE

    def accepted(self, largest: int) -> None:
        """Learn that a request was accepted; after many, larger ones are tried again."""
        self.accepted_any = True
        self._refused_alone.clear()
        self._refused_smallest = 0
        self.largest_accepted = max(self.largest_accepted, largest)
        if self.max_body_bytes == math.inf:
            return
        self._accepted_since += 1
        if self._accepted_since >= self._patience:
            self._accepted_since = 0
            self.max_body_bytes *= _GROWTH
            if self.max_body_bytes >= MAX_BATCH_BYTES:
                self.max_body_bytes = math.inf

    def refused_size(self, accepted_bytes: int) -> None:
        """Learn that bodies were too large though no event of theirs is, and which size was accepted."""
        if accepted_bytes < self.max_body_bytes:
            self._patience = min(self._patience * 2, _MAX_PATIENCE)
            self._accepted_since = 0
            self.max_body_bytes = accepted_bytes

    def identity_answer(self, name: str, *, refused: bool, message: str) -> None:
        """Learn what became of a single `$identify`, `$create_alias` or `$merge`, where words do not say why."""
        if not refused:
            self._identity_accepted.add(name)
        self._identity_refused[name] += refused
        if self._identity_refused[name] >= IDENTITY_SAMPLE and name not in self._identity_accepted:
            self.identity_refusals[name] = message

    def identity_refused(self, message: str) -> None:
        """Learn that the server's words refuse all identity events."""
        self.identity_refusals = dict.fromkeys(IDENTITY_EVENTS, message)

    def refused_smallest(self) -> bool:
        """Learn that a batch's smallest event was too large; return whether it is hopeless to send more."""
        self._refused_smallest += 1
        return self._refused_smallest >= _HOPELESS_BATCHES

    def refused_alone(self, message: str, events: int = 1, *, contradicts: bool = False) -> bool:
        """Learn that events were refused alone; return whether it is hopeless to send more.

        Args:
          message: the server's words.
          events: how many.
          contradicts: the server has accepted larger events before, and refuses these as too large.
        """
        if self.accepted_any and not contradicts:
            return False
        words = _VARYING.sub("#", message)
        self._refused_alone[words] += events
        return self._refused_alone[words] >= HOPELESS_EVENTS
