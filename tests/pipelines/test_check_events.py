"""`check_events`: a page and JSON that tell what an import would do; nothing is sent."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import check_events, files_to_mixpanel

README = Path(__file__).parent.parent.parent / "README.md"
HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00:00Z


def event(name: str, insert_id: str, time_ms: int = NOON_MS, **properties: Any) -> dict[str, Any]:
    return {"event": name, "properties": {"time": time_ms, "$insert_id": insert_id, **properties}}


def write(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "events.ndjson"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def check(folder: Path, *flags: str) -> tuple[int, dict[str, Any], str]:
    page = folder / "out" / "report.html"
    code = check_events.run([f"--report={page}", *flags])
    report = json.loads(page.with_suffix(".json").read_text())
    assert report["about"].pop("made_at")
    assert report["about"].pop("version")
    return code, report, page.read_text()


def test_the_report_of_a_known_input_is_exact(tmp_path: Path) -> None:
    """Every figure of the JSON, for good, repeated, rewritten and refused events."""
    path = write(
        tmp_path,
        event("Buy", "a", distinct_id="u1", plan="pro"),
        event("Buy", "a", distinct_id="u1", plan="pro"),
        event("View", "b", NOON_MS + 86_400_000 + 1, distinct_id="u2", plan=None),
        {"event": "View", "properties": {"time": NOON_MS // 1000, "distinct_id": "u2", "$insert_id": "c"}},
        {"event": "Buy", "properties": {"distinct_id": "u3"}},
    )
    code, report, page = check(tmp_path, f"--input={path}", "--mixpanel_retention_days=3650")
    assert code == 0
    assert page.startswith("<!doctype html>")
    sizes, plan = report.pop("sizes"), report.pop("plan")
    sent = path.read_bytes().splitlines()[:4]
    size = sum(map(len, sent[:3])) + len(sent[3].replace(b": ", b":").replace(b", ", b",")) + 3
    assert (sizes["bytes"], sizes["largest"], sum(count for _, count in sizes["histogram"])) == (
        size,
        max(map(len, sent[:3])),
        4,
    )
    assert (plan["requests"], plan["bytes"], plan["seconds"]) == (1, size + 4 + 1, 0.0)
    assert report.pop("advice")[0] == {
        "level": "stop",
        "title": "Mend time_missing",
        "why": "1 event would be refused: time_missing. Say where the time is.",
        "flag": "--map MODULE:FUNCTION",
    }
    assert report == {
        "format": 1,
        "about": {
            "source": [str(path)],
            "retention_days": 3650,
            "time_zone": "UTC",
            "show_values": False,
            "takes": "events",
            "mapped": [],
        },
        "events": {
            "read": 5,
            "would_be_imported": 4,
            "refused": 1,
            "filtered": 0,
            "rewritten": 1,
            "repaired_insert_ids": 0,
        },
        "refused": [
            {
                "rule": "time_missing",
                "meaning": "is missing; a time is never invented",
                "docs": "https://docs.mixpanel.com/reference/import-events",
                "events": 1,
                "examples": [
                    {
                        "source": f"{path}@{sum(len(line) + 1 for line in sent)}",
                        "field": "properties.time",
                        "message": "properties.time is missing; a time is never invented",
                        "event": '{"event":"aaa","properties":{"distinct_id":"a9"}}',
                    }
                ],
            }
        ],
        "days": [["2026-01-01", 3], ["2026-01-02", 1]],
        "hours_utc": [0] * 12 + [4] + [0] * 11,
        "times": {
            "first": "2026-01-01T12:00:00.000Z",
            "last": "2026-01-02T12:00:00.001Z",
            "past_retention": 0,
            "ahead": 0,
            "before_2000": 0,
            "midnight": 0,
            "whole_hour": 3,
            "whole_second": 3,
        },
        "names": {"complete": True, "counts": [["Buy", 2], ["View", 2]], "events_of_others": 0},
        "users": {"distinct": 2, "exact": True, "events_without": 0},
        "heavy_users": {"limit": 200_000, "number": 0, "undercount": 0, "largest": []},
        "insert_ids": {
            "exact": True,
            "distinct": 3,
            "repeated_events": 1,
            "ids_of_different_events": 0,
            "events_of_such_ids": 0,
            "ids_whole_hours_apart": 0,
        },
        "properties": {
            "sampled_events": 4,
            "one_in": 1,
            "complete": True,
            "rows": [
                property_row("distinct_id", 4, {"text": 4}, 2, ['"a9"', '"a9"'], absent_share=0.0),
                property_row("plan", 3, {"text": 2, "null": 1}, 1, ['"aaa"'], absent_share=0.25, null_share=0.3333),
            ],
        },
    }


def property_row(
    name: str, events: int, types: dict[str, int], distinct: int, examples: list[str], **shares: float
) -> Any:
    facts = {"name": name, "events": events, "types": types, "cut": 0, "distinct": distinct, "exact": True}
    return facts | {"examples": examples, "null_share": 0.0, "reserved": "", "name_is_cut": False} | shares


def test_nothing_from_events_is_markup(tmp_path: Path) -> None:
    """Names, values, files and dead letters that look like HTML stay text, in the page's every part."""
    path = write(
        tmp_path,
        *[event(HOSTILE, f"i{number}", distinct_id=HOSTILE, **{HOSTILE: HOSTILE}) for number in range(3)],
        {"event": HOSTILE, "properties": {"time": HOSTILE}},
        HOSTILE,
    )
    hostile_name = path.rename(path.with_name("<b>.ndjson"))
    code, report, page = check(tmp_path, f"--input={hostile_name}", "--show_values")
    assert code == 0
    assert report["names"]["counts"] == [[HOSTILE, 3]]
    assert HOSTILE in {row["name"] for row in report["properties"]["rows"]}
    for markup in ("<script", "<img", "<b>.ndjson", HOSTILE):
        assert markup not in page
    assert page.count("</style>") == 1
    assert page.count("</title>") == page.count("<title>")
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    """It loads nothing, and its own policy forbids it to."""
    _, _, page = check(tmp_path, f"--input={write(tmp_path, event('A', 'a'))}")
    assert "default-src 'none'" in page
    for loader in ("<link", "<script", "src=", "@import", "url("):
        assert loader not in page


def test_the_mapping_is_that_of_the_import(tmp_path: Path) -> None:
    """A CSV with a mapping: filtered, refused and good rows."""
    rows = tmp_path / "orders.csv"
    rows.write_text("what,at,who\nBuy,2026-01-01T00:00:00,7\nPing,2026-01-01,7\nBuy,,8\n")
    flags = ("--event_column=what", "--time_column=at", "--user_id_column=who", "--skip_event=Ping")
    code, report, _ = check(tmp_path, f"--input={rows}", *flags)
    assert code == 0
    counted = [report["events"][name] for name in ("read", "would_be_imported", "refused", "filtered")]
    assert counted == [3, 1, 1, 1]


def test_what_is_predicted_comes_true(tmp_path: Path, emulator: Emulator, token_reference: str) -> None:
    """The import of the same input takes the requests and bytes that the check told, to the byte."""
    events = [event("Buy", f"i{number}", distinct_id=f"u{number % 7}", n=number) for number in range(4_500)]
    path = write(tmp_path, *events, event("", "bad"), "{")
    _, report, _ = check(tmp_path, f"--input={path}")
    summary = tmp_path / "summary.json"
    flags = [f"--input={path}", f"--dead_letters={tmp_path / 'dead'}", f"--summary={summary}"]
    server = [f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}"]
    assert files_to_mixpanel.run([*flags, *server]) == 3
    books = json.loads(summary.read_text())
    assert (report["plan"]["requests"], report["plan"]["bytes"]) == (books["requests"], books["bytes_uncompressed"])
    assert report["plan"]["bytes_sent"] == pytest.approx(books["bytes_sent"], rel=0.25)
    assert {rule["rule"]: rule["events"] for rule in report["refused"]} == books["reasons"]
    assert report["events"]["would_be_imported"] == emulator.stats()["events_accepted"] == books["imported"]


def test_what_is_advised_depends_on_what_is_read_and_mapped(tmp_path: Path) -> None:
    """Columns are named by flags, but once; events in Mixpanel's shape are left alone by all that is advised."""
    rows = tmp_path / "rows.csv"
    rows.write_text("action,at,secret_token,token\nBuy,2026-01-01T12:00:00Z,x,y\nBuy,,x,y\n")
    _, report, _ = check(tmp_path, f"--input={rows}", "--time_column=at", "--event_column=action")
    assert (report["about"]["takes"], report["about"]["mapped"]) == ("columns", ["event_column", "time_column"])
    assert report["advice"][0]["flag"] == "--time_column OTHER, or --map MODULE:FUNCTION"
    path = write(tmp_path, event("Buy", "a", token="y", distinct_id="u"), {"event": "Buy", "properties": {}})
    _, report, _ = check(tmp_path, f"--input={path}")
    advised = {item["title"]: item["flag"] for item in report["advice"]}
    assert advised["Rename token"] == "--redact token, or --map MODULE:FUNCTION"
    _, report, _ = check(tmp_path, f"--input={path}", "--redact=token")
    assert report["events"]["would_be_imported"] == 1
    assert "Rename token" not in {item["title"] for item in report["advice"]}


def test_the_command_of_the_readme_needs_a_csv_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a CSV to a page by the README's words alone."""
    command = re.search(r"beam-mixpanel check (--input my\.csv .*)", README.read_text())
    assert command
    (tmp_path / "my.csv").write_text("action,time,user_id,total\nBuy,2026-01-01T12:00:00Z,u1,9.5\n")
    monkeypatch.chdir(tmp_path)
    assert check_events.run(shlex.split(command[1])) == 0
    assert "<b>1</b><span>would be imported</span>" in (tmp_path / "report.html").read_text()


def test_the_options_of_an_import_may_stay(tmp_path: Path, emulator: Emulator, token_reference: str) -> None:
    """With its credentials or without, nothing is sent; the word `files` may be there."""
    page = tmp_path / "report.html"
    path = write(tmp_path, event("A", "a"))
    destination = (f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}")
    assert check_events.run(["files", f"--input={path}", f"--report={page}", *destination]) == 0
    assert json.loads(page.with_suffix(".json").read_text())["events"]["would_be_imported"] == 1
    assert emulator.requests() == []
    page.unlink()
    assert check_events.run([f"--input={path}", f"--report={page}"]) == 0
    assert page.exists()


def test_a_database_can_be_checked(tmp_path: Path) -> None:
    """The report names what was read, without the connection."""
    import sqlite3

    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, at TEXT, who TEXT)")
        connection.execute("INSERT INTO orders VALUES (1, '2026-01-01T12:00:00Z', 'u')")
    page = tmp_path / "report.html"
    flags = (f"--connection=sqlite:///{tmp_path}/shop.db", "--table=orders", "--event=Order", "--time_column=at")
    assert check_events.run(["sql", *flags, f"--report={page}"]) == 0
    report = json.loads(page.with_suffix(".json").read_text())
    assert (report["events"]["would_be_imported"], len(report["about"]["source"])) == (1, 1)


def test_what_has_no_end_cannot_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """A stream is named as a source elsewhere."""
    assert check_events.run(["pubsub", "--subscription=projects/p/subscriptions/s"]) == 2
    assert (
        capsys.readouterr().err
        == "error: a check reads files or sql or mongodb or bigquery or replay: what has an end\n"
    )


def test_dead_letters_can_be_checked(tmp_path: Path) -> None:
    """With the repair that a replay would apply, before anything is sent again."""
    letter = {"event": json.dumps({"event": "A"}), "stage": "validate", "fate": "invalid", "reason": "time_missing"}
    (tmp_path / "dead.jsonl").write_text(f"{json.dumps(letter)}\n")
    page = tmp_path / "report.html"
    flags = (f"--input={tmp_path}/dead.jsonl", f"--report={page}", f"--fix={__name__}:add_time")
    assert check_events.run(["replay", *flags]) == 0
    assert json.loads(page.with_suffix(".json").read_text())["events"]["would_be_imported"] == 1


def add_time(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"time": NOON_MS}


def test_refused_events_are_a_finding_not_a_failure(tmp_path: Path) -> None:
    """Where all events would be refused the report says so, and the exit code is 0: it was written."""
    code, report, _ = check(tmp_path, f"--input={write(tmp_path, 'no json')}")
    assert code == 0
    assert report["advice"][0]["title"] == "Nothing would be imported"


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--input=/no/such/file",), 2),
        (("--report=report.html",), 2),
        (("--input={folder}/events.ndjson", "--report={folder}"), 2),
        (("--input={folder}/events.ndjson", "--mixpanel_time_zone=Mars"), 2),
        (("--input={folder}/cut.ndjson.gz",), 1),
    ],
)
def test_exit_codes(tmp_path: Path, flags: tuple[str, ...], code: int) -> None:
    """2 for wrong arguments, 1 for what cannot be read."""
    write(tmp_path, event("A", "a"))
    (tmp_path / "cut.ndjson.gz").write_bytes(b"\x1f\x8b\x08\x00cut")
    given = [flag.replace("{folder}", str(tmp_path)) for flag in flags]
    assert check_events.run([f"--report={tmp_path}/r.html", *given]) == code


@pytest.mark.portable
def test_worker_processes_give_the_same_report(tmp_path: Path) -> None:
    """What one process counts and what several count and merge is the same, figure for figure."""
    for part in range(4):
        events = [
            event("AB"[number % 2], f"{part}-{number}", NOON_MS + number, distinct_id=f"u{number % 7}")
            for number in range(500)
        ]
        write(tmp_path, *events, "no json").rename(tmp_path / f"part-{part}.ndjson")
    flags = (f"--input={tmp_path}/part-*.ndjson",)
    several = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    assert check(tmp_path, *flags, *several)[:2] == check(tmp_path, *flags)[:2]
