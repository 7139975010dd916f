"""The books of a run: every event that was read ended in exactly one fate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

FATES: Final = ("filtered", "invalid", "imported", "rejected", "undelivered", "dropped")


class Books(NamedTuple):
    """How many events were read, and what became of them.

    Attributes:
      dropped: events that Mixpanel left out of its count without naming them; there is no dead letter of these.
    """

    read: int = 0
    filtered: int = 0
    invalid: int = 0
    imported: int = 0
    rejected: int = 0
    undelivered: int = 0
    dropped: int = 0

    @classmethod
    def from_counts(cls, counts: Mapping[str, int]) -> Books:
        """Take the fates out of a run's counters; an absent one is 0."""
        return cls(*(counts.get(name, 0) for name in cls._fields))

    @property
    def dead_letters(self) -> int:
        """Events that we or Mixpanel refused, or that were not confirmed: each is a dead letter."""
        return self.invalid + self.rejected + self.undelivered

    @property
    def not_imported(self) -> int:
        """Events that were read but neither imported nor filtered."""
        return self.dead_letters + self.dropped

    @property
    def balanced(self) -> bool:
        """Whether `read = filtered + invalid + imported + rejected + undelivered + dropped`."""
        return self.read == self.filtered + self.imported + self.not_imported
