"""The report of a check as one HTML page that needs nothing but itself; every text from events is escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from html import escape
from typing import Any, Final

from beam_mixpanel.launcher.reports.charts import bar, columns
from beam_mixpanel.launcher.reports.page import card, document, in_bytes, in_time, moment_of, soft, table_of, tile

_Report = Mapping[str, Any]
_MOST_DAYS: Final = 370
_MOST_WEEKS: Final = 3 * 370
_MOST_NAMES: Final = 25
_LONGEST_NAME: Final = 100
_MOST_PROPERTIES: Final = 200


def page_of(report: _Report) -> str:
    """Write the page."""
    return document("Check before import", "".join(section(report) for section in _SECTIONS))


def _head(report: _Report) -> str:
    about, events = report["about"], report["events"]
    source = ", ".join(about["source"])
    users = report["users"]
    tiles = (
        tile(f"{events['read']:,}", "events read"),
        tile(f"{events['would_be_imported']:,}", "would be imported"),
        tile(f"{events['refused']:,}", "would be refused", is_bad=events["refused"] > 0),
        tile(_figure(users["distinct"], exact=users["exact"]), "users"),
        tile(in_time(report["plan"]["seconds"]), "at full rate"),
    )
    return (
        f"<header><h1>Check before import</h1>"
        f"<p>{escape(source)}, read {escape(moment_of(about['made_at']))}. Nothing was sent.</p>"
        f'</header><div class="tiles">{"".join(tiles)}</div>'
    )


def _advice(report: _Report) -> str:
    items = "".join(
        f'<li class="{escape(item["level"])}"><span class="level">{escape(item["level"])}</span>'
        f"<strong>{escape(item['title'])}</strong><p>{escape(item['why'])}</p>"
        f"{_flag(item['flag'])}</li>"
        for item in report["advice"]
    )
    return card("What to do first", "", f'<ul class="advice">{items}</ul>')


def _flag(flag: str) -> str:
    if not flag:
        return ""
    return f"<p><code>{escape(flag)}</code></p>"


def _fates(report: _Report) -> str:
    events = report["events"]
    rows = [
        ("would be imported", events["would_be_imported"]),
        ("of these, rewritten into Mixpanel's form", events["rewritten"]),
        ("of these, with a replaced $insert_id", events["repaired_insert_ids"]),
        ("filtered, as the mapping says", events["filtered"]),
        ("would be refused", events["refused"]),
    ]
    table = table_of(("", "#events"), [(escape(name), f"{count:,}") for name, count in rows])
    return card("What would become of the events", "Counted one by one.", table + _refusals(report))


def _refusals(report: _Report) -> str:
    return "".join(_refusal(rule) for rule in report["refused"])


def _refusal(rule: Mapping[str, Any]) -> str:
    """Write what one rule refused, with a few examples to fold out."""
    documented = ""
    if rule["docs"]:
        documented = soft(f"Documented at {escape(rule['docs'])}")
    examples = "".join(
        soft(f"{escape(example['source'])} {escape(example['message'])}") + f"<pre>{escape(example['event'])}</pre>"
        for example in rule["examples"]
    )
    return (
        f"<details><summary><strong>{escape(rule['rule'])}</strong>: {rule['events']:,} events "
        f'<span class="soft">{escape(rule["meaning"])}</span></summary>{documented}{examples}</details>'
    )


def _plan(report: _Report) -> str:
    plan = report["plan"]
    rows = [
        ("requests", f"{plan['requests']:,}"),
        ("uncompressed", in_bytes(plan["bytes"])),
        ("sent", in_bytes(plan["bytes_sent"])),
        ("duration", in_time(plan["seconds"])),
    ]
    arithmetic = "".join(f'<p class="soft">{escape(line)}</p>' for line in plan["arithmetic"])
    return card(
        "What the import takes", "At the limits that Mixpanel documents.", table_of(("", "#"), rows) + arithmetic
    )


def _days(report: _Report) -> str:
    values, unit = _by_days(report["days"])
    times = report["times"]
    span = "There are no events."
    if times["first"]:
        span = f"From {moment_of(times['first'])} to {moment_of(times['last'])}."
    chart = columns(values, title=f"Events per {unit}")
    return card(f"Events per {unit}", escape(span), chart)


def _hours(report: _Report) -> str:
    hours = [(f"{hour:02d}:00", count) for hour, count in enumerate(report["hours_utc"])]
    times, valid = report["times"], report["events"]["would_be_imported"]
    facts = [
        ("older than the project keeps", times["past_retention"]),
        ("in the future, by less than an hour", times["ahead"]),
        ("before the year 2000", times["before_2000"]),
        ("at midnight exactly", times["midnight"]),
        ("at a full hour exactly", times["whole_hour"]),
        ("at a full second exactly", times["whole_second"]),
    ]
    rows = [(escape(name), f"{count:,}", _percent(count, valid)) for name, count in facts]
    chart = columns(hours, title="Events per hour of the day")
    return card(
        "Hours of the day", "In UTC. Most people sleep at night.", chart + table_of(("", "#events", "#share"), rows)
    )


def _names(report: _Report) -> str:
    names = report["names"]
    counts = names["counts"][:_MOST_NAMES]
    most = max((count for _, count in counts), default=1)
    bars = "".join(
        f'<span class="label" title="{escape(name)}">{_name(name)}</span>{bar(count / most)}'
        f'<span class="count">{count:,}</span>'
        for name, count in counts
    )
    number = len(names["counts"])
    told = f"{number:,} names, counted one by one."
    if not names["complete"]:
        told = f"Too many names to count: these are {number:,} chosen at random, each counted one by one."
    elif number == 1:
        told = "1 name, counted one by one."
    more = ""
    if number > len(counts):
        more = soft(f"And {number - len(counts):,} more names, in the JSON.")
    return card("Events per name", told, f'<div class="bars">{bars}</div>{more}')


def _users(report: _Report) -> str:
    users, ids, heavy = report["users"], report["insert_ids"], report["heavy_users"]

    def of_ids(name: str) -> str:
        return _figure(ids[name], exact=ids["exact"])

    rows = [
        ("different users", _figure(users["distinct"], exact=users["exact"])),
        ("events without a user", f"{users['events_without']:,}"),
        (f"users and days with more than {heavy['limit']:,} events", f"{heavy['number']:,}"),
        ("different $insert_ids", of_ids("distinct")),
        ("events that repeat another", of_ids("repeated_events")),
        ("$insert_ids that stand on different events", of_ids("ids_of_different_events")),
        ("of these, at times whole hours apart", of_ids("ids_whole_hours_apart")),
    ]
    told = "All exact."
    if not (users["exact"] and ids["exact"]):
        told = "Figures with ~ are estimates from even samples, with a standard error of 1 %."
    if heavy["undercount"]:
        told += f" A user's events on a day may be undercounted, by {heavy['undercount']:,} at most."
    table = table_of(("", "#"), [(escape(name), text) for name, text in rows])
    return card("Users and duplicates", told, table + _heavy(heavy["largest"]))


def _heavy(largest: list[dict[str, Any]]) -> str:
    if not largest:
        return ""
    rows = [(f"<code>{escape(user['user'])}</code>", escape(user["day"]), f"{user['events']:,}") for user in largest]
    return "<h3>Users over the limit of a day</h3>" + table_of(("user", "day", "#events"), rows)


def _properties(report: _Report) -> str:
    properties = report["properties"]
    one_in = properties["one_in"]
    told = f"From all {properties['sampled_events']:,} events."
    if one_in > 1:
        told = (
            f"From an even sample of 1 event in {one_in:,}: {properties['sampled_events']:,} events. "
            "What is rarer may be missing."
        )
    if not properties["complete"]:
        told += " There are too many properties; the table holds 1,000 of them, chosen at random."
    if not all(row["exact"] for row in properties["rows"]):
        told += " Numbers of values with ~ are estimates, with a standard error of 5 %."
    rows = [_property(row) for row in properties["rows"][:_MOST_PROPERTIES]]
    left = len(properties["rows"]) - len(rows)
    more = ""
    if left:
        more = soft(f"And {left:,} more, in the JSON.")
    heads = ("property", "types", "#absent", "#null", "#values", "#over 255", "examples")
    return card("Properties", told, table_of(heads, rows) + more)


def _property(row: Mapping[str, Any]) -> tuple[str, ...]:
    types = list(row["types"])
    if len(types) > 1:
        types = [f"{name} {_percent(count, row['events'])}" for name, count in row["types"].items()]
    marks = [row["reserved"]]
    if row["name_is_cut"]:
        marks.append("name is cut at 255 characters")
    marked = "".join(f'<span class="mark">{escape(mark)}</span>' for mark in marks if mark)
    examples = " ".join(f"<code>{escape(text)}</code>" for text in row["examples"])
    return (
        f"{_name(row['name'])}{marked}",
        escape(", ".join(types)),
        _share(row["absent_share"]),
        _share(row["null_share"]),
        _figure(row["distinct"], exact=row["exact"]),
        f"{row['cut']:,}",
        f'<span class="examples">{examples}</span>',
    )


def _sizes(report: _Report) -> str:
    sizes = report["sizes"]
    *bounded, (_, larger) = sizes["histogram"]
    used = [*((f"< {in_bytes(bound)}", count) for bound, count in bounded), ("larger", larger)]
    # One empty class on each side shows where the sizes end.
    filled = [place for place, (_, count) in enumerate(used) if count] or [0]
    used = used[max(0, filled[0] - 1) : filled[-1] + 2]
    told = f"{in_bytes(sizes['mean'])} on average, {in_bytes(sizes['largest'])} at most, as uncompressed JSON."
    return card("Size of events", told, columns(used, title="Events by size", labels=len(used)))


def _foot(report: _Report) -> str:
    about = report["about"]
    shape = "Examples show the shape of values, not the values: letters are a, digits 9. --show_values shows them."
    if about["show_values"]:
        shape = "Examples show values."
    facts = (
        f"beam_mixpanel {escape(about['version'])}. Times that name no zone were read as {escape(about['time_zone'])}."
    )
    return f"<footer><p>{facts} {escape(shape)} The same as JSON stands beside this page.</p></footer>"


def _pair(left: Callable[[_Report], str], right: Callable[[_Report], str]) -> Callable[[_Report], str]:
    return lambda report: f'<div class="two">{left(report)}{right(report)}</div>'


_SECTIONS: Final[tuple[Callable[[_Report], str], ...]] = (
    _head, _advice, _days, _pair(_names, _hours), _pair(_fates, _plan), _pair(_users, _sizes), _properties, _foot,
)  # fmt: skip


def _by_days(days: list[list[Any]]) -> tuple[list[tuple[str, int]], str]:
    """Give every day between the first and the last; weeks or months where these are many."""
    # Days without an event are shown, since gaps are what one looks for.
    counts = {date.fromisoformat(day): count for day, count in days}
    if not counts:
        return [], "day"
    first, last = min(counts), max(counts)
    span = (last - first).days + 1
    if span > _MOST_WEEKS:
        months = {f"{place // 12:04d}-{place % 12 + 1:02d}": 0 for place in range(_month(first), _month(last) + 1)}
        for day, count in counts.items():
            months[f"{day:%Y-%m}"] += count
        return list(months.items()), "month"
    every = [first + timedelta(days=place) for place in range(span)]
    if span > _MOST_DAYS:
        mondays = {day - timedelta(days=day.weekday()): 0 for day in every}
        for day, count in counts.items():
            mondays[day - timedelta(days=day.weekday())] += count
        return [(f"{monday}", count) for monday, count in mondays.items()], "week"
    return [(f"{day}", counts.get(day, 0)) for day in every], "day"


def _month(day: date) -> int:
    return 12 * day.year + day.month - 1


def _name(name: str) -> str:
    """Show a name from events: whatever its direction, it turns no text around it; if long, its end is in the JSON."""
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}…"
    return f"<bdi>{escape(name)}</bdi>"


def _figure(number: int, *, exact: bool) -> str:
    """Write a number, an estimate with a tilde."""
    if exact:
        return f"{number:,}"
    return f"~{number:,}"


def _percent(count: int, total: int) -> str:
    if total:
        return _share(count / total)
    return ""


def _share(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1 %".replace("<", "&lt;")
    return f"{100 * share:.1f} %".replace(".0 %", " %")
