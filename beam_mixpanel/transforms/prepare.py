"""`PrepareEvents`: from events of any shape to bytes that Mixpanel accepts, and dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_mixpanel.core.arguments import check_text, check_whole_number, optional, wrong_type
from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.core.events.dead_letter import DeadLetter, RefusedLetter
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, Preparation
from beam_mixpanel.core.events.redaction import check_redacted
from beam_mixpanel.core.limits import DEFAULT_RETENTION_DAYS
from beam_mixpanel.core.rows.batches import RefusedRows, RowBatch, RowList
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.user_function import load
from beam_mixpanel.metrics import Ledger
from beam_mixpanel.transforms.arguments import MOST_AGE_MS, MOST_RETENTION_DAYS, check_mapping
from beam_mixpanel.transforms.coding import register_coders
from beam_mixpanel.transforms.element_types import check_element_type
from beam_mixpanel.transforms.packaging_check import check_workers_have_package

INVALID: Final = "invalid"
_INSERT_IDS: Final = ("content", "mixpanel-import")
"""Ways to make an absent `$insert_id` that need no names; columns are named by the mapping."""

register_coders()


class PreparedEvents(NamedTuple):
    """The outputs of `PrepareEvents`.

    Attributes:
      prepared: `EventChunk`s, lists of `PreparedEvent`, as many together as came together.
      invalid: a `DeadLetter` for each event that Mixpanel would refuse.
    """

    prepared: PCollection[EventChunk]
    invalid: PCollection[DeadLetter]


class PrepareEvents(beam.PTransform):
    """Validates events, brings them into Mixpanel's form, and writes each one's final JSON once.

    Needs no credentials and sends nothing, so that it also serves to check events before an import. Takes bounded and
    unbounded input, keeps windows, and gives equal bytes for equal events however often a bundle is retried.

    Args:
      insert_id: how an absent `$insert_id` is made: `content` or `mixpanel-import`; from
        columns by `insert_id_columns` of the mapping.
      time_zone: IANA name of the zone of times that name none.
      retention_days: how long the project keeps events; older ones are counted as `past_retention`.
      max_age_ms: events older than this are invalid; None for no such bound.
      redact: names of properties that are neither sent nor kept in dead letters; see `core/events/redaction.py`.
      mapping: how rows become events, an `EventMapping` or a dict with the keys of a mapping file; None where dicts and
        JSON text are events already. Rows of files and warehouses (`RowBatch`, `RowList`) are always mapped, without
        one by the names of their columns.
      clock: seconds since 1970; events more than an hour ahead of it are invalid.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument has a wrong value.
    """

    def __init__(
        self,
        *,
        insert_id: str = "content",
        time_zone: str = "UTC",
        retention_days: int = DEFAULT_RETENTION_DAYS,
        max_age_ms: int | None = None,
        redact: Iterable[str] = (),
        mapping: EventMapping | Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        _check_insert_id(insert_id)
        _zone(check_text("time_zone", time_zone, "an IANA name such as Europe/Paris"))
        mapped = check_mapping(mapping)
        if mapped is not None and mapped.map is not None:
            load(mapped.map)
        redacted = check_redacted(redact)
        days = check_whole_number("retention_days", retention_days, 1, MOST_RETENTION_DAYS)
        if not callable(clock):
            raise wrong_type("clock", "a function that returns seconds since 1970", clock)
        self._shown = {
            "insert_id": insert_id,
            "time_zone": time_zone,
            "retention_days": days,
            "redact": ", ".join(sorted(redacted)),
            "mapping": ", ".join(mapped.given) if mapped else "",
        }
        self._fn = _PrepareEventsFn(
            insert_id=insert_id,
            time_zone=time_zone,
            retention_days=days,
            max_age_ms=optional(check_whole_number, "max_age_ms", max_age_ms, 1, MOST_AGE_MS),
            redact=redacted,
            mapping=mapped,
            clock=clock,
        )

    def display_data(self) -> dict[str, Any]:
        """Say how events are read; of the mapping its keys, not its values."""
        return self._shown

    def expand(self, events: PCollection[Any]) -> PreparedEvents:
        """Prepare each element; one of another type is a dead letter that names the type and what to do.

        It may be a dict, Beam Row, NamedTuple, JSON bytes or str, `EventBlock`, `DeadLetter`, `RefusedLetter`, or what
        `ReadFromFilesBatched` gives: `RowBatch`, `RowList`, `RefusedRows`.

        Raises:
          TypeError: type hints say that no element can be an event.
        """
        check_element_type(events)
        check_workers_have_package(events.pipeline)
        outputs = events | "CheckAndEncode" >> beam.ParDo(self._fn).with_outputs(INVALID, main="prepared")
        # Set here, since type hints for tags would be checked against every output under --runtime_type_check.
        outputs["prepared"].element_type = EventChunk
        outputs[INVALID].element_type = DeadLetter
        return PreparedEvents(outputs["prepared"], outputs[INVALID])


def _check_insert_id(name: str) -> None:
    if check_text("insert_id", name) not in _INSERT_IDS:
        raise ValueError(
            f"`insert_id` must be {' or '.join(_INSERT_IDS)}, got {name!r}; name columns by `insert_id_columns`"
        )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"`time_zone`: unknown zone {name!r}; use an IANA name such as Europe/Paris") from None


class _PrepareEventsFn(beam.DoFn):
    def __init__(
        self,
        *,
        insert_id: str,
        time_zone: str,
        retention_days: int,
        max_age_ms: int | None,
        redact: frozenset[str],
        mapping: EventMapping | None,
        clock: Callable[[], float],
    ) -> None:
        self._insert_id = insert_id
        self._time_zone = time_zone
        self._retention_days = retention_days
        self._max_age_ms = max_age_ms
        self._redact = redact
        self._mapping = mapping
        self._clock = clock

    def setup(self) -> None:
        form = Form(InsertIdStrategy.parse(self._insert_id), _zone(self._time_zone), self._max_age_ms, self._redact)
        self._rows = RowPreparer(self._mapping or EventMapping(), form, retention_days=self._retention_days)
        self._preparer: EventPreparer | RowPreparer = (
            EventPreparer(form, retention_days=self._retention_days) if self._mapping is None else self._rows
        )
        self._ledger = Ledger()

    def process(self, element: Any) -> Iterator[EventChunk | TaggedOutput]:
        now_ms = int(self._clock() * 1000)
        misfit = _misfit_in(element)
        done = self._prepare(element, now_ms) if misfit is None else self._preparer.prepare_object(misfit.value, now_ms)
        ledger = self._ledger
        ledger.count("read", done.read)
        ledger.count("prepared", len(done.events))
        ledger.count("filtered", done.filtered)
        ledger.count("repaired_insert_ids", done.repaired)
        ledger.count("past_retention", done.past_retention)
        for letter in done.invalid:
            ledger.count("invalid", 1)
            ledger.count_reason(letter.reason)
            yield TaggedOutput(INVALID, letter)
        if done.events:
            yield done.events

    def _prepare(self, element: Any, now_ms: int) -> Preparation:
        if isinstance(element, RowBatch):
            return self._rows.prepare_batch(element, now_ms)
        if isinstance(element, RowList):
            return self._rows.prepare_rows(element, now_ms)
        if isinstance(element, RefusedRows):
            return self._refuse_rows(element)
        if isinstance(element, EventBlock):
            return self._preparer.prepare_block(element, now_ms)
        if isinstance(element, (bytes, str)):
            return self._preparer.prepare_text(element, now_ms)
        if isinstance(element, RefusedLetter):
            return self._preparer.refuse(element.letter)
        if isinstance(element, DeadLetter):
            return self._preparer.prepare_dead_letter(element, now_ms)
        return self._preparer.prepare_object(element, now_ms)

    def _refuse_rows(self, rows: RefusedRows) -> Preparation:
        done = Preparation()
        for letter in rows.letters:
            done.add(self._rows.refuse(letter))
        return done


class _Misfit(NamedTuple):
    """What one of our own elements, made by a user, holds in place of what it should."""

    value: Any


def _misfit_in(element: Any) -> _Misfit | None:
    """Find content of a wrong type, such as an Arrow table in a `RowBatch`: named as itself, with its own cure."""
    if isinstance(element, RowBatch):
        is_sound, value = type(element.batch).__name__ == "RecordBatch", element.batch
    elif isinstance(element, RowList):
        is_sound, value = isinstance(element.rows, (list, tuple)), element.rows
    elif isinstance(element, EventBlock):
        is_sound, value = isinstance(element.data, bytes), element.data
    elif isinstance(element, DeadLetter):
        is_sound, value = isinstance(element.event, bytes), element.event
    else:
        return None
    return None if is_sound else _Misfit(value)
