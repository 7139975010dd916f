"""ORC files: every row once, with the values that Parquet would give, or an error."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from beam_mixpanel.core.formats import orc_tail
from beam_mixpanel.core.rows.arrow import rows_of
from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.errors import UnreadableFileError
from beam_mixpanel.files import orc as orc_files
from beam_mixpanel.files.formats import format_named
from beam_mixpanel.files.row_file import RowSettings, look_at
from beam_mixpanel.pipelines import check_events, files_to_mixpanel

NOW_MS = 1_800_000_000_000
MOMENT = dt.datetime(2024, 2, 29, 23, 59, 59, 123456)
CODECS = ("uncompressed", "zlib", "snappy", "lz4", "zstd")


def _orc(path: Path, table: pa.Table, *, stripe_rows: int = 0, compression: str = "zstd") -> Path:
    """Write a file; with `stripe_rows`, of stripes of so many rows."""
    small = {"stripe_size": 64, "compression_block_size": 65_536} if stripe_rows else {}
    with orc.ORCWriter(path, compression=compression, **small) as writer:
        for start in range(0, table.num_rows, stripe_rows) if stripe_rows else ():
            writer.write(table.slice(start, stripe_rows))
        if not stripe_rows:
            writer.write(table)
    return path


def _noise(number: int) -> str:
    """Return text that does not shrink when it is compressed."""
    return hashlib.md5(str(number).encode()).hexdigest()


def _batches(path: Path, **chosen: Any) -> list[RowBatch]:
    read_settings = RowSettings(**chosen)
    file = look_at(str(path), path.stat().st_size, read_settings)
    form = format_named(file.file_format)
    return [batch for part in form.split(file, read_settings) for batch in form.read(part, read_settings)]


def _rows(path: Path, **chosen: Any) -> dict[int, dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for batch in _batches(path, **chosen):
        assert batch.batch.num_rows <= orc_files.BATCH_ROWS
        for number, row in enumerate(rows_of(batch.batch), batch.first_row):
            assert number not in rows
            rows[number] = row
    return rows


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("range_bytes", [1, 300_000, 10_000_000])
def test_stripes_are_shared_out(tmp_path: Path, compression: str, range_bytes: int) -> None:
    """Each row once, with its number, in parts of whole stripes, however the file is compressed."""
    table = pa.table({"n": range(30_000), "t": [_noise(number) for number in range(30_000)]})
    path = _orc(tmp_path / "part-1", table, stripe_rows=1_024, compression=compression)
    read_settings = RowSettings(range_bytes=range_bytes)
    parts = list(format_named("orc").split(look_at(str(path), path.stat().st_size, read_settings), read_settings))
    stripes = orc.ORCFile(path).nstripes
    assert stripes > 5
    assert len(parts) == 1 if range_bytes == 10_000_000 else 1 < len(parts) <= stripes
    assert sum(part.size_bytes for part in parts) < path.stat().st_size
    expected = {number: {"n": number, "t": _noise(number)} for number in range(30_000)}
    assert _rows(path, range_bytes=range_bytes) == expected


def test_only_the_columns_that_are_needed_are_read(tmp_path: Path) -> None:
    """In their order; one that the file does not have is null; names may hold dots."""
    path = _orc(tmp_path / "a.orc", pa.table({"a": [1, 2], "a.b": ["x", None], "c": [[1], []], "d": [{"a": 1}] * 2}))
    assert list(_rows(path, columns=("c", "missing", "a")).values()) == [
        {"c": [1], "missing": None, "a": 1},
        {"c": [], "missing": None, "a": 2},
    ]
    assert _rows(path, columns=("a.b",)) == {0: {"a.b": "x"}, 1: {"a.b": None}}
    assert _rows(path, columns=("missing",)) == {0: {"missing": None}, 1: {"missing": None}}
    file = look_at(str(path), None, RowSettings())
    assert format_named("orc").columns(file, RowSettings()) == ["a", "a.b", "c", "d"]


TYPES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [True, False]),
    (pa.int8(), [-128, 127]),
    (pa.int64(), [1234567890123456789, -1]),
    (pa.float32(), [1.5, -0.1]),
    (pa.float64(), [0.1, float("nan")]),
    (pa.decimal128(20, 2), [Decimal("123456789012345678.90"), Decimal("-0.01")]),
    (pa.decimal128(38, 10), [Decimal("1234567890123456789012345678.0123456789"), Decimal(0)]),
    (pa.string(), ['São "Paulo" 🦋\n', ""]),
    (pa.binary(), [b"\x00\xff", b""]),
    (pa.date32(), [MOMENT.date(), dt.date(9999, 12, 31)]),
    (pa.timestamp("us"), [MOMENT, dt.datetime(1900, 1, 1)]),
    (pa.timestamp("us", "UTC"), [MOMENT.replace(tzinfo=dt.timezone.utc)] * 2),
    (pa.timestamp("us", "Europe/Paris"), [MOMENT.replace(tzinfo=dt.timezone.utc)] * 2),
    (pa.timestamp("ns"), [1_709_251_199_123_456_789, -1]),
    (pa.list_(pa.int64()), [[1, None, 2**60], []]),
    (pa.struct([("b", pa.timestamp("us")), ("a", pa.list_(pa.string()))]), [{"b": MOMENT, "a": ["x"]}] * 2),
    (pa.map_(pa.string(), pa.decimal128(5, 2)), [[("k", Decimal("1.50"))], []]),
]


def test_a_table_gives_the_same_events_as_orc_and_as_parquet(tmp_path: Path) -> None:
    """Bytes and all, so that ids made from the content agree; nulls and nested values, too."""
    columns: dict[str, pa.Array] = {
        "event": pa.array(["A", "B", "C"]),
        "time": pa.array([MOMENT] * 3, pa.timestamp("us")),
        "distinct_id": pa.array(["u"] * 3),
    }
    columns |= {f"c{place}": pa.array([*values, None], kind) for place, (kind, values) in enumerate(TYPES)}
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "a.parquet")
    _orc(tmp_path / "a.orc", table)
    bodies = []
    for name in ("a.parquet", "a.orc"):
        done = [RowPreparer(EventMapping()).prepare_batch(batch, NOW_MS) for batch in _batches(tmp_path / name)]
        assert [letter for each in done for letter in each.invalid] == []
        bodies.append([body for each in done for body in each.events.bodies])
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) == 3
    assert all(b"$insert_id" in body for body in bodies[0])


def test_text_of_fixed_length_is_text(tmp_path: Path) -> None:
    """Hive's `char(2)`, of which other writers than Arrow's make use: whole, however many bytes a character has."""
    table = pa.table({"a": [{"c": "São"}, {"c": "US"}], "z": ["東京", None]})
    path = _orc(tmp_path / "text.orc", table)
    raw = path.read_bytes()
    tail = orc_tail.OrcTail(orc.ORCFile(path).reader.serialized_file_tail())
    as_char = [
        (number, _as_char(value)) if number == 4 and isinstance(value, bytes) else (number, value)
        for number, value in tail._footer
    ]
    tail._footer = as_char
    path.write_bytes(raw[: tail.stripes[-1].stop] + tail.only([0]))
    assert _rows(path) == {0: {"a": {"c": "São"}, "z": "東京"}, 1: {"a": {"c": "US"}, "z": None}}


def _as_char(encoded: bytes) -> bytes:
    fields = list(orc_tail._fields(encoded))
    if orc_tail._first(fields, 1) != 7:
        return encoded
    return orc_tail._field(1, 17) + b"".join(orc_tail._field(*field) for field in fields[1:]) + orc_tail._field(4, 2)


@pytest.mark.parametrize("moment", [dt.datetime(9999, 12, 31), dt.datetime(1600, 1, 1)])
@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize("nested", [False, True])
def test_moments_that_arrow_has_no_room_for_are_an_error(
    tmp_path: Path, moment: dt.datetime, zone: str | None, nested: bool
) -> None:
    """Wherever they stand in a column that is read; older releases of Arrow made other moments of them."""
    moments = pa.array([moment, None], pa.timestamp("us", zone))
    until = pa.StructArray.from_arrays([pa.array([1, 2]), moments], ["n", "at"]) if nested else moments
    path = _orc(tmp_path / "a.orc", pa.table({"a": [1, 2], "until": until, "z": ["x", "y"]}))
    with pytest.raises(UnreadableFileError, match=r"'until' holds moments before 1677 or after 2262"):
        _rows(path)
    assert _rows(path, columns=("z", "a")) == {0: {"z": "x", "a": 1}, 1: {"z": "y", "a": 2}}


def test_moments_without_statistics_need_an_arrow_that_checks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than trust the file."""
    path = _orc(tmp_path / "a.orc", pa.table({"at": pa.array([MOMENT], pa.timestamp("us"))}))
    monkeypatch.setattr(orc_tail, "_bounds", lambda _: None)
    monkeypatch.setattr(pa, "__version__", "25.0.1")
    assert _rows(path) == {0: {"at": MOMENT}}
    monkeypatch.setattr(pa, "__version__", "24.0.0")
    with pytest.raises(UnreadableFileError, match="'at' has no statistics: install pyarrow 25"):
        _rows(path)


def test_encrypted_columns_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the key they would be read as masked values."""
    path = _orc(tmp_path / "a.orc", pa.table({"a": [1]}))
    monkeypatch.setattr(orc_tail, "_ENCRYPTION", 3)
    with pytest.raises(UnreadableFileError, match="encrypted"):
        _rows(path)


def test_files_without_rows_hold_none(tmp_path: Path) -> None:
    """It is no error, and the columns are known."""
    path = _orc(tmp_path / "a.orc", pa.table({"a": pa.array([], pa.int64())}))
    assert _rows(path) == {}
    assert format_named("orc").columns(look_at(str(path), None, RowSettings()), RowSettings()) == ["a"]


@pytest.mark.parametrize("content", [b"", b"ORC", b"ORC" + b"\0" * 100 + b"ORC\x17", b"a,b\n1,2\n"])
def test_a_damaged_file_fails_the_job(tmp_path: Path, content: bytes) -> None:
    """Empty, cut short, or something else by that name; the message names the file."""
    path = tmp_path / "a.orc"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"cannot read .*a\.orc"):
        _rows(path)


@pytest.mark.parametrize("compression", CODECS)
def test_a_file_that_is_cut_short_fails_the_job(tmp_path: Path, compression: str) -> None:
    """Wherever: its end lists everything, so that without it nothing is taken for a smaller file."""
    table = pa.table({"n": range(3_000), "t": ["x" * (n % 9) for n in range(3_000)]})
    whole = _orc(tmp_path / "whole.orc", table, compression=compression).read_bytes()
    path = tmp_path / "a.orc"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableFileError, match=r"cannot read .*a\.orc"):
            _rows(path)


DAMAGED = """
import sys
from beam_mixpanel.errors import UnreadableFileError
from beam_mixpanel.files.formats import format_named
from beam_mixpanel.files.row_file import RowSettings, look_at
whole, settings, form = open(sys.argv[1], "rb").read(), RowSettings(), format_named("orc")
for place in range(int(sys.argv[3]), len(whole), 5):
    print(place, end=" ", flush=True)
    with open(sys.argv[2], "wb") as file:
        file.write(whole[:place] + bytes([whole[place] ^ (place % 255 + 1)]) + whole[place + 1 :])
    try:
        file = look_at(sys.argv[2], len(whole), settings)
        print(sum(b.batch.num_rows for part in form.split(file, settings) for b in form.read(part, settings)))
    except UnreadableFileError as error:
        print("named" if sys.argv[2] in str(error) else error)
"""


@pytest.mark.parametrize("compression", CODECS)
def test_a_damaged_byte_loses_no_row(tmp_path: Path, compression: str) -> None:
    """All rows are there, or the job fails: by an error that names the file, or because Arrow's reader crashes.

    It does so by itself, too (`pyarrow.orc.ORCFile(...).read()`), which is why this runs in processes of its own.
    """
    table = pa.table({"n": range(3_000), "t": ["x" * (n % 9) for n in range(3_000)]})
    whole = _orc(tmp_path / "whole.orc", table, compression=compression)
    found: list[str] = []
    start, crashes = 0, 0
    while start < whole.stat().st_size:
        program = [sys.executable, "-c", DAMAGED, str(whole), str(tmp_path / "a.orc"), str(start)]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        *lines, last = done.stdout.splitlines()
        found += [line.split()[1] for line in lines]
        if done.returncode == 0:
            found.append(last.split()[1])
            break
        assert done.returncode < 0, done.stderr
        crashes += 1
        start = int(last.split()[0]) + 5
    assert set(found) <= {"named", "3000"}
    assert crashes < len(found)


def test_a_file_compressed_as_a_whole_is_an_error_with_the_cure(tmp_path: Path) -> None:
    """ORC is compressed inside, and must be read from its end."""
    path = tmp_path / "a.orc.gz"
    path.write_bytes(gzip.compress(_orc(tmp_path / "b", pa.table({"a": [1]})).read_bytes()))
    with pytest.raises(UnreadableFileError, match="ORC is not compressed as a whole; decompress it"):
        _rows(path)


def test_names_that_are_there_twice_are_an_error(tmp_path: Path) -> None:
    """As in every format."""
    path = _orc(tmp_path / "a.orc", pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))
    with pytest.raises(UnreadableFileError, match="more than one column is named 'a'"):
        _rows(path)


def test_a_build_of_arrow_without_orc_is_an_error_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than a traceback of an import."""
    path = _orc(tmp_path / "a.orc", pa.table({"a": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow.orc", None)
    with pytest.raises(UnreadableFileError, match="this build of pyarrow cannot read ORC; install it from PyPI"):
        _rows(path)


PEAK = """
import resource, sys
from beam_mixpanel.files.formats import format_named
from beam_mixpanel.files.row_file import RowSettings, look_at
settings = RowSettings()
form = format_named("orc")
file = look_at(sys.argv[1], 1, settings)
form.columns(file, settings)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(b.batch.num_rows for part in form.split(file, settings) for b in form.read(part, settings))
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_stripe_is_never_held_as_a_whole(tmp_path: Path) -> None:
    """Four million rows, which take 170 MB as Arrow, in one stripe of a few KB: some MB are enough."""
    many = pa.table({"a": pa.array([7] * 1_000_000), "b": pa.array(["constant text of some length"] * 1_000_000)})
    with orc.ORCWriter(tmp_path / "a.orc", compression="zstd", stripe_size=1 << 30) as writer:
        for _ in range(4):
            writer.write(many)
    assert orc.ORCFile(tmp_path / "a.orc").nstripes == 1
    program = [sys.executable, "-c", PEAK, str(tmp_path / "a.orc")]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    rows, grown_mb = map(int, done.stdout.split())
    assert rows == 4_000_000
    assert grown_mb < 60


def test_orc_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A check and an import of the same file: the columns are found by their names, and the books balance."""
    table = pa.table({"event": ["A", "B"], "time": pa.array([MOMENT] * 2), "user_id": ["u", "v"], "n": [1, None]})
    _orc(tmp_path / "part-0001", table)
    assert check_events.run([f"--input={tmp_path}/part-*", f"--report={tmp_path}/check.html"]) == 0
    assert files_to_mixpanel.run([f"--input={tmp_path}/part-*", "--mixpanel_emulator", f"--summary={tmp_path}/s"]) == 0
    summary = json.loads((tmp_path / "s").read_text())
    assert (summary["read"], summary["imported"], summary["balanced"]) == (2, 2, True)
    assert "time from time; distinct_id from user_id" in capsys.readouterr().err
