"""Hostile files: each has an answer that is stated in docs/hostile-input.md, and nothing is skipped silently.

Every row runs the pipeline as people run it, against the emulator, and looks at the exit code, the books, the dead
letters and what arrived.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zstandard
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import files_to_mixpanel, replay_dead_letters

NOW_MS = int(time.time() * 1000)
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


def event(number: int, extra: bytes = b"") -> bytes:
    """Write an event that Mixpanel accepts, with more properties, as a line without its newline."""
    ours = b'"time":%d,"distinct_id":"u-%d","$insert_id":"id-%08d"' % (NOW_MS - 1000 - number, number, number)
    return b'{"event":"Tested","properties":{%s%s}}' % (ours, extra)


def with_property(value: bytes) -> bytes:
    return event(7, b',"p":' + value)


def many_keys(count: int) -> bytes:
    return event(7, b"".join(b',"%x":1' % number for number in range(count)))


A, B, C = event(1), event(2), event(3)
GOOD = A + b"\n" + B + b"\n"
DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = 100_000_000


@dataclass
class Run:
    """What a run left behind, here and at the server."""

    code: int
    books: dict[str, int]
    reasons: dict[str, int]
    letters: list[dict[str, Any]]
    arrived: Counter[bytes]
    printed: str
    summary: dict[str, Any]


class Job:
    """Runs the pipeline in a folder of its own."""

    def __init__(self, folder: Path, reference: str, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.input = folder / "in"
        self.input.mkdir()
        self._reference = reference
        self._emulator = emulator
        self._capsys = capsys

    def flags(self) -> list[str]:
        return [
            f"--mixpanel_api_host={self._emulator.url}",
            f"--mixpanel_project_token={self._reference}",
            f"--summary={self.folder}/summary.json",
            f"--dead_letters={self.folder}/dead",
        ]

    def run(self, pattern: str | None = None, pipeline: Any = files_to_mixpanel) -> Run:
        """Import what matches, or everything in the folder; check that the books agree with what happened."""
        summary_file = self.folder / "summary.json"
        summary_file.unlink(missing_ok=True)
        for file in self.folder.glob("dead-*"):
            if pipeline is files_to_mixpanel:
                file.unlink()
        self._emulator.reset()
        code = pipeline.run([f"--input={pattern or f'{self.input}/*'}", *self.flags()])
        printed = self._capsys.readouterr().err
        assert "Traceback" not in printed
        summary = json.loads(summary_file.read_text()) if summary_file.exists() else {}
        fates = ("read", "filtered", "invalid", "imported", "rejected", "undelivered")
        run = Run(
            code,
            {fate: summary[fate] for fate in fates if summary.get(fate)},
            summary.get("reasons", {}),
            self.letters(),
            Counter(str(sent["properties"]["$insert_id"]).encode() for sent in self._emulator.events()),
            printed.replace("\n", " "),
            summary,
        )
        if code in (0, 3):
            assert summary["balanced"]
            assert run.books.get("imported", 0) == run.arrived.total()
            assert run.books.get("invalid", 0) == sum(run.reasons.values())
        return run

    def letters(self) -> list[dict[str, Any]]:
        files = sorted(self.folder.glob("dead-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n") if line]


@pytest.fixture
def job(tmp_path: Path, token_reference: str, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> Job:
    return Job(tmp_path, token_reference, emulator, capsys)


@dataclass(frozen=True)
class Readable:
    """Files that are read to their end, and the books that come of them.

    Attributes:
      name: of the test.
      files: by name.
      imported: how many events arrive.
      reasons: of the dead letters, how many of each.
    """

    name: str
    files: dict[str, bytes]
    imported: int = 2
    reasons: dict[str, int] = field(default_factory=dict)


def line(name: str, hostile: bytes, reason: str = "") -> Readable:
    """Put a line between two good events."""
    content = b"\n".join((A, hostile, B, b""))
    return Readable(name, {"f": content}, 2 if reason else 3, {reason: 1} if reason else {})


READABLE = [
    line("100,000 brackets", DEEP, "nested_too_deep"),
    line("100,000 brackets in a property", with_property(DEEP), "nested_too_deep"),
    line("100,000 brackets that never close", b'{"a":' * 100_000, "nested_too_deep"),
    line("a million keys, longer than any event", many_keys(1_000_000), "line_too_long"),
    line("as many keys as a line can hold", many_keys(600_000), "too_many_properties"),
    line("a long line that may be an event", with_property(b'"%s"' % (b"\\u0041" * 150_000))),
    line("a long line that is too large an event", with_property(b'"%s"' % (b"a" * 7_000_000)), "event_too_large"),
    line("a NUL byte in text", with_property(b'"a\0b"'), "invalid_json"),
    line("NUL bytes for a line", b"\0" * 1000, "invalid_json"),
    line("an escaped NUL", with_property(b'"a\\u0000b"')),
    line("half of an escaped surrogate pair", with_property(b'"\\ud800"'), "lone_surrogate"),
    line("a surrogate in UTF-8", with_property(b'"\xed\xa0\x80"'), "not_utf8"),
    line("an escaped surrogate pair", with_property(b'"\\ud83d\\ude00"')),
    line("a line of UTF-16 among others", event(7).decode().encode("utf-16-be"), "invalid_json"),
    line("separators of Unicode within text", with_property('"a\u2028b\u0085c"'.encode())),
    line("a control character in text", with_property(b'"a\x0bb"'), "invalid_json"),
    line("two events on a line", event(7) + event(8), "invalid_json"),
    line("half an event", event(7)[:40], "invalid_json"),
    Readable("UTF-8 with a mark", {"f": b"\xef\xbb\xbf" + GOOD}),
    Readable("joined files, each with a mark", {"f": b"\xef\xbb\xbf" + A + b"\n\xef\xbb\xbf" + B}),
    Readable("CRLF", {"f": GOOD.replace(b"\n", b"\r\n")}),
    Readable("no newline at the end", {"f": GOOD[:-1]}),
    Readable("CR alone", {"f": A + b"\n" + b"\r".join((B, C))}, 1, {"invalid_json": 1}),
    Readable("an empty file beside a good one", {"f": GOOD, "g": b""}),
    Readable("blank lines", {"f": b"\n\n" + A + b"\n \t\r\n" + B + b"\n\n"}),
    *(
        Readable(f"{kind}: {name}", {f"f.{kind}": content})
        for kind, compress in COMPRESSORS.items()
        for name, content in {
            "several members": compress(A + b"\n") + compress(B),
            "a line across members": compress(GOOD[:30]) + compress(GOOD[30:]),
            "an empty member": compress(b"") + compress(GOOD) + compress(b""),
            "zeros at the end": compress(GOOD) + bytes(5000),
            "zeros between members": compress(A + b"\n") + bytes(3000) + compress(B),
        }.items()
    ),
    *(
        Readable(f"a file named {name!r}", {name: GOOD})
        for name in ("a b", "*", "a*b?", "[1]", "é東😀", "new\nline", "-x", "%20", "a\\b", "C:x", "#", ".hidden")
    ),
]


@pytest.mark.parametrize("row", READABLE, ids=lambda row: row.name)
def test_what_can_be_read_is_counted(job: Job, row: Readable) -> None:
    """Each line is imported or a dead letter that says why and where, and the others are not harmed."""
    for name, content in row.files.items():
        (job.input / name).write_bytes(content)
    run = job.run()
    assert run.code == (3 if row.reasons else 0)
    letters = sum(row.reasons.values())
    expected = {"read": row.imported + letters, "invalid": letters, "imported": row.imported}
    assert run.books == {fate: count for fate, count in expected.items() if count}
    assert run.reasons == row.reasons
    assert set(run.arrived.values()) == {1}
    for letter in run.letters:
        assert letter["source"] == f"{job.input}/f@{len(A) + 1}"


@pytest.mark.parametrize("name", ["a[1].ndjson", "*", "a?"])
def test_a_file_is_found_by_its_own_name(job: Job, name: str) -> None:
    """Brackets and asterisks in a file's name do not keep it from being named."""
    (job.input / name).write_bytes(GOOD)
    assert job.run(f"{job.input}/{name}").books == {"read": 2, "imported": 2}


@pytest.mark.parametrize("kind", ["plain", *COMPRESSORS])
def test_a_line_of_100_mb_is_a_dead_letter_in_part(job: Job, kind: str) -> None:
    """Its head, length and hash are kept, the lines around it arrive, and a replay does not take the head for it.

    10 MB of bzip2, since making more takes long.
    """
    length = LONG if kind != "bz2" else LONG // 10
    text = b'{"event":"Tested","properties":{"p":"' + "é".encode() * (length // 2)
    content = A + b"\n" + text + b"\n" + B + b"\n"
    (job.input / "f").write_bytes(COMPRESSORS[kind](content) if kind != "plain" else content)
    run = job.run()
    assert (run.code, run.books) == (3, {"read": 3, "invalid": 1, "imported": 2})
    (letter,) = run.letters
    assert (letter["stage"], letter["reason"]) == ("parse", "line_too_long")
    assert letter["source"] == f"{job.input}/f@{len(A) + 1}"
    assert f"{len(text)} bytes, SHA-256 {hashlib.sha256(text).hexdigest()}" in letter["message"]
    assert text.decode().startswith(letter["event"])
    assert 9_990 < len(letter["event"].encode()) <= 10_000
    again = job.run(f"{job.folder}/dead-*", replay_dead_letters)
    assert (again.code, again.books) == (3, {"read": 1, "invalid": 1})
    assert again.reasons == {"line_too_long": 1}


_PEAK_OF_CHILD = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""Runs a command as the child of a small process: the peak of a large process's child begins with its parent's."""


@pytest.mark.parametrize("kind", ["plain", "gz", "zst"])
def test_memory_does_not_grow_with_a_line(job: Job, kind: str) -> None:
    """A whole import of a line of 200 MB needs about as much memory as one of a short line."""
    peaks = []
    for name, length in (("short", 100), ("long", 2 * LONG)):
        file = job.input / name
        content = b"\n".join((A, b"x" * length, B))
        file.write_bytes(COMPRESSORS[kind](content) if kind != "plain" else content)
        del content
        command = [sys.executable, "-m", "beam_mixpanel.pipelines.files_to_mixpanel", f"--input={file}", *job.flags()]
        measured = subprocess.run(
            [sys.executable, "-c", _PEAK_OF_CHILD, *command],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert measured.returncode == 3
        peaks.append(int(measured.stdout.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 100


def dangling(folder: Path) -> None:
    (folder / "hostile").symlink_to(folder / "nothing")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "hostile")


def unix_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{here}/hostile")
        finally:
            os.close(here)


def device(folder: Path) -> None:
    (folder / "hostile").symlink_to("/dev/zero")


def subfolder(folder: Path) -> None:
    (folder / "hostile").mkdir()
    (folder / "hostile" / "more").write_bytes(event(9))


def name_in_latin_1(folder: Path) -> None:
    Path(os.fsdecode(bytes(folder) + b"/hostile-\xe9")).write_bytes(GOOD)


def of_zero_size(folder: Path) -> None:
    (folder / "hostile").symlink_to("/proc/self/status")


def holding(content: bytes, suffix: str = "") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / f"hostile{suffix}").write_bytes(content)

    return write


LONGER = b"".join(event(number) + b"\n" for number in range(5_000))


UNREADABLE: list[tuple[str, Callable[[Path], None], int, str]] = [
    ("a link to nothing", dangling, 2, "a link to a file that does not exist"),
    ("a pipe", pipe, 2, "a pipe, socket or device"),
    ("a socket", unix_socket, 2, "a pipe, socket or device"),
    ("a device without end", device, 2, "a pipe, socket or device"),
    ("a folder", subfolder, 2, "it is a folder; add /*"),
    ("a name that is not UTF-8", name_in_latin_1, 2, "its name is not UTF-8"),
    ("more than its size says", of_zero_size, 1, "it holds more than the 0 bytes"),
    ("UTF-16", holding(GOOD.decode().encode("utf-16")), 2, "UTF-16; convert it to UTF-8"),
    ("UTF-16 without a mark", holding(GOOD.decode().encode("utf-16-le")), 2, "UTF-16; convert it to UTF-8"),
    ("UTF-16, big end first", holding(GOOD.decode().encode("utf-16-be")), 2, "UTF-16; convert it to UTF-8"),
    ("UTF-16, gzipped", holding(gzip.compress(GOOD.decode().encode("utf-16"))), 2, "UTF-16; convert it to UTF-8"),
    ("gzip in gzip", holding(gzip.compress(gzip.compress(GOOD))), 1, "it is compressed twice"),
    ("a zip archive", holding(b"PK\x03\x04" + bytes(100)), 1, "it is a zip archive"),
    ("xz", holding(b"\xfd7zXZ\x00"), 1, "it is xz-compressed"),
    *(
        (f"{kind}: {name}", holding(content, f".{kind}"), 1, "to its end")
        for kind, compress in COMPRESSORS.items()
        for name, content in {
            "empty": b"",
            "cut short": compress(LONGER)[:-20],
            "cut within the second member": compress(GOOD) + compress(LONGER)[:-20],
            "cut within the head": compress(GOOD)[:8],
            "followed by text": compress(GOOD) + b"the end, or so\n",
            "followed by one byte": compress(GOOD) + b"x",
            "followed by zeros and text": compress(GOOD) + bytes(3000) + GOOD,
            "damaged": compress(os.urandom(50_000) + LONGER)[:30_000] + bytes(500),
        }.items()
    ),
]


@pytest.mark.parametrize(
    ("prepare", "code", "says"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE]
)
def test_one_file_of_many_that_cannot_be_read_fails_the_job(
    job: Job, prepare: Callable[[Path], None], code: int, says: str
) -> None:
    """The job ends with the file's name and the reason, soon, whatever the other files hold."""
    for number in range(3):
        (job.input / f"good-{number}").write_bytes(event(number))
    prepare(job.input)
    run = job.run()
    assert run.code == code
    assert f"{job.input}/hostile" in run.printed
    assert says in run.printed


@pytest.mark.parametrize("pattern", ["{input}", "{input}/", "{input}/**", "{input}/sub", "{folder}/*"])
def test_folders(job: Job, pattern: str) -> None:
    """A folder is never taken for an empty file; `**` and a slash at the end mean what is in it."""
    (job.input / "sub").mkdir()
    (job.input / "sub" / "f").write_bytes(GOOD)
    run = job.run(pattern.format(input=job.input, folder=job.folder))
    if pattern == "{input}/**":
        assert (run.code, run.books) == (0, {"read": 2, "imported": 2})
    else:
        assert run.code == 2
        assert "is a folder; add /*" in run.printed


def test_folders_behind_links_are_looked_into(job: Job) -> None:
    """A glob that names a level finds what is behind a link there, and `**`, which does not follow it, says so."""
    elsewhere = job.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f.ndjson").write_bytes(GOOD)
    (job.input / "link").symlink_to(elsewhere)
    assert job.run(f"{job.input}/*/*.ndjson").books == {"read": 2, "imported": 2}
    run = job.run(f"{job.input}/**")
    assert run.code == 2
    assert f"{job.input}/link: it is a folder" in run.printed


def test_a_folder_that_cannot_be_listed_fails_the_job(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files may be that match, not seeing them is no reason to go on; elsewhere it does not matter."""
    for name in ("a", "b"):
        (job.input / name).mkdir()
        (job.input / name / "f").write_bytes(GOOD)
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    run = job.run(f"{job.input}/*/f")
    assert run.code == 2
    assert f"cannot list {job.input}/b: Permission denied" in run.printed
    assert job.run(f"{job.input}/a*/f").books == {"read": 2, "imported": 2}


class TrickyFileSystem(LocalFileSystem):
    """The local files under `tricky://`, but for what is done to them while they are read."""

    sizes: ClassVar[dict[str, list[int]]] = {}
    """What is said of a file's size, in turn; the last one for ever."""
    errors: ClassVar[dict[str, OSError]] = {}
    """What opening a file raises."""
    resets_after: ClassVar[dict[str, int]] = {}
    """How many bytes of a file can be read."""

    @classmethod
    def scheme(cls) -> str:
        return "tricky"

    def exists(self, path: str) -> bool:
        return super().exists(_local(path))

    def size(self, path: str) -> int:
        said = self.sizes.get(Path(path).name, [os.path.getsize(_local(path))])
        return said.pop(0) if len(said) > 1 else said[0]

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path))

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for found in super()._list(_local(dir_or_prefix)):
            yield self.metadata(f"tricky://{found.path}")

    def open(self, path: str, *_: Any, **__: Any) -> Any:
        name = Path(path).name
        if name in self.errors:
            raise self.errors[name]
        raw = open(_local(path), "rb")  # noqa: SIM115 - the reader closes it
        return _Resetting(raw, self.resets_after[name]) if name in self.resets_after else raw


def _local(path: str) -> str:
    return path.removeprefix("tricky://")


class _Resetting(io.RawIOBase):
    """A file whose connection is lost after so many bytes."""

    def __init__(self, raw: Any, after: int) -> None:
        self._raw = raw
        self._after = after
        self.seek, self.tell = raw.seek, raw.tell

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._after - self._raw.tell()
        if left <= 0:
            raise ConnectionResetError(104, "Connection reset by peer")
        return int(self._raw.readinto(memoryview(buffer)[:left]))

    def close(self) -> None:
        self._raw.close()
        super().close()


@pytest.fixture
def tricky(monkeypatch: pytest.MonkeyPatch) -> type[TrickyFileSystem]:
    for trick in ("sizes", "errors", "resets_after"):
        monkeypatch.setattr(TrickyFileSystem, trick, {})
    return TrickyFileSystem


def _many_files(job: Job, hostile: bytes = GOOD) -> str:
    for number in range(20):
        (job.input / f"good-{number}").write_bytes(event(100 + number))
    (job.input / "hostile").write_bytes(hostile)
    return f"tricky://{job.input}/*"


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such file or directory")]
)
def test_a_file_that_cannot_be_opened_fails_the_job(job: Job, tricky: type[TrickyFileSystem], error: OSError) -> None:
    """Permission denied in one file of many, or one that vanished after it was listed: exit code 1 and its name."""
    tricky.errors["hostile"] = error
    run = job.run(_many_files(job))
    assert run.code == 1
    assert f"cannot read tricky://{job.input}/hostile: [Errno {error.errno}] {error.strerror}" in run.printed


@pytest.mark.parametrize("content", [LONGER, gzip.compress(LONGER)], ids=["plain", "gzip"])
@pytest.mark.parametrize("after", [0, 4, 200])
def test_a_file_that_breaks_while_it_is_read_fails_the_job(
    job: Job, tricky: type[TrickyFileSystem], content: bytes, after: int
) -> None:
    """What was read of it does not stand for the whole."""
    tricky.resets_after["hostile"] = after
    run = job.run(_many_files(job, content))
    assert run.code == 1
    assert f"cannot read tricky://{job.input}/hostile to its end: [Errno 104]" in run.printed


@pytest.mark.parametrize("missing", [1, len(GOOD), 100_000_000])
def test_a_file_that_shrinks_fails_the_job(job: Job, tricky: type[TrickyFileSystem], missing: int) -> None:
    """A file that ends before the size it had is not taken for one that was read, however many ranges it had."""
    tricky.sizes["hostile"] = [len(GOOD) + missing]
    run = job.run(_many_files(job))
    assert run.code == 1
    assert f"cannot read tricky://{job.input}/hostile to its end: it ends after" in run.printed
    assert "run the job again" in run.printed


@pytest.mark.parametrize("listed", [0, len(A), len(A) + 1])
def test_a_file_that_grows_is_read_as_far_as_it_went(
    job: Job, tricky: type[TrickyFileSystem], caplog: pytest.LogCaptureFixture, listed: int
) -> None:
    """Lines that began within the size it had arrive whole; that there are more is told and counted."""
    tricky.sizes["hostile"] = [listed, listed, len(GOOD)]
    run = job.run(_many_files(job))
    assert run.code == 0
    assert run.books["imported"] == 20 + (listed > 0)
    assert run.summary["grown_files"] == 1
    assert f"{listed} bytes when the job began and has {len(GOOD)} now" in caplog.text


def test_a_size_that_is_wrong_from_the_beginning_fails_the_job(job: Job, tricky: type[TrickyFileSystem]) -> None:
    """A store that says less than it gives, as one that decompresses while it serves, would lose events."""
    tricky.sizes["hostile"] = [len(A)]
    run = job.run(_many_files(job))
    assert run.code == 1
    assert f"hostile to its end: it holds more than the {len(A)} bytes" in run.printed


def test_a_file_of_two_sizes_is_read_once(job: Job, tricky: type[TrickyFileSystem]) -> None:
    """A file that grows while two patterns find it is still one file."""
    pattern = _many_files(job)
    tricky.sizes["hostile"] = [len(GOOD) - 1] * 4 + [len(GOOD)]
    code = files_to_mixpanel.run([f"--input={pattern}", f"--input={pattern}", *job.flags()])
    assert code == 0
    assert json.loads((job.folder / "summary.json").read_text())["read"] == 22


@pytest.mark.parametrize("content", [b"", gzip.compress(b""), b"\n\n \n"], ids=["empty", "gzip of nothing", "blank"])
def test_nothing_but_empty_files_is_no_success(job: Job, content: bytes) -> None:
    """A job that found no event says so and fails."""
    (job.input / "f").write_bytes(content)
    run = job.run()
    assert run.code == 1
    assert "no events were read" in run.printed
