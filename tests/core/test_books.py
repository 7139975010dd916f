"""The books: read = filtered + invalid + imported + rejected + undelivered + dropped."""

from __future__ import annotations

import pytest

from beam_mixpanel.core.sending.books import FATES, Books


def test_counters_become_books() -> None:
    """The fates are taken by name, others ignored, absent ones 0."""
    books = Books.from_counts({"read": 9, "imported": 5, "rejected": 3, "undelivered": 1, "requests": 7})
    assert books == Books(read=9, imported=5, rejected=3, undelivered=1)
    assert (books.dead_letters, books.balanced) == (4, True)


@pytest.mark.parametrize("fate", FATES)
def test_each_fate_counts(fate: str) -> None:
    """One event of any fate balances one event read, and unbalances none."""
    assert Books.from_counts({"read": 1, fate: 1}).balanced
    assert not Books.from_counts({fate: 1}).balanced
    assert not Books(read=1).balanced
    assert Books().balanced


def test_dead_letters_are_what_was_not_sent_on_purpose_or_imported() -> None:
    """Filtered and imported events are no dead letters, nor those that Mixpanel dropped; the other three fates are."""
    books = Books(63, 1, 2, 4, 8, 16, 32)
    assert (books.dead_letters, books.not_imported, books.balanced) == (26, 58, True)
