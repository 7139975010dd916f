"""Rows of a file or a warehouse that travel together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.prepare import Preparation

if TYPE_CHECKING:
    import pyarrow as pa


class RowBatch(NamedTuple):
    """Rows as an Arrow record batch, as Parquet, CSV, databases and BigQuery give them.

    Attributes:
      batch: the rows.
      source: where they come from: a file's name, or a query's.
      first_row: the number of the first one there, from 0; -1 where rows have no numbers.
    """

    batch: pa.RecordBatch
    source: str
    first_row: int


class RowList(NamedTuple):
    """Rows as Python objects, from sources whose values may have another type in each row (Avro unions, JSON).

    Attributes:
      rows: each with its values by column name.
      source: where they come from.
      first_row: the number of the first one there, from 0; -1 where rows have no numbers.
    """

    rows: list[Mapping[str, Any]]
    source: str
    first_row: int


def with_columns(rows: list[Mapping[str, Any]], columns: Sequence[str] | None) -> list[Mapping[str, Any]]:
    """Give rows that have these columns and no others, null where a row has none; None to leave them as they are."""
    if columns is None:
        return rows
    return [{column: row.get(column) for column in columns} for row in rows]


def names_in(rows: Iterable[Any]) -> list[str]:
    """Return the names of the columns that some rows have; what is no dict is passed over."""
    names: dict[str, None] = {}
    for row in rows:
        if isinstance(row, dict):
            names.update(dict.fromkeys(row))
    return list(names)


class RefusedRows(NamedTuple):
    """Rows that a source could not read, but that do not keep it from reading the others.

    Attributes:
      letters: one for each, stage `parse`.
    """

    letters: list[DeadLetter]


class ByColumn(NamedTuple):
    """What became of the rows of a batch.

    Attributes:
      bodies: the events of those that are certainly fine.
      places: theirs in the batch, from 0.
      others: the places of rows that need a closer look, in order: they may break a rule, or differ from the rest.
      filtered: the places of rows that the user does not want.
      past_retention: how many of the events are older than the project keeps.
    """

    bodies: list[bytes]
    places: list[int]
    others: list[int]
    filtered: list[int]
    past_retention: int = 0

    def placed(self, source: str, offsets: list[int]) -> Preparation:
        """Give events and counts, each event with its place in the source; of the `others` nothing."""
        size = len(self.bodies)
        done = Preparation(EventChunk(self.bodies, [None] * size, [source] * size, offsets))
        done.filtered = len(self.filtered)
        done.past_retention = self.past_retention
        return done
