"""From Arrow record batches to the bytes that are sent, column by column.

A row as a Python dict costs more than everything else that happens to it. So each column becomes a list of JSON values
at once, most by Arrow's own kernels, and msgspec writes the events from those lists. What is written is byte for byte
what `map_row` and `EventPreparer.prepare_object` would write (a property test holds the two ways together). A row that
breaks a rule, or might, goes that way itself, since it explains.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timezone
from decimal import Decimal
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from beam_mixpanel.core import limits
from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.core.events.event import TEXT_IDS, Form, id_text, unusable_distinct_ids
from beam_mixpanel.core.events.insert_id import with_content_id
from beam_mixpanel.core.events.prepare import Preparation
from beam_mixpanel.core.events.time import MILLISECONDS_BELOW, SECONDS_BELOW, to_epoch_ms
from beam_mixpanel.core.events.validation import Event, check_event, check_name
from beam_mixpanel.core.formats import csv_types
from beam_mixpanel.core.json.values import to_json_value
from beam_mixpanel.core.rows import csv_columns
from beam_mixpanel.core.rows.arrow import values_of
from beam_mixpanel.core.rows.arrow_json import json_reader
from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.core.rows.mapping import ColumnPlan, is_in_window, is_wanted

_RESERVED: Final = frozenset(("time", "$insert_id", *TEXT_IDS))
_NO_FIELD_NAME: Final = frozenset('\\"') | {chr(code) for code in range(32)}
"""Signs that msgspec takes in no field's name."""
_DATE_CHARS: Final = 10
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
_FIRST_DAY: Final = -719_162
_LAST_DAY: Final = 2_932_896
"""The first day of the year 1 and the last of 9999, from 1970 on."""
_MAX_UINT64: Final = 2**64 - 1
_SHORTEST_MOMENT_CHARS: Final = 19
_IN_FORM_ID: Final = f"^{limits.INSERT_ID_CHARS}{{1,{limits.MAX_INSERT_ID_BYTES}}}$"

_encode_event = msgspec.json.Encoder(decimal_format="number").encode
_encode_nested = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


class _WrittenEvent(msgspec.Struct, gc=False):
    event: str
    properties: Any


class _MayBreakARuleError(Exception):
    """Rows of a batch need a closer look."""

    def __init__(self, places: set[int]) -> None:
        super().__init__()
        self.places = places


class ColumnarPreparer:
    """Prepares the batches of one schema.

    Args:
      plan: which column is what.
      schema: of all batches.
      form: how times and ids are read and made.
      retention_days: events older than this are counted.
    """

    def __init__(self, plan: ColumnPlan, schema: pa.Schema, form: Form, *, retention_days: int) -> None:
        self._plan = plan
        self._form = form
        self._retention_ms = retention_days * 86_400_000
        self._columns = {**dict(plan.properties), **dict(plan.ids)}
        self._json = {name: read for name, column in plan.properties if (read := json_reader(schema.field(column)))}
        self._tags = {name: _written(to_json_value(value)) for name, value in plan.tags}
        own_id = ["$insert_id"] if plan.insert_id_columns else []
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
        names = [name for name, _ in (*plan.properties, *plan.ids, *plan.tags)]
        return not (
            plan.flatten
            or plan.spread_columns
            or plan.json_columns
            or plan.keep_nulls
            or plan.time_format
            or plan.time_unit != "auto"
            or (form.insert_id != insert_ids.CONTENT_IDS and not plan.insert_id_columns)
            or not _RESERVED.isdisjoint(name for name, _ in (*plan.properties, *plan.tags))
            or len(set(names)) != len(names)
            or len(names) + len(("time", "$insert_id")) > limits.MAX_PROPERTIES
            or any(not _NO_FIELD_NAME.isdisjoint(name) for name in names)
            or not form.redact.isdisjoint(names)
            or any(_is_read_by_row(schema.field(column)) for column in _used_columns(plan))
            or (plan.event is None and not _is_text(schema.field(plan.event_column).type))
        )

    def prepare(self, rows: RowBatch, now_ms: int, explain: Callable[[list[int]], None]) -> Preparation:
        """Prepare a batch.

        Args:
          rows: of the schema.
          now_ms: the present, for the bound on future times.
          explain: takes the places in the batch of rows that may break a rule, or that the others of the batch are not
            like, and sees to them.
        """
        done = Preparation()
        settled, own_places, others = csv_columns.settle(rows.batch, self._plan)
        if others:
            explain(others)
        batch, kept = self._filter(settled)
        places = [own_places[place] for place in kept]
        done.filtered = settled.num_rows - len(places)
        while places:
            try:
                bodies, times = self._convert(batch, now_ms)
            except _MayBreakARuleError as error:
                explain([places[place] for place in sorted(error.places)])
                good = [place for place in range(len(places)) if place not in error.places]
                batch, places = batch.take(pa.array(good, pa.int64())), [places[place] for place in good]
            else:
                done.events = _chunk(rows, bodies, places)
                oldest = now_ms - self._retention_ms
                done.past_retention = sum([time < oldest for time in times])
                break
        return done

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

    def _convert(self, batch: pa.RecordBatch, now_ms: int) -> tuple[list[bytes], list[int]]:
        """Write the events of all rows.

        Raises:
          _MayBreakARuleError: some rows cannot be written, or break a rule.
        """
        names = self._event_names(batch)
        times = _times(batch.column(self._plan.time_column), self._form)
        bad = _places(names, {name for name in set(names) if check_name(name)})
        bad.update(_bad_times(times, now_ms, self._form.max_age_ms))
        lists = [self._list(name, names, times, batch, bad) for name in self._names]
        if bad:
            raise _MayBreakARuleError(bad)
        bodies = list(map(_encode_event, map(_WrittenEvent, names, map(self._new_properties, *lists))))
        if not self._plan.insert_id_columns:
            bodies = list(map(with_content_id, bodies))
        if max(map(len, bodies)) > limits.MAX_EVENT_BYTES:
            raise _MayBreakARuleError(
                {place for place, body in enumerate(bodies) if len(body) > limits.MAX_EVENT_BYTES}
            )
        return bodies, times

    def _list(self, name: str, names: list[str], times: list[Any], batch: pa.RecordBatch, bad: set[int]) -> list[Any]:
        """Give a property's values, one for each row; add to `bad` the rows where it may break a rule."""
        if name == "time":
            return times
        if name == "$insert_id":
            return _insert_ids(self._plan.insert_id_columns, names, batch, bad)
        if name in self._tags:
            return [self._tags[name]] * batch.num_rows
        column = batch.column(self._columns[name])
        kind = csv_columns.typed(batch.schema.field(self._columns[name]))
        if kind != csv_types.TEXT and name not in TEXT_IDS:
            return csv_columns.written_values(column, kind, bad)
        if name in self._json:
            return _write_nested([to_json_value(self._json[name](value)) for value in column.to_pylist()], bad)
        return _ids(name, column, bad) if name in TEXT_IDS else _values(column, bad)

    def _event_names(self, batch: pa.RecordBatch) -> list[Any]:
        if self._plan.event is not None:
            return [self._plan.event] * batch.num_rows
        names: list[Any] = batch.column(self._plan.event_column).to_pylist()
        return names


def _is_read_by_row(field: pa.Field) -> bool:
    """Tell whether a column that is more than a property has values that only the row way reads."""
    return json_reader(field) is not None or csv_columns.typed(field) == csv_types.NUMBER


def _used_columns(plan: ColumnPlan) -> list[str]:
    """Give the columns that are more than properties."""
    named = [plan.event_column, plan.time_column, *(column for _, column in plan.ids), *plan.insert_id_columns]
    return [column for column in named if column]


def _in_microseconds(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return column.cast(pa.duration("us"), safe=False)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    return column


def _chunk(rows: RowBatch, bodies: list[bytes], places: list[int]) -> EventChunk:
    size = len(bodies)
    numbers = [-1] * size if rows.first_row < 0 else [rows.first_row + place for place in places]
    return EventChunk(bodies, [None] * size, [f"{rows.source}#"] * size, numbers)


def _places(values: list[Any], wanted: set[Any]) -> set[int]:
    return {place for place, value in enumerate(values) if value in wanted} if wanted else set()


def _bad_times(times: list[Any], now_ms: int, max_age_ms: int | None) -> set[int]:
    latest = now_ms + limits.MAX_AHEAD_MS
    earliest = limits.EARLIEST_TIME_MS if max_age_ms is None else max(limits.EARLIEST_TIME_MS, now_ms - max_age_ms)
    if None not in times and min(times) >= earliest and max(times) <= latest:
        return set()
    return {place for place, time in enumerate(times) if time is None or not earliest <= time <= latest}


def _times(column: pa.Array, form: Form) -> list[Any]:
    """Read a column of times as `to_epoch_ms` would, value for value."""
    kind = column.type
    if pa.types.is_timestamp(kind) and (kind.tz is not None or form.zone is timezone.utc) and _is_in_years(column):
        micros = _in_microseconds(column).cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_pylist()
        return [None if value is None else value // 1000 for value in micros]
    if _is_text(kind):
        moments = _moments(column, form)
        if moments is not None:
            return _times(moments, form)
    values = values_of(column)
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
    kinds = [pa.timestamp("us", "UTC"), *([pa.timestamp("us")] if form.zone is timezone.utc else [])]
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
        bad.update(_places(values, unusable_distinct_ids(set(values) - {None})))
    return values


def _insert_ids(columns: tuple[str, ...], names: list[str], batch: pa.RecordBatch, bad: set[int]) -> list[Any]:
    """Give the ids that the source has, or those made from several columns; absent and refused ones are bad."""
    if len(columns) > 1:
        lists = [_id_values(batch.column(column), bad) for column in columns]
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


def _id_values(column: pa.Array, bad: set[int]) -> list[Any]:
    """Give the JSON values of a column, lists and records not yet written."""
    if pa.types.is_nested(column.type):
        return [to_json_value(value) for value in values_of(column)]
    return _values(column, bad)


def _values(column: pa.Array, bad: set[int]) -> list[Any]:
    """Give the JSON values of a column, ready to be written."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind) or _is_text(kind):
        return _plain(column)
    if pa.types.is_floating(kind):
        finite = pc.all(pc.is_finite(column)).as_py() is not False
        return _plain(column) if finite else list(map(to_json_value, column.to_pylist()))
    if pa.types.is_timestamp(kind) and _is_in_years(column):
        return _iso_texts(column)
    if pa.types.is_date32(kind) and _is_in_years(column):
        return _plain(column.cast(pa.string()))
    values = [to_json_value(value) for value in values_of(column)]
    return _write_nested(values, bad) if pa.types.is_nested(kind) else values


def _write_nested(values: list[Any], bad: set[int]) -> list[Any]:
    for place, value in enumerate(values):
        if isinstance(value, (dict, list)):
            if check_event(Event("-", {"-": value})):
                bad.add(place)
            values[place] = _written(value)
        elif type(value) in (int, Decimal) and abs(value) > _MAX_UINT64 and check_event(Event("-", {"-": value})):
            bad.add(place)
    return values


def _plain(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _is_in_years(column: pa.Array) -> bool:
    """Tell whether days or moments lie in the years 1 to 9999, which Python and all units but ns have values for."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return True
    numbers = column.view(pa.int32() if pa.types.is_date32(column.type) else pa.int64())
    bounds = pc.min_max(numbers).as_py()
    per_day = 1 if pa.types.is_date32(column.type) else 86_400 * _PER_SECOND[column.type.unit]
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
    return msgspec.Raw(_encode_nested(value)) if isinstance(value, (dict, list)) else value
