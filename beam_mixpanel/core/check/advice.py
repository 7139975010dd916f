"""What to do before an import, each with the flag that does it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from beam_mixpanel.core import limits
from beam_mixpanel.core.check.time_shapes import proposed_formats

STOP: Final = "stop"
LOOK: Final = "look"
NOTE: Final = "note"
FINE: Final = "fine"
COLUMNS: Final = "columns"
EVENTS: Final = "events"

_Report = Mapping[str, Any]
_MOSTLY: Final = 0.9
_SMALL: Final = 20
"""Fewer events prove nothing about habits."""
_NIGHT: Final = 6
_MIDDLE_OF_NIGHT: Final = 4
_QUIET: Final = 0.1
"""Of all events; a quarter would come in six hours if people never slept."""
_ENOUGH: Final = 1_000
"""Fewer events show no habits by the hour."""
_PERSONAL: Final = re.compile(
    r"(^|[_\W])(e?-?mail|phone|address|first_?name|last_?name|surname|ssn|iban|birth\w*|passw\w*)($|[_\W])",
    re.IGNORECASE,
)
_USERS: Final = re.compile(
    r"(^|[_\W])(user|customer|client|member|account|visitor|person|uid|kunde|nutzer)(_?(id|no|nr|number))?($|[_\W])",
    re.IGNORECASE,
)
"""Names of properties that may be a user's id."""
_SHOWN: Final = 5

_MAP: Final = "--map MODULE:FUNCTION"
_ANY_FORMAT: Final = "--time_format '%d/%m/%Y %H:%M'"


class _Cure(NamedTuple):
    """What mends a rule that events break.

    Attributes:
      words: what to do.
      columns: the flag, where columns are mapped.
      events: where the input is events in Mixpanel's shape, or a function makes them: flags that name columns would
        take such events for rows, and spoil them all.
    """

    words: str
    columns: str
    events: str = _MAP


_ANY_CURE: Final = _Cure("Repair them where they come from, or on the way.", _MAP)
_NO_FLAG: Final = _Cure("They cannot be read as events; mend the file. No flag does.", "", "")
_CURES: Final[dict[str, _Cure]] = {
    "time_missing": _Cure("Say where the time is.", "--time_column COLUMN"),
    "time_unreadable": _Cure(
        "Say how the time is written, if all are written alike; else let a function read it.",
        f"{_ANY_FORMAT}, or {_MAP}",
    ),
    "time_before_1971": _Cure(
        "Such times are mostly 0, in another unit than they seem (say which), or the days that a spreadsheet counts; "
        "leave them out, or mend them.",
        "--time_unit s|ms|us|ns, or --from_time 2015-01-01",
        f"--from_time 2015-01-01, or {_MAP}",
    ),
    "time_in_future": _Cure(
        "Such times are mostly in another unit, or local times that name no zone; say which.",
        "--time_unit s|ms|us|ns, or --mixpanel_time_zone Europe/Paris",
        f"{_MAP}, or --mixpanel_time_zone Europe/Paris",
    ),
    "event_missing": _Cure("Say what names the events.", "--event_column COLUMN, or --event NAME"),
    "insert_id_column_missing": _Cure("Choose columns that every row has.", *["--insert_id_columns A,B"] * 2),
    "too_many_properties": _Cure("Leave properties out.", "--exclude 'PREFIX_*', or --json_column COLUMN"),
    "nested_too_deep": _Cure(
        "Drop the nested column, or spread it where it holds an object.",
        "--exclude COLUMN, or --spread_column COLUMN",
    ),
    "distinct_id_placeholder": _Cure(
        "These are no users; send them without an id, or with that of their device.", _MAP
    ),
    "csv_columns": _Cure(
        "These rows have more or fewer fields than the header. Mostly a text in them holds the delimiter and is not in "
        "quotes; mend the file. No flag does.",
        "",
        "",
    ),
    "csv_type": _Cure("Such values are not of the type that --csv_types names.", "--csv_types COLUMN:text"),
    "invalid_json": _NO_FLAG,
    "not_an_object": _NO_FLAG,
    "not_utf8": _NO_FLAG,
}
_NAMED: Final[dict[str, tuple[str, _Cure]]] = {
    "time_missing": (
        "time_column",
        _Cure(
            "The column that --time_column names holds nothing there. Name one that does, or mend it.",
            f"--time_column OTHER, or {_MAP}",
        ),
    ),
    "time_unreadable": (
        "time_format",
        _Cure("These times are not written as --time_format says. Name another, or let a function read them.", _MAP),
    ),
    "event_missing": (
        "event_column",
        _Cure(
            "The column that --event_column names holds nothing there. Name one that does, or mend it.",
            f"--event_column OTHER, or {_MAP}",
        ),
    ),
}
"""Cures where the first one that comes to mind was taken already."""


class Advice(NamedTuple):
    """One thing to do, or to know.

    Attributes:
      level: `stop` (events would be lost or spoilt), `look` (probably wrong), `note` (good to know) or `fine`.
      title: in a few words.
      why: what was found.
      flag: what does it; empty where no flag does.
    """

    level: str
    title: str
    why: str
    flag: str = ""


def advise(report: _Report) -> list[Advice]:
    """Give what is to be done before the import, the gravest first."""
    found = [advice for rule in _RULES for advice in rule(report)]
    if report["events"]["would_be_imported"] and not any(advice.level in (STOP, LOOK) for advice in found):
        found.append(Advice(FINE, "Nothing stands in the way", "Every event is in form, and nothing looks odd."))
    order = (STOP, LOOK, NOTE, FINE)
    return sorted(found, key=lambda advice: order.index(advice.level))


def _on_refused(report: _Report) -> Iterator[Advice]:
    for rule in report["refused"]:
        cure = _cure(rule["rule"], report)
        why = f"{_events(rule['events'])} would be refused: {rule['rule']}. {cure.words}"
        yield Advice(STOP, f"Mend {rule['rule']}", why, _flag(report, _with_format(cure.columns, rule), cure.events))
    refused = report["events"]["refused"]
    if refused:
        yield Advice(
            NOTE,
            "Keep what is refused",
            f"Without a place for dead letters, the first of the {_events(refused)} fails the job.",
            f"--dead_letters out/dead --allow_dead_letters {refused}",
        )


def _with_format(flag: str, rule: _Report) -> str:
    """Put the format in which the times of the examples seem to be written into a flag that names one."""
    formats = proposed_formats(example["event"] for example in rule["examples"])
    if not formats or _ANY_FORMAT not in flag:
        return flag
    return flag.replace(_ANY_FORMAT, ", or ".join(f"--time_format {shlex.quote(each)}" for each in formats))


def _cure(rule: str, report: _Report) -> _Cure:
    key, named = _NAMED.get(rule, ("", _ANY_CURE))
    if key in report["about"]["mapped"]:
        return named
    return _CURES.get(rule, _ANY_CURE)


def _flag(report: _Report, columns: str, events: str) -> str:
    """Choose the flag for what is read: columns that are mapped, or events."""
    if report["about"]["takes"] == COLUMNS:
        return columns
    return events


def _on_nothing(report: _Report) -> Iterator[Advice]:
    events = report["events"]
    if events["read"] and not events["would_be_imported"]:
        yield Advice(STOP, "Nothing would be imported", f"{_events(events['read'])} were read, and none is left.")


def _on_retention(report: _Report) -> Iterator[Advice]:
    old = report["times"]["past_retention"]
    if old:
        days = report["about"]["retention_days"]
        yield Advice(
            LOOK,
            "Leave out what Mixpanel deletes",
            f"{_events(old)} are older than {days} days. Mixpanel takes and bills them, and then deletes them by their "
            "date. Say so if your project keeps events longer.",
            "--from_time YYYY-MM-DD, or --mixpanel_retention_days 1825",
        )


def _on_odd_times(report: _Report) -> Iterator[Advice]:
    times, valid = report["times"], report["events"]["would_be_imported"]
    if times["ahead"]:
        why = f"{_events(times['ahead'])} are in the future by less than an hour: a clock, or a zone, is off."
        yield Advice(
            LOOK,
            "Look at times to come",
            why,
            _flag(report, "--mixpanel_time_zone ZONE", f"--mixpanel_time_zone ZONE, or {_MAP}"),
        )
    if times["before_2000"]:
        why = f"{_events(times['before_2000'])} are before the year 2000: perhaps another unit, or a default date."
        yield Advice(
            LOOK,
            "Look at very old times",
            why,
            _flag(report, "--time_unit s|ms|us|ns, or --from_time 2015-01-01", f"--from_time 2015-01-01, or {_MAP}"),
        )
    if valid < _SMALL:
        return
    if times["midnight"] >= _MOSTLY * valid:
        why = (
            f"{_events(times['midnight'])} of {valid:,} are at midnight UTC exactly: the column holds dates, not times."
        )
        yield Advice(LOOK, "Choose a column with the time of day", why, _flag(report, "--time_column COLUMN", _MAP))
    elif times["whole_hour"] >= _MOSTLY * valid:
        why = (
            f"{_events(times['whole_hour'])} of {valid:,} are at full hours exactly: rounded, or "
            "dates that a time zone shifted."
        )
        yield Advice(
            LOOK,
            "Look at the times' precision and zone",
            why,
            _flag(
                report, "--time_column COLUMN, or --mixpanel_time_zone ZONE", f"--mixpanel_time_zone ZONE, or {_MAP}"
            ),
        )
    yield from _on_quiet_hours(report)


def _on_quiet_hours(report: _Report) -> Iterator[Advice]:
    """Tell where on earth it is night when there is little to do: data alone cannot tell whether that is so."""
    hours = report["hours_utc"]
    # Six hours in a row, beginning at each hour of the day, past midnight too.
    windows = [sum(hours[(start + step) % 24] for step in range(_NIGHT)) for start in range(24)]
    quietest = min(range(24), key=lambda start: (windows[start], start))
    if sum(hours) >= _ENOUGH and windows[quietest] < _QUIET * sum(hours):
        offset = (_MIDDLE_OF_NIGHT - (quietest + _NIGHT // 2) + 12) % 24 - 12
        why = (
            f"The quietest hours are {quietest:02d} to {(quietest + _NIGHT) % 24:02d} UTC, which is night at about "
            f"UTC{offset:+d}. If your users do not live there, local times were read as UTC, or shifted twice."
        )
        yield Advice(NOTE, "Check the time zone", why, "--mixpanel_time_zone ZONE")


def _on_ids(report: _Report) -> Iterator[Advice]:
    ids = report["insert_ids"]
    about = "" if ids["exact"] else "about "
    if ids["ids_of_different_events"]:
        shifted = ""
        if ids["ids_whole_hours_apart"]:
            shifted = (
                f" {about}{ids['ids_whole_hours_apart']:,} of these ids stand at times whole hours apart, as where a "
                "time zone was applied twice."
            )
        why = (
            f"{about}{ids['ids_of_different_events']:,} ids stand on {_events(ids['events_of_such_ids'])} that differ "
            f"in name, user or time. Mixpanel may drop all but one of them.{shifted}"
        )
        yield Advice(
            LOOK,
            "Give different events different ids",
            _capital(why),
            "--insert_id_columns A,B",
        )
    if ids["repeated_events"]:
        why = (
            f"{about}{_events(ids['repeated_events'])} repeat others. Mixpanel shows each once, but bills what is sent."
        )
        yield Advice(NOTE, "Know the duplicates", _capital(why))
    repaired = report["events"]["repaired_insert_ids"]
    if repaired:
        why = f"{_events(repaired)} have an $insert_id that Mixpanel refuses; each is replaced by a hash of it."
        yield Advice(NOTE, "Know the replaced ids", why)


def _on_users(report: _Report) -> Iterator[Advice]:
    heavy, users = report["heavy_users"], report["users"]
    if heavy["number"]:
        why = (
            f"{heavy['number']:,} times one user has over {heavy['limit']:,} events on a day. Mixpanel stores "
            "what is above as $hotshard_events of nobody."
        )
        yield Advice(
            STOP,
            "Do not make a crowd one user",
            why,
            _flag(report, "--user_id_column COLUMN, or --skip_event NAME", f"--skip_event NAME, or {_MAP}"),
        )
    without = users["events_without"]
    if without and without == report["events"]["would_be_imported"]:
        why = "No event has a user. Funnels, retention and user counts will be empty."
        likely = [row["name"] for row in report["properties"]["rows"] if _USERS.search(row["name"])] or ["COLUMN"]
        flags = [f"--user_id_column {shlex.quote(name)}" for name in likely[:_SHOWN]] + ["--distinct_id_column COLUMN"]
        yield Advice(LOOK, "Say who did it", why, _flag(report, ", or ".join(flags), _MAP))
    elif without:
        yield Advice(NOTE, "Know the events of nobody", f"{_events(without)} have no user, and count for no user.")


def _on_names(report: _Report) -> Iterator[Advice]:
    names = report["names"]
    if len(names["counts"]) > limits.MAX_EVENT_NAMES or not names["complete"]:
        why = (
            f"There are more than {limits.MAX_EVENT_NAMES:,} event names. Mixpanel does not list those beyond. Names "
            "often hold an id or a URL then; put that into a property."
        )
        yield Advice(STOP, "Use fewer event names", why, _flag(report, "--event NAME, or --event_column COLUMN", _MAP))


def _on_properties(report: _Report) -> Iterator[Advice]:
    rows = report["properties"]["rows"]
    for row in rows:
        if row["name"] == "$ignore":
            yield _ignored(row, report)
        elif row["reserved"]:
            why = f"The property {row['name']} {row['reserved']}."
            redact = f"--redact {shlex.quote(row['name'])}"
            flag = _flag(report, f"{redact}, or --rename {shlex.quote(row['name'] + '=NEW')}", f"{redact}, or {_MAP}")
            yield Advice(LOOK, f"Rename {row['name']}", why, flag)
    cut = [row["name"] for row in rows if row["cut"]]
    if cut:
        why = f"Texts over {limits.MAX_TEXT_CHARS} characters will be cut in {_some(cut)}."
        yield Advice(
            LOOK,
            "Shorten long texts",
            why,
            _flag(report, f"{_MAP}, or --exclude COLUMN", f"{_MAP}, or --redact PROPERTY"),
        )
    mixed = [row["name"] for row in rows if len(set(row["types"]) - {"null"}) > 1]
    if mixed:
        why = f"Values of several types are in {_some(mixed)}. Mixpanel shows a property of one type at a time."
        yield Advice(
            LOOK, "Give each property one type", why, _flag(report, f"--csv_types COLUMN:TYPE, or {_MAP}", _MAP)
        )
    personal = [row["name"] for row in rows if _PERSONAL.search(row["name"])]
    if personal:
        why = f"It may be in {_some(personal)}. Send it only if you mean to."
        flags = " ".join(f"--redact {shlex.quote(name)}" for name in personal[:_SHOWN])
        yield Advice(LOOK, "Think of personal data", why, flags)


def _ignored(row: _Report, report: _Report) -> Advice:
    """Source: https://docs.mixpanel.com/docs/data-structure/property-reference/reserved-properties."""
    why = (
        f"Of {report['properties']['sampled_events']:,} events looked at, {row['events']:,} have it. Mixpanel drops "
        "those in which it is true or a text, and answers success; what it leaves out of its count is reported as "
        "dropped."
    )
    flags = ("--redact '$ignore', or --skip_event NAME", f"--redact '$ignore', or {_MAP}")
    return Advice(LOOK, "Look at the events with $ignore", why, _flag(report, *flags))


_RULES: Final[tuple[Callable[[_Report], Iterator[Advice]], ...]] = (
    _on_nothing, _on_refused, _on_names, _on_users, _on_retention, _on_odd_times, _on_ids, _on_properties,
)  # fmt: skip


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    if len(names) > _SHOWN:
        return f"{shown} and {len(names) - _SHOWN:,} more"
    return shown


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
