"""What refusals that name no event cost: the table of the documentation, measured anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.refusals import (
    ALL_REFUSED,
    ALL_TOO_LARGE,
    AT_FAULT,
    IDENTITY,
    KINDS,
    SMALL,
    Kind,
    Row,
    measure,
)

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "limits.md"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_small_rows_are_those_of_the_documentation(kind: Kind) -> None:
    """For each number at fault in 2,000: the requests that the page states, and no good event lost."""
    rows = {number: measure(kind, SMALL, number) for number in AT_FAULT}
    for number, row in rows.items():
        assert (row.imported, row.dead_letters, row.lost, row.ended) == (SMALL - number, number, 0, False)
        stated = re.search(rf"^\| {re.escape(kind.name)} \| {number} \| ([\d,]+) \|", PAGE.read_text(), re.MULTILINE)
        assert stated is not None
        assert int(stated[1].replace(",", "")) == row.requests


def test_identity_events_cost_a_long_import_one_request() -> None:
    """5 % of 100,000 events: one request more than without."""
    assert measure(IDENTITY, 100_000, 0).requests == 50
    assert measure(IDENTITY, 100_000, 5_000) == Row(51, 95_000, 5_000, 0, False)


@pytest.mark.parametrize("kind", [ALL_REFUSED, ALL_TOO_LARGE], ids=lambda kind: kind.name)
def test_a_server_that_refuses_everything_ends_the_job(kind: Kind) -> None:
    """However long the input is, it takes no more than a few requests."""
    row = measure(kind, 100_000, 0)
    assert (row.ended, row.imported, row.dead_letters) == (True, 0, 0)
    assert row.requests <= 20
