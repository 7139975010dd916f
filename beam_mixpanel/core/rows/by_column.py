"""From Arrow record batches to the bytes that are sent, column by column.

A row as a Python dict costs more than everything else that happens to it. So each column becomes a list of JSON values
at once, most by Arrow's own kernels, and msgspec writes the events from those lists. What is written is byte for byte
what `map_row` and `EventPreparer.prepare_object` would write (a property test holds the two ways together). A row that
breaks a rule, or might, is left to that way, which asks all rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from beam_mixpanel.core import limits
from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.facts import EVERY_FACT, time_bounds
from beam_mixpanel.core.events.ids import id_text, unusable_ids
from beam_mixpanel.core.events.insert_id import with_content_id
from beam_mixpanel.core.events.prepare import EventPreparer
from beam_mixpanel.core.events.rules import Judge
from beam_mixpanel.core.events.shapes import TEXT_IDS
from beam_mixpanel.core.events.time import MILLISECONDS_BELOW, SECONDS_BELOW, to_epoch_ms
from beam_mixpanel.core.formats import csv_types
from beam_mixpanel.core.json.exact import encode_in_order, encode_sorted
from beam_mixpanel.core.json.values import to_json_value
from beam_mixpanel.core.rows import csv_columns
from beam_mixpanel.core.rows.arrow import in_microseconds, values_of
from beam_mixpanel.core.rows.arrow_json import json_reader
from beam_mixpanel.core.rows.batches import ByColumn
from beam_mixpanel.core.rows.mapped import is_in_window, is_wanted
from beam_mixpanel.core.rows.plan import ColumnPlan

FACTS: Final = EVERY_FACT
"""What is certain of an event that is written here."""
_RESERVED: Final = frozenset(("time", "$insert_id", *TEXT_IDS))
_NO_FIELD_NAME: Final = frozenset('\\"') | {chr(code) for code in range(32)}
"""Signs that msgspec takes in no field's name."""
_DATE_CHARS: Final = 10
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
_FIRST_DAY: Final = -719_162
_LAST_DAY: Final = 2_932_896
"""The first day of the year 1 and the last of 9999, from 1970 on."""
_SHORTEST_MOMENT_CHARS: Final = 19
_IN_FORM_ID: Final = f"^{limits.INSERT_ID_CHARS}{{1,{limits.MAX_INSERT_ID_BYTES}}}$"


class _WrittenEvent(msgspec.Struct, gc=False):
    event: str
    properties: Any


class ColumnarPreparer:
    """Prepares the batches of one schema.

    Args:
      plan: which column is what.
      schema: of all batches.
      form: how times and ids are read and made.
      preparer: of single events; knows what the project keeps.
    """

    def __init__(self, plan: ColumnPlan, schema: pa.Schema, form: Form, preparer: EventPreparer) -> None:
        self._plan = plan
        self._form = form
        self._preparer = preparer
        self._judge = Judge()
        self._columns = {**dict(plan.properties), **dict(plan.ids)}
        self._json = {name: read for name, column in plan.properties if (read := json_reader(schema.field(column)))}
        self._typed = {name: csv_columns.typed(schema.field(column)) for name, column in self._columns.items()}
        self._settles = any(kind == csv_types.BY_RULE for kind in map(csv_columns.typed, schema))
        self._tags = {name: _written(to_json_value(value)) for name, value in plan.tags}
        own_id = ["$insert_id"] if plan.insert_id_columns else []
        # Sorted, so that the bytes are those that `encode_sorted` writes, of which ids are made.
        self._names = sorted({*self._columns, *self._tags, "time", *own_id})
        self._new_properties = msgspec.defstruct(
            "WrittenProperties",
            [(f"f{number}", Any, None) for number in range(len(self._names))],
            rename={f"f{number}": name for number, name in enumerate(self._names)},
            omit_defaults=True,
            gc=False,
        )

    @staticmethod
    def can_prepare(plan: ColumnPlan, schema: pa.Schema, form: Form) -> bool:
        """Tell whether batches of this schema can be converted column by column, as this plan and form say."""
        if not Judge().is_settled_by(FACTS):
            return False  # there is a rule that only the rows themselves can be asked about
        if plan.flatten or plan.spread_columns or plan.json_columns or plan.keep_nulls:
            return False
        if plan.time_format or plan.time_unit != "auto":
            return False
        if form.insert_id != insert_ids.CONTENT_IDS and not plan.insert_id_columns:
            return False
        if not _has_plain_names(plan, form):
            return False
        if any(_is_read_by_row(schema.field(column)) for column in _used_columns(plan)):
            return False
        return plan.event is not None or _is_text(schema.field(plan.event_column).type)

    def prepare(self, batch: pa.RecordBatch, now_ms: int) -> ByColumn:
        """Prepare a batch.

        Args:
          batch: rows of the schema.
          now_ms: the present, for the bound on future times.
        """
        others: list[int] = []
        places = list(range(batch.num_rows))
        if self._settles:
            batch, places, others = csv_columns.settle(batch, self._plan)
        batch, kept = self._filter(batch)
        filtered: list[int] = []
        if len(kept) < len(places):
            wanted = set(kept)
            filtered = [place for number, place in enumerate(places) if number not in wanted]
            places = [places[number] for number in kept]
        if not places:
            return ByColumn([], [], others=others, filtered=filtered)
        bodies, times, bad = self._convert(batch, now_ms)
        if bad:
            others = sorted([*others, *(places[number] for number in bad)])
            places = _without(bad, places)
        past_retention = 0
        if times:
            past_retention = self._preparer.count_past_retention(times, now_ms)
        return ByColumn(bodies, places, others=others, filtered=filtered, past_retention=past_retention)

    def _filter(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[int]]:
        """Leave out the rows that the plan filters; give the rest and their places."""
        plan = self._plan
        keep = [True] * batch.num_rows
        if plan.only_events or plan.skip_events:
            names = self._event_names(batch)
            wanted = {name: is_wanted(name or "", plan) for name in set(names)}
            keep = [wanted[name] for name in names]
        if plan.from_ms is not None or plan.until_ms is not None:
            times = _times(batch.column(plan.time_column), self._form)
            keep = [kept and is_in_window(time, plan) for kept, time in zip(keep, times, strict=True)]
        if all(keep):
            return batch, list(range(batch.num_rows))
        return batch.filter(pa.array(keep)), [place for place, is_kept in enumerate(keep) if is_kept]

    def _convert(self, batch: pa.RecordBatch, now_ms: int) -> tuple[list[bytes], list[int], set[int]]:
        """Write the events of all rows that are certainly fine.

        Returns:
          Their bodies, their times, and the places of the other rows.
        """
        names = self._event_names(batch)
        times = _times(batch.column(self._plan.time_column), self._form)
        bad = _places(names, {name for name in set(names) if self._judge.of_name(name)})
        bad.update(_bad_times(times, now_ms, self._form.max_age_ms))
        lists = [self._list(name, names, times, batch=batch, bad=bad) for name in self._names]
        if bad:
            # What the columns hold for these rows may be anything; it is not written.
            names, times = _without(bad, names), _without(bad, times)
            lists = [_without(bad, values) for values in lists]
        bodies = list(map(encode_in_order, map(_WrittenEvent, names, map(self._new_properties, *lists))))
        if not self._plan.insert_id_columns:
            # Absent ids are made of the body, so they come after all else that changes it.
            bodies = list(map(with_content_id, bodies))
        if max(map(len, bodies), default=0) > limits.MAX_EVENT_BYTES:
            good = _without(bad, range(batch.num_rows))
            too_large = {number for number, body in enumerate(bodies) if len(body) > limits.MAX_EVENT_BYTES}
            bodies, times = _without(too_large, bodies), _without(too_large, times)
            bad.update(good[number] for number in too_large)
        return bodies, times, bad

    def _list(self, name: str, names: list[str], times: list[Any], batch: pa.RecordBatch, bad: set[int]) -> list[Any]:
        """Give a property's values, one for each row; add to `bad` the rows where it may break a rule."""
        if name == "time":
            return times
        if name == "$insert_id":
            return self._insert_ids(names, batch, bad)
        if name in self._tags:
            return [self._tags[name]] * batch.num_rows
        column = batch.column(self._columns[name])
        if name in TEXT_IDS:
            return _ids(name, column, bad)
        if self._typed[name] != csv_types.TEXT:
            return csv_columns.written_values(column, self._typed[name], bad)
        if name in self._json:
            return self._write_nested([to_json_value(self._json[name](value)) for value in column.to_pylist()], bad)
        return self._values(column, bad)

    def _event_names(self, batch: pa.RecordBatch) -> list[Any]:
        if self._plan.event is not None:
            return [self._plan.event] * batch.num_rows
        names: list[Any] = batch.column(self._plan.event_column).to_pylist()
        return names

    def _insert_ids(self, names: list[str], batch: pa.RecordBatch, bad: set[int]) -> list[Any]:
        """Give the ids that the source has, or those made from several columns; absent and refused ones are bad."""
        columns = self._plan.insert_id_columns
        if len(columns) > 1:
            lists = [self._id_values(batch.column(column), bad) for column in columns]
            ids: list[Any] = [
                insert_ids.from_columns(name, dict(zip(columns, values, strict=True)), columns)
                for name, *values in zip(names, *lists, strict=True)
            ]
            bad.update(_places(ids, {None}))
            return ids
        column = batch.column(columns[0])
        if pa.types.is_integer(column.type):
            column = column.cast(pa.string())
        if not _is_text(column.type):
            bad.update(range(len(column)))
            return [None] * len(column)
        ids = column.to_pylist()
        if not pc.all(pc.fill_null(pc.match_substring_regex(column.cast(pa.string()), _IN_FORM_ID), False)).as_py():
            bad.update(place for place, value in enumerate(ids) if not insert_ids.is_acceptable(value))
        elif not limits.PLACEHOLDER_IDS.isdisjoint(map(str.lower, ids)):
            bad.update(place for place, value in enumerate(ids) if value.lower() in limits.PLACEHOLDER_IDS)
        return ids

    def _id_values(self, column: pa.Array, bad: set[int]) -> list[Any]:
        """Give the JSON values of a column, lists and records not yet written."""
        if pa.types.is_nested(column.type):
            return [to_json_value(value) for value in values_of(column)]
        return self._values(column, bad)

    def _values(self, column: pa.Array, bad: set[int]) -> list[Any]:
        """Give the JSON values of a column, ready to be written."""
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind) or _is_text(kind):
            return _plain(column)
        if pa.types.is_floating(kind):
            finite = pc.all(pc.is_finite(column)).as_py() is not False
            if finite:
                return _plain(column)
            return list(map(to_json_value, column.to_pylist()))
        if pa.types.is_timestamp(kind) and _is_in_years(column):
            return _iso_texts(column)
        if pa.types.is_date32(kind) and _is_in_years(column):
            return _plain(column.cast(pa.string()))
        values = [to_json_value(value) for value in values_of(column)]
        if pa.types.is_nested(kind):
            return self._write_nested(values, bad)
        return values

    def _write_nested(self, values: list[Any], bad: set[int]) -> list[Any]:
        """Write lists and records now, in place; those that may break a rule are bad."""
        nested = [place for place, value in enumerate(values) if isinstance(value, (dict, list))]
        refused = {place for place in nested if self._judge.of_value(values[place])}
        bad |= refused
        for place in nested:
            if place not in refused:
                values[place] = _written(values[place])
        return values


def _has_plain_names(plan: ColumnPlan, form: Form) -> bool:
    """Tell whether the properties can be the fields of one type, each from one column, and are all to be sent."""
    names = [name for name, _ in (*plan.properties, *plan.ids, *plan.tags)]
    return (
        len(set(names)) == len(names)
        and len(names) + len(("time", "$insert_id")) <= limits.MAX_PROPERTIES
        and _RESERVED.isdisjoint(name for name, _ in (*plan.properties, *plan.tags))
        and all(_NO_FIELD_NAME.isdisjoint(name) for name in names)
        and form.redact.isdisjoint(names)
    )


def _is_read_by_row(field: pa.Field) -> bool:
    """Tell whether a column that is more than a property has values that only the row way reads."""
    return json_reader(field) is not None or csv_columns.typed(field) == csv_types.NUMBER


def _used_columns(plan: ColumnPlan) -> list[str]:
    """Give the columns that are more than properties."""
    named = [plan.event_column, plan.time_column, *(column for _, column in plan.ids), *plan.insert_id_columns]
    return [column for column in named if column]


def _without(places: set[int], values: Sequence[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if place not in places]


def _places(values: list[Any], wanted: set[Any]) -> set[int]:
    if wanted:
        return {place for place, value in enumerate(values) if value in wanted}
    return set()


def _bad_times(times: list[Any], now_ms: int, max_age_ms: int | None) -> set[int]:
    earliest, latest = time_bounds(now_ms, max_age_ms)
    if None not in times and min(times) >= earliest and max(times) <= latest:
        return set()
    return {place for place, time in enumerate(times) if time is None or not earliest <= time <= latest}


def _times(column: pa.Array, form: Form) -> list[Any]:
    """Read a column of times as `to_epoch_ms` would, value for value."""
    kind = column.type
    if pa.types.is_timestamp(kind) and (kind.tz is not None or form.zone is timezone.utc) and _is_in_years(column):
        micros = in_microseconds(column).cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_pylist()
        return [None if value is None else value // 1000 for value in micros]
    if _is_text(kind):
        moments = _moments(column, form)
        if moments is not None:
            return _times(moments, form)
    values = values_of(column)
    # Numbers are told apart by their size: where all have that of milliseconds, none need be read.
    if pa.types.is_integer(kind) and column.null_count == 0 and _are_milliseconds(column):
        return values
    return [None if value is None else to_epoch_ms(value, zone=form.zone) for value in values]


def _are_milliseconds(column: pa.Array) -> bool:
    bounds = pc.min_max(column).as_py()
    return bool(column) and bounds["min"] >= SECONDS_BELOW and bounds["max"] < MILLISECONDS_BELOW


def _moments(column: pa.Array, form: Form) -> pa.Array | None:
    """Read ISO 8601 texts by Arrow's kernel, where all have a form that it reads as `to_epoch_ms` does."""
    column = column.cast(pa.string())
    lengths = pc.min_max(pc.binary_length(column)).as_py()
    shortest, longest = lengths["min"], lengths["max"]
    if shortest is None or not (shortest >= _SHORTEST_MOMENT_CHARS or shortest == longest == _DATE_CHARS):
        return None
    kinds = [pa.timestamp("us", "UTC")]
    if form.zone is timezone.utc:
        kinds.append(pa.timestamp("us"))  # clock times without a zone, which Arrow takes for UTC
    for kind in kinds:
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    return None


def _ids(name: str, column: pa.Array, bad: set[int]) -> list[Any]:
    """Give ids as text."""
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    if _is_text(column.type):
        values: list[Any] = column.to_pylist()
    elif pa.types.is_boolean(column.type) or pa.types.is_decimal(column.type):
        values = [None if value is None else id_text(value) for value in column.to_pylist()]
    else:
        bad.update(range(len(column)))
        return [None] * len(column)
    if name == "distinct_id":
        bad.update(_places(values, unusable_ids(set(values) - {None})))
    return values


def _plain(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _is_in_years(column: pa.Array) -> bool:
    """Tell whether days or moments lie in the years 1 to 9999, which Python and all units but ns have values for."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return True
    is_day = pa.types.is_date32(column.type)
    numbers = column.view(pa.int32() if is_day else pa.int64())
    bounds = pc.min_max(numbers).as_py()
    per_day = 1
    if not is_day:
        per_day = 86_400 * _PER_SECOND[column.type.unit]
    first, last = _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day
    return bounds["min"] is None or bool(first <= bounds["min"] and bounds["max"] < last)


def _iso_texts(column: pa.Array) -> list[Any]:
    """Write moments as `datetime.isoformat` does: in UTC, microseconds only where there are some."""
    micros = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.timestamp("us"))
    seconds = micros.cast(pa.timestamp("s"), safe=False)
    whole = pc.equal(seconds.cast(pa.timestamp("us")), micros)
    texts = seconds.cast(pa.string())
    if pc.all(whole).as_py() is False:
        texts = pc.if_else(whole, texts, micros.cast(pa.string()))
    return _plain(pc.replace_substring(texts, " ", "T"))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
    )


def _written(value: Any) -> Any:
    """Write a nested value now, its keys sorted; leave others as they are."""
    if isinstance(value, (dict, list)):
        return msgspec.Raw(encode_sorted(value))
    return value
