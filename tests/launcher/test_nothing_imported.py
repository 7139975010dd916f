"""What is added to a job that nobody waits for."""

from __future__ import annotations

import apache_beam as beam
import pytest

from beam_mixpanel.client.results import ImportReceipt
from beam_mixpanel.launcher.nothing_imported import FailIfNothingImported


def _run(*imported: int) -> None:
    receipt = ImportReceipt(200, 0, 0, 0, 1, 0, 0, 0.0)
    with beam.Pipeline("FnApiRunner") as pipeline:
        receipts = [receipt._replace(imported=number) for number in imported]
        _ = pipeline | beam.Create(receipts, reshuffle=False) | FailIfNothingImported()


@pytest.mark.parametrize("imported", [(), (0, 0)])
def test_a_job_that_imports_nothing_fails(imported: tuple[int, ...]) -> None:
    """Where no request was made, and where none imported anything."""
    with pytest.raises(Exception, match="nothing was imported"):
        _run(*imported)


def test_a_job_that_imports_something_does_not_fail() -> None:
    """One event is enough."""
    _run(0, 1)
