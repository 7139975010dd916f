"""The fault matrix: whatever the server does, every event ends once at the server or among the dead letters.

Each row of the tables runs the pipeline as people run it, over real sockets, against an emulator that misbehaves in
one way. The laws that hold for every row are in `_check_laws`; what is special about a row is written in the row.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from beam_mixpanel.core.sending import backoff
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import files_to_mixpanel

EVENTS = 300
BATCH_EVENTS = 50
MOST_SECS = 55.0
"""Room for a busy machine, and less than any wait that must not happen: a capped one is 60 s, a deadline 300 s."""
NOW_MS = int(time.time() * 1000)
PAST_DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
GIVE_UP = ("--mixpanel_retry_deadline_secs=0.5", "--mixpanel_on_undelivered=dead_letter")

Fault = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One fault, and what must come of it.

    Attributes:
      name: of the test.
      faults: what the emulator does.
      code: the exit code.
      flags: besides the usual ones.
      rejected: how many events Mixpanel refuses.
      undelivered: how many events are given up; None for some but not all.
      answer_lost: events may have been stored although no answer says so, so copies may be stored again.
      unseen: requests may end before the server sees them.
      says: what the person at the terminal must read.
      reasons: of the dead letters; empty for not looked at.
      secs: the least and the most that it may take.
      events: how many good ones the input has.
      padding: bytes that each event is longer by, about.
      letters: whether dead letters are permitted; otherwise the first fails the job.
    """

    name: str
    faults: tuple[Fault | Callable[[], Fault], ...]
    code: int = 0
    flags: tuple[str, ...] = ()
    rejected: int = 0
    undelivered: int | None = 0
    answer_lost: bool = False
    unseen: bool = False
    says: str = ""
    reasons: frozenset[str] = frozenset()
    secs: tuple[float, float] = (0.0, MOST_SECS)
    events: int = EVENTS
    padding: int = 0
    letters: bool = False


@dataclass
class Run:
    """What a run left behind, here and at the server."""

    code: int
    summary: dict[str, Any]
    seconds: float
    printed: str
    letters: list[dict[str, Any]]
    lines: dict[str, str]
    stored: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch, short_waits: dict[str, float]) -> None:
    """Shorten the wait before a request is sent again, and nothing else; worker processes do the same."""
    for name, secs in short_waits.items():
        monkeypatch.setattr(backoff, name, secs)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port at which nobody should call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port where connections wait to be accepted, for ever."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.fixture
def distrusted_port(tls: ssl.SSLContext) -> Iterator[int]:
    """A port where a server shows a certificate that nobody vouches for; a request that arrives fails the test."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=_show_certificate, args=(server, tls, received))
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert received == []


def _show_certificate(server: socket.socket, tls: ssl.SSLContext, received: list[bytes]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, suppress(OSError), tls.wrap_socket(connection, server_side=True) as shaken:
            received.append(shaken.recv(100))


class Bench:
    """Runs rows in a folder of their own."""

    def __init__(self, folder: Path, reference: str, emulator: Emulator, engine: tuple[str, ...]) -> None:
        self.folder, self.reference, self.emulator, self.engine = folder, reference, emulator, engine
        self.printed: Callable[[], str] = str

    def run(self, row: Row, *, url: str = "", lines: dict[str, str] | None = None) -> Run:
        """Run the pipeline while the faults of a row are set, and gather what it leaves."""
        lines = lines or good_lines(row.events, padding=row.padding)
        (self.folder / "events.ndjson").write_text("".join(line + "\n" for line in lines.values()), encoding="utf-8")
        for fault in row.faults:
            self.emulator.add_fault(**fault() if callable(fault) else fault)
        started = time.monotonic()
        code = files_to_mixpanel.run(
            [
                f"--input={self.folder}/events.ndjson",
                f"--mixpanel_api_host={url or self.emulator.url}",
                f"--mixpanel_project_token={self.reference}",
                f"--mixpanel_max_batch_events={BATCH_EVENTS}",
                f"--summary={self.folder}/summary.json",
                *([f"--dead_letters={self.folder}/dead"] if row.letters else []),
                *self.engine,
                *row.flags,
            ]
        )
        seconds = time.monotonic() - started
        files = sorted(self.folder.glob("dead-*.jsonl"))
        return Run(
            code,
            json.loads((self.folder / "summary.json").read_text()),
            seconds,
            self.printed(),
            [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()],
            lines,
            self.emulator.events(),
            self.emulator.requests(bodies=True),
        )


@pytest.fixture
def bench(
    tmp_path: Path,
    token_reference: str,
    emulator: Emulator,
    engine: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Bench:
    bench = Bench(tmp_path, token_reference, emulator, engine)
    bench.printed = lambda: capsys.readouterr().err + caplog.text
    return bench


def good_lines(count: int, *, padding: int = 0) -> dict[str, str]:
    """Give good events by `$insert_id`, as lines whose spelling differs from what any encoder of ours would write."""
    spellings: tuple[dict[str, Any], ...] = (
        {"separators": (" , ", " : ")},
        {"ensure_ascii": False, "separators": (",", ":")},
        {"ensure_ascii": True},
    )
    lines = {}
    for number in range(count):
        insert_id = f"id-{number:08d}"
        properties = {
            "time": NOW_MS - 86_400_000 - number,
            "distinct_id": f"user-{number}",
            "$insert_id": insert_id,
            "näme": 'Zoë 😀 \\ "',
            "large": 12_345_678_901_234_567_890,
            "nested": {"list": [1, None, True, 0.1], "empty": {}},
        }
        if padding:
            # It compresses badly, so that a request takes many packets.
            properties["padding"] = random.Random(number).randbytes(padding // 2).hex()
        lines[insert_id] = json.dumps({"event": "Tested", "properties": properties}, **spellings[number % 3])
    return lines


def _ids(events: list[dict[str, Any]] | None) -> tuple[str, ...]:
    return tuple(event["properties"]["$insert_id"] for event in events or ())


def _check_laws(run: Run, row: Row) -> None:
    """Hold a run that came to its end against the laws that no fault may break."""
    stored = {event["properties"]["$insert_id"]: event for event in run.stored}
    dead = {letter["insert_id"]: letter for letter in run.letters}
    _check_nothing_lost(run, row, stored, dead)
    _check_books(run, row, stored, dead)
    if not row.answer_lost:
        assert len(run.stored) == len(stored), "copies were stored although every answer arrived"
    _check_same_bytes_again(run)


def _check_nothing_lost(run: Run, row: Row, stored: dict[str, Any], dead: dict[str, Any]) -> None:
    """Accepted events and dead letters are the input, as it was written."""
    assert len(dead) == len(run.letters), "an event is two dead letters"
    assert stored.keys() | dead.keys() == run.lines.keys()
    if not row.answer_lost:
        assert not stored.keys() & dead.keys()
    assert all(event == json.loads(run.lines[insert_id]) for insert_id, event in stored.items())
    assert {insert_id: letter["event"] for insert_id, letter in dead.items()} == {
        insert_id: run.lines[insert_id] for insert_id in dead
    }


def _check_books(run: Run, row: Row, stored: dict[str, Any], dead: dict[str, Any]) -> None:
    """The books balance, and say what is seen at the server and in the dead letters."""
    summary = run.summary
    fates = Counter(letter["fate"] for letter in run.letters)
    assert summary["balanced"]
    assert summary["read"] == len(run.lines)
    assert (summary["rejected"], summary["undelivered"]) == (fates["rejected"], fates["undelivered"])
    assert summary["imported"] == len(run.lines) - len(dead)
    assert summary["invalid"] == summary["filtered"] == 0
    assert sum(summary["reasons"].values()) == len(dead)
    assert len(stored) >= summary["imported"] if row.answer_lost else len(stored) == summary["imported"]
    unseen = summary["requests"] - len(run.requests)
    assert unseen >= 0 if row.unseen else unseen == 0
    if all(request["body_sha256"] for request in run.requests):
        assert summary["retries"] == _repeated_requests(run.requests) + unseen


def _repeated_requests(requests: list[dict[str, Any]]) -> int:
    """Count the requests that carried events which an earlier one had carried."""
    seen: set[str] = set()
    repeated = 0
    for request in requests:
        ids = set(_ids(request["events"]))
        repeated += bool(ids & seen)
        seen |= ids
    return repeated


def _check_same_bytes_again(run: Run) -> None:
    """After no answer, a 429 or a 5xx the same bytes are sent again, unless their events were given up."""
    undelivered = {letter["insert_id"] for letter in run.letters if letter["fate"] == "undelivered"}
    for place, request in enumerate(run.requests):
        if request["body_sha256"] is None or not (request["status"] in (None, 408, 429) or request["status"] >= 500):
            continue
        ids = _ids(request["events"])
        later = [other for other in run.requests[place + 1 :] if set(_ids(other["events"])) & set(ids)]
        assert later or undelivered.issuperset(ids), "events were neither sent again nor given up"
        assert {other["body_sha256"] for other in later[:1]} <= {request["body_sha256"]}


def _status(status: int, **options: Any) -> Fault:
    return {"kind": "status", "status": status, **options}


def _unavailable_until_a_date() -> Fault:
    """Name a date that is between 2 and 3 s away, since dates have whole seconds."""
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=3), usegmt=True)
    return _status(503, times=1, headers={"Retry-After": date})


def _params(*rows: Row) -> list[Any]:
    return [pytest.param(row, id=row.name) for row in rows]


def _check_outcome(run: Run, row: Row) -> None:
    """Compare a run with its row."""
    assert run.code == row.code, run.printed
    assert run.summary["rejected"] == row.rejected
    if row.undelivered is None:
        assert 0 < run.summary["undelivered"] < len(run.lines)
    else:
        assert run.summary["undelivered"] == row.undelivered
    if row.reasons:
        assert {letter["reason"] for letter in run.letters} == row.reasons
    assert row.says in run.printed
    assert "Traceback" not in run.printed
    assert row.secs[0] <= run.seconds <= row.secs[1]


REFUSED_FOR_A_WHILE = _params(
    Row("429 burst", (_status(429, times=3),)),
    Row("429 Retry-After in seconds", (_status(429, times=1, headers={"Retry-After": "2"}),), secs=(2.0, MOST_SECS)),
    Row("503 Retry-After as a date", (_unavailable_until_a_date,), secs=(2.0, MOST_SECS)),
    Row("503 Retry-After a past date", (_status(503, times=1, headers={"Retry-After": PAST_DATE}),)),
    Row("503 Retry-After negative", (_status(503, times=1, headers={"Retry-After": "-5"}),)),
    Row("429 Retry-After garbage", (_status(429, times=1, headers={"Retry-After": "soon, maybe"}),)),
    Row(
        "500 502 503 504",
        (
            _status(500, times=1),
            _status(502, times=1, body=PROXY_PAGE, content_type="text/html"),
            _status(503, times=1, body="no healthy upstream"),
            _status(504, times=1, body=PROXY_PAGE, content_type="text/html"),
        ),
    ),
    Row("408 524", (_status(408, times=1), _status(524, times=1))),
    Row("reset before the body", ({"kind": "reset_before", "times": 3},)),
    Row("reset before a large body", ({"kind": "reset_before", "times": 2},), padding=8_000),
    Row("reset in the middle", ({"kind": "reset_during", "times": 3},)),
    Row("reset in the middle of a large body", ({"kind": "reset_during", "times": 2},), padding=8_000),
    Row(
        "no answer in time",
        ({"kind": "hang", "secs": 30, "times": 2},),
        flags=("--mixpanel_request_timeout_secs=0.5",),
        secs=(0.5, MOST_SECS),
    ),
    Row("close without an answer", ({"kind": "hang", "secs": 0.2, "times": 2},)),
    Row("200 HTML", ({"kind": "html_200", "times": 3},)),
    Row("200 empty", ({"kind": "empty_200", "times": 3},)),
    Row("drip", ({"kind": "drip", "interval_secs": 0.01, "times": 2},)),
    Row("close_keepalive", ({"kind": "close_keepalive"},), unseen=True),
    Row("413 above 20 events", ({"kind": "too_many_events", "max_events": 20},)),
    Row("400 strings", ({"kind": "failed_records", "variant": "strings", "times": 2},)),
    Row("400 no list", ({"kind": "failed_records", "variant": "none", "times": 2},)),
)


@pytest.mark.parametrize("row", REFUSED_FOR_A_WHILE)
def test_a_fault_that_ends_costs_no_event_and_makes_no_copy(bench: Bench, row: Row) -> None:
    """Every event is stored exactly once, exit code 0, though no dead letters are permitted."""
    run = bench.run(row)
    _check_outcome(run, row)
    _check_laws(run, row)


ANSWER_LOST = _params(
    Row("reset after the commit", ({"kind": "reset_after_commit", "times": 3},), answer_lost=True),
    Row("truncated answer", ({"kind": "truncated", "times": 3},), answer_lost=True),
    Row(
        "close without an answer after the commit",
        ({"kind": "hang", "secs": 0.2, "commit": True, "times": 2},),
        answer_lost=True,
    ),
    Row(
        "no answer in time after the commit",
        ({"kind": "hang", "secs": 30, "commit": True, "times": 2},),
        flags=("--mixpanel_request_timeout_secs=0.5",),
        answer_lost=True,
        secs=(0.5, MOST_SECS),
    ),
    Row(
        "an answer of one byte a second",
        ({"kind": "drip", "interval_secs": 1.0, "times": 2},),
        flags=("--mixpanel_request_timeout_secs=1.5",),
        answer_lost=True,
        secs=(1.5, MOST_SECS),
    ),
    Row("503 after the commit", (_status(503, times=2, commit=True),), answer_lost=True),
    Row("200 HTML after the commit", ({"kind": "html_200", "commit": True, "times": 2},), answer_lost=True),
    Row("200 empty after the commit", ({"kind": "empty_200", "commit": True, "times": 2},), answer_lost=True),
    Row("200 one too few", ({"kind": "wrong_count", "delta": -1, "times": 1},), answer_lost=True),
    Row("200 one too many", ({"kind": "wrong_count", "delta": 1, "times": 1},), answer_lost=True),
    Row(
        "400 index out of range",
        ({"kind": "failed_records", "variant": "index_out_of_range", "times": 1},),
        answer_lost=True,
    ),
)


@pytest.mark.parametrize("row", ANSWER_LOST)
def test_a_lost_answer_costs_no_event(bench: Bench, row: Row) -> None:
    """Every event is stored; copies come only of requests that were stored without a good answer, and are equal."""
    run = bench.run(row)
    _check_outcome(run, row)
    _check_laws(run, row)
    copies = len(run.stored) - len(run.lines)
    lost = [request for request in run.requests if request["fault"]]
    assert 0 < copies <= sum(request["event_count"] for request in lost)
    assert len(bench.emulator.events(deduplicated=True)) == len(run.lines)


REJECTED = _params(
    Row("400 insert_id", ({"kind": "failed_records", "count": 3, "times": 2},), code=3, letters=True, rejected=6),
    Row(
        "400 $insert_id",
        ({"kind": "failed_records", "variant": "dollar_insert_id", "count": 3, "times": 2},),
        code=3,
        letters=True,
        rejected=6,
    ),
    Row(
        "400 duplicate ids",
        ({"kind": "failed_records", "variant": "duplicate_id", "times": 1},),
        code=3,
        letters=True,
        rejected=2,
    ),
    Row(
        "400 duplicate index",
        ({"kind": "failed_records", "variant": "duplicate_index", "times": 1},),
        code=3,
        letters=True,
        rejected=1,
    ),
    Row(
        "400 miscount",
        ({"kind": "failed_records", "variant": "miscount", "times": 1},),
        code=3,
        letters=True,
        rejected=1,
        answer_lost=True,
    ),
)


@pytest.mark.parametrize("row", REJECTED)
def test_rejected_events_and_no_others_become_dead_letters(bench: Bench, row: Row) -> None:
    """Exit code 3; each event is stored or a dead letter with its original text. A wrong count confirms nothing."""
    run = bench.run(row)
    _check_outcome(run, row)
    _check_laws(run, row)
    assert (len(run.stored) > run.summary["imported"]) == row.answer_lost


def test_one_event_for_which_a_batch_is_refused_is_found(bench: Bench) -> None:
    """Where a 400 names no record, halving finds the culprit: it alone is a dead letter."""
    row = Row("", (), code=3, rejected=1, letters=True)
    lines = good_lines(EVENTS)
    culprit = "id-00000123"
    lines[culprit] = lines[culprit].replace('"Tested"', '"$identify"')
    run = bench.run(row, lines=lines)
    _check_outcome(run, row)
    _check_laws(run, row)
    assert [letter["insert_id"] for letter in run.letters] == [culprit]


def test_identity_events_cost_no_other_event_and_hardly_a_request(bench: Bench) -> None:
    """Every tenth event is an `$identify`: they alone are rejected, and later batches are sent without them."""
    row = Row("", (), code=3, rejected=30, letters=True, reasons=frozenset({"identity_event_refused"}))
    lines = good_lines(EVENTS)
    for number in range(0, EVENTS, 10):
        insert_id = f"id-{number:08d}"
        lines[insert_id] = lines[insert_id].replace('"Tested"', '"$identify"')
    run = bench.run(row, lines=lines)
    _check_outcome(run, row)
    _check_laws(run, row)
    assert run.summary["requests"] <= 2 * EVENTS // BATCH_EVENTS


def test_what_mixpanel_leaves_out_of_its_count_is_dropped_and_not_sent_for_ever(bench: Bench) -> None:
    """A 200 that counts one event too few, for ever: two copies at most, a fate of its own, exit code 3, no letters."""
    run = bench.run(Row("", ({"kind": "wrong_count", "delta": -1},), letters=True))
    batches = EVENTS // BATCH_EVENTS
    assert run.code == 3, run.printed
    assert run.summary["balanced"]
    assert (run.summary["imported"], run.summary["dropped"]) == (EVENTS - batches, batches)
    assert run.summary["reasons"] == {"dropped_by_mixpanel": batches}
    assert run.letters == []
    assert run.summary["requests"] <= 2 * batches
    assert {event["properties"]["$insert_id"] for event in run.stored} == run.lines.keys()
    assert f"{batches} events were dropped by Mixpanel" in run.printed
    assert "$ignore" in run.printed


def test_as_many_dropped_events_as_are_allowed_are_success(bench: Bench) -> None:
    """Dropped events count against `--allow_dead_letters`, so that a project that drops on purpose can say so."""
    run = bench.run(Row("", ({"kind": "wrong_count", "delta": -1},), letters=True, flags=("--allow_dead_letters=6",)))
    assert run.code == 0, run.printed
    assert run.summary["dropped"] == 6


HOPELESS = _params(
    Row("413 for everything", ({"kind": "too_many_events", "max_events": 0},), letters=True, says="answered 413"),
    Row("400 strings for everything", ({"kind": "failed_records", "variant": "strings"},), letters=True),
    Row("400 no list for everything", ({"kind": "failed_records", "variant": "none"},), says="answered 400"),
)


@pytest.mark.parametrize("row", HOPELESS)
def test_a_job_of_which_nothing_is_accepted_ends(bench: Bench, row: Row) -> None:
    """Exit code 1, with the server's words and what to do; the input is not drained into dead letters."""
    run = bench.run(row)
    assert run.code == 1, run.printed
    assert (run.stored, run.letters) == ([], [])
    assert "the job ends" in run.printed
    assert row.says in run.printed
    assert "Traceback" not in run.printed
    assert run.summary["balanced"] is False
    assert len(run.requests) <= 60


def test_of_two_events_with_one_id_only_the_rejected_becomes_a_dead_letter(bench: Bench) -> None:
    """Which event of a batch was rejected is told by its place: another with the same `$insert_id` is imported."""
    row = Row("", ({"kind": "failed_records", "times": 1},), code=3, rejected=1, letters=True)
    lines = good_lines(2)
    lines["twin"] = lines["id-00000000"].replace("user-0", "user-2")
    run = bench.run(row, lines=lines)
    assert run.code == 3
    assert [letter["event"] for letter in run.letters] == [lines["id-00000000"]]
    assert run.stored == [json.loads(lines[name]) for name in ("id-00000001", "twin")]
    assert (run.summary["read"], run.summary["imported"], run.summary["rejected"]) == (3, 2, 1)
    assert run.summary["balanced"]


def test_one_event_that_is_too_large_for_the_server_is_found(bench: Bench) -> None:
    """Where the server takes less than it should, halving finds the event at fault: it alone is a dead letter."""
    row = Row("", (), code=3, rejected=1, reasons=frozenset({"too_large"}), letters=True)
    lines = good_lines(EVENTS)
    culprit = "id-00000123"
    lines |= {culprit: good_lines(124, padding=20_000)[culprit]}
    with Emulator(max_body_bytes=10_000, record_bodies=True) as strict:
        run = bench.run(row, url=strict.url, lines=lines)
        run.stored, run.requests = strict.events(), strict.requests(bodies=True)
    _check_outcome(run, row)
    _check_laws(run, row)
    assert [letter["insert_id"] for letter in run.letters] == [culprit]


UNDELIVERED = _params(
    Row(
        "429 for ever",
        (_status(429),),
        code=3,
        letters=True,
        flags=GIVE_UP,
        secs=(0.5, MOST_SECS),
        undelivered=EVENTS,
        reasons=frozenset({"http_429"}),
    ),
    Row(
        "503 for ever",
        (_status(503),),
        code=3,
        letters=True,
        flags=GIVE_UP,
        undelivered=EVENTS,
        reasons=frozenset({"http_503"}),
    ),
    Row(
        "503 for ever, one request at a time",
        (_status(503),),
        code=3,
        letters=True,
        flags=(*GIVE_UP, "--mixpanel_max_concurrent_requests=1"),
        undelivered=EVENTS,
        reasons=frozenset({"http_503", "circuit_open"}),
    ),
    Row(
        "503 Retry-After absurd",
        (_status(503, times=2, headers={"Retry-After": "99999999"}),),
        code=3,
        letters=True,
        flags=GIVE_UP,
        undelivered=2 * BATCH_EVENTS,
        reasons=frozenset({"http_503"}),
    ),
    Row(
        "429 Retry-After absurd",
        (_status(429, headers={"Retry-After": "99999999"}),),
        code=3,
        letters=True,
        flags=GIVE_UP,
        undelivered=EVENTS,
        reasons=frozenset({"http_429"}),
    ),
    Row(
        "503 Retry-After a date in the year 9999",
        (_status(503, times=2, headers={"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}),),
        code=3,
        letters=True,
        flags=GIVE_UP,
        undelivered=2 * BATCH_EVENTS,
        reasons=frozenset({"http_503"}),
    ),
    Row(
        "reset after the commit for ever",
        ({"kind": "reset_after_commit"},),
        code=3,
        letters=True,
        flags=GIVE_UP,
        undelivered=EVENTS,
        answer_lost=True,
        reasons=frozenset({"connection_lost"}),
    ),
)


@pytest.mark.parametrize("row", UNDELIVERED)
def test_undelivered_events_become_dead_letters(bench: Bench, row: Row) -> None:
    """With `dead_letter`, what was not confirmed by the deadline is written down: exit code 3."""
    run = bench.run(row)
    _check_outcome(run, row)
    _check_laws(run, row)


UNREACHABLE = {
    "connection refused": ("closed_port", "http://127.0.0.1:{}", "connection_failed"),
    "no such host": ("", "https://mixpanel.invalid", "connection_failed"),
    "a certificate that does not verify": ("distrusted_port", "https://127.0.0.1:{}", "tls_failed"),
    "no connection in time": ("full_port", "http://127.0.0.1:{}", "timeout"),
}


@pytest.mark.parametrize("name", UNREACHABLE)
def test_events_for_a_server_that_cannot_be_reached_become_dead_letters(
    bench: Bench, request: pytest.FixtureRequest, name: str
) -> None:
    """No request is seen; every event becomes a dead letter once the deadline is over."""
    place, url, reason = UNREACHABLE[name]
    flags = (*GIVE_UP, "--mixpanel_request_timeout_secs=0.5")
    row = Row("", (), code=3, letters=True, flags=flags, undelivered=EVENTS, reasons=frozenset({reason}))
    run = bench.run(row, url=url.format(request.getfixturevalue(place) if place else ""))
    _check_outcome(run, row)
    run.requests = [{"body_sha256": None, "status": None}] * run.summary["requests"]
    _check_laws(run, row)
    assert run.summary["requests"] >= EVENTS / BATCH_EVENTS


def test_a_server_that_goes_away_and_comes_back_gets_every_event(bench: Bench, closed_port: int) -> None:
    """Connections that are refused for a while cost nothing once somebody listens."""
    row = Row("", (), unseen=True)
    with ThreadPoolExecutor(1) as thread:
        with Emulator(port=closed_port, record_bodies=True) as early:
            early.add_fault(**_status(503, headers={"Retry-After": "1"}))
            waiting = thread.submit(bench.run, row, url=f"http://127.0.0.1:{closed_port}")
            while not (seen := early.requests(bodies=True)):
                assert not waiting.done(), waiting.result().printed
                time.sleep(0.01)
            seen = early.requests(bodies=True)
        time.sleep(1.5)
        with Emulator(port=closed_port, record_bodies=True) as late:
            run = waiting.result()
            run.stored, run.requests = late.events(), seen + late.requests(bodies=True)
    assert run.summary["requests"] > len(run.requests)
    _check_outcome(run, row)
    _check_laws(run, row)


FAILED = _params(
    Row("429 for ever", (_status(429),), code=1, flags=("--mixpanel_retry_deadline_secs=0.5",), says="http_429"),
    Row(
        "429 Retry-After absurd",
        (_status(429, headers={"Retry-After": "99999999"}),),
        code=1,
        flags=("--mixpanel_retry_deadline_secs=0.5",),
        says="http_429",
        secs=(0.0, MOST_SECS),
    ),
    Row(
        "503 for ever",
        (_status(503),),
        code=1,
        flags=("--mixpanel_retry_deadline_secs=0.5",),
        says="http_503",
        letters=True,
    ),
)


@pytest.mark.parametrize("row", FAILED)
def test_undelivered_events_fail_the_job(bench: Bench, row: Row) -> None:
    """With `fail`, the default, exit code 1 after the deadline; nothing is dead-lettered, and a rerun is advised."""
    run = bench.run(row)
    _check_outcome(run, row)
    assert (run.stored, run.letters) == ([], [])
    assert run.summary["balanced"] is False
    assert "run the job again" in run.printed


REFUSED = _params(
    Row("401", (_status(401),), code=1, letters=True, says="service account's user name and secret"),
    Row("402", (_status(402),), code=1, says="the project's plan does not allow this import"),
    Row("403", (_status(403),), code=1, says="needs the role Owner or Admin"),
    Row("404", (_status(404),), code=1, says="check --mixpanel_region and --mixpanel_api_host"),
    Row("405", (_status(405),), code=1, says="check the API host and any proxy between"),
    Row("411", (_status(411),), code=1, says="check the API host and any proxy between"),
    Row("415", (_status(415),), code=1, says="check the API host and any proxy between"),
    Row("422", (_status(422),), code=1, says="check the API host and any proxy between"),
)


@pytest.mark.parametrize("row", REFUSED)
def test_a_refusal_of_all_requests_ends_the_job_at_once(bench: Bench, row: Row) -> None:
    """Exit code 1 within seconds, no event dead-lettered, no body sent twice, and the message says what to do."""
    run = bench.run(row)
    _check_outcome(run, row)
    assert (run.stored, run.letters) == ([], [])
    assert run.seconds < MOST_SECS
    assert "--dead_letters" not in run.printed
    assert run.summary["balanced"] is False
    assert len({request["body_sha256"] for request in run.requests}) == len(run.requests)
    assert f"answered {row.name}" in run.printed


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(bench: Bench, listener: socket.socket, status: int) -> None:
    """Exit code 1, with advice; nobody calls at the target, so no credential can leak there."""
    port = listener.getsockname()[1]
    fault = {"kind": "redirect", "status": status, "location": f"http://127.0.0.1:{port}/import?strict=1"}
    run = bench.run(Row("", (fault,), letters=status == 307))
    assert run.code == 1
    assert (run.stored, run.letters) == ([], [])
    assert run.seconds < MOST_SECS
    assert "redirects are not followed" in run.printed
    with pytest.raises(BlockingIOError):
        listener.accept()
