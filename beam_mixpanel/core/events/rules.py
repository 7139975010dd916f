"""What an event must be: each rule of Mixpanel's is one entry of `RULES`, which alone decides, and words the verdict.

To add a rule, add an entry here and an example to the table of tests/core/test_rules.py. Every way that an event can
take asks it from then on: lines, dicts and rows go through a `Judge`, and the fast ways step aside for a rule that they
do not know (`facts.py`). When it has to be fast, let it name a fact, and let the fast ways make sure of it.

The judge lives beside the table, although that makes a long module: it is what a reader of a rule asks for next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from beam_mixpanel.core import limits
from beam_mixpanel.core.events.facts import Fact
from beam_mixpanel.core.events.shapes import TEXT_IDS, Event
from beam_mixpanel.core.limits import EVENT_DOCS, IMPORT_DOCS, TRACK_DOCS

_MOST_VIOLATIONS: Final = 20
"""Of one event. An event of millions of values could break a rule with each."""
_LONGEST_NAME: Final = 255
LINE_TOO_LONG: Final = "line_too_long"


class Part(Enum):
    """What a rule looks at: the arguments of its `is_broken`.

    Of each part, the first rule that is broken is reported, so that a rule may rely on those above it.
    """

    READING = auto()
    """Nothing: there is no event yet. What reads it finds that it cannot, and names the rule."""
    NAME = auto()
    """The event's name, of any type."""
    COUNT = auto()
    """How many properties there are; asked again when an `$insert_id` is added."""
    NESTED = auto()
    """A list or object within a property, and its level, from 1."""
    TIME = auto()
    """The time as it was given and in milliseconds (None if it is none), the present, and the greatest age or None."""
    ID = auto()
    """One of `TEXT_IDS` as it was given, not null, and as text; None where no text has all its digits."""
    DISTINCT_ID = auto()
    """The `distinct_id` as it is sent."""
    EVENT = auto()
    """The event as it is sent, its time and ids in form; an `$insert_id` that its content gives is not there yet."""
    SIZE = auto()
    """How many bytes it has as it is sent."""


class Rule(NamedTuple):
    """A documented limit.

    Attributes:
      message: what to tell the user, after the name of the field.
      source: the page that states it.
      part: what it looks at.
      is_broken: takes that part, and returns whether the event must not be sent; None only for `Part.READING`.
      fact: what is enough for the fast ways to know that the rule is not broken; None if they cannot know.
      field: the field at fault, where the part does not tell it.
    """

    message: str
    source: str
    part: Part
    is_broken: Callable[..., bool] | None = None
    fact: Fact | None = None
    field: str = ""


def _is_no_name(name: Any) -> bool:
    return not isinstance(name, str) or not name.strip()


def _nests_too_deep(value: dict[str, Any] | list[Any], level: int) -> bool:
    return level > limits.MAX_NESTING


def _has_too_many_keys(value: dict[str, Any] | list[Any], level: int) -> bool:
    return isinstance(value, dict) and len(value) > limits.MAX_NESTED_KEYS


def _has_too_many_elements(value: dict[str, Any] | list[Any], level: int) -> bool:
    return isinstance(value, list) and len(value) > limits.MAX_LIST_ELEMENTS


def _is_no_time(given: Any, time_ms: int | None, now_ms: int, max_age_ms: int | None) -> bool:
    return given is None or given == ""


def _is_unreadable(given: Any, time_ms: int | None, now_ms: int, max_age_ms: int | None) -> bool:
    return time_ms is None


def _is_before_1971(given: Any, time_ms: int, now_ms: int, max_age_ms: int | None) -> bool:
    return time_ms < limits.EARLIEST_TIME_MS


def _is_in_future(given: Any, time_ms: int, now_ms: int, max_age_ms: int | None) -> bool:
    return time_ms > now_ms + limits.MAX_AHEAD_MS


def _is_too_old(given: Any, time_ms: int, now_ms: int, max_age_ms: int | None) -> bool:
    return max_age_ms is not None and time_ms < now_ms - max_age_ms


def _is_no_text(given: Any, text: str | None) -> bool:
    return isinstance(given, (dict, list))


def _is_inexact(given: Any, text: str | None) -> bool:
    return text is None


def _is_placeholder(distinct_id: str) -> bool:
    return distinct_id.lower() in limits.PLACEHOLDER_IDS


RULES: Final[dict[str, Rule]] = {
    "invalid_json": Rule("is not one JSON value", IMPORT_DOCS, Part.READING, fact=Fact.READ),
    LINE_TOO_LONG: Rule("is on a line that is longer than any event", IMPORT_DOCS, Part.READING, fact=Fact.READ),
    "not_utf8": Rule("is not valid UTF-8", IMPORT_DOCS, Part.READING, fact=Fact.READ),
    "lone_surrogate": Rule(
        "holds half of a surrogate pair, which is no Unicode text", IMPORT_DOCS, Part.READING, fact=Fact.READ
    ),
    "not_an_object": Rule("is not a JSON object", IMPORT_DOCS, Part.READING, fact=Fact.READ),
    "unsupported_value": Rule("holds a value that has no JSON form", IMPORT_DOCS, Part.READING, fact=Fact.READ),
    "event_missing": Rule(
        "must be a text that is not blank", IMPORT_DOCS, Part.NAME, is_broken=_is_no_name, fact=Fact.NAME
    ),
    "event_too_long": Rule(
        f"must have at most {limits.MAX_EVENT_NAME_CHARS} characters",
        EVENT_DOCS,
        Part.NAME,
        is_broken=lambda name: len(name) > limits.MAX_EVENT_NAME_CHARS,
        fact=Fact.NAME,
    ),
    "properties_not_object": Rule("must be an object", IMPORT_DOCS, Part.READING, fact=Fact.SHAPE),
    "field_conflict": Rule(
        "stands beside properties and, with another value, among them", IMPORT_DOCS, Part.READING, fact=Fact.SHAPE
    ),
    "time_missing": Rule(
        "is missing; a time is never invented", IMPORT_DOCS, Part.TIME, is_broken=_is_no_time, fact=Fact.TIME
    ),
    "time_unreadable": Rule(
        "is neither epoch seconds, ms, us or ns nor ISO 8601",
        IMPORT_DOCS,
        Part.TIME,
        is_broken=_is_unreadable,
        fact=Fact.TIME,
    ),
    "time_before_1971": Rule("is before 1971-01-01", IMPORT_DOCS, Part.TIME, is_broken=_is_before_1971, fact=Fact.TIME),
    "time_in_future": Rule(
        "is more than one hour ahead", IMPORT_DOCS, Part.TIME, is_broken=_is_in_future, fact=Fact.TIME
    ),
    "time_too_old_for_track": Rule(
        "is older than 5 days, which /track drops silently; use /import",
        TRACK_DOCS,
        Part.TIME,
        is_broken=_is_too_old,
        fact=Fact.TIME,
    ),
    "distinct_id_placeholder": Rule(
        "is a placeholder that Mixpanel refuses",
        IMPORT_DOCS,
        Part.DISTINCT_ID,
        is_broken=_is_placeholder,
        fact=Fact.IDS,
    ),
    "distinct_id_too_long": Rule(
        f"must have at most {limits.MAX_DISTINCT_ID_CHARS} characters",
        EVENT_DOCS,
        Part.DISTINCT_ID,
        is_broken=lambda distinct_id: len(distinct_id) > limits.MAX_DISTINCT_ID_CHARS,
        fact=Fact.IDS,
    ),
    "id_not_text": Rule("must be text or a number", IMPORT_DOCS, Part.ID, is_broken=_is_no_text, fact=Fact.IDS),
    "id_inexact": Rule(
        "is a float too large to be exact; give an integer or text",
        IMPORT_DOCS,
        Part.ID,
        is_broken=_is_inexact,
        fact=Fact.IDS,
    ),
    "insert_id_column_missing": Rule(
        "is needed for the insert id but absent or null", IMPORT_DOCS, Part.READING, fact=Fact.IDS
    ),
    "too_many_properties": Rule(
        f"must be at most {limits.MAX_PROPERTIES} properties, an added $insert_id counted",
        IMPORT_DOCS,
        Part.COUNT,
        is_broken=lambda count: count > limits.MAX_PROPERTIES,
        fact=Fact.COUNTS,
    ),
    "too_many_keys": Rule(
        f"must have at most {limits.MAX_NESTED_KEYS} keys",
        IMPORT_DOCS,
        Part.NESTED,
        is_broken=_has_too_many_keys,
        fact=Fact.COUNTS,
    ),
    "too_many_elements": Rule(
        f"must have at most {limits.MAX_LIST_ELEMENTS} elements",
        IMPORT_DOCS,
        Part.NESTED,
        is_broken=_has_too_many_elements,
        fact=Fact.COUNTS,
    ),
    "nested_too_deep": Rule(
        f"nests deeper than {limits.MAX_NESTING} levels",
        IMPORT_DOCS,
        Part.NESTED,
        is_broken=_nests_too_deep,
        fact=Fact.COUNTS,
    ),
    "event_too_large": Rule(
        f"must have at most {limits.MAX_EVENT_BYTES} bytes of JSON",
        IMPORT_DOCS,
        Part.SIZE,
        is_broken=lambda size: size > limits.MAX_EVENT_BYTES,
        fact=Fact.SIZE,
    ),
}
"""By the name under which dead letters count and filter; the order within a part is that in which they are asked."""


class Violation(NamedTuple):
    """Why an event is invalid.

    Attributes:
      rule: a key of `RULES`.
      field: where, such as `properties.time`; empty for the whole event. Never a property's value.
      detail: what else helps to fix it; never a property's value.
    """

    rule: str
    field: str
    detail: str = ""

    @property
    def message(self) -> str:
        """What to tell the user, without any value of the event."""
        detail = ""
        if self.detail:
            detail = f": {self.detail}"
        return f"{self.field or 'the event'} {RULES[self.rule].message}{detail}"


class Given(NamedTuple):
    """What an event said before it was brought into form, as far as rules ask for it.

    Attributes:
      time: as it was given; None where it was not.
      time_ms: what was read of it, in milliseconds; None where that is no time.
      ids: those of `TEXT_IDS` that were given and are no text, not null.
      size: how many properties there were.
      changed: whether time or ids were not in form.
      now_ms: the present.
      max_age_ms: events older than this are refused; None for no such bound.
    """

    time: Any
    time_ms: int | None
    ids: Mapping[str, Any]
    size: int
    changed: bool
    now_ms: int
    max_age_ms: int | None


_Rules = tuple[tuple[str, Callable[..., bool], str], ...]


class Judge:
    """Asks the rules, in the order in which an event is looked at. Takes them as they are when it is made."""

    def __init__(self) -> None:
        self._facts = frozenset(rule.fact for rule in RULES.values())
        self._of_name = _rules_of(Part.NAME)
        self._of_count = _rules_of(Part.COUNT)
        self._of_nested = _rules_of(Part.NESTED)
        self._of_time = _rules_of(Part.TIME)
        self._of_id = _rules_of(Part.ID)
        # Texts are most ids; the rules that ask only whether an id can be made text need not be asked of them.
        self._of_text_id = tuple(rule for rule in self._of_id if RULES[rule[0]].fact is not Fact.IDS)
        self._of_distinct_id = _rules_of(Part.DISTINCT_ID)
        self._of_event = _rules_of(Part.EVENT)
        self._of_size = _rules_of(Part.SIZE)

    def is_settled_by(self, facts: Collection[Fact]) -> bool:
        """Return whether no rule is broken by an event about which these facts are certain."""
        return self._facts <= frozenset(facts)

    def of_shape(self, event: Event, count: int) -> list[Violation]:
        """Return the limits on name, number and nesting that an event breaks, 20 of them or so at most.

        Args:
          event: as it was read, or in form.
          count: of its properties.
        """
        found = self.of_name(event.event)
        for rule, is_broken, field in self._of_count:
            if is_broken(count):
                found.append(Violation(rule, field or "properties"))
                break
        for name, value in event.properties.items():
            if isinstance(value, (dict, list)):
                self._look_into(value, f"properties.{_short(name)}", 1, found)
                if len(found) >= _MOST_VIOLATIONS:
                    break
        return found

    def of_name(self, name: Any) -> list[Violation]:
        """Return what is wrong with an event's name."""
        for rule, is_broken, field in self._of_name:
            if is_broken(name):
                return [Violation(rule, field or "event")]
        return []

    def of_value(self, value: Any) -> list[Violation]:
        """Return what is wrong with the value of some property."""
        found: list[Violation] = []
        if isinstance(value, (dict, list)):
            self._look_into(value, "properties", 1, found)
        return found

    def of_identity(self, event: Event, given: Given) -> list[Violation]:
        """Return what is wrong with time and ids; the event has them in form, where that is possible."""
        found = self._look_at_time(given)
        properties = event.properties
        if given.ids or self._of_text_id:
            for name in TEXT_IDS:
                value = properties.get(name)
                text = value if isinstance(value, str) else None
                if name in given.ids:
                    found += _first(self._of_id, f"properties.{name}", given.ids[name], text)
                elif text is not None:
                    found += _first(self._of_text_id, f"properties.{name}", text, text)
        distinct_id = properties.get("distinct_id")
        if isinstance(distinct_id, str):
            for rule, is_broken, field in self._of_distinct_id:
                if is_broken(distinct_id):
                    return [*found, Violation(rule, field or "properties.distinct_id")]
        return found

    def _look_at_time(self, given: Given) -> list[Violation]:
        for rule, is_broken, field in self._of_time:
            if is_broken(given.time, given.time_ms, given.now_ms, given.max_age_ms):
                return [Violation(rule, field or "properties.time")]
        return []

    def of_event(self, event: Event, count: int) -> list[Violation]:
        """Return what is wrong with an event whose time and ids are in form.

        Args:
          event: as it is sent, but for an `$insert_id` that is made of its content.
          count: of its properties, with that `$insert_id`.
        """
        for rule, is_broken, field in self._of_count:
            if is_broken(count):
                return [Violation(rule, field or "properties")]
        if self._of_event:
            return _first(self._of_event, "", event)
        return []

    def of_size(self, size: int) -> list[Violation]:
        """Return what is wrong with the number of bytes that are sent."""
        for rule, is_broken, field in self._of_size:
            if is_broken(size):
                return [Violation(rule, field)]
        return []

    def _look_into(self, value: dict[str, Any] | list[Any], field: str, level: int, found: list[Violation]) -> None:
        found += _first(self._of_nested, field, value, level)
        if level > limits.MAX_NESTING:
            return  # all below is too deep as well, and may be so without end
        for child_field, child in _nested_in(value, field):
            if len(found) >= _MOST_VIOLATIONS:
                return
            self._look_into(child, child_field, level + 1, found)


def _rules_of(part: Part) -> _Rules:
    return tuple(
        (name, rule.is_broken, rule.field)
        for name, rule in RULES.items()
        if rule.part is part and rule.is_broken is not None
    )


def _first(rules: _Rules, field: str, *looked_at: Any) -> list[Violation]:
    for name, is_broken, field_of_rule in rules:
        if is_broken(*looked_at):
            return [Violation(name, field_of_rule or field)]
    return []


def _nested_in(value: dict[str, Any] | list[Any], field: str) -> Iterator[tuple[str, Any]]:
    """Give what nests in a value, each with its name, one at a time: there may be millions."""
    if isinstance(value, dict):
        for key, child in value.items():
            if isinstance(child, (dict, list)):
                yield f"{field}.{_short(key)}", child
    else:
        for child in value:
            if isinstance(child, (dict, list)):
                yield f"{field}[]", child


def _short(name: Any) -> str:
    """Cut a name for a message: it may be as long as a line, and within a time, which is not looked into, no text."""
    if not isinstance(name, str):
        return f"<{type(name).__name__}>"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}…"
