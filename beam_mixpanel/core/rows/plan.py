"""A mapping bound to the columns that a source has: every column is settled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, NamedTuple

_SHOWN_COLUMNS: Final = 40


class ColumnPlan(NamedTuple):
    """A mapping whose columns are settled.

    Attributes:
      event: the name of every event; None where event_column holds it.
      event_column: empty where event names it.
      ids: pairs of property and column.
      properties: pairs of property and column, in the order of the columns.
      tags: pairs of property and value.
      from_ms: the first millisecond that is wanted, until_ms the first that is not; None for no bound.
      insert_id_may_be_null: the one insert-id column was found by its name; where it is null, the id is made from the
        content. A null in columns that the user names is a violation.
      nested_exclude: patterns of `COLUMN.KEY` that are left out of spread and flattened columns.
      nested_rename: pairs of `COLUMN.KEY` there and property.
      reserved: the names of all properties but those; a key with such a name is written `COLUMN.KEY`.

    The others are as in `EventMapping`.
    """

    event: str | None
    event_column: str
    time_column: str
    time_unit: str
    time_format: str | None
    ids: tuple[tuple[str, str], ...]
    insert_id_columns: tuple[str, ...]
    properties: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, Any], ...]
    json_columns: frozenset[str]
    spread_columns: frozenset[str]
    flatten: bool
    keep_nulls: bool
    only_events: tuple[str, ...]
    skip_events: tuple[str, ...]
    from_ms: int | None
    until_ms: int | None
    insert_id_may_be_null: bool = False
    nested_exclude: tuple[str, ...] = ()
    nested_rename: tuple[tuple[str, str], ...] = ()
    reserved: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read; a source need not give others."""
        named = [self.event_column, self.time_column, *(column for _, column in self.ids), *self.insert_id_columns]
        named += [column for _, column in self.properties]
        return tuple(dict.fromkeys(column for column in named if column))

    def describe(self) -> str:
        """Say in one line which column is what, for the person who started the job."""
        parts = [f"event = {self.event!r}" if self.event is not None else f"event from {self.event_column}"]
        parts.append(f"time from {self.time_column}")
        parts += [f"{name} from {column}" for name, column in self.ids]
        if self.insert_id_columns:
            parts.append(f"$insert_id from {' + '.join(self.insert_id_columns)}")
        else:
            parts.append("$insert_id made from the content")
        names = [self._describe_property(name, column) for name, column in self.properties]
        names += [f"{name} (tag)" for name, _ in self.tags]
        return f"{'; '.join(parts)}; properties: {listed(names) or 'none'}"

    def _describe_property(self, name: str, column: str) -> str:
        if column in self.spread_columns:
            return f"keys of {column}"
        if name == column:
            return name
        return f"{name} (from {column})"


@lru_cache(maxsize=4096)
def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a name is one of the patterns, in which only `*` is special."""
    return any(name == pattern or ("*" in pattern and _pattern(pattern).fullmatch(name)) for pattern in patterns)


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Propose the nearest of some names, as the end of a sentence."""
    near = get_close_matches(name, list(known), 1)
    if near:
        return f"; did you mean {near[0]}?"
    return "."


def listed(names: Sequence[str]) -> str:
    """Name some of many."""
    rest = len(names) - _SHOWN_COLUMNS
    return ", ".join(names[:_SHOWN_COLUMNS]) + (f" and {rest} more" if rest > 0 else "")
