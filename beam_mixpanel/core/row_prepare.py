"""From rows to the bytes that are sent, by a mapping: Arrow batches column by column where that can be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from beam_mixpanel.core.chunk import origin_of
from beam_mixpanel.core.dead_letter import MAP, VALIDATE, DeadLetter
from beam_mixpanel.core.event import TEXT_IDS, Form
from beam_mixpanel.core.limits import DEFAULT_RETENTION_DAYS
from beam_mixpanel.core.mapping import ColumnPlan, EventMapping, Filtered, MappingError, Unmappable, map_row
from beam_mixpanel.core.prepare import EventPreparer, Preparation, original_text
from beam_mixpanel.core.redaction import Redaction, withhold
from beam_mixpanel.core.rows import RowBatch, RowList
from beam_mixpanel.core.validation import Violation

if TYPE_CHECKING:
    from beam_mixpanel.core.columnar import ColumnarPreparer


class RowPreparer:
    """Turns rows into bytes that Mixpanel accepts, or into dead letters.

    Args:
      mapping: how rows become events.
      form: how times and ids are read and made.
      retention_days: events older than this are counted, since the project will delete them.
    """

    def __init__(
        self, mapping: EventMapping, form: Form = Form(), *, retention_days: int = DEFAULT_RETENTION_DAYS
    ) -> None:
        self._mapping = mapping
        self._form = form
        self._retention_ms = retention_days * 86_400_000
        self._preparer = EventPreparer(form, retention_days=retention_days)
        self._plans: dict[tuple[str, ...], ColumnPlan] = {}
        self._columnar: dict[Any, ColumnarPreparer | None] = {}

    def prepare_rows(self, rows: RowList, now_ms: int) -> Preparation:
        """Prepare rows one by one."""
        done = Preparation()
        for number, row in enumerate(rows.rows):
            self._add_row(done, row, _origin(rows, number), now_ms)
        return done

    def prepare_row(self, row: Mapping[str, Any], now_ms: int, *, source: str = "") -> Preparation:
        """Prepare one row."""
        done = Preparation()
        self._add_row(done, row, source, now_ms)
        return done

    def prepare_batch(self, rows: RowBatch, now_ms: int) -> Preparation:
        """Prepare the rows of an Arrow record batch."""
        from beam_mixpanel.core.columnar import rows_of

        columnar = self._columnar_for(rows.batch.schema)
        if columnar is None:
            return self.prepare_rows(RowList(list(rows_of(rows.batch)), rows.source, rows.first_row), now_ms)
        explained = Preparation()

        def explain(places: list[int]) -> None:
            for place, row in zip(places, rows_of(rows.batch.take(places)), strict=True):
                self._add_row(explained, row, _origin(rows, place), now_ms)

        done = columnar.prepare(rows, now_ms, explain)
        done.add(explained)
        return done

    def _columnar_for(self, schema: Any) -> ColumnarPreparer | None:
        """Give the preparer of a schema's batches; None where rows must be prepared one by one."""
        from beam_mixpanel.core.columnar import ColumnarPreparer

        if schema not in self._columnar:
            columnar = None
            try:
                plan = self._mapping.bind(schema.names, zone=self._form.zone)
                if ColumnarPreparer.can_prepare(plan, schema, self._form):
                    columnar = ColumnarPreparer(plan, schema, self._form, self._retention_ms)
            except MappingError:
                pass  # each row will say so
            self._columnar[schema] = columnar
        return self._columnar[schema]

    def _plan(self, columns: tuple[str, ...]) -> ColumnPlan:
        plan = self._plans.get(columns)
        if plan is None:
            plan = self._plans[columns] = self._mapping.bind(columns, zone=self._form.zone, complete=False)
        return plan

    def _add_row(self, done: Preparation, row: Mapping[str, Any], source: str, now_ms: int) -> None:
        try:
            event = map_row(self._plan(tuple(row)), row, self._form.zone)
        except MappingError as error:
            event = Unmappable("mapping_does_not_fit", "", str(error))
        if isinstance(event, Filtered):
            done.filtered += 1
        elif isinstance(event, Unmappable):
            done.invalid.append(DeadLetter(self._kept(row), MAP, *event, source=source))
        elif isinstance(event, Violation):
            letter = DeadLetter(self._kept(row), VALIDATE, event.rule, event.field, event.message, source=source)
            done.invalid.append(letter)
        else:
            prepared = self._preparer.prepare_object(event, now_ms, source=source)
            prepared.invalid = [letter._replace(event=self._kept(row)) for letter in prepared.invalid]
            done.add(prepared)

    def _kept(self, row: Mapping[str, Any]) -> bytes:
        """Write a row that gave no event, without the columns that give, or may hold, what is redacted."""
        text = original_text(row)
        if not self._form.redact:
            return text
        hidden = self._hidden_columns(tuple(row))
        kept = {column: value for column, value in row.items() if column not in hidden}
        rewritten = Redaction(self._form.redact).rewrite_fields(kept, text) if kept else None
        return withhold(text) if rewritten is None else original_text(rewritten)

    def _hidden_columns(self, columns: tuple[str, ...]) -> set[str]:
        mapping, redact = self._mapping, self._form.redact
        hidden = set(mapping.spread_columns)
        for column in columns:
            name = mapping.rename.get(column, column)
            nested = mapping.flatten and any(each.startswith(f"{name}.") for each in redact)
            if nested or not redact.isdisjoint((column, name)):
                hidden.add(column)
        return hidden | self._hidden_ids(columns)

    def _hidden_ids(self, columns: tuple[str, ...]) -> set[str]:
        if self._form.redact.isdisjoint(TEXT_IDS):
            return set()
        try:
            ids = self._plan(columns).ids
        except MappingError:
            return set(columns)  # any of them could be it
        return {column for name, column in ids if name in self._form.redact}


def _origin(rows: RowBatch | RowList, place: int) -> str:
    return origin_of(f"{rows.source}#", rows.first_row + place) if rows.first_row >= 0 else rows.source
