"""No secret anywhere: one is planted in each place where users put them, and searched for wherever it could surface.

Each row runs the pipeline as people run it, in a process of its own that logs all it can (`observed_pipeline.py`), and
then searches: all logs, stdout and stderr, exceptions with causes and variables, the pipeline as submitted, options,
display data, reprs, temporary files, dead letters, summary, the emulator's output, and what `ps` shows. The search
looks through base64, compression and pickles; `TestTheSearch` proves that it finds what is there.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.display import DisplayData

from beam_mixpanel import ProjectToken, ServiceAccount, WriteToMixpanel
from beam_mixpanel.client.client import MixpanelClient
from beam_mixpanel.client.transport import PooledTransport
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.emulator.control import EmulatorControl
from beam_mixpanel.secrets import SecretReference

SECRET = "pl4nted-s3cret/of+the=account"
PAIR = f"a-user:{SECRET}"
OBSERVED = Path(__file__).with_name("observed_pipeline.py")
NOW_MS = int(time.time() * 1000)

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_COMPRESSED = re.compile(rb"BZh[1-9]|\x1f\x8b\x08|x[\x01\x5e\x9c\xda]")


def forms_of(secret: str) -> dict[str, bytes]:
    """Give the ways in which a secret could be written."""
    raw = secret.encode()
    basics = {f"Basic {user}": base64.b64encode(pair.encode()) for user, pair in _pairs_of(secret).items()}
    return {
        "plain": raw,
        "quoted": quote(secret, safe="").encode(),
        "in JSON": json.dumps(secret).replace("/", "\\/")[1:-1].encode(),
        "hex": raw.hex().encode(),
        **basics,
    }


def _pairs_of(secret: str) -> dict[str, str]:
    return {"account": f"a-user:{secret}", "token": f"{secret}:", "itself": secret}


def find(data: bytes, secret: str = SECRET, depth: int = 6) -> list[str]:
    """Name the forms in which data holds a secret, also within base64, compression and pickles."""
    found = [form for form, written in forms_of(secret).items() if written in data]
    if depth == 0 or found:
        return found
    for inner in _inside(data):
        found += [f"{form}, packed" for form in find(inner, secret, depth - 1)]
    return found


def _inside(data: bytes) -> Iterator[bytes]:
    for match in _BASE64.finditer(data):
        text = match[0].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        for skipped in range(4):
            rest = text[skipped:]
            rest = rest[:-1] if len(rest) % 4 == 1 else rest
            decoded = base64.b64decode(rest + b"=" * (-len(rest) % 4))
            if decoded[:3] in (b"BZh", b"\x1f\x8b\x08") or decoded[:1] in (b"x", b"\x80") or decoded.isascii():
                yield decoded
    for match in _COMPRESSED.finditer(data):
        for unpack in (bz2.BZ2Decompressor().decompress, zlib.decompressobj(47).decompress):
            try:
                yield unpack(data[match.start() :])
            except (OSError, zlib.error, EOFError):
                continue


def find_in(places: dict[str, bytes], secret: str = SECRET) -> dict[str, list[str]]:
    """Give the places where it is found."""
    return {place: found for place, data in places.items() if (found := find(data, secret))}


class TestTheSearch:
    """The search finds what is there; otherwise its silence would mean nothing."""

    @pytest.mark.parametrize(
        "hide",
        [
            lambda secret: f"user={secret}&".encode(),
            lambda secret: b"Authorization: Basic " + base64.b64encode(f"a-user:{secret}".encode()),
            lambda secret: b"Authorization: Basic " + base64.b64encode(f"{secret}:".encode()),
            lambda secret: b"\x0a\x12" + base64.b64encode(bz2.compress(pickle.dumps({"a": [secret]}))) + b"\x12",
            lambda secret: b"abc" + base64.b64encode(zlib.compress(pickle.dumps((1, secret)))) + b"abc",
            lambda secret: b"\x00\x01" + gzip.compress(base64.b64encode(b"x" * 50 + secret.encode())),
            lambda secret: quote(f"https://host?token={secret}", safe="").encode(),
        ],
        ids=range(7),
    )
    def test_a_secret_is_found_however_it_is_packed(self, hide: Callable[[str], bytes]) -> None:
        """Plain, as a Basic header, in pickles that Beam compresses and encodes, in a URL."""
        assert find(hide(SECRET))
        assert not find(hide("something-else-entirely"))

    def test_a_secret_in_a_pickled_function_of_a_pipeline_is_found(self) -> None:
        """What a user's own function holds is in the pipeline as submitted, and is found there."""
        pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
        secret = SECRET
        _ = pipeline | beam.Create([1]) | beam.Map(lambda number: (number, secret))
        assert find(pipeline.to_runner_api().SerializeToString())

    def test_a_secret_in_a_variable_of_a_traceback_is_found(self) -> None:
        """A traceback that shows variables shows a plain one."""

        def fail() -> None:
            password = SECRET
            raise ValueError(len(password))

        with pytest.raises(ValueError, match="29") as caught:
            fail()
        assert find(
            "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()).encode()
        )

    def test_a_secret_on_a_command_line_is_found(self, watched: Watched) -> None:
        """What is given as an argument is seen by `ps`, and so by this test."""
        watched.run([sys.executable, "-c", "import time; time.sleep(0.5)", SECRET], {})
        assert find_in(watched.places()).keys() == {"ps"}

    def test_a_secret_in_a_temporary_file_that_was_deleted_is_found(self, watched: Watched) -> None:
        """Files that live for a moment are seen, too."""
        script = (
            "import os, tempfile, time; file = tempfile.NamedTemporaryFile(); "
            "file.write(os.environb[b'PLANT']); file.flush(); time.sleep(1)"
        )
        watched.run([sys.executable, "-c", script], {"PLANT": SECRET})
        assert [place.split("/")[0] for place in find_in(watched.places())] == ["tmp"]


class Watched:
    """Runs a process and remembers what it and its children leave, show and write meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = -1
        self._seen: dict[str, bytes] = {}
        for name in ("tmp", "observed", "out"):
            (folder / name).mkdir()

    def run(self, command: list[str], environment: dict[str, str]) -> None:
        """Run it to its end."""
        process = subprocess.Popen(
            command,
            env=_clean_environment() | {"TMPDIR": f"{self.folder}/tmp"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(process.pid, ended))
        watcher.start()
        try:
            self._seen["stdout"], self._seen["stderr"] = process.communicate(timeout=120)
        finally:
            process.kill()
            ended.set()
            watcher.join()
        self.code = process.returncode

    def places(self) -> dict[str, bytes]:
        """Give all that was seen, by where."""
        left = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for name in ("tmp", "observed", "out")
            for path in (self.folder / name).rglob("*")
            if path.is_file()
        }
        return self._seen | left

    def kinds(self) -> set[str]:
        """Give what kinds of things were observed in the process."""
        return {path.name.partition(".")[2] for path in (self.folder / "observed").iterdir()}

    def _watch(self, session: int, ended: threading.Event) -> None:
        shown: set[bytes] = set()
        while not ended.wait(0.05):
            shown |= set(_command_lines(session))
            self._seen["ps"] = b"\n".join(shown)
            for path in (self.folder / "tmp").rglob("*"):
                try:
                    if path.is_file():
                        name = str(path.relative_to(self.folder))
                        self._seen[name] = max(self._seen.get(name, b""), path.read_bytes(), key=len)
                except OSError:  # gone meanwhile
                    continue


def _clean_environment() -> dict[str, str]:
    left_out = ("_proxy", "_PROXY", "_ca_bundle", "_CA_BUNDLE")
    return {name: value for name, value in os.environ.items() if not name.endswith(left_out)}


def _command_lines(session: int) -> Iterator[bytes]:
    """Read what `ps` shows of the processes of a session."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and os.getsid(int(folder.name)) == session:
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


class LoggingEmulator(EmulatorControl):
    """An emulator in a process of its own that accepts the planted secrets only, and whose output is kept."""

    def __init__(self, log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "beam_mixpanel.emulator", "--record-bodies", "--stop-when-stdin-closes"],
                env=_clean_environment()
                | {"MIXPANEL_EMULATOR_SERVICE_ACCOUNT": PAIR, "MIXPANEL_EMULATOR_PROJECT_TOKEN": SECRET},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        while b"\n" not in log.read_bytes():
            assert self._process.poll() is None
            time.sleep(0.05)
        self.url = log.read_text().split()[-1]

    def stop(self) -> None:
        """Stop it."""
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggingEmulator]:
    emulator = LoggingEmulator(tmp_path_factory.mktemp("emulator") / "output")
    yield emulator
    emulator.stop()


@pytest.fixture
def server(_server: LoggingEmulator) -> LoggingEmulator:
    """The module's emulator, emptied and without faults."""
    _server.reset()
    _server.clear_faults()
    return _server


@dataclass(frozen=True)
class Row:
    """A place for a secret, and what happens to the job.

    Attributes:
      name: of the test.
      arguments: of the pipeline; `{url}`, `{folder}` and `{secret}` are filled in.
      code: the exit code.
      environment: of the pipeline.
      faults: of the emulator.
      file: content of `{folder}/secret`.
      kinds: what must have been observed in the process, so that the search had something to search.
      shown: places that show it by the nature of the thing.
    """

    name: str
    arguments: tuple[str, ...]
    code: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    faults: tuple[dict[str, Any], ...] = ()
    file: str = ""
    kinds: frozenset[str] = frozenset({"proto", "proto.txt", "options", "display", "repr", "log"})
    shown: frozenset[str] = frozenset()


TO_EMULATOR = "--mixpanel_api_host={url}"
BY_ENV = (TO_EMULATOR, "--mixpanel_service_account=env:PLANT", "--mixpanel_project_id=1")
BY_FILE = (TO_EMULATOR, "--mixpanel_project_token=file:{folder}/secret")
LETTERS = ("--dead_letters={folder}/out/dead",)
GIVE_UP = ("--mixpanel_retry_deadline_secs=0", "--mixpanel_on_undelivered=dead_letter")
ACCOUNT = {"PLANT": PAIR}
TOKEN = {"PLANT": SECRET}
ECHO = f"who is {PAIR}, {base64.b64encode(PAIR.encode()).decode()}, {SECRET}?"
NOTHING_RAN = frozenset({"log"})
FAILED = frozenset({"proto", "log", "traceback"})
IN_PS = frozenset({"ps"})
BEHIND_PROXY = ("--mixpanel_api_host=https://api.example.com", *BY_ENV[1:], *GIVE_UP, *LETTERS)
PROXY = {"HTTPS_PROXY": "http://proxy-user:" + quote(SECRET, safe="") + "@127.0.0.1:9"}
TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
ACCOUNT_FILE = "--mixpanel_service_account=file:{folder}/secret"


def _misuse(name: str, *arguments: str) -> Row:
    """A secret on the command line, where `ps` shows it for the moment until the job refuses to start."""
    return Row(name, arguments, 2, ACCOUNT, kinds=NOTHING_RAN, shown=IN_PS)


ROWS = [
    Row("an account by env", (*BY_ENV, *LETTERS), 3, ACCOUNT),
    Row("a token by file", (*BY_FILE, *LETTERS), 3, file=f"{SECRET}\n"),
    Row("a token in each event of track", (*BY_FILE, "--mixpanel_endpoint=track", *LETTERS), 3, file=SECRET),
    Row("worker processes", (*BY_ENV, *LETTERS, *TWO_PROCESSES), 3, ACCOUNT),
    Row("an event fails the job", BY_ENV, 1, ACCOUNT, kinds=FAILED),
    Row("refused", (*BY_ENV, *LETTERS), 1, {"PLANT": f"{PAIR}-but-wrong"}, kinds=FAILED),
    Row(
        "refused with an echo",
        (*BY_ENV, *LETTERS),
        1,
        ACCOUNT,
        ({"kind": "status", "status": 401, "body": {"error": ECHO}},),
        kinds=FAILED,
    ),
    Row(
        "refused with an echo, all of them",
        (*BY_ENV, *LETTERS),
        1,
        ACCOUNT,
        ({"kind": "status", "status": 400, "body": ECHO},),
        kinds=FAILED,
    ),
    Row(
        "rejected with an echo",
        (*BY_ENV, *LETTERS, "--mixpanel_max_batch_events=1"),
        3,
        ACCOUNT,
        ({"kind": "status", "status": 400, "body": ECHO, "skip": 1, "times": 5},),
    ),
    Row(
        "undelivered",
        (*BY_ENV, "--mixpanel_retry_deadline_secs=0", *LETTERS),
        1,
        ACCOUNT,
        ({"kind": "status", "status": 503, "body": ECHO},),
        kinds=FAILED,
    ),
    Row("undelivered dead letters", (*BY_FILE, *GIVE_UP, *LETTERS), 3, faults=({"kind": "reset_during"},), file=SECRET),
    Row("a proxy that is not there", BEHIND_PROXY, 3, ACCOUNT | PROXY, kinds=FAILED),
    Row("a proxy of the wrong form", BEHIND_PROXY, 3, ACCOUNT | {"HTTPS_PROXY": f"http://proxy-user:{SECRET}@[::1"}),
    Row("a variable that is not set", BY_ENV, 2, kinds=NOTHING_RAN),
    Row("a variable of the wrong form", BY_ENV, 2, TOKEN, kinds=NOTHING_RAN),
    Row("a file of the wrong form", (*BY_ENV, ACCOUNT_FILE), 2, file=SECRET, kinds=NOTHING_RAN),
    _misuse("the token itself", TO_EMULATOR, "--mixpanel_project_token={secret}"),
    _misuse("the account itself", TO_EMULATOR, "--mixpanel_service_account=a-user:{secret}", "--mixpanel_project_id=1"),
    _misuse("the token as project id", *BY_ENV[:2], "--mixpanel_project_id={secret}"),
    _misuse("the secret after a space", *BY_ENV, "a-user:{secret}"),
    _misuse("the secret for an unknown option", *BY_ENV, "--mixpanel_secret={secret}"),
    _misuse("a password in the host", *BY_ENV[1:], "--mixpanel_api_host=https://user:{secret}@host"),
    _misuse("a token in the host's query", *BY_ENV[1:], "--mixpanel_api_host=https://host/?token={secret}"),
]


def _write_input(path: Path) -> None:
    events = [
        {"event": "e", "properties": {"time": NOW_MS, "distinct_id": "ann", "$insert_id": f"id-{number}"}}
        for number in range(50)
    ]
    lines = [json.dumps(event) for event in events] + ['{"event":"e"}', "{"]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_planted_secret_is_nowhere(watched: Watched, server: LoggingEmulator, row: Row) -> None:
    """Wherever a user puts a secret and whatever becomes of the job, the secret surfaces nowhere."""
    _write_input(watched.folder / "events.ndjson")
    secret_file = watched.folder / "secret"
    secret_file.write_text(row.file)
    secret_file.chmod(0o600)
    for fault in row.faults:
        server.add_fault(**fault)
    fill = {"url": server.url, "folder": str(watched.folder), "secret": SECRET}
    arguments = [argument.format(**fill) for argument in row.arguments]
    summary = f"--summary={watched.folder}/out/summary.json"
    command = [sys.executable, str(OBSERVED), f"{watched.folder}/observed"]
    watched.run(
        [*command, f"--input={watched.folder}/events.ndjson", summary, *arguments],
        {"PYTHONPATH": os.pathsep.join(sys.path)} | row.environment,
    )
    places = watched.places()
    assert watched.code == row.code, places["stderr"].decode()
    assert row.kinds <= watched.kinds()
    assert b"observing" in places["observed/debug.log"]
    assert b"observed_pipeline.py" in places["ps"]
    places["emulator's requests"] = json.dumps(server.requests()).encode()
    places["emulator's output"] = server.log.read_bytes()
    assert find_in(places).keys() == row.shown


def _everything_of(value: object, depth: int = 4) -> str:
    """Write an object and what it is made of."""
    inner = getattr(value, "__dict__", None)
    parts = [repr(value)]
    if inner and depth:
        parts += [f"{name}: {_everything_of(part, depth - 1)}" for name, part in inner.items()]
    return "\n".join(parts)


HELD = [
    (lambda: ServiceAccount("a-user", SECRET, project_id=1)),
    (lambda: ProjectToken(SECRET)),
    (lambda: ServiceAccount.from_reference("env:PLANT", project_id=1)),
]


@pytest.mark.parametrize("make", HELD, ids=["account", "token", "reference"])
def test_a_secret_given_in_the_program_is_nowhere(
    emulator: Emulator,
    make: Callable[[], Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Credentials given as such work in the in-process runner; the submitted job, reprs and logs lack them."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PLANT", PAIR)
    sink = WriteToMixpanel(make(), api_host=emulator.url)
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    event = {"event": "e", "properties": {"time": NOW_MS, "distinct_id": "ann", "$insert_id": "id-1"}}
    result = pipeline | beam.Create([event]) | sink
    client = MixpanelClient(make(), host=emulator.url)
    assert client.import_batch([json.dumps(event).encode()]).imported == 1
    proto = pipeline.to_runner_api()
    pipeline.run().wait_until_finish()
    shown = [make(), sink, result, client, PooledTransport(), SecretReference("env:PLANT"), client._wire]
    places = {
        "proto": proto.SerializeToString(),
        "proto.txt": str(proto).encode(),
        "pickle": pickle.dumps(make()),
        "display": repr(DisplayData.create_from(sink).items).encode(),
        "shown": "\n".join(f"{value} {_everything_of(value)}" for value in shown).encode(),
        "logs": "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records).encode(),
        "printed": "".join(capfd.readouterr()).encode(),
    }
    assert len(emulator.events()) == 2
    assert find_in(places) == {}


@pytest.mark.parametrize("make", HELD[:2], ids=["account", "token"])
def test_a_secret_given_in_the_program_does_not_reach_worker_processes(
    emulator: Emulator, make: Callable[[], Any]
) -> None:
    """Workers in other processes end the job with the cure, rather than the secret travelling to them."""
    options = PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_processing"])
    pipeline = beam.Pipeline(runner="FnApiRunner", options=options)
    event = {"event": "e", "properties": {"time": NOW_MS, "distinct_id": "ann", "$insert_id": "id-1"}}
    _ = pipeline | beam.Create([event]) | WriteToMixpanel(make(), api_host=emulator.url)
    with pytest.raises(RuntimeError, match="use from_reference"):
        pipeline.run().wait_until_finish()
    assert emulator.events() == []


CANARY = "c4nary-of-a-property"
BAD_EVENTS = [
    {"event": "e", "properties": {"time": CANARY, "distinct_id": CANARY}},
    {"event": "e", "properties": {"time": NOW_MS, "distinct_id": [CANARY], "deep": [[[[[CANARY]]]]]}},
    {"event": "e", "properties": {"time": NOW_MS, "distinct_id": CANARY * 100, "list": [CANARY] * 300}},
    {"event": "e", "properties": {"time": NOW_MS * 2, "$insert_id": CANARY, "plan": CANARY}},
    {"event": "e", "plan": CANARY, "properties": {"time": NOW_MS, "plan": f"not {CANARY}"}},
    {"event": CANARY * 100, "properties": {"time": NOW_MS}},
    [CANARY],
    f"{CANARY}\ud800",
]
VALUES_KEPT = ("traceback", "out/dead")
"""Where values may be: the variables of a traceback are those of whoever shows them, and dead letters are events."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("arguments", "faults", "code"),
    [
        (LETTERS, (), 3),
        ((), (), 1),
        (("--check", "--report={folder}/out/report.html", "--allow_dead_letters=0"), (), 3),
        ((*LETTERS, *GIVE_UP), ({"kind": "reset_during"},), 3),
        (LETTERS, ({"kind": "failed_records", "count": 3},), 3),
    ],
    ids=["invalid", "failed", "check", "undelivered", "rejected"],
)
def test_no_property_value_is_logged(
    watched: Watched, server: LoggingEmulator, arguments: tuple[str, ...], faults: tuple[dict[str, Any], ...], code: int
) -> None:
    """However events fail, no log, message, summary or temporary file holds a value of theirs; dead letters do."""
    lines = [json.dumps(event) for event in BAD_EVENTS] + [f'{{"{CANARY}', f'{{"event":"e","time":{CANARY}}}']
    good = {"time": NOW_MS, "distinct_id": CANARY, "plan": [CANARY]}
    lines += [json.dumps({"event": "e", "properties": good | {"$insert_id": f"id-{n}"}}) for n in range(9)]
    (watched.folder / "events.ndjson").write_text("\n".join(lines) + f"\n{CANARY}\n")
    for fault in faults:
        server.add_fault(**fault)
    fill = {"url": server.url, "folder": str(watched.folder)}
    watched.run(
        [
            *(sys.executable, str(OBSERVED), f"{watched.folder}/observed"),
            f"--input={watched.folder}/events.ndjson",
            f"--summary={watched.folder}/out/summary.json",
            *(argument.format(**fill) for argument in (*BY_ENV, *arguments)),
        ],
        {"PYTHONPATH": os.pathsep.join(sys.path)} | ACCOUNT,
    )
    assert watched.code == code, watched.places()["stderr"].decode()
    found = find_in(watched.places(), CANARY)
    assert [place for place in found if not any(kept in place for kept in VALUES_KEPT)] == []
    assert ("out/dead" in str(found)) == (arguments[:1] == LETTERS)
