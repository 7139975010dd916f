"""Columns of text that are typed by rule, as CSV files give them, for the columnar way."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from beam_mixpanel.core.formats import csv_types
from beam_mixpanel.core.json.values import unless_null
from beam_mixpanel.core.rows.plan import ColumnPlan

_INTEGER: Final = "^-?[0-9]+$"
_INT64_DIGITS: Final = 18


def typed(field: pa.Field) -> str:
    """Tell how a field's text is meant: a type of `csv_types`, or text."""
    kind: bytes = (field.metadata or {}).get(csv_types.TYPED, csv_types.TEXT.encode())
    return kind.decode()


def written_values(column: pa.Array, kind: str, bad: set[int]) -> list[Any]:
    """Give what each field is in JSON: literals as they stand, the rest as text.

    Args:
      column: of text.
      kind: `by_rule` or `number`.
      bad: takes the places of numbers that Mixpanel may refuse.
    """
    if kind == csv_types.NUMBER:
        # A longer one may be past all integers of 64 bits: the row way decides.
        longer = pc.indices_nonzero(pc.fill_null(pc.greater(pc.binary_length(column), _INT64_DIGITS), False))
        bad.update(longer.to_pylist())
        return unless_null(msgspec.Raw, column.to_pylist())
    literal = csv_types.is_literal(column)
    texts: list[Any] = column.to_pylist()
    if not pc.any(literal).as_py():
        return texts
    if pc.all(literal).as_py():
        return unless_null(msgspec.Raw, texts)
    return [msgspec.Raw(text) if plain else text for text, plain in zip(texts, literal.to_pylist(), strict=True)]


def settle(batch: pa.RecordBatch, plan: ColumnPlan) -> tuple[pa.RecordBatch, list[int], list[int]]:
    """Give each column that is more than a property one type for all rows of a batch.

    Event names and ids are text, which integers are as they stand. A time column, and those that make an insert id
    together, are integers or text, whichever the batch has more of.

    Returns:
      The rows for which that holds, their places, and the places of the others.
    """
    fits = _fit(batch, plan)
    if fits is None:
        return batch, list(range(batch.num_rows)), []
    kept = pc.indices_nonzero(fits).to_pylist()
    others = pc.indices_nonzero(pc.invert(fits)).to_pylist()
    if others:
        batch = batch.filter(fits)
    return _with_integers(batch, plan), kept, others


def _fit(batch: pa.RecordBatch, plan: ColumnPlan) -> pa.Array | None:
    """Tell which rows fit; None where no column that matters is typed by rule."""
    masks = [
        _is_text(column, takes_integers)
        for name, takes_integers in _text_columns(plan).items()
        if (column := _by_rule(batch, name)) is not None
    ]
    masks += [_is_like_most(column) for name in _uniform_columns(plan) if (column := _by_rule(batch, name)) is not None]
    if not masks:
        return None
    fits = masks[0]
    for mask in masks[1:]:
        fits = pc.and_(fits, mask)
    return fits


def _is_text(column: pa.Array, takes_integers: bool) -> pa.Array:
    """Tell which fields are text; integers are where an id is meant, whose text is its digits."""
    literal = _literals(column)
    if takes_integers:
        literal = pc.and_not(literal, _integers(column))
    return pc.invert(literal)


def _is_like_most(column: pa.Array) -> pa.Array:
    """Tell which fields are integers, where most are, or text."""
    if _are_integers(column):
        return _integers_or_null(column)
    return pc.invert(_literals(column))


def _text_columns(plan: ColumnPlan) -> dict[str, bool]:
    """Give the columns of names and ids, and whether integers are taken as they stand."""
    own_id = plan.insert_id_columns if len(plan.insert_id_columns) == 1 else ()
    ids = dict.fromkeys([*(column for _, column in plan.ids), *own_id], True)
    if plan.event is None:
        return {**ids, plan.event_column: False}
    return ids


def _uniform_columns(plan: ColumnPlan) -> set[str]:
    together = plan.insert_id_columns if len(plan.insert_id_columns) > 1 else ()
    return {plan.time_column, *together}


def _by_rule(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    if typed(batch.schema.field(name)) == csv_types.BY_RULE:
        return batch.column(name)
    return None


def _literals(column: pa.Array) -> pa.Array:
    return pc.fill_null(csv_types.is_literal(column), False)


def _integers(column: pa.Array) -> pa.Array:
    return pc.and_(_literals(column), pc.fill_null(pc.match_substring_regex(column, _INTEGER), False))


def _integers_or_null(column: pa.Array) -> pa.Array:
    return pc.or_(_integers(column), pc.is_null(column))


def _are_integers(column: pa.Array) -> bool:
    count = pc.sum(_integers(column)).as_py() or 0
    return bool(2 * count > len(column) - column.null_count)


def _with_integers(batch: pa.RecordBatch, plan: ColumnPlan) -> pa.RecordBatch:
    for name in _uniform_columns(plan):
        column = _by_rule(batch, name)
        if column is not None and _are_integers(column):
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, pa.field(name, pa.int64()), column.cast(pa.int64()))
    return batch
