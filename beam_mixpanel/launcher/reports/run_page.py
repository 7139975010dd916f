"""The report of a run as one HTML page that needs nothing but itself; every text from events is escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from itertools import pairwise
from typing import Any, Final

from beam_mixpanel.core.sending.books import FATES, Books
from beam_mixpanel.launcher.reports.charts import columns
from beam_mixpanel.launcher.reports.page import card, document, in_bytes, in_time, moment_of, soft, table_of, tile

_Report = Mapping[str, Any]
_MOST_COLUMNS: Final = 120
_ENDS: Final = {0: "Everything was imported", 1: "The job failed", 3: "Some events were not imported"}


def page_of(report: _Report) -> str:
    """Write the page."""
    return document("Import report", "".join(section(report) for section in _SECTIONS))


def _head(report: _Report) -> str:
    about, books = report["about"], report["books"]
    lost = Books.from_counts(books).not_imported
    failure = ""
    if report["failure"]:
        failure = f'<p class="stop">{escape(report["failure"])}</p>'
    tiles = (
        tile(f"{books['read']:,}", "events read"),
        tile(f"{books['imported']:,}", "imported"),
        tile(f"{lost:,}", "not imported", is_bad=lost > 0 or report["exit_code"] == 1),
        tile(in_time(books["seconds"]), "from start to end"),
        tile(f"{books['events_per_sec']:,}", "events/s"),
    )
    return (
        f"<header><h1>{_end(report['exit_code'], lost)}</h1>"
        f"<p>{escape(', '.join(about['source']))}, ended {escape(moment_of(about['ended_at']))}, "
        f"exit code {report['exit_code']}.</p>{failure}</header>"
        f'<div class="tiles">{"".join(tiles)}</div>'
    )


def _end(exit_code: int, lost: int) -> str:
    """Say how a run ended; one that ended well may have left behind as many events as it was allowed to."""
    if exit_code == 0 and lost:
        return f"All but {lost:,} of the events were imported"
    return _ENDS[exit_code]


def _books(report: _Report) -> str:
    books = report["books"]
    rows = [(escape(fate), f"{books[fate]:,}") for fate in ("read", *FATES)]
    told = "The books do not balance: the job did not come to its end, or counted elsewhere."
    if books["balanced"]:
        told = f"read = {' + '.join(FATES)}: the books balance."
    return card("Books", told, table_of(("fate", "#events"), rows))


def _sending(report: _Report) -> str:
    books = report["books"]
    rows = [
        ("requests", f"{books['requests']:,}"),
        ("retries", f"{books['retries']:,}"),
        ("waited for the rate limit", in_time(books["throttled_secs"])),
        ("uncompressed", in_bytes(books["bytes_uncompressed"])),
        ("sent", in_bytes(books["bytes_sent"])),
        ("$insert_ids replaced", f"{books['repaired_insert_ids']:,}"),
        ("older than the project keeps", f"{books['past_retention']:,}"),
    ]
    last = report["course"][-1:]
    if last and last[0]["requests"]:
        mean_ms = last[0]["latency_ms"] / last[0]["requests"]
        rows.insert(1, ("mean time of an answer", f"{mean_ms:,.0f} ms"))
    return card("Sending", "", table_of(("", "#"), rows))


def _reasons(report: _Report) -> str:
    if not report["reasons"]:
        return ""
    items = "".join(
        f"<details open><summary><strong>{escape(each['reason'])}</strong>: {each['events']:,} events</summary>"
        f"{_example(each)}</details>"
        for each in report["reasons"]
    )
    told = "Each reason with its first dead letter."
    if not report["about"]["show_values"]:
        told += " Examples show the shape of values; --show_values shows them."
    return card("Why events were not imported", told, items)


def _example(reason: _Report) -> str:
    if "message" not in reason:
        return soft("No dead letter of it was kept.")
    facts = [reason["stage"], reason["fate"], reason["field"], reason["source"]]
    if reason["http_status"]:
        facts.append(f"HTTP {reason['http_status']}")
    said = ""
    if reason["message"] != reason["reason"]:
        said = f"<p>{escape(reason['message'])}</p>"
    return f"{said}{soft(escape(', '.join(filter(None, facts))))}<pre>{escape(reason['event'])}</pre>"


def _course(report: _Report) -> str:
    spans = _spans(report["course"])
    if not any(span["read"] for span in spans):
        return card("Over time", "The workers were other processes; what they did over time is not known here.", "")
    rates = [(f"{span['at']:.0f} s", round(span["imported"] / span["seconds"])) for span in spans]
    charts = f"<h3>Events imported per second</h3>{columns(rates, title='Events imported per second over time')}"
    if any(span["requests"] for span in spans):
        times = [(f"{span['at']:.0f} s", round(span["latency_ms"] / max(span["requests"], 1))) for span in spans]
        charts += f"<h3>Mean time of an answer, ms</h3>{columns(times, title='Milliseconds an answer over time')}"
    return card("Over time", "", charts)


def _spans(moments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give what was done between moments, in no more spans than can be seen."""
    step = max(1, -(-len(moments) // _MOST_COLUMNS))  # rounded up
    chosen = [
        {"seconds": 0.0, "read": 0, "imported": 0, "requests": 0, "latency_ms": 0},
        *moments[:-1][step - 1 :: step],
        *moments[-1:],
    ]
    return [
        {"at": after["seconds"]} | {name: after[name] - before[name] for name in chosen[0]}
        for before, after in pairwise(chosen)
        if after["seconds"] > before["seconds"]
    ]


def _replay(report: _Report) -> str:
    if not report["replay"]:
        return ""
    told = "After the cause is gone. What was sent keeps its identity, so nothing doubles."
    return card("Send the dead letters again", told, f"<pre>{escape(report['replay'])}</pre>")


def _settings(report: _Report) -> str:
    about = report["about"]
    rows = [("runner", escape(about["runner"]))]
    rows += [(f"<code>{escape(flag)}</code>", _value(value)) for flag, value in report["settings"].items()]
    return card("Settings", "Those that differ from their defaults. Secrets are references.", table_of(("", ""), rows))


def _value(value: Any) -> str:
    if value is True:
        return "yes"
    if isinstance(value, list):
        return "<br>".join(escape(str(each)) for each in value)
    return escape(str(value))


def _foot(report: _Report) -> str:
    version = escape(report["about"]["version"])
    return f"<footer><p>beam_mixpanel {version}. The same as JSON stands beside this page.</p></footer>"


_SECTIONS: Final[tuple[Callable[[_Report], str], ...]] = (
    _head, _reasons, _replay, _course, _books, _sending, _settings, _foot,
)  # fmt: skip
