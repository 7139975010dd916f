"""Rows of a file or a warehouse that travel together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

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
