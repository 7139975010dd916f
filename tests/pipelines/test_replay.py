"""`replay_dead_letters`: letters of any stage and any packing, a choice of reasons, and repairs on the way."""

from __future__ import annotations

import bz2
import gzip
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from beam_mixpanel.emulator import Emulator
from pipelines import files_to_mixpanel, replay_dead_letters

NOW_MS = int(time.time() * 1000)

Run = Callable[..., tuple[int, dict[str, Any]]]


def _event(number: int, **properties: Any) -> dict[str, Any]:
    return {"event": "Tested", "properties": {"time": NOW_MS - number, "distinct_id": f"u{number}"} | properties}


def _letter(event: Any, stage: str, reason: str, **fields: Any) -> dict[str, Any]:
    text = event if isinstance(event, str) else json.dumps(event)
    return {"event": text, "stage": stage, "reason": reason} | fields


@pytest.fixture
def run(tmp_path: Path, token_reference: str, emulator: Emulator) -> Run:
    """Run a pipeline; give its exit code and its books without the zeros."""

    def run(*flags: str, pipeline: Any = replay_dead_letters) -> tuple[int, dict[str, Any]]:
        summary = tmp_path / "summary.json"
        settings = (f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}")
        code = pipeline.run([*settings, f"--summary={summary}", *flags])
        if not summary.exists():
            return code, {}
        books = json.loads(summary.read_text())
        summary.unlink()
        fates = ("read", "filtered", "invalid", "imported", "rejected", "undelivered")
        assert books["balanced"] == (code != 1 or books["read"] == sum(books[fate] for fate in fates[1:]))
        return code, {fate: books[fate] for fate in fates if books[fate]}

    return run


@pytest.fixture
def fixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of repairs, as a user writes it."""
    (tmp_path / "my_fixes.py").write_text(
        """
import json


def add_time(event):
    event["properties"].setdefault("time", 1_700_000_000)
    return event


def from_text(event):
    return json.loads(event + "}}") if isinstance(event, str) else event


def drop(event):
    return None


def twice(event):
    return [{**event, "event": name} for name in ("First", "Second")]


def fails(event):
    raise ValueError("a secret value: " + event["properties"]["distinct_id"])


def nothing_useful(event):
    return 7
"""
    )
    monkeypatch.syspath_prepend(tmp_path)


def _write(folder: Path, *letters: dict[str, Any] | bytes, name: str = "dead-0.jsonl") -> str:
    lines = [letter if isinstance(letter, bytes) else json.dumps(letter).encode() for letter in letters]
    (folder / name).write_bytes(b"".join(line + b"\n" for line in lines))
    return f"--input={folder}/{name}"


def _letters(folder: Path, prefix: str) -> list[dict[str, Any]]:
    files = sorted(folder.glob(f"{prefix}-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_letters_of_every_stage_and_packing_arrive(run: Run, tmp_path: Path, emulator: Emulator) -> None:
    """Plain, gzip, bzip2 and Zstandard files, several at once; letters of an earlier form and base64 among them."""
    base64 = {
        "event_base64": "eyJldmVudCI6IkIiLCJwcm9wZXJ0aWVzIjp7InRpbWUiOjE3MDAwMDAwMDB9fQ==",
        "stage": "parse",
        "reason": "x",
    }
    _write(tmp_path, _letter(_event(1), "parse", "not_utf8"), base64)
    packings = [(gzip.compress, "gz"), (bz2.compress, "bz2"), (zstandard.compress, "zst")]
    for number, (stage, (compress, suffix)) in enumerate(zip(["map", "validate", "import"], packings, strict=True)):
        line = json.dumps(_letter(_event(number + 2), stage, "why", insert_id="", fate="undelivered")).encode()
        (tmp_path / f"dead-{number + 1}.jsonl.{suffix}").write_bytes(compress(line))
    flags = (f"--input={tmp_path}/dead-*", f"--dead_letters={tmp_path}/again")
    assert run(*flags) == (0, {"read": 5, "imported": 5})
    assert _letters(tmp_path, "again") == []
    assert {event["properties"].get("distinct_id") for event in emulator.events()} == {None, "u1", "u2", "u3", "u4"}


def test_a_damaged_letter_is_a_dead_letter_and_costs_no_other(run: Run, tmp_path: Path, emulator: Emulator) -> None:
    """It keeps its text, says where it stood, and the others arrive."""
    source = _write(tmp_path, _letter(_event(1), "parse", "x"), b'{"event": "cut')
    code, books = run(source, f"--dead_letters={tmp_path}/again")
    assert (code, books) == (3, {"read": 2, "invalid": 1, "imported": 1})
    (letter,) = _letters(tmp_path, "again")
    assert (letter["event"], letter["reason"]) == ('{"event": "cut', "not_a_dead_letter")
    assert letter["source"].startswith(f"{tmp_path}/dead-0.jsonl@")


def test_replaying_twice_adds_nothing(run: Run, tmp_path: Path, emulator: Emulator) -> None:
    """The server shows each event once, whatever the options of the second replay."""
    source = _write(tmp_path, *(_letter(_event(number), "validate", "x") for number in range(20)))
    assert run(source)[0] == 0
    assert run(source, "--mixpanel_max_batch_events=3")[0] == 0
    assert len(emulator.events()) == 40
    assert len(emulator.events(deduplicated=True)) == 20


def test_what_fails_again_does_not_nest(run: Run, tmp_path: Path, emulator: Emulator) -> None:
    """The new letter holds the event as it was read first, the identity it was sent with, and today's reason."""
    event = json.dumps(_event(1))
    source = _write(tmp_path, _letter(event, "import", "timeout", insert_id="id-1", time_ms=NOW_MS - 5))
    emulator.add_fault(kind="failed_records", variant="standard", count=1, times=1)
    assert run(source, f"--dead_letters={tmp_path}/again") == (3, {"read": 1, "rejected": 1})
    (letter,) = _letters(tmp_path, "again")
    assert (letter["event"], letter["stage"], letter["reason"]) == (event, "import", "rejected")
    assert (letter["insert_id"], letter["time_ms"]) == ("id-1", NOW_MS - 5)


class TestOnlyReason:
    @pytest.mark.parametrize("flag", ["--only-reason", "--only_reason"])
    def test_only_letters_of_the_reason_are_sent(self, run: Run, tmp_path: Path, emulator: Emulator, flag: str) -> None:
        """The others are filtered, and the books say so."""
        letters = [_letter(_event(number), "import", reason) for number, reason in enumerate(["a", "b", "c", "a"])]
        code, books = run(_write(tmp_path, *letters), f"{flag}=a", flag, "c")
        assert (code, books) == (0, {"read": 4, "filtered": 1, "imported": 3})
        assert {event["properties"]["distinct_id"] for event in emulator.events()} == {"u0", "u2", "u3"}

    def test_a_reason_that_no_letter_has_is_no_success(
        self, run: Run, tmp_path: Path, emulator: Emulator, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Exit code 1, and the reasons that there are."""
        source = _write(tmp_path, _letter(_event(1), "import", "http_503"))
        assert run(source, "--only-reason=http_53")[0] == 1
        assert "http_503" in capsys.readouterr().err
        assert emulator.requests() == []

    def test_importing_pipelines_do_not_take_it(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        """An option that would do nothing is refused."""
        assert run("--only-reason=a", pipeline=files_to_mixpanel)[0] == 2
        assert "only-reason" in capsys.readouterr().err


@pytest.mark.usefixtures("fixes")
class TestFix:
    def test_an_event_is_repaired(self, run: Run, tmp_path: Path, emulator: Emulator) -> None:
        """What was missing is there."""
        source = _write(tmp_path, _letter({"event": "A", "properties": {}}, "validate", "time_missing"))
        assert run(source, "--fix=my_fixes:add_time") == (0, {"read": 1, "imported": 1})
        assert emulator.events()[0]["properties"]["time"] == 1_700_000_000_000

    def test_text_that_is_no_json_is_given_as_text(self, run: Run, tmp_path: Path, emulator: Emulator) -> None:
        """A line that was cut can be completed."""
        source = _write(tmp_path, _letter('{"event":"A","properties":{"time":1700000000', "parse", "invalid_json"))
        assert run(source, "--fix=my_fixes:from_text") == (0, {"read": 1, "imported": 1})
        assert emulator.events()[0]["event"] == "A"

    def test_none_filters(self, run: Run, tmp_path: Path, emulator: Emulator) -> None:
        """An event for which the function gives None is filtered, and so is counted."""
        source = _write(tmp_path, _letter(_event(1), "validate", "x"))
        _, books = run(source, "--fix=my_fixes:drop")
        assert books == {"read": 1, "filtered": 1}
        assert emulator.requests() == []

    def test_a_list_gives_several_events(self, run: Run, tmp_path: Path, emulator: Emulator) -> None:
        """Each of them counts as read, and each arrives under an id of its own."""
        sent = {"insert_id": "id-1", "time_ms": NOW_MS - 7}
        source = _write(tmp_path, _letter(_event(1), "import", "rejected", **sent))
        assert run(source, "--fix=my_fixes:twice") == (0, {"read": 2, "imported": 2})
        assert {event["event"] for event in emulator.events(deduplicated=True)} == {"First", "Second"}
        assert {event["properties"]["time"] for event in emulator.events()} == {NOW_MS - 7}

    @pytest.mark.parametrize("function", ["fails", "nothing_useful"])
    def test_a_function_that_fails_makes_a_dead_letter(
        self, run: Run, tmp_path: Path, emulator: Emulator, function: str
    ) -> None:
        """Stage map; the original text is kept, no value is in the message, and the job goes on."""
        event = json.dumps(_event(1))
        source = _write(tmp_path, _letter(event, "import", "rejected", insert_id="id-1", time_ms=NOW_MS))
        code, books = run(source, f"--fix=my_fixes:{function}", f"--dead_letters={tmp_path}/again")
        assert (code, books) == (3, {"read": 1, "invalid": 1})
        (letter,) = _letters(tmp_path, "again")
        assert (letter["stage"], letter["reason"], letter["event"]) == ("map", "fix_failed", event)
        assert (letter["insert_id"], letter["time_ms"]) == ("id-1", NOW_MS)
        assert "u1" not in letter["message"]
        assert run(f"--input={tmp_path}/again-*") == (0, {"read": 1, "imported": 1})
        assert emulator.events()[0]["properties"]["$insert_id"] == "id-1"

    @pytest.mark.parametrize("reference", ["no_module:f", "my_fixes:no_function", "my_fixes"])
    def test_a_function_that_is_not_there_is_exit_2(
        self, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], reference: str
    ) -> None:
        """Told before anything is read, with the name at fault."""
        assert run(_write(tmp_path, _letter(_event(1), "parse", "x")), f"--fix={reference}")[0] == 2
        assert reference.partition(":")[0] in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(4))
def test_import_and_replay_give_the_input(run: Run, tmp_path: Path, emulator: Emulator, seed: int) -> None:
    """Whatever went wrong on the way, what arrived and what the replay sends are the input, each event once."""
    draw = random.Random(seed)
    events = [_event(number, **({"$insert_id": f"id-{number}"} if number % 2 else {})) for number in range(120)]
    source = _write(tmp_path, *(json.dumps(event).encode() for event in events), name="events.ndjson")
    for fault in draw.sample(
        [
            {"kind": "failed_records", "variant": "standard", "count": 7},
            {"kind": "status", "status": 503},
            {"kind": "reset_after_commit"},
            {"kind": "truncated"},
            {"kind": "failed_records", "variant": "strings"},
        ],
        2,
    ):
        emulator.add_fault(**fault, probability=0.6, seed=seed)
    give_up = ("--mixpanel_retry_deadline_secs=0.3", "--mixpanel_on_undelivered=dead_letter")
    flags = (source, f"--dead_letters={tmp_path}/dead", "--mixpanel_max_batch_events=10", *give_up)
    code, books = run(*flags, pipeline=files_to_mixpanel)
    assert code == 3
    assert books["read"] == 120
    emulator.clear_faults()
    assert run(f"--input={tmp_path}/dead-*") == (
        0,
        {"read": len(_letters(tmp_path, "dead")), "imported": len(_letters(tmp_path, "dead"))},
    )
    shown = emulator.events(deduplicated=True)
    assert len(shown) == 120
    assert sorted(event["properties"]["distinct_id"] for event in shown) == sorted(
        event["properties"]["distinct_id"] for event in events
    )
