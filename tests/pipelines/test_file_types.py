"""What becomes of each format's types, end to end through the emulator; `docs/files.md` shows the same table.

To write the tables anew: `BEAM_MIXPANEL_WRITE_DOCS=1 python -m pytest tests/pipelines/test_file_types.py`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.pipelines import check_events, files_to_mixpanel

DOCS = Path(__file__).parents[2] / "docs" / "files.md"
UTC = dt.timezone.utc
MOMENT = dt.datetime(2024, 2, 29, 23, 59, 59, 123456)
PARIS = dt.timezone(dt.timedelta(hours=1))

_exact = msgspec.json.Decoder(float_hook=Decimal).decode


def _logical(kind: str, logical: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": logical, **more}


PARQUET: list[tuple[str, pa.DataType, Any, str]] = [
    ("int64 past 2^53", pa.int64(), 1234567890123456789, "1234567890123456789"),
    ("uint64", pa.uint64(), 2**64 - 1, "18446744073709551615"),
    ("int8", pa.int8(), -128, "-128"),
    ("bool", pa.bool_(), True, "true"),
    ("double", pa.float64(), 0.1, "0.1"),
    ("double, NaN", pa.float64(), float("nan"), ""),
    ("double, infinite", pa.float64(), float("inf"), '"Infinity"'),
    ("float16", pa.float16(), 1.5, "1.5"),
    ("decimal128(20, 2)", pa.decimal128(20, 2), Decimal("123456789012345678.90"), "123456789012345678.90"),
    (
        "decimal256(40, 3)",
        pa.decimal256(40, 3),
        Decimal("1234567890123456789012345.678"),
        "1234567890123456789012345.678",
    ),
    ("string", pa.string(), 'São "Paulo" 🦋\n', json.dumps('São "Paulo" 🦋\n', ensure_ascii=False)),
    ("large_string", pa.large_string(), "x", '"x"'),
    ("binary", pa.binary(), b"\x00\xff", '"AP8="'),
    ("fixed_size_binary(2)", pa.binary(2), b"\x00\xff", '"AP8="'),
    ("dictionary of string", pa.dictionary(pa.int32(), pa.string()), "red", '"red"'),
    ("date32", pa.date32(), MOMENT.date(), '"2024-02-29"'),
    ("time64[us]", pa.time64("us"), MOMENT.time(), '"23:59:59.123456"'),
    ("time64[ns]", pa.time64("ns"), MOMENT.time(), '"23:59:59.123456"'),
    ("timestamp[us]", pa.timestamp("us"), MOMENT, '"2024-02-29T23:59:59.123456"'),
    ("timestamp[us, UTC]", pa.timestamp("us", "UTC"), MOMENT.replace(tzinfo=UTC), '"2024-02-29T23:59:59.123456"'),
    (
        "timestamp[us, Europe/Paris]",
        pa.timestamp("us", "Europe/Paris"),
        MOMENT.replace(tzinfo=PARIS),
        '"2024-02-29T22:59:59.123456"',
    ),
    ("timestamp[ns, UTC]: cut to µs", pa.timestamp("ns", "UTC"), 1709251199123456789, '"2024-02-29T23:59:59.123456"'),
    ("duration[us]", pa.duration("us"), dt.timedelta(seconds=1, microseconds=500000), "1.5"),
    ("list of int64", pa.list_(pa.int64()), [1, None, 2**60], "[1,null,1152921504606846976]"),
    (
        "struct",
        pa.struct([("b", pa.timestamp("ns")), ("a", pa.list_(pa.string()))]),
        {"b": 1709251199123456789, "a": ["x"]},
        '{"a":["x"],"b":"2024-02-29T23:59:59.123456"}',
    ),
    ("map of string, decimal", pa.map_(pa.string(), pa.decimal128(5, 2)), [("k", Decimal("1.50"))], '{"k":1.50}'),
    ("null", pa.null(), None, ""),
    ("any type, null", pa.int64(), None, ""),
]

AVRO: list[tuple[str, Any, Any, str]] = [
    ("long past 2^53", "long", 1234567890123456789, "1234567890123456789"),
    ("int", "int", -7, "-7"),
    ("boolean", "boolean", False, "false"),
    ("double", "double", 0.1, "0.1"),
    ("string", "string", "São Paulo 🦋", '"São Paulo 🦋"'),
    ("bytes", "bytes", b"\x00\xff", '"AP8="'),
    ("fixed", {"type": "fixed", "name": "two", "size": 2}, b"\x00\xff", '"AP8="'),
    ("enum", {"type": "enum", "name": "color", "symbols": ["RED", "BLUE"]}, "RED", '"RED"'),
    (
        "decimal of bytes",
        _logical("bytes", "decimal", precision=20, scale=2),
        Decimal("123456789012345678.90"),
        "123456789012345678.90",
    ),
    (
        "decimal of fixed",
        _logical("fixed", "decimal", name="dec", size=9, precision=18, scale=3),
        Decimal("-1.500"),
        "-1.500",
    ),
    ("uuid", _logical("string", "uuid"), UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    ("date", _logical("int", "date"), MOMENT.date(), '"2024-02-29"'),
    ("time-millis", _logical("int", "time-millis"), dt.time(1, 2, 3, 4000), '"01:02:03.004000"'),
    ("time-micros", _logical("long", "time-micros"), MOMENT.time(), '"23:59:59.123456"'),
    (
        "timestamp-millis",
        _logical("long", "timestamp-millis"),
        MOMENT.replace(tzinfo=UTC, microsecond=123000),
        '"2024-02-29T23:59:59.123000"',
    ),
    (
        "timestamp-micros",
        _logical("long", "timestamp-micros"),
        MOMENT.replace(tzinfo=PARIS),
        '"2024-02-29T22:59:59.123456"',
    ),
    ("local-timestamp-micros", _logical("long", "local-timestamp-micros"), MOMENT, '"2024-02-29T23:59:59.123456"'),
    ("union, null", ["null", "long"], None, ""),
    ("union, long", ["null", "string", "long"], 2**60, "1152921504606846976"),
    ("union, string", ["null", "string", "long"], "x", '"x"'),
    ("array", {"type": "array", "items": ["null", "long"]}, [1, None], "[1,null]"),
    ("map", {"type": "map", "values": "double"}, {"k": 1.5}, '{"k":1.5}'),
    (
        "record",
        {"type": "record", "name": "inner", "fields": [{"name": "at", "type": _logical("long", "timestamp-micros")}]},
        {"at": MOMENT.replace(tzinfo=UTC)},
        '{"at":"2024-02-29T23:59:59.123456"}',
    ),
]

CSV: list[tuple[str, str]] = [
    ("", ""),
    ('""', ""),
    ("0", "0"),
    ("-12", "-12"),
    ("10.50", "10.50"),
    ("123456789012345", "123456789012345"),
    ("1234567890123456789", '"1234567890123456789"'),
    ("007", '"007"'),
    ("+1", '"+1"'),
    ("1e5", '"1e5"'),
    ("true", "true"),
    ("TRUE", '"TRUE"'),
    ("null", '"null"'),
    ("2024-02-29", '"2024-02-29"'),
    ('"São, ""Paulo"" 🦋"', json.dumps('São, "Paulo" 🦋', ensure_ascii=False)),
    ('"two\nlines"', '"two\\nlines"'),
]

JSON: list[tuple[str, str]] = [
    ("1234567890123456789", "1234567890123456789"),
    ("12345678901234567890123", "12345678901234567890123"),
    ("0.1", "0.1"),
    ("0.12345678901234567890", "0.12345678901234567890"),
    ('"S\\u00e3o \\ud83e\\udd8b"', '"São 🦋"'),
    ("null", ""),
    ('{"b":[1,{"a":true}]}', '{"b":[1,{"a":true}]}'),
]

_ROLES = {"event": "Tested", "time": 1709251199123, "distinct_id": "u"}


def _write_parquet(path: Path) -> None:
    columns = {f"c{number:02}": pa.array([value], kind) for number, (_, kind, value, _) in enumerate(PARQUET)}
    pq.write_table(pa.table({**{name: [value] for name, value in _ROLES.items()}, **columns}), path)


def _write_avro(path: Path) -> None:
    roles = [{"name": "event", "type": "string"}, {"name": "time", "type": "long"}]
    roles.append({"name": "distinct_id", "type": "string"})
    fields = [{"name": f"c{number:02}", "type": kind} for number, (_, kind, _, _) in enumerate(AVRO)]
    schema = {"type": "record", "name": "row", "fields": roles + fields}
    row = _ROLES | {f"c{number:02}": value for number, (_, _, value, _) in enumerate(AVRO)}
    with path.open("wb") as file:
        fastavro.writer(file, schema, [row])


def _write_csv(path: Path) -> None:
    names = [*_ROLES, *(f"c{number:02}" for number in range(len(CSV)))]
    fields = [*map(str, _ROLES.values()), *(field for field, _ in CSV)]
    path.write_text(f"{','.join(names)}\n{','.join(fields)}\n", "utf-8")


def _write_json(path: Path) -> None:
    fields = "".join(f',"c{number:02}":{text}' for number, (text, _) in enumerate(JSON))
    path.write_text(f"[{json.dumps(_ROLES)[:-1]}{fields}}}]", "utf-8")


CASES: dict[str, tuple[Callable[[Path], None], list[tuple[str, str]]]] = {
    "parquet": (_write_parquet, [(name, expected) for name, _, _, expected in PARQUET]),
    "avro": (_write_avro, [(name, expected) for name, _, _, expected in AVRO]),
    "csv": (_write_csv, CSV),
    "json": (_write_json, JSON),
}


def _table(rows: list[tuple[str, str]], title: str) -> str:
    def cell(text: str) -> str:
        shown = text.replace("\n", "⏎").replace("|", "\\|")
        return f"`` {shown} ``" if "`" in shown else f"`{shown}`"

    lines = [f"| {title} | JSON |", "|---|---|"]
    lines += [f"| {cell(name) if name else 'nothing'} | {cell(json) if json else 'left out'} |" for name, json in rows]
    return "\n".join(lines)


@pytest.mark.parametrize("file_format", CASES)
def test_every_type_arrives_as_the_docs_say(
    tmp_path: Path, token_reference: str, emulator: Emulator, file_format: str
) -> None:
    """One row with a column of each type, through the pipeline: its JSON is exact, digit by digit."""
    write, rows = CASES[file_format]
    path = tmp_path / f"a.{file_format}"
    write(path)
    flags = [f"--input={path}", f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}"]
    assert files_to_mixpanel.run(flags) == 0
    (event,) = map(_exact, emulator._read("GET", "export").splitlines())
    properties = event["properties"]
    assert (event["event"], properties["time"], properties["distinct_id"]) == ("Tested", 1709251199123, "u")
    found = {name: value for name, value in properties.items() if re.fullmatch(r"c\d\d", name)}
    expected = {f"c{number:02}": _exact(text) for number, (_, text) in enumerate(rows) if text}
    assert found == expected


@pytest.mark.parametrize("file_format", CASES)
def test_the_docs_show_these_tables(file_format: str) -> None:
    """The tables of `docs/files.md` are those that the test above proves."""
    table = _table(CASES[file_format][1], "field of the file" if file_format in ("csv", "json") else "type")
    pattern = rf"(?s)(<!-- types of {file_format} -->\n).*?(\n<!-- end -->)"
    docs = DOCS.read_text("utf-8")
    written = re.sub(pattern, lambda found: found[1] + table + found[2], docs)
    if os.environ.get("BEAM_MIXPANEL_WRITE_DOCS"):
        DOCS.write_text(written, "utf-8")
    assert re.search(pattern, docs)
    assert written == DOCS.read_text("utf-8")


def test_csv_flags_and_dead_letters(tmp_path: Path, token_reference: str, emulator: Emulator) -> None:
    """Every flag has its effect; ragged rows are dead letters with their text, and the books balance."""
    path = tmp_path / "a.csv"
    path.write_bytes("Caf\xe9;1709251199123;7;1;x\nshort;1\n".encode("cp1252"))
    summary = tmp_path / "summary.json"
    flags = [f"--input={path}", f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}"]
    flags += ["--csv_delimiter=;", "--csv_columns=event,time,a,b,c", "--csv_encoding=cp1252"]
    flags += ["--csv_types=a:text,b:boolean", f"--dead_letters={tmp_path}/dead", f"--summary={summary}"]
    assert files_to_mixpanel.run(flags) == 3
    (event,) = emulator.events()
    assert (event["event"], event["properties"]["a"], event["properties"]["b"]) == ("Café", "7", True)
    (letter,) = [json.loads(line) for file in tmp_path.glob("dead-*") for line in file.read_text().splitlines()]
    assert (letter["stage"], letter["reason"], letter["event"]) == ("parse", "csv_columns", "short;1")
    assert letter["source"] == f"{path}#1"
    books = json.loads(summary.read_text())
    assert (books["read"], books["imported"], books["invalid"], books["balanced"]) == (2, 1, 1, True)
    emulator.reset()
    assert files_to_mixpanel.run([*flags, "--csv_text", "--redact=a"]) == 3
    (event,) = emulator.events()
    assert "a" not in event["properties"]
    kept = [json.loads(line)["event"] for file in tmp_path.glob("dead-*") for line in file.read_text().splitlines()]
    assert len(kept) == 2
    assert sorted("withheld" in text for text in kept) == [False, True]


@pytest.mark.parametrize(
    ("flag", "cure"),
    [
        ("--csv_types=a", "COLUMN:TYPE"),
        ("--csv_types=a:date", "text, number, boolean"),
        ("--csv_delimiter=;;", "ASCII"),
        ("--csv_columns=a\nb,c", "on one line"),
        ("--csv_types=a\nb:text", "on one line"),
    ],
)
def test_wrong_csv_flags_are_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, cure: str) -> None:
    """With the cure, before anything is read."""
    path = tmp_path / "a.csv"
    path.write_text("event,time\n")
    assert check_events.run([f"--input={path}", flag]) == 2
    assert cure in capsys.readouterr().err


def test_a_mapping_that_does_not_fit_the_columns_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Told before a row is read, with the columns that all files together have; what was chosen is printed."""
    (tmp_path / "a.csv").write_text("name,at,user\nA,1709251199123,u\n")
    (tmp_path / "b.csv").write_text("name,at,plan\nA,1709251199123,x\n")
    flags = [f"--input={tmp_path}/*.csv", f"--report={tmp_path}/r.html"]
    assert check_events.run([*flags, "--time_column=when"]) == 2
    error = capsys.readouterr().err
    assert "when" in error
    assert "plan" in error
    assert check_events.run([*flags, "--time_column=at", "--event_column=name"]) == 0
    assert "time from at" in capsys.readouterr().err


@pytest.mark.parametrize("more", ["name,at,plan,note\n", "name,at,note\n"], ids=["the same", "others"])
def test_only_the_columns_that_the_mapping_needs_are_read(
    tmp_path: Path, token_reference: str, emulator: Emulator, more: str
) -> None:
    """Where all files have the same columns; a dead letter's row shows what was read."""
    (tmp_path / "a.csv").write_text("name,at,plan,note\nA,1709251199123,x,y\nA,,x,y\n")
    (tmp_path / "b.csv").write_text(more)
    flags = [f"--input={tmp_path}/*.csv", "--event_column=name", "--time_column=at", "--include=plan"]
    flags += [f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}"]
    assert files_to_mixpanel.run([*flags, f"--dead_letters={tmp_path}/dead"]) == 3
    (event,) = emulator.events()
    assert event["properties"].keys() == {"time", "$insert_id", "plan"}
    (letter,) = [json.loads(line) for file in tmp_path.glob("dead-*") for line in file.read_text().splitlines()]
    all_columns = {"name": "A", "at": None, "plan": "x", "note": "y"}
    needed = {"name": "A", "at": None, "plan": "x"}
    assert json.loads(letter["event"]) == (needed if "plan" in more else all_columns)
