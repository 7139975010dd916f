"""The end of a job that nobody waits for: where nothing was imported, it fails."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.pvalue import PCollection

from beam_mixpanel.client.results import ImportReceipt
from beam_mixpanel.errors import NothingImportedError


class FailIfNothingImported(beam.PTransform):
    """Fails a bounded job at its end, where nobody waits for it to look at its books."""

    def expand(self, receipts: PCollection[ImportReceipt]) -> PCollection[None]:
        """Add up what was imported."""
        return (
            receipts
            | "Imported" >> beam.Map(_imported).with_output_types(int)
            | "Sum" >> beam.CombineGlobally(sum)
            | "Fail" >> beam.Map(_fail_if_none)
        )


def _imported(receipt: ImportReceipt) -> int:
    return receipt.imported


def _fail_if_none(imported: int) -> None:
    if not imported:
        raise NothingImportedError(
            "nothing was imported; the counters read, filtered, invalid and rejected, and the dead letters, say why"
        )
