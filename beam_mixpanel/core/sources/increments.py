"""Recurring jobs that read what is new: which values of a cursor column, and what to remember for the next run.

A mark is the greatest value of the cursor column that a run has read. The next run reads from that value on, with it
and, on request, from some distance before it: what is read twice has the same `$insert_id` and does no harm, while a
row that came late with a value below the mark would be missed.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from beam_mixpanel.errors import IncrementalError

Mark: TypeAlias = "int | Decimal | str | datetime | date"
"""A value of a cursor column."""

_FORMAT: Final = 1
_CLOCKS_DIFFER: Final = timedelta(minutes=10)
"""By so much at most, it is taken, the clock of a database differs from that of the machine that reads it."""
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN: Final = re.compile(r"(\d+)([smhd])")
_KINDS: Final[tuple[tuple[str, type | tuple[type, ...]], ...]] = (
    ("timestamp", datetime),
    ("date", date),
    ("number", (int, Decimal)),
    ("text", str),
)


class State(NamedTuple):
    """What a run leaves for the next one.

    Attributes:
      source: what was read: a table's name, or what `source_of_query` gives.
      cursor_column: the column whose greatest value is remembered.
      mark: that value.
      database: where the source is, without a secret; empty in a file of an earlier version.
      destination: the host and project that the rows were imported into, without a secret; empty in a file of an
        earlier version.
    """

    source: str
    cursor_column: str
    mark: Mark
    database: str = ""
    destination: str = ""

    def is_ahead_of(self, highest: Mark) -> bool:
        """Tell whether the mark is past the greatest value there is now; False for text, which may sort otherwise."""
        return _is_greater(self.mark, highest) is True

    def is_past(self, mark: Mark) -> bool:
        """Tell whether to remember a mark instead would go back; True for text, whose order only its source knows."""
        return _is_greater(self.mark, mark) is not False

    def to_json(self) -> str:
        """Write it as a small JSON object."""
        fields = {
            "format": _FORMAT,
            "destination": self.destination,
            "database": self.database,
            "source": self.source,
            "cursor_column": self.cursor_column,
            "kind": kind_of(self.mark),
            "mark": _mark_to_json(self.mark),
        }
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> State:
        """Read what `to_json` wrote.

        Raises:
          IncrementalError: it is something else.
        """
        try:
            fields = json.loads(text)
            if fields["format"] != _FORMAT:
                raise IncrementalError(f"has format {fields['format']}, which this version does not know")
            return cls(
                fields["source"],
                fields["cursor_column"],
                _mark_from_json(fields["kind"], fields["mark"]),
                database=fields.get("database", ""),
                destination=fields.get("destination", ""),
            )
        except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            if isinstance(error, IncrementalError):
                raise
            raise IncrementalError("is no state file") from None


class Increment(NamedTuple):
    """What the user says of a recurring job.

    Attributes:
      cursor_column: the column that tells old rows from new ones; empty for a job that reads everything.
      since: read from this value on, instead of from the mark.
      until: read up to, without, this value.
      overlap: how far before the mark to begin: `90s`, `30m`, `2h`, `1d`, or a number for numbers.
    """

    cursor_column: str = ""
    since: str | None = None
    until: str | None = None
    overlap: str | None = None

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
          IncrementalError: bounds without a column, or an overlap that is none.
        """
        if not self.cursor_column and (self.since is not None or self.until is not None):
            raise IncrementalError("since and until need a cursor column to look at")
        if self.overlap is not None and not (self.overlap.isdecimal() or _SPAN.fullmatch(self.overlap)):
            raise IncrementalError(
                f"the overlap must be a span such as 90s, 30m, 2h or 1d, or a number, got {self.overlap!r}"
            )

    def bounds(self, like: Mark, state: State | None, zone: tzinfo) -> tuple[Mark | None, Mark | None]:
        """Give the value to read from, with it, and the one to read up to, without it; None for no bound.

        Args:
          like: a value of the column, for its type.
          state: what the run before left.
          zone: the zone of bounds that name none, if the column has one.

        Raises:
          IncrementalError: a bound does not suit the column's type, the column's type serves for none, or both bounds
            leave no value.
        """
        is_text = kind_of(like) == "text"
        lower, upper = self.lower(like, state, zone), self.upper(like, zone)
        if self.since is not None and upper is not None and not is_text and lower >= upper:  # type: ignore[operator]
            raise IncrementalError(
                f"since ({self.since}) must be before until ({self.until}), which itself is not read"
            )
        return lower, upper

    def lower(self, like: Mark, state: State | None, zone: tzinfo) -> Mark | None:
        """Give the value to read from, with it; None for no bound.

        Args:
          like: a value of the column, for its type.
          state: what the run before left.
          zone: the zone of `since` if it names none and the column has one.

        Raises:
          IncrementalError: `since` or the overlap does not suit the column's type.
        """
        if self.since is not None:
            return read_mark(self.since, like, zone)
        if state is None:
            return None
        if kind_of(state.mark) != kind_of(like):
            raise IncrementalError(
                f"column {self.cursor_column} holds a {kind_of(like)}, but the state remembers a "
                f"{kind_of(state.mark)}; give another `state` file, or `since`"
            )
        return _before(_as_zoned(state.mark, like), self.overlap)

    def upper(self, like: Mark, zone: tzinfo) -> Mark | None:
        """Give the value to read up to, without it; None for no bound.

        Raises:
          IncrementalError: `until` does not suit the column's type.
        """
        if self.until is None:
            return None
        return read_mark(self.until, like, zone)


def not_past(mark: Mark, now: datetime, zone: tzinfo) -> Mark:
    """Return the mark to remember: a row of the year 2099 must not keep all that come before it from being read.

    Args:
      mark: the greatest value that was read.
      now: when the source was looked at, or before.
      zone: of moments and dates that name none.

    Returns:
      The mark, or, where it is a moment or date of the future, the present, less some minutes for clocks that differ.
      Numbers and text are returned as they are.
    """
    if isinstance(mark, datetime):
        present = _in_zone_of(now, mark, zone)
        return mark if mark <= present else present - _CLOCKS_DIFFER
    if isinstance(mark, date):
        return min(mark, now.astimezone(zone).date())
    return mark


def source_of_query(query: str) -> str:
    """Name a query in a state, so that another one is told from it; how its words are spaced does not matter."""
    words = " ".join(query.split()).rstrip("; ")
    return f"query {hashlib.sha256(words.encode()).hexdigest()[:16]}"


def kind_of(mark: Mark) -> str:
    """Say what a value is: `timestamp`, `date`, `number` or `text`."""
    for name, types in _KINDS:
        if isinstance(mark, types):
            return name
    raise IncrementalError(
        f"a cursor column must hold numbers, moments or text, not {type(mark).__name__}; choose another, or cast it "
        "in a `query`"
    )


def read_mark(text: str, like: Mark, zone: tzinfo) -> Mark:
    """Read what a user wrote as a value of the same type as another.

    Raises:
      IncrementalError: it has no such form.
    """
    kind = kind_of(like)
    try:
        if kind == "text":
            return text
        if kind == "number":
            return _number(text)
        if text.endswith(("Z", "z")):  # which Python 3.10 does not read
            text = text[:-1] + "+00:00"
        moment = datetime.fromisoformat(text)
    except (ValueError, ArithmeticError):
        example = {"number": "12345", "date": "2024-02-29"}.get(kind, "2024-02-29T12:00:00Z")
        raise IncrementalError(f"{text!r} is no {kind}; the column holds values such as {example}") from None
    if not isinstance(like, datetime):
        return moment.date()
    return _in_zone_of(moment, like, zone)


def _number(text: str) -> int | Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    if number == number.to_integral_value():
        return int(number)
    return number


def _in_zone_of(moment: datetime, like: datetime, zone: tzinfo) -> datetime:
    """Fit a moment to a column with or without zone; the latter holds times of the zone that the user names."""
    if moment.tzinfo is None and like.tzinfo is None:
        return moment
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    if like.tzinfo is None:
        return moment.astimezone(zone).replace(tzinfo=None)
    return moment.astimezone(timezone.utc)


def _as_zoned(mark: Mark, like: Mark) -> Mark:
    """Fit a remembered moment to a column that was given a zone, or lost it, since."""
    if not (isinstance(mark, datetime) and isinstance(like, datetime)):
        return mark
    return _in_zone_of(mark, like, timezone.utc)


def _is_greater(mark: Mark, other: Mark) -> bool | None:
    """Compare a remembered mark with a value; None where they have no common order that is known here."""
    kind = kind_of(other)
    if kind == "text" or kind != kind_of(mark):
        return None
    return bool(_as_zoned(mark, other) > other)  # type: ignore[operator]


def _before(mark: Mark, overlap: str | None) -> Mark:
    if overlap is None:
        return mark
    if isinstance(mark, str):
        raise IncrementalError("an overlap needs a cursor column of numbers or moments; this one holds text")
    span = _SPAN.fullmatch(overlap)
    if isinstance(mark, (int, Decimal)):
        if span:
            raise IncrementalError("the cursor column holds numbers; give the overlap as a number of the same unit")
        return mark - int(overlap)
    if not span:
        raise IncrementalError(f"the cursor column holds moments; give the overlap with a unit, such as {overlap}s")
    try:
        return mark - timedelta(**{_UNITS[span[2]]: int(span[1])})
    except OverflowError:
        # Before the first day there is nothing, so all is read.
        if isinstance(mark, datetime):
            return mark.min.replace(tzinfo=mark.tzinfo)
        return mark.min


def _mark_to_json(mark: Mark) -> int | str:
    if isinstance(mark, (datetime, date)):
        return mark.isoformat()
    if isinstance(mark, int):
        return mark
    return str(mark)  # of a decimal: JSON's numbers would lose digits


def _mark_from_json(kind: str, value: Any) -> Mark:
    if kind == "timestamp":
        return datetime.fromisoformat(value)
    if kind == "date":
        return date.fromisoformat(value)
    if kind == "text":
        return str(value)
    if kind != "number" or isinstance(value, (float, bool)):
        raise IncrementalError("is no state file")
    if isinstance(value, int):
        return value
    number = Decimal(value)
    if not number.is_finite():
        raise IncrementalError("is no state file")
    return number
