"""`UnbatchRows`: from batches of rows to single rows, and those that a source refused as dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.rows.batches import RefusedRows, RowBatch, RowList
from beam_mixpanel.errors import UnreadableFileError
from beam_mixpanel.files.ndjson import rows_of_block
from beam_mixpanel.transforms.coding import register_coders
from beam_mixpanel.transforms.guard import DeadLetterGuard

DEAD_LETTERS: Final = "dead_letters"

register_coders()


class UnbatchedRows(NamedTuple):
    """The outputs of `UnbatchRows`.

    Attributes:
      rows: dicts, with the values of each column by its name.
      dead_letters: a `DeadLetter` for each row that its source refused.
    """

    rows: PCollection[dict[str, Any]]
    dead_letters: PCollection[DeadLetter]


class UnbatchRows(beam.PTransform):
    """Turns batches of rows into single rows, for steps of your own that look at each one.

    Takes what the transforms `Read…Batched` return, bounded or unbounded, and keeps windows and timestamps. Values are
    exactly those that an import of the batch would see: integers of any size, `Decimal`, `datetime` (without a zone
    where the source has none), `date`, `bytes`, lists and dicts; a column without a value is None. Lines of NDJSON are
    parsed. Several times slower than passing batches on.

    Rows that the source refused (a ragged line of CSV, a line that is not JSON …) become the dead letters that
    `WriteToMixpanel` would make of them. If no step consumes `dead_letters`, the job fails at the first.

    Single rows go to `WriteToMixpanel` with a `mapping`; `mapping={}` maps the columns by their names, as batches are.
    """

    def __init__(self) -> None:
        super().__init__()

    def expand(self, batches: PCollection[RowBatch | RowList | EventBlock | RefusedRows]) -> UnbatchedRows:
        """Unbatch each element.

        Raises:
          TypeError: when the job runs, an element is no batch of rows.
        """
        outputs = batches | "Unbatch" >> beam.FlatMap(_unbatch).with_outputs(DEAD_LETTERS, main="rows")
        # Set here, since type hints for tags would be checked against every output under --runtime_type_check.
        outputs["rows"].element_type = beam.typehints.Dict[str, Any]
        outputs[DEAD_LETTERS].element_type = DeadLetter
        DeadLetterGuard((outputs[DEAD_LETTERS],))
        return UnbatchedRows(outputs["rows"], outputs[DEAD_LETTERS])


class RowsOrError(beam.PTransform):
    """Turns batches of rows into single rows, and fails the job at the first row that the source refused."""

    def expand(self, batches: PCollection[RowBatch | RowList | EventBlock | RefusedRows]) -> PCollection[Any]:
        """Unbatch each element."""
        return batches | "Unbatch" >> beam.FlatMap(_unbatch_or_fail).with_output_types(dict[str, Any])


def _unbatch(batch: RowBatch | RowList | EventBlock | RefusedRows) -> Iterator[Any]:
    for row in _rows_and_letters(batch):
        yield TaggedOutput(DEAD_LETTERS, row) if isinstance(row, DeadLetter) else row


def _unbatch_or_fail(batch: RowBatch | RowList | EventBlock | RefusedRows) -> Iterator[dict[str, Any]]:
    for row in _rows_and_letters(batch):
        if isinstance(row, DeadLetter):
            raise UnreadableFileError(
                f"cannot read the row at {row.source} ({row.reason}): {row.message}. To go on past such rows, use the "
                "transform whose name ends in Batched, then UnbatchRows, and its dead_letters"
            )
        yield row


def _rows_and_letters(batch: RowBatch | RowList | EventBlock | RefusedRows) -> Iterator[dict[str, Any] | DeadLetter]:
    # Arrow is loaded where there are batches of it.
    from beam_mixpanel.core.rows.arrow import rows_of

    if isinstance(batch, RowBatch):
        yield from rows_of(batch.batch)
    elif isinstance(batch, RowList):
        yield from map(dict, batch.rows)
    elif isinstance(batch, EventBlock):
        for part in rows_of_block(batch):
            yield from _rows_and_letters(part)
    elif isinstance(batch, RefusedRows):
        yield from batch.letters
    elif isinstance(batch, Mapping):
        # `ReadFromBigQueryBatched` gives single rows by its method EXPORT.
        yield dict(batch)
    else:
        raise TypeError(f"UnbatchRows takes batches of rows, got {type(batch).__name__}")
