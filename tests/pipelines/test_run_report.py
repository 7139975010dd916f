"""`--report` of an import: what the page and the JSON say, for runs that end well and others."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any, Literal

import pytest

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import files_to_mixpanel, replay_dead_letters
from tests.browser import NARROW, WIDE, open_page

NOW_MS = int(time.time() * 1000)
HOSTILE = "<script>document.title='stolen'</script>"


def _event(number: int, **more: Any) -> dict[str, Any]:
    properties = {"time": NOW_MS - number, "distinct_id": "u", "$insert_id": f"id-{number:06d}", "email": "a@b.c"}
    return {"event": "Tested", "properties": properties | more}


def _write(folder: Path, *events: dict[str, Any]) -> str:
    (folder / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    return f"--input={folder}/events.ndjson"


def _flags(folder: Path, emulator: Emulator, reference: str) -> list[str]:
    return [
        f"--mixpanel_api_host={emulator.url}",
        f"--mixpanel_project_token={reference}",
        f"--report={folder}/report.html",
        f"--dead_letters={folder}/dead",
    ]


def _report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_a_run_is_reported(tmp_path: Path, emulator: Emulator, token_reference: str) -> None:
    """Books, reasons with the first dead letter, settings without secrets, and a command that replays."""
    emulator.add_fault(kind="failed_records", variant="standard", count=2, times=1)
    given = _write(tmp_path, *map(_event, range(20)), _event(20, time="soon"), _event(21, time=""))
    flags = _flags(tmp_path, emulator, token_reference)
    assert files_to_mixpanel.run([given, *flags, "--redact=phone"]) == 3
    report = _report(tmp_path)
    assert (report["exit_code"], report["failure"]) == (3, "")
    assert {fate: report["books"][fate] for fate in ("read", "imported", "invalid", "rejected")} == {
        "read": 22, "imported": 18, "invalid": 2, "rejected": 2,
    }  # fmt: skip
    assert sum(reason["events"] for reason in report["reasons"]) == 4
    assert {reason["fate"] for reason in report["reasons"]} == {"invalid", "rejected"}
    assert all("a@b.c" not in reason["event"] for reason in report["reasons"])
    assert report["settings"]["--mixpanel_project_token"] == token_reference
    assert report["settings"]["--redact"] == ["phone"]
    assert report["course"][-1]["read"] == 22
    assert report["course"][-1]["requests"] == report["books"]["requests"]
    page = (tmp_path / "report.html").read_text()
    assert "a-token" not in page + json.dumps(report)

    command = shlex.split(report["replay"])
    assert command[:2] == ["beam-mixpanel", "replay"]
    assert replay_dead_letters.run(command[2:]) == 3
    assert len(emulator.events(deduplicated=True)) == 20


def test_the_command_to_replay_maps_rows_as_the_run_did(
    tmp_path: Path, emulator: Emulator, token_reference: str
) -> None:
    """A dead letter of a row is the row: without the mapping it could not become an event."""
    rows = tmp_path / "rows.csv"
    rows.write_text("what,at,who,note,more\nBuy,soon,u,,\n")
    mapping = ("--event_column=what", "--time_column=at", "--user_id_column=who", "--exclude=note*", "--exclude=more")
    flags = [f"--input={rows}", *mapping, *_flags(tmp_path, emulator, token_reference)]
    assert files_to_mixpanel.run(flags) == 3
    replayed = shlex.split(_report(tmp_path)["replay"])
    assert set(mapping) <= set(replayed)
    assert replay_dead_letters.run(replayed[2:]) == 3
    (letter,) = [json.loads(line) for path in tmp_path.glob("dead-again-*") for line in path.read_text().splitlines()]
    assert letter["reason"] == "time_unreadable"


def test_values_are_shown_where_that_is_asked_for(tmp_path: Path, emulator: Emulator, token_reference: str) -> None:
    """As in the reports of checks."""
    given = _write(tmp_path, _event(1), _event(2, time="soon"))
    assert files_to_mixpanel.run([given, *_flags(tmp_path, emulator, token_reference), "--show_values"]) == 3
    assert "a@b.c" in _report(tmp_path)["reasons"][0]["event"]


def test_a_run_that_fails_is_reported(tmp_path: Path, emulator: Emulator, token_reference: str) -> None:
    """With why, exit code 1, and no command to replay what was not kept."""
    emulator.add_fault(kind="status", status=401, body="no")
    given = _write(tmp_path, _event(1))
    assert files_to_mixpanel.run([given, *_flags(tmp_path, emulator, token_reference)]) == 1
    report = _report(tmp_path)
    assert report["exit_code"] == 1
    assert "401" in report["failure"]
    assert report["replay"] == ""
    assert "The job failed" in (tmp_path / "report.html").read_text()


def test_a_good_run_offers_no_replay(tmp_path: Path, emulator: Emulator, token_reference: str) -> None:
    """There is nothing to send again."""
    assert files_to_mixpanel.run([_write(tmp_path, _event(1)), *_flags(tmp_path, emulator, token_reference)]) == 0
    assert (_report(tmp_path)["reasons"], _report(tmp_path)["replay"]) == ([], "")
    assert "Everything was imported" in (tmp_path / "report.html").read_text()


def test_a_run_that_was_allowed_to_leave_events_behind_says_so(
    tmp_path: Path, emulator: Emulator, token_reference: str
) -> None:
    """Exit code 0 does not make everything of almost everything."""
    given = _write(tmp_path, _event(1), _event(2, time="soon"))
    flags = (*_flags(tmp_path, emulator, token_reference), "--allow_dead_letters=1")
    assert files_to_mixpanel.run([given, *flags]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "<h1>All but 1 of the events were imported</h1>" in page
    assert "Everything" not in page


def test_a_report_that_cannot_be_written_fails_the_command(
    tmp_path: Path, emulator: Emulator, token_reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where that is known before, before anything is sent."""
    (tmp_path / "report.html").mkdir()
    assert files_to_mixpanel.run([_write(tmp_path, _event(1)), *_flags(tmp_path, emulator, token_reference)]) == 2
    assert "--report" in capsys.readouterr().err
    assert not emulator.events()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_is_good_to_look_at(
    tmp_path: Path,
    emulator: Emulator,
    token_reference: str,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    """No error, nothing that overflows, and what events hold is text."""
    emulator.add_fault(kind="failed_records", variant="standard", count=3, times=1)
    emulator.add_fault(kind="latency", secs=0.3)
    events = [_event(number) for number in range(4_000)]
    events += [_event(number, time=HOSTILE) for number in range(4_000, 4_040)]
    monkeypatch.chdir(tmp_path)
    _write(tmp_path, *events)
    flags = _flags(Path("out"), emulator, token_reference)
    small = ("--mixpanel_max_batch_events=100", "--mixpanel_max_concurrent_requests=2", "--show_values")
    assert files_to_mixpanel.run(["--input=events.ndjson", *flags, *small]) == 3
    with open_page((tmp_path / "out" / "report.html").as_uri(), width=width, scheme=scheme) as opened:
        assert opened.errors == []
        assert not opened.overflows()
        assert opened.page.locator(".scroll").evaluate_all(
            "all => all.every(one => one.scrollWidth <= one.clientWidth)"
        )
        assert opened.page.title() == "Import report"
        assert HOSTILE in (opened.page.text_content("main") or "")


def test_both_commands_to_replay_work_for_any_file_name(
    tmp_path: Path, emulator: Emulator, token_reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with quotes and blanks in its name does not break what the terminal and the report say to run."""
    folder = tmp_path / 'it\'s a "folder" $HOME'
    folder.mkdir()
    emulator.add_fault(kind="failed_records", variant="standard", count=2, times=1)
    given = _write(folder, *map(_event, range(20)))
    assert files_to_mixpanel.run([given, *_flags(folder, emulator, token_reference)]) == 3
    said = " ".join(capsys.readouterr().err.split())
    told = said.partition("beam-mixpanel replay ")[2].partition(" and the options of this run")[0]
    assert shlex.split(told) == ["--input", f"{folder}/dead-*"]
    assert replay_dead_letters.run(shlex.split(_report(folder)["replay"])[2:]) == 0
    assert emulator.stats()["unique_events"] == 20
