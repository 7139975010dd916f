"""Replays as people run them: letters of any stage, from any files, chosen and repaired, under their own identity."""

from __future__ import annotations

import base64
import bz2
import gzip
import itertools
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from beam_mixpanel.core.events.dead_letter import DeadLetter, to_json_line
from beam_mixpanel.core.sending import backoff
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import files_to_mixpanel, replay_dead_letters

NOW_MS = int(time.time() * 1000)
GIVE_UP = ("--mixpanel_retry_deadline_secs=0.3", "--mixpanel_on_undelivered=dead_letter")
FIXES = """
import json, os

SECRET = "hunter2"

def add_time(event):
    event["properties"].setdefault("time", event["properties"].pop("created_at", None))
    return event

def same(event):
    return event

def mend(text):
    return json.loads(text.replace("'", '"')) if isinstance(text, str) else text

def drop(event):
    return None

def drop_odd(event):
    return None if event["properties"]["number"] % 2 else event

def split(event):
    properties = event["properties"]
    return [{**event, "properties": {**properties, "part": part}} for part in range(properties["number"])]

def fail(event):
    raise ValueError(f"{SECRET} {event}")

def odd_result(event):
    return 5

def mark(event):
    return {**event, "marked": True}

def name_time(row):
    if "name" in row:
        row["at"] = row.pop("created")
    return row

def number_of_process(event):
    event["properties"]["process"] = os.getpid()
    return event
"""


def _event(number: int, **properties: Any) -> dict[str, Any]:
    identity = {"time": NOW_MS - 86_400_000 - number, "distinct_id": f"u-{number}", "$insert_id": f"id-{number:06d}"}
    return {"event": "Tested", "properties": identity | {"number": number} | properties}


def _line(value: object) -> bytes:
    return json.dumps(value).encode()


def _letter(event: bytes, stage: str = "validate", reason: str = "time_missing", **facts: Any) -> bytes:
    return to_json_line(DeadLetter(event, stage, reason, source="events.ndjson@0", **facts))


class Runs:
    """Runs pipelines against one emulator, in a folder of their own."""

    def __init__(self, folder: Path, reference: str, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.reference, self.emulator, self.capsys = folder, reference, emulator, capsys
        self._names = (f"{number:02d}" for number in itertools.count())

    def write(self, name: str, *lines: bytes, pack: Callable[[bytes], bytes] = bytes) -> str:
        """Write lines to a file, plain or compressed."""
        (self.folder / name).write_bytes(pack(b"".join(line + b"\n" for line in lines)))
        return str(self.folder / name)

    def run(self, pipeline: Any, source: str, *flags: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        """Give the exit code, the books without zeros, and the new dead letters."""
        name = next(self._names)
        code = pipeline.run(
            [
                f"--input={source}",
                f"--mixpanel_api_host={self.emulator.url}",
                f"--mixpanel_project_token={self.reference}",
                f"--dead_letters={self.folder}/letters-{name}",
                f"--summary={self.folder}/{name}.json",
                *flags,
            ]
        )
        self.printed = self.capsys.readouterr().err
        summary_file = self.folder / f"{name}.json"
        summary = json.loads(summary_file.read_text()) if summary_file.exists() else {}
        assert summary.get("balanced", True) is True
        fates = ("read", "filtered", "invalid", "imported", "rejected", "undelivered", "dropped", "valid")
        files = sorted(self.folder.glob(f"letters-{name}-*.jsonl"))
        letters = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
        return code, {fate: summary[fate] for fate in fates if summary.get(fate)}, letters

    def replay(self, source: str, *flags: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        """Run `replay_dead_letters`."""
        return self.run(replay_dead_letters, source, *flags)

    def arrived(self) -> list[dict[str, Any]]:
        """Give the de-duplicated export, in order of the events' numbers."""
        events = self.emulator.events(deduplicated=True)
        return sorted(events, key=lambda event: (event["properties"].get("number", 0), str(event)))


@pytest.fixture
def runs(tmp_path: Path, token_reference: str, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> Runs:
    return Runs(tmp_path, token_reference, emulator, capsys)


@pytest.fixture
def fixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of functions, found here and by worker processes."""
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "replay_fixes.py").write_text(FIXES)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    return "replay_fixes"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait before a request is sent again, and nothing else."""
    monkeypatch.setattr(backoff, "FIRST_DELAY_SECS", 0.02)
    monkeypatch.setattr(backoff, "MIN_JITTER_SECS", 0.02)
    monkeypatch.setattr(backoff, "MAX_JITTER_SECS", 0.05)


def test_letters_of_every_stage_from_files_of_every_kind(runs: Runs) -> None:
    """Plain, gzip, bzip2 and Zstandard; base64; an earlier format; a damaged line. What can arrive arrives."""
    events = [_event(number) for number in range(8)]
    texts = [_line(event) for event in events]
    sent = {"insert_id": "id-000003", "time_ms": events[3]["properties"]["time"], "attempts": 2}
    encoded = {"event_base64": base64.b64encode(texts[5]).decode(), "stage": "map", "reason": "map_failed"}
    runs.write("dead-1.jsonl", _letter(texts[0], "parse", "invalid_json"), b"", _letter(texts[1], "map", "map_failed"))
    runs.write("dead-2.jsonl.gz", _letter(texts[2], "validate", "time_in_future"), pack=gzip.compress)
    rejected = _letter(texts[3], "import", "rejected", http_status=400, fate="rejected", **sent)
    runs.write("dead-3.jsonl.bz2", rejected, pack=bz2.compress)
    undelivered = _letter(texts[4], "import", "http_503", http_status=503, fate="undelivered")
    runs.write("dead-4.jsonl.zst", undelivered, _line(encoded), pack=zstandard.ZstdCompressor().compress)
    earlier = {"event": texts[6].decode(), "stage": "import", "reason": "timeout", "insert_id": "id-000006"}
    damaged = _letter(texts[7])[:-20]
    whole = runs.write("dead-5.jsonl", _line(earlier), damaged, _line({"event": "5", "stage": 1, "reason": "x"}))
    code, books, letters = runs.replay(f"{runs.folder}/dead-*")
    assert (code, books) == (3, {"read": 9, "imported": 7, "invalid": 2})
    assert runs.arrived() == events[:7]
    assert {letter["event"] for letter in letters} >= {damaged.decode()}
    assert {(letter["stage"], letter["reason"]) for letter in letters} == {("parse", "not_a_dead_letter")}
    assert f"{whole}@{len(_line(earlier)) + 1}" in {letter["source"] for letter in letters}
    code, books, again = runs.replay(f"{runs.folder}/letters-00-*")
    assert (code, books) == (3, {"read": 2, "invalid": 2})
    assert [letter["event"] for letter in again] == [letter["event"] for letter in letters]


def test_a_line_of_events_is_no_dead_letter(runs: Runs) -> None:
    """Files of events given by mistake are not imported as if they were letters; the message says what is expected."""
    code, books, letters = runs.replay(runs.write("events.ndjson", _line(_event(1))))
    assert (code, books) == (3, {"read": 1, "invalid": 1})
    assert "expected a JSON object with event or event_base64, stage and reason" in letters[0]["message"]
    assert runs.emulator.events() == []


def test_only_reason_replays_those_and_counts_the_others_as_filtered(runs: Runs) -> None:
    """Both spellings, several times; a damaged line has no reason and stays in the books."""
    texts = [_line(_event(number)) for number in range(6)]
    reasons = ("http_503", "timeout", "rejected", "rejected", "time_missing", "http_503")
    file = runs.write("dead.jsonl", *map(_letter, texts, ["import"] * 6, reasons), b"{")
    code, books, letters = runs.replay(file, "--only_reason=http_503", "--only_reason", "timeout")
    assert (code, books) == (3, {"read": 7, "filtered": 3, "imported": 3, "invalid": 1})
    assert [event["properties"]["number"] for event in runs.arrived()] == [0, 1, 5]
    assert [letter["reason"] for letter in letters] == ["not_a_dead_letter"]
    assert "no dead letter has" not in runs.printed


def test_a_reason_that_no_letter_has_is_no_success(runs: Runs) -> None:
    """Exit code 1, and the error lists the reasons that were there; beside one that matched it is told."""
    file = runs.write("dead.jsonl", *(_letter(_line(_event(n)), reason=r) for n, r in enumerate(["a", "b", "a"])))
    code, books, letters = runs.replay(file, "--only_reason=c")
    assert (code, books, letters) == (1, {"read": 3, "filtered": 3}, [])
    assert "no dead letter has the reason c; the reasons there are: a (2), b (1)" in runs.printed
    code, _, _ = runs.replay(file, "--only_reason=c", "--only_reason=b")
    assert code == 0
    assert "no dead letter has the reason c\n" in runs.printed


def test_a_fix_repairs_what_was_refused(runs: Runs, fixes: str) -> None:
    """Events without a time get it from another property; text that was no JSON becomes an event."""
    events = [_event(number) for number in range(3)]
    lines = []
    for event in events[:2]:
        old = dict(event["properties"], created_at=event["properties"]["time"])
        del old["time"]
        lines.append(_line({"event": "Tested", "properties": old}))
    first = runs.write("events.ndjson", *lines, _line(events[2]).replace(b'"', b"'"))
    code, _, letters = runs.run(files_to_mixpanel, first)
    assert (code, Counter(letter["reason"] for letter in letters)) == (3, {"time_missing": 2, "invalid_json": 1})
    dead = f"{runs.folder}/letters-00-*"
    code, books, letters = runs.replay(dead, "--only_reason=time_missing", f"--fix={fixes}:add_time")
    assert (code, books, letters) == (0, {"read": 3, "filtered": 1, "imported": 2}, [])
    code, books, letters = runs.replay(dead, "--only_reason=invalid_json", f"--fix={fixes}:mend")
    assert (code, books, letters) == (0, {"read": 3, "filtered": 2, "imported": 1}, [])
    assert runs.arrived() == events


def test_a_fix_may_drop_and_split_events(runs: Runs, fixes: str) -> None:
    """None and an empty list are filtered; each event of a list is one in the books and at the server."""
    bare = [{key: value for key, value in _event(n)["properties"].items() if key != "$insert_id"} for n in range(4)]
    file = runs.write("dead.jsonl", *(_letter(_line({"event": "A", "properties": each})) for each in bare))
    code, books, _ = runs.replay(file, f"--fix={fixes}:drop_odd")
    assert (code, books) == (0, {"read": 4, "filtered": 2, "imported": 2})
    runs.emulator.reset()
    code, books, _ = runs.replay(file, f"--fix={fixes}:split")
    assert (code, books) == (0, {"read": 7, "filtered": 1, "imported": 6})
    found = [(event["properties"]["number"], event["properties"]["part"]) for event in runs.arrived()]
    assert found == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    code, books, _ = runs.replay(file, f"--fix={fixes}:drop")
    assert (code, books) == (1, {"read": 4, "filtered": 4})
    assert "nothing was imported: 4 of 4 events were filtered" in runs.printed


@pytest.mark.parametrize("function", ["fail", "odd_result"])
def test_a_fix_that_fails_costs_one_event_and_tells_no_value(runs: Runs, fixes: str, function: str) -> None:
    """The letter keeps text, place and sent identity; a later replay without the fix sends the event as it was."""
    event = _event(1)
    del event["properties"]["$insert_id"]
    sent = {"insert_id": "as-sent", "time_ms": event["properties"]["time"]}
    file = runs.write("dead.jsonl", _letter(_line(event), "import", "timeout", fate="undelivered", attempts=3, **sent))
    code, books, (letter,) = runs.replay(file, f"--fix={fixes}:{function}")
    assert (code, books) == (3, {"read": 1, "invalid": 1})
    assert (letter["event"], letter["source"]) == (_line(event).decode(), "events.ndjson@0")
    assert (letter["stage"], letter["reason"], letter["fate"]) == ("map", "fix_failed", "invalid")
    assert (letter["insert_id"], letter["time_ms"], letter["attempts"]) == (*sent.values(), 0)
    assert ("raised ValueError in fail, line" in letter["message"]) == (function == "fail")
    for where in (letter["message"], runs.printed):
        assert "hunter2" not in where
        assert "u-1" not in where
    assert runs.replay(f"{runs.folder}/letters-00-*")[0] == 0
    assert [each["properties"]["$insert_id"] for each in runs.arrived()] == ["as-sent"]


def test_without_dead_letters_a_fix_that_fails_fails_the_job(
    runs: Runs, fixes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is dropped unseen; the error names the function's exception and the event's place, no value."""
    file = runs.write("dead.jsonl", _letter(_line(_event(1))))
    flags = (f"--mixpanel_api_host={runs.emulator.url}", f"--mixpanel_project_token={runs.reference}")
    assert replay_dead_letters.run([f"--input={file}", f"--fix={fixes}:fail", *flags]) == 1
    error = capsys.readouterr().err
    assert "fix_failed" in error
    assert "[events.ndjson@0]" in error
    assert "hunter2" not in error


@pytest.mark.parametrize(
    ("flags", "cure"),
    [
        (("--fix=no_such_module:f",), "run from its folder"),
        (("--fix=replay_fixes:no_such",), "has no no_such"),
        (("--fix=replay_fixes",), "module:function"),
        (("--fix=replay_fixes:SECRET",), "is no function"),
        (("--only-reasn=a",), "did you mean --only_reason?"),
        (("--only_reasn=a",), "did you mean --only_reason?"),
        (("--fx=a:b",), "did you mean --fix?"),
        (("--only_reason",), "expected one argument"),
    ],
)
def test_wrong_replay_options_are_exit_2_with_the_cure(
    runs: Runs, fixes: str, flags: tuple[str, ...], cure: str
) -> None:
    """Before anything is read or sent."""
    assert runs.replay(runs.write("dead.jsonl", _letter(_line(_event(1)))), *flags)[0] == 2
    assert cure in runs.printed
    assert runs.emulator.requests() == []


@pytest.mark.parametrize("flag", ["--only_reason=a", "--only-reason=a", "--fix=json:loads"])
def test_other_pipelines_refuse_the_options_of_a_replay(runs: Runs, flag: str) -> None:
    """An option that would be ignored is unknown."""
    assert runs.run(files_to_mixpanel, runs.write("events.ndjson", _line(_event(1))), flag)[0] == 2
    assert f"unknown option {flag.partition('=')[0]}" in runs.printed


def test_help_lists_the_options_of_a_replay(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` of the replay names them, that of other pipelines does not."""
    for pipeline, listed in ((replay_dead_letters, True), (files_to_mixpanel, False)):
        with pytest.raises(SystemExit):
            pipeline.run(["--help"])
        shown = capsys.readouterr().out
        assert ("--only_reason" in shown) is ("--fix" in shown) is listed


@pytest.mark.parametrize("flags", [(), ("--mixpanel_time_zone=Asia/Tokyo", "--insert_id_columns=number")])
@pytest.mark.parametrize("fix", [None, "same", "mark"])
def test_replays_add_nothing_that_had_arrived(runs: Runs, fixes: str, fix: str | None, flags: tuple[str, ...]) -> None:
    """Answers were lost: whatever the options of one or two replays, the de-duplicated export holds each event once."""
    lines = [b'{"event":"A","time":"2026-01-02 03:04:05","distinct_id":"u","number":%d}' % n for n in range(20)]
    runs.emulator.add_fault(kind="status", status=503, commit=True)
    code, books, _ = runs.run(files_to_mixpanel, runs.write("events.ndjson", *lines), *GIVE_UP)
    assert (code, books) == (3, {"read": 20, "undelivered": 20})
    runs.emulator.clear_faults()
    before = [(each["properties"]["$insert_id"], each["properties"]["time"]) for each in runs.arrived()]
    assert len(set(before)) == 20
    for _ in range(2):
        flag = (f"--fix={fixes}:{fix}",) if fix else ()
        assert runs.replay(f"{runs.folder}/letters-00-*", *flag, *flags)[:2] == (0, {"read": 20, "imported": 20})
        assert [(each["properties"]["$insert_id"], each["properties"]["time"]) for each in runs.arrived()] == before
        assert len(runs.emulator.events(deduplicated=True)) == 20


def test_what_fails_again_is_the_same_letter_with_the_reason_of_now(runs: Runs) -> None:
    """Text, place and identity stay through any number of replays; stage, reason and status are those of the last."""
    event = _event(1, time=NOW_MS - 10 * 86_400_000)
    del event["properties"]["$insert_id"]
    text = json.dumps(event, separators=(" , ", " : "))
    runs.emulator.add_fault(kind="status", status=503, times=1)
    source = runs.write("events.ndjson", text.encode())
    code, _, (first,) = runs.run(files_to_mixpanel, source, "--mixpanel_retry_deadline_secs=0", GIVE_UP[1])
    assert (code, first["reason"]) == (3, "http_503")
    runs.emulator.add_fault(kind="failed_records", times=1)
    code, _, (second,) = runs.replay(f"{runs.folder}/letters-00-*")
    assert (code, second["reason"], second["fate"], second["http_status"]) == (3, "rejected", "rejected", 400)
    late = "--mixpanel_endpoint=track"
    code, _, (third,) = runs.replay(f"{runs.folder}/letters-01-*", late)
    assert (code, third["stage"], third["reason"], third["http_status"]) == (3, "validate", "time_too_old_for_track", 0)
    for letter in (first, second, third):
        assert letter["event"] == text
        assert letter["source"] == f"{source}@0"
        assert (letter["insert_id"], letter["time_ms"]) == (first["insert_id"], event["properties"]["time"])


def test_a_repaired_event_that_fails_again_names_its_place(runs: Runs, fixes: str) -> None:
    """Its letter holds the event as the function made it, and where the original came from."""
    file = runs.write("dead.jsonl", _letter(_line({"event": "A", "properties": {"created_at": "soon"}})))
    code, _, (letter,) = runs.replay(file, f"--fix={fixes}:add_time")
    assert (code, letter["stage"], letter["reason"]) == (3, "validate", "time_unreadable")
    assert json.loads(letter["event"]) == {"event": "A", "properties": {"time": "soon"}}
    assert letter["source"] == "events.ndjson@0"


def test_redaction_holds_for_letters_that_a_replay_refuses(runs: Runs, fixes: str) -> None:
    """Neither a failed fix nor a damaged letter keeps the property that is redacted."""
    event = _event(1, email="someone@example.com")
    broken = _line({"event": _line(event).decode(), "stage": 5, "reason": "x"})
    file = runs.write("dead.jsonl", _letter(_line(event)), broken)
    code, books, letters = runs.replay(file, f"--fix={fixes}:fail", "--redact=email")
    assert (code, books) == (3, {"read": 2, "invalid": 2})
    assert {letter["reason"] for letter in letters} == {"fix_failed", "not_a_dead_letter"}
    assert "someone@example.com" not in json.dumps(letters)


def test_rows_are_repaired_before_they_are_mapped(runs: Runs, fixes: str) -> None:
    """With a mapping, the letter of a row is a row again after the fix; that of a sent event is an event."""
    row = {"name": "Bought", "created": NOW_MS - 5000, "who": "u"}
    sent = _event(7)
    facts = {"insert_id": "id-000007", "time_ms": sent["properties"]["time"]}
    file = runs.write(
        "dead.jsonl",
        _letter(_line(row), "validate", "time_missing"),
        _letter(_line(sent), "map", "fix_failed", **facts),
    )
    flags = (f"--fix={fixes}:name_time", "--event_column=name", "--time_column=at", "--distinct_id_column=who")
    code, books, letters = runs.replay(file, *flags)
    assert (code, books, letters) == (0, {"read": 2, "imported": 2}, [])
    assert [event["event"] for event in runs.arrived()] == ["Bought", "Tested"]


def test_worker_processes_find_the_function_by_its_name(runs: Runs, fixes: str) -> None:
    """With workers in other processes every event is repaired there."""
    file = runs.write("dead.jsonl", *(_letter(_line(_event(number))) for number in range(50)))
    workers = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    code, books, letters = runs.replay(file, f"--fix={fixes}:number_of_process", *workers)
    assert (code, books, letters) == (0, {"read": 50, "imported": 50}, [])
    assert os.getpid() not in {event["properties"]["process"] for event in runs.arrived()}
    assert len(runs.arrived()) == 50


FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 503, "commit": True},
    {"kind": "status", "status": 429},
    {"kind": "reset_before"},
    {"kind": "reset_during"},
    {"kind": "reset_after_commit"},
    {"kind": "truncated"},
    {"kind": "wrong_count"},
    {"kind": "html_200"},
    {"kind": "html_200", "commit": True},
    {"kind": "empty_200", "commit": True},
    {"kind": "failed_records", "count": 7},
    {"kind": "failed_records", "variant": "strings"},
    {"kind": "failed_records", "variant": "miscount", "count": 3},
    {"kind": "failed_records", "variant": "index_out_of_range"},
    {"kind": "too_many_events", "max_events": 9},
)


@pytest.mark.parametrize("seed", range(8))
def test_import_and_replay_of_what_failed_leave_the_input(runs: Runs, seed: int) -> None:
    """Whatever the server did: once it is well, the de-duplicated export is the input and no letter is left."""
    chance = random.Random(seed)
    events = [_event(number) for number in range(400)]
    # Half of them go without an id, so that the law holds for made identities, too.
    lines = [_line(event) for event in events]
    for number in range(0, 400, 2):
        bare = {key: value for key, value in events[number]["properties"].items() if key != "$insert_id"}
        lines[number] = _line({"event": "Tested", "properties": bare})
    for fault in chance.sample(FAULTS, 4):
        runs.emulator.add_fault(
            **fault, probability=chance.choice((0.3, 0.6, 1.0)), seed=seed, skip=chance.randrange(3)
        )
    shape = (f"--mixpanel_max_batch_events={chance.choice((10, 40, 2000))}", *GIVE_UP)
    code, books, letters = runs.run(files_to_mixpanel, runs.write("events.ndjson", *lines), *shape)
    assert (code, books["read"]) == (3 if letters or books.get("dropped") else 0, 400)
    # An answer that confirms fewer than were sent leaves no letters: which events it means is unknown.
    assert len(letters) == 400 - books.get("imported", 0) - books.get("dropped", 0)
    runs.emulator.clear_faults()
    if letters:
        code, books, left = runs.replay(f"{runs.folder}/letters-00-*")
        assert (code, books, left) == (0, {"read": len(letters), "imported": len(letters)}, [])
    arrived = runs.arrived()
    for event in arrived[::2]:
        event["properties"].pop("$insert_id")
    for event in events[::2]:
        event["properties"].pop("$insert_id")
    assert arrived == events
