"""From rows to the bytes that are sent, by a mapping: Arrow batches column by column where that can be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from beam_mixpanel.core import user_function
from beam_mixpanel.core.events.chunk import origin_of
from beam_mixpanel.core.events.dead_letter import MAP, PARSE, DeadLetter, letter_of
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.original import original_text
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation
from beam_mixpanel.core.events.reading import parse_object
from beam_mixpanel.core.events.redaction import Redaction, withhold
from beam_mixpanel.core.events.rules import LINE_TOO_LONG, Violation
from beam_mixpanel.core.events.shapes import TEXT_IDS
from beam_mixpanel.core.json.values import fields_of
from beam_mixpanel.core.limits import DEFAULT_RETENTION_DAYS
from beam_mixpanel.core.rows.batches import ByColumn, RowBatch, RowList
from beam_mixpanel.core.rows.mapped import (
    Filtered,
    Unmappable,
    finish_event,
    is_event,
    map_row,
    may_hold_events,
)
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.plan import ColumnPlan
from beam_mixpanel.errors import MappingError, UnsupportedValueError

if TYPE_CHECKING:
    from beam_mixpanel.core.rows.by_column import ColumnarPreparer

_MOST_PLANS: Final = 1000
"""Plans and schemas that are kept; rows of JSON could have keys without number."""
_FEWEST_BY_COLUMN: Final = 16
"""Fewer rows are prepared one by one: making a batch would cost more."""

_Mapped = Mapping[Any, Any] | Filtered | Unmappable | Violation


class _Origin(NamedTuple):
    """Where a row comes from, and the text it was read from; None where it was no text."""

    source: str
    text: bytes | None = None


class RowPreparer:
    """Turns rows into bytes that Mixpanel accepts, or into dead letters.

    A row that cannot be sent is kept whole in its dead letter: as the line that it was, or as a JSON object. Where the
    mapping names no column, a row in Mixpanel's shape is an event already, and is only filtered and tagged.

    Args:
      mapping: how rows become events.
      form: how times and ids are read and made.
      retention_days: events older than this are counted, since the project will delete them.

    Raises:
      UserFunctionError: the mapping's function cannot be found.
    """

    def __init__(
        self, mapping: EventMapping, form: Form = Form(), *, retention_days: int = DEFAULT_RETENTION_DAYS
    ) -> None:
        self._mapping = mapping
        self._form = form
        self._retention_days = retention_days
        self._preparer = EventPreparer(form, retention_days=retention_days)
        self._preparers = {form.redact: self._preparer}
        self._plans: dict[tuple[str, ...], ColumnPlan] = {}
        self._columnar: dict[Any, ColumnarPreparer | None] = {}
        self._function = None if mapping.map is None else _Function(mapping, form.zone)
        takes_columns = mapping.map is not None or mapping.names_columns
        self._event_plan = None if takes_columns else mapping.plan_for_events(zone=form.zone)
        self._only_makes_ids = mapping.given == ["insert_id_columns"]
        self._preparer_of_events = self._preparer
        if mapping.insert_id_columns:
            strategy = InsertIdStrategy("columns", mapping.insert_id_columns)
            self._preparer_of_events = EventPreparer(
                form._replace(insert_id=strategy), retention_days=self._retention_days
            )

    def prepare_rows(self, rows: RowList, now_ms: int) -> Preparation:
        """Prepare rows, column by column where they have the same columns and types."""
        by_column = self._by_column(rows.rows, now_ms)
        if by_column is None:
            return self._prepare_each(rows, now_ms)
        done = Preparation()
        for place in by_column.others:
            self._add_row(done, rows.rows[place], _Origin(_place(rows, place)), now_ms)
        offsets = [-1] * len(by_column.places)
        if rows.first_row >= 0:
            offsets = [rows.first_row + place for place in by_column.places]
        done.add(by_column.placed(f"{rows.source}#", offsets))
        return done

    def _prepare_each(self, rows: RowList, now_ms: int) -> Preparation:
        done = Preparation()
        for number, row in enumerate(rows.rows):
            done.add(self.prepare_object(row, now_ms, source=_place(rows, number)))
        return done

    def prepare_object(self, row: Any, now_ms: int, *, source: str = "") -> Preparation:
        """Prepare one row: a mapping, Beam Row, NamedTuple or dataclass."""
        try:
            fields = fields_of(row)
        except (UnsupportedValueError, RecursionError):
            fields = None
        if fields is None:
            return self._preparer.prepare_object(row, now_ms, source=source)  # which explains
        done = Preparation()
        self._add_row(done, fields, _Origin(source), now_ms)
        return done

    def prepare_block(self, block: EventBlock, now_ms: int) -> Preparation:
        """Prepare the lines of a block, each the JSON object of a row; blank lines are no rows."""
        of_events = self._preparer_of_whole(block)
        if of_events is not None:
            return of_events.prepare_block(block, now_ms)
        lines = list(block.lines())
        parsed = [parse_object(line) for _, line in lines]
        # Only what is an object can be prepared by column; `places` are its lines.
        places = [place for place, row in enumerate(parsed) if not isinstance(row, DeadLetter)]
        by_column = self._by_column([parsed[place] for place in places], now_ms)
        done = Preparation()
        one_by_one = list(range(len(lines)))
        if by_column is not None:
            alike = {places[place] for place in by_column.places}
            filtered = {places[place] for place in by_column.filtered}
            one_by_one = [place for place in one_by_one if place not in alike and place not in filtered]
        for place in one_by_one:
            offset, line = lines[place]
            self._add_parsed(done, parsed[place], line, source=origin_of(block.source, offset), now_ms=now_ms)
        if by_column is not None:
            done.add(by_column.placed(block.source, [lines[places[place]][0] for place in by_column.places]))
        return done

    def prepare_text(self, row: bytes | str, now_ms: int, *, source: str = "") -> Preparation:
        """Prepare one row given as JSON text."""
        done = Preparation()
        text = row if isinstance(row, bytes) else row.encode(errors="surrogatepass")
        self._add_text(done, text, source, now_ms)
        return done

    def prepare_dead_letter(self, letter: DeadLetter, now_ms: int) -> Preparation:
        """Prepare a row that was not imported; what was sent is an event already."""
        if letter.was_sent or letter.reason == LINE_TOO_LONG:
            return self._preparer.prepare_dead_letter(letter, now_ms)
        return self.prepare_text(letter.event, now_ms, source=letter.source)

    def refuse(self, letter: DeadLetter) -> Preparation:
        """Take over a row that an earlier step refused."""
        row = parse_object(letter.event)
        if letter.was_sent or letter.stage == PARSE or isinstance(row, DeadLetter):
            return self._preparer.refuse(letter)
        done = Preparation()
        done.invalid.append(letter._replace(event=self._kept(row, letter.event, "time")))
        return done

    def prepare_batch(self, rows: RowBatch, now_ms: int) -> Preparation:
        """Prepare the rows of an Arrow record batch."""
        from beam_mixpanel.core.rows.arrow import UNFIT, rows_of, without_views

        rows = rows._replace(batch=without_views(rows.batch))
        columnar = self._columnar_for(rows.batch.schema)
        by_column = None
        if columnar is not None:
            with suppress(*UNFIT):  # each row says what is wrong with it
                by_column = columnar.prepare(rows.batch, now_ms)
        if by_column is None:
            return self._prepare_each(RowList(list(rows_of(rows.batch)), rows.source, rows.first_row), now_ms)
        done = Preparation()
        if by_column.others:
            others = rows_of(rows.batch.take(by_column.others))
            for place, row in zip(by_column.others, others, strict=True):
                self._add_row(done, row, _Origin(_place(rows, place)), now_ms)
        offsets = [-1] * len(by_column.places)
        if rows.first_row >= 0:
            offsets = [rows.first_row + place for place in by_column.places]
        done.add(by_column.placed(f"{rows.source}#", offsets))
        return done

    def _preparer_of_whole(self, block: EventBlock) -> EventPreparer | None:
        """Return what prepares a block that need not be taken apart into rows; None where it must be."""
        if block.cut_line_bytes:
            return self._preparer
        if not self._only_makes_ids:
            return None
        rows = (parse_object(line) for _, line in block.lines())
        are_events = all(isinstance(row, DeadLetter) or _is_event(row) for row in rows)
        if are_events:
            return self._preparer_of_events
        return None

    def _columnar_for(self, schema: Any) -> ColumnarPreparer | None:
        """Give the preparer of a schema's batches; None where rows must be prepared one by one."""
        from beam_mixpanel.core.rows.by_column import ColumnarPreparer

        # What a file says of itself (pandas, ORC) matters to nobody here, and pyarrow 20 cannot hash it.
        schema = schema.remove_metadata()
        if schema not in self._columnar:
            columnar = None
            try:
                plan = self._mapping.bind(schema.names, zone=self._form.zone)
                if self._maps_columns_of(schema.names) and ColumnarPreparer.can_prepare(plan, schema, self._form):
                    columnar = ColumnarPreparer(plan, schema, self._form, self._preparer)
            except MappingError:
                pass  # each row will say so
            if len(self._columnar) >= _MOST_PLANS:
                self._columnar.clear()
            self._columnar[schema] = columnar
        return self._columnar[schema]

    def _maps_columns_of(self, names: Sequence[str]) -> bool:
        return self._function is None and (self._event_plan is None or not may_hold_events(names))

    def _plan(self, columns: tuple[str, ...]) -> ColumnPlan:
        plan = self._plans.get(columns)
        if plan is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            plan = self._plans[columns] = self._mapping.bind(columns, zone=self._form.zone, complete=False)
        return plan

    def _by_column(self, rows: Sequence[Any], now_ms: int) -> ByColumn | None:
        """Prepare rows that are alike column by column; None where they are not."""
        from beam_mixpanel.core.rows.arrow import batch_of

        if len(rows) < _FEWEST_BY_COLUMN or self._function is not None:
            return None
        batch = batch_of(rows)
        columnar = None if batch is None else self._columnar_for(batch.schema)
        if columnar is None:
            return None
        return columnar.prepare(batch, now_ms)

    def _add_text(self, done: Preparation, text: bytes, source: str, now_ms: int) -> None:
        self._add_parsed(done, parse_object(text), text, source=source, now_ms=now_ms)

    def _add_parsed(
        self, done: Preparation, row: Mapping[str, Any] | DeadLetter, text: bytes, *, source: str, now_ms: int
    ) -> None:
        if isinstance(row, DeadLetter):
            kept = text
            if self._form.redact:
                kept = Redaction(self._form.redact).rewrite_text(text)
            done.invalid.append(row._replace(event=kept, source=source))
        else:
            self._add_row(done, row, _Origin(source, text), now_ms)

    def _add_row(self, done: Preparation, row: Mapping[str, Any], origin: _Origin, now_ms: int) -> None:
        """Add what becomes of a row, which a function may make several events of."""
        events, plan = self._map(row)
        preparer = self._preparer_for(plan)
        time_column = "time"
        if plan:
            time_column = plan.time_column
        keep = partial(self._kept, row, origin.text, time_column)
        for event in events:
            if isinstance(event, Filtered):
                done.filtered += 1
            elif isinstance(event, (Unmappable, Violation)):
                done.invalid.append(_letter(event, origin.source)._replace(event=keep()))
            else:
                done.add(preparer.prepare_object(event, now_ms, source=origin.source, keep=keep))

    def _map(self, row: Mapping[str, Any]) -> tuple[Sequence[_Mapped], ColumnPlan | None]:
        """Give the events of a row, and the plan that made them."""
        if self._function is not None:
            return self._function(row), None
        if self._event_plan is not None and _is_event(row):
            try:
                return (finish_event(self._event_plan, row, self._form.zone),), None
            except UnsupportedValueError as error:
                return (Violation("unsupported_value", "", error.detail),), None
        try:
            plan = self._plan(tuple(row))
        except MappingError as error:
            return (Unmappable("mapping_does_not_fit", "", str(error)),), None
        try:
            return (map_row(plan, row, self._form.zone),), plan
        except UnsupportedValueError as error:
            return (Violation("unsupported_value", "", error.detail),), plan

    def _preparer_for(self, plan: ColumnPlan | None) -> EventPreparer:
        """Redact each property of a column together with the others that it gives."""
        redact = self._form.redact
        if plan is None and self._event_plan is not None:
            return self._preparer_of_events
        if plan is None or redact.isdisjoint(TEXT_IDS):
            return self._preparer
        hidden = {column for name, column in plan.ids if name in redact}
        names = redact | {name for name, column in plan.ids if column in hidden}
        if names not in self._preparers:
            form = self._form._replace(redact=names)
            self._preparers[names] = EventPreparer(form, retention_days=self._retention_days)
        return self._preparers[names]

    def _kept(self, row: Mapping[str, Any], text: bytes | None, time_column: str) -> bytes:
        """Write a row that gave no event, without the columns that give, or may hold, what is redacted."""
        if text is None:
            text = original_text(row, time_column)
        if not self._form.redact:
            return text
        if self._function is not None:
            return withhold(text)  # what it makes of which column is its own affair
        if self._event_plan is not None and _is_event(row):
            return Redaction(self._form.redact).rewrite_text(text)
        hidden = self._hidden_columns(tuple(row))
        kept = {column: value for column, value in row.items() if column not in hidden}
        rewritten = Redaction(self._form.redact).rewrite_fields(kept, text) if kept else None
        if rewritten is None:
            return withhold(text)
        return original_text(rewritten, time_column)

    def _hidden_columns(self, columns: tuple[str, ...]) -> set[str]:
        mapping, redact = self._mapping, self._form.redact
        hidden = set(mapping.spread_columns)
        for column in columns:
            name = mapping.rename.get(column, column)
            nested = mapping.flatten and any(each.startswith((f"{name}.", f"{column}.")) for each in redact)
            renamed = any(old.startswith(f"{column}.") and new in redact for old, new in mapping.rename.items())
            if nested or renamed or not redact.isdisjoint((column, name)):
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


class _Function:
    """The user's function, with the filters and tags that serve beside it."""

    def __init__(self, mapping: EventMapping, zone: tzinfo) -> None:
        self._call = user_function.load(mapping.map or "")
        self._plan = mapping.plan_for_events(zone=zone)
        self._zone = zone

    def __call__(self, row: Mapping[str, Any]) -> Sequence[_Mapped]:
        """Give the events of a row; one that the function skips is filtered."""
        events = user_function.call(self._call, dict(row))
        if isinstance(events, user_function.Failure):
            return (Unmappable(str(events), "", events.message),)
        return [finish_event(self._plan, event, self._zone) for event in events] or (Filtered.BY_FUNCTION,)


def _letter(problem: Unmappable | Violation, source: str) -> DeadLetter:
    if isinstance(problem, Unmappable):
        return DeadLetter(b"", MAP, *problem, source=source)
    return letter_of(b"", [problem], source=source)


def _place(rows: RowBatch | RowList, number: int) -> str:
    if rows.first_row >= 0:
        return origin_of(f"{rows.source}#", rows.first_row + number)
    return rows.source


def _is_event(row: Mapping[str, Any]) -> bool:
    try:
        return is_event(row)
    except UnsupportedValueError:
        return True  # so that it is read as one, and explained
