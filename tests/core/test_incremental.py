"""What a recurring job reads and remembers."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from beam_mixpanel.core.sources.increments import Increment, Mark, State, not_past, read_mark
from beam_mixpanel.errors import IncrementalError

UTC = timezone.utc
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456)


@pytest.mark.parametrize(
    "mark", [0, 2**63, Decimal("12.50"), "2024-02-29 Ä", NOON, NOON.replace(tzinfo=UTC), date(2024, 2, 29)]
)
def test_a_state_is_read_as_it_was_written(mark: Mark) -> None:
    """Numbers of any size, microseconds, zones and text come back exactly, with their type."""
    state = State("public.events", "updated_at", mark, "postgresql://host:5432/shop")
    again = State.from_json(state.to_json())
    assert again == state
    assert type(again.mark) is type(mark)


def test_a_state_of_an_earlier_version_names_no_database() -> None:
    """It is read all the same."""
    text = '{"format": 1, "source": "events", "cursor_column": "id", "kind": "number", "mark": 5}'
    assert State.from_json(text) == State("events", "id", 5)


@pytest.mark.parametrize(
    ("mark", "highest", "is_ahead"),
    [
        (5, 4, True),
        (5, 5, False),
        (Decimal("5.5"), 5, True),
        (NOON, NOON.replace(tzinfo=UTC), False),
        (NOON.replace(tzinfo=UTC), NOON - timedelta(seconds=1), True),
        (date(2024, 3, 1), date(2024, 2, 29), True),
        ("b", "a", False),
        (5, NOON, False),
    ],
)
def test_a_mark_past_the_greatest_value_is_noticed(mark: Mark, highest: Mark, is_ahead: bool) -> None:
    """But of text, which a database sorts in its own way, and of other types, which are refused."""
    assert State("events", "c", mark).is_ahead_of(highest) is is_ahead


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no state file"),
        ("[]", "no state file"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1, "source": "a", "cursor_column": "b", "kind": "number", "mark": 1.5}', "no state file"),
        ('{"format": 1, "source": "a", "cursor_column": "b", "kind": "timestamp", "mark": "x"}', "no state file"),
        ('{"format": 1, "source": "a", "cursor_column": "b", "kind": "number", "mark": "x"}', "no state file"),
        ('{"format": 1, "source": "a", "cursor_column": "b", "kind": "number", "mark": "NaN"}', "no state file"),
        ('{"format": 1, "source": "a", "cursor_column": "b", "kind": "number", "mark": true}', "no state file"),
        ("[" * 100_000, "no state file"),
    ],
)
def test_what_is_no_state_is_refused(text: str, said: str) -> None:
    """A file of something else is never taken for a state."""
    with pytest.raises(IncrementalError, match=said):
        State.from_json(text)


@pytest.mark.parametrize(
    ("mark", "overlap", "lower"),
    [
        (100, None, 100),
        (100, "30", 70),
        (NOON, "2h", NOON - timedelta(hours=2)),
        (NOON.replace(tzinfo=UTC), "1d", NOON.replace(tzinfo=UTC) - timedelta(days=1)),
        (date(2024, 3, 1), "1d", date(2024, 2, 29)),
        (datetime(1, 1, 1), "9d", datetime(1, 1, 1)),
        ("m", None, "m"),
    ],
)
def test_the_next_run_begins_at_the_mark_or_before(mark: Mark, overlap: str | None, lower: Mark) -> None:
    """The mark itself is read again, since rows of the same value may have come after it."""
    increment = Increment("c", overlap=overlap)
    increment.check()
    assert increment.lower(mark, State("s", "c", mark), UTC) == lower


@pytest.mark.parametrize(
    ("mark", "like", "overlap", "said"),
    [
        (100, NOON, None, "another `state`"),
        (100, 100, "2h", "as a number"),
        (NOON, NOON, "7200", "7200s"),
        ("m", "m", "1d", "text"),
    ],
)
def test_what_does_not_suit_the_column_is_refused(mark: Mark, like: Mark, overlap: str | None, said: str) -> None:
    """A state of another type, or an overlap of another unit, is an error that says what to do."""
    with pytest.raises(IncrementalError, match=said):
        Increment("c", overlap=overlap).lower(like, State("s", "c", mark), UTC)


@pytest.mark.parametrize(
    ("text", "like", "mark"),
    [
        ("12", 1, 12),
        ("12.5", 1, Decimal("12.5")),
        ("2024-02-29", NOON, datetime(2024, 2, 29)),
        ("2024-02-29T12:00:00Z", NOON, datetime(2024, 2, 29, 13)),
        ("2024-02-29T12:00:00", NOON.replace(tzinfo=UTC), datetime(2024, 2, 29, 11, tzinfo=UTC)),
        ("2024-02-29T12:00:00+02:00", NOON.replace(tzinfo=UTC), datetime(2024, 2, 29, 10, tzinfo=UTC)),
        ("2024-02-29", date(2020, 1, 1), date(2024, 2, 29)),
        ("anything", "x", "anything"),
    ],
)
def test_bounds_are_read_as_the_column_is(text: str, like: Mark, mark: Mark) -> None:
    """A bound has the column's type; a zone is added or taken away as the column has one or none."""
    assert read_mark(text, like, ZoneInfo("Europe/Paris")) == mark


@pytest.mark.parametrize(("text", "like"), [("soon", NOON), ("soon", 1), ("NaN", 1), ("1", NOON)])
def test_bounds_of_another_form_are_refused(text: str, like: Mark) -> None:
    """A bound that is no value of the column names an example of one."""
    with pytest.raises(IncrementalError, match="such as"):
        read_mark(text, like, UTC)


@pytest.mark.parametrize("increment", [Increment(since="1"), Increment(until="1"), Increment("c", overlap="2 hours")])
def test_what_cannot_be_meant_is_refused(increment: Increment) -> None:
    """Bounds need a column; an overlap needs its form."""
    with pytest.raises(IncrementalError):
        increment.check()


@pytest.mark.parametrize(("since", "until", "like"), [("5", "5", 1), ("2024-03-01", "2024-02-29T23:00:00Z", NOON)])
def test_bounds_that_leave_nothing_are_refused(since: str, until: str, like: Mark) -> None:
    """Rather than taken for a run that found nothing new."""
    with pytest.raises(IncrementalError, match="must be before until"):
        Increment("c", since, until).bounds(like, None, UTC)


def test_a_remembered_value_past_until_is_no_mistake() -> None:
    """A run that is started again after it has come to its end finds nothing new."""
    assert Increment("c", until="5").bounds(1, State("s", "c", 7), UTC) == (7, 5)


def test_a_column_that_serves_for_no_cursor_is_refused_before_anything_is_read() -> None:
    """Also by a first run, which has nothing to compare it with: its value could not be remembered."""
    with pytest.raises(IncrementalError, match="cast it"):
        Increment("c").bounds(1.5, None, UTC)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mark", "kept"),
    [
        (datetime(2024, 6, 1, 12, tzinfo=UTC), datetime(2024, 6, 1, 12, tzinfo=UTC)),
        (datetime(2024, 6, 1, 12, 0, 0, 1, tzinfo=UTC), datetime(2024, 6, 1, 11, 50, tzinfo=UTC)),
        (datetime(2099, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, 11, 50, tzinfo=UTC)),
        (datetime(2024, 6, 1, 13), datetime(2024, 6, 1, 13)),
        (datetime(2024, 6, 1, 15), datetime(2024, 6, 1, 13, 50)),
        (date(2024, 6, 1), date(2024, 6, 1)),
        (date(2024, 6, 2), date(2024, 6, 1)),
        (20_990_101, 20_990_101),
        ("2099-01-01", "2099-01-01"),
    ],
)
def test_a_mark_of_the_future_is_not_remembered(mark: Mark, kept: Mark) -> None:
    """The present is, less some minutes; moments without a zone are those of the user's."""
    zone = timezone(timedelta(hours=2))
    assert not_past(mark, datetime(2024, 6, 1, 12, tzinfo=UTC), zone) == kept
