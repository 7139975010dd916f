"""Which JSON a value of each type of a database becomes: docs/databases.md has the tables, and these tests make them.

After a wanted change: `UPDATE_DOCS=1 python -m pytest tests/databases/test_types.py`.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from beam_mixpanel.core.rows.batches import RowBatch, RowList
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.databases.reading import SqlReading, read_part
from benchmarks.private_postgres import PrivatePostgres

DOCS = Path(__file__).parents[2] / "docs" / "databases.md"
NOW_MS = 1_800_000_000_000

POSTGRESQL = [
    ("boolean", "true", "true"),
    ("smallint, integer", "(-32768)::smallint", "-32768"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("real", "1.5::real", "1.5"),
    ("double precision", "0.1::float8", "0.1"),
    ("double precision", "'NaN'::float8", None),
    ("double precision", "'-Infinity'::float8", '"-Infinity"'),
    ("numeric(p, s)", "12345678901234567890.10::numeric(22,2)", "12345678901234567890.10"),
    ("numeric(p, s)", "'NaN'::numeric(9,2)", None),
    ("numeric", "1234567890123456789.123456789", "1234567890123456789.123456789"),
    ("numeric", "1.50::numeric", "1.5"),
    ("numeric", "1e100::numeric", "1" + "0" * 100),
    ("numeric", "'NaN'::numeric", None),
    ("numeric", "'Infinity'::numeric", '"Infinity"'),
    ("money", "'$1,234.50'::money", "1234.5"),
    ("text, varchar", "'Zoë 🚀 \"q\"'", '"Zoë 🚀 \\"q\\""'),
    ("char(n)", "'ab'::char(4)", '"ab  "'),
    ("enum", "'happy'::mood", '"happy"'),
    ("bytea", "'\\xdeadbeef'::bytea", '"3q2+7w=="'),
    ("date", "'2024-02-29'::date", '"2024-02-29"'),
    ("date", "'infinity'::date", '"Infinity"'),
    ("date", "'-infinity'::date", '"-Infinity"'),
    ("date", "'5874897-12-31'::date", '"5874897-12-31"'),
    ("time", "'12:34:56.123456'::time", '"12:34:56.123456"'),
    ("time", "'24:00'::time", '"24:00:00"'),
    ("time with time zone", "'12:34:56+02'::timetz", '"12:34:56+02"'),
    ("timestamp", "'2024-02-29 12:34:56.123456'::timestamp", '"2024-02-29T12:34:56.123456"'),
    ("timestamp", "'-infinity'::timestamp", '"-Infinity"'),
    ("timestamp", "'20000-01-01'::timestamp", '"20000-01-01T00:00:00"'),
    ("timestamp", "'294276-12-31 23:59:59.999999'::timestamp", '"294276-12-31T23:59:59.999999"'),
    ("timestamp", "'0044-03-15 BC'::timestamp", '"-0043-03-15T00:00:00"'),
    ("timestamptz", "'2024-02-29 12:34:56.123456+02'::timestamptz", '"2024-02-29T10:34:56.123456"'),
    ("timestamptz", "'infinity'::timestamptz", '"Infinity"'),
    ("interval", "'1 month 2 days 03:04:05.000006'::interval", '"P1M2DT3H4M5.000006S"'),
    ("json", '\'{"b": 12345678901234567890, "a": 1.25}\'::json', '{"a":1.25,"b":12345678901234567890}'),
    ("jsonb", '\'[1, null, {"k": "ü"}]\'::jsonb', '[1,null,{"k":"ü"}]'),
    ("jsonb", "'\"text\"'::jsonb", '"text"'),
    ("jsonb", "'null'::jsonb", None),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
    ("array", "array[9223372036854775807, null]", "[9223372036854775807,null]"),
    ("array of arrays", "array[[1,2],[3,4]]", "[[1,2],[3,4]]"),
    ("array of numeric", "array[1234567890123456789.5]", "[1234567890123456789.5]"),
    ("array of timestamptz", "array['2024-02-29 12:00+02'::timestamptz]", '["2024-02-29T10:00:00+00:00"]'),
    ("composite", "row(1, 'a')::pair", '{"x":1,"y":"a"}'),
    ("inet, cidr, macaddr", "'10.0.0.1/8'::inet", '"10.0.0.1/8"'),
    ("bit, varbit", "B'101'", '"101"'),
    ("oid", "4294967295::oid", "4294967295"),
    ("ranges", "int4range(1, 5)", '"[1,5)"'),
    ("point and other shapes", "point(1, 2)", '"(1,2)"'),
    ("xml", "'<a/>'::xml", '"<a/>"'),
    ("any", "null::text", None),
]
DUCKDB = [
    ("BOOLEAN", "true", "true"),
    ("TINYINT to BIGINT", "9223372036854775807::BIGINT", "9223372036854775807"),
    ("UTINYINT to UBIGINT", "18446744073709551615::UBIGINT", "18446744073709551615"),
    ("HUGEINT", "12345678901234567890123456789::HUGEINT", "12345678901234567890123456789"),
    ("UHUGEINT", "340282366920938463463374607431768211455::UHUGEINT", "340282366920938463463374607431768211455"),
    ("FLOAT, DOUBLE", "0.1::DOUBLE", "0.1"),
    ("FLOAT, DOUBLE", "'NaN'::DOUBLE", None),
    ("FLOAT, DOUBLE", "'Infinity'::DOUBLE", '"Infinity"'),
    ("DECIMAL(p, s)", "12345678901234567890.10::DECIMAL(22,2)", "12345678901234567890.10"),
    ("VARCHAR", "'Zoë 🚀 \"q\"'", '"Zoë 🚀 \\"q\\""'),
    ("ENUM", "'a'::ENUM('a', 'b')", '"a"'),
    ("BLOB", "'\\xAA\\xBB'::BLOB", '"qrs="'),
    ("BIT", "'10101'::BIT", '"10101"'),
    ("DATE", "DATE '2024-02-29'", '"2024-02-29"'),
    ("DATE", "DATE 'infinity'", '"Infinity"'),
    ("TIME", "TIME '12:34:56.123456'", '"12:34:56.123456"'),
    ("TIME", "TIME '24:00:00'", '"24:00:00"'),
    ("TIME WITH TIME ZONE", "'12:34:56+02'::TIMETZ", '"12:34:56+02"'),
    ("TIMESTAMP", "TIMESTAMP '2024-02-29 12:34:56.123456'", '"2024-02-29T12:34:56.123456"'),
    ("TIMESTAMP", "TIMESTAMP '-infinity'", '"-Infinity"'),
    ("TIMESTAMP_S, TIMESTAMP_MS", "TIMESTAMP_S '2024-02-29 12:34:56'", '"2024-02-29T12:34:56"'),
    ("TIMESTAMP_NS", "TIMESTAMP_NS '2024-02-29 12:34:56.123456789'", '"2024-02-29T12:34:56.123456"'),
    ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ '2024-02-29 12:34:56.123456+02'", '"2024-02-29T10:34:56.123456"'),
    ("INTERVAL", "INTERVAL '1 month 2 days 3 seconds'", '"1 month 2 days 00:00:03"'),
    ("UUID", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
    ("JSON", "'{\"a\": 12345678901234567890}'::JSON", '{"a":12345678901234567890}'),
    ("LIST, ARRAY", "[9223372036854775807, null]", "[9223372036854775807,null]"),
    ("STRUCT", "{'b': [1], 'a': 'ü'}", '{"a":"ü","b":[1]}'),
    ("MAP", "MAP {'k': 1}", '{"k":1}'),
    ("any", "NULL", None),
]
SQLITE = [
    ("INTEGER", "9223372036854775807", "9223372036854775807"),
    ("REAL", "0.1", "0.1"),
    ("REAL", "1e999", '"Infinity"'),
    ("TEXT", "'Zoë 🚀 \"q\"'", '"Zoë 🚀 \\"q\\""'),
    ("TEXT", "'2024-02-29 12:34:56'", '"2024-02-29 12:34:56"'),
    ("BLOB", "x'deadbeef'", '"3q2+7w=="'),
    ("any", "NULL", None),
]


class _Event(msgspec.Struct):
    properties: dict[str, msgspec.Raw]


def _prepared(connection: str, query: str) -> dict[str, str]:
    """Give the JSON of the columns of one row, by name."""
    preparer = RowPreparer(EventMapping(event="A", time_column="at", distinct_id_column="at"))
    found: dict[str, str] = {}
    with SqlReading(connection, query=query) as reading:
        for part in reading.parts():
            for rows in read_part(reading.connection, part, reading.snapshot):
                is_batch = isinstance(rows, pa.RecordBatch)
                done = (
                    preparer.prepare_batch(RowBatch(rows, part.name, -1), NOW_MS)
                    if is_batch
                    else preparer.prepare_rows(RowList(rows, part.name, -1), NOW_MS)
                )
                assert done.invalid == []
                found |= _values(done.events.bodies[0])
    return found


def _values(body: bytes) -> dict[str, str]:
    """Take the texts of the values out of an event as they stand."""
    return {
        name: bytes(raw).decode()
        for name, raw in msgspec.json.decode(body, type=_Event).properties.items()
        if name.startswith("c")
    }


def _read(connection: str, cases: list[tuple[str, str, str | None]]) -> list[str | None]:
    """Read each value alone, and all in one row: its neighbours must not matter."""
    alone = []
    for _, expression, _ in cases:
        alone.append(_prepared(connection, f"SELECT 1700000000 AS at, {expression} AS c").get("c"))
    columns = ", ".join(f"{expression} AS c{number}" for number, (_, expression, _) in enumerate(cases))
    together = _prepared(connection, f"SELECT 1700000000 AS at, {columns}")
    assert [together.get(f"c{number}") for number in range(len(cases))] == alone
    return alone


def _check_docs(name: str, cases: list[tuple[str, str, str | None]], results: list[str | None]) -> None:
    lines = ["| type | value | JSON |", "|---|---|---|"]
    for (kind, expression, _), result in zip(cases, results, strict=True):
        shown = f"`{result}`" if result is not None else "null: left out"
        lines.append(f"| {kind} | `{expression}` | {shown} |".replace("1" + "0" * 100, "1000…000"))
    begin, end = f"<!-- types: {name} -->\n", "<!-- end -->"
    page = DOCS.read_text()
    before, _, after = page.partition(begin)
    wanted = f"{before}{begin}{chr(10).join(lines)}\n{end}{after.partition(end)[2]}"
    if os.environ.get("UPDATE_DOCS"):
        DOCS.write_text(wanted)
    assert DOCS.read_text() == wanted


def test_types_of_postgresql(postgres: PrivatePostgres, postgres_reference: str) -> None:
    """Each type of PostgreSQL has the JSON that the docs say, whatever its neighbours."""
    postgres.execute(
        "DROP TYPE IF EXISTS mood, pair",
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TYPE pair AS (x int, y text)",
    )
    results = _read(postgres_reference, POSTGRESQL)
    assert results == [expected for _, _, expected in POSTGRESQL]
    _check_docs("PostgreSQL", POSTGRESQL, results)


def test_types_of_duckdb(tmp_path: Path) -> None:
    """Each type of DuckDB has the JSON that the docs say, whatever its neighbours."""
    duckdb.connect(str(tmp_path / "a.duckdb")).close()
    results = _read(f"duckdb:///{tmp_path}/a.duckdb", DUCKDB)
    assert results == [expected for _, _, expected in DUCKDB]
    _check_docs("DuckDB", DUCKDB, results)


def test_types_of_sqlite(tmp_path: Path) -> None:
    """Each type of SQLite has the JSON that the docs say, whatever its neighbours."""
    sqlite3.connect(tmp_path / "a.db").close()
    results = _read(f"sqlite:///{tmp_path}/a.db", SQLITE)
    assert results == [expected for _, _, expected in SQLITE]
    _check_docs("SQLite", SQLITE, results)


def test_a_column_of_sqlite_may_hold_several_types(tmp_path: Path) -> None:
    """Values keep their own types, also where those before them in the column had another."""
    with sqlite3.connect(tmp_path / "a.db") as file:
        file.execute("CREATE TABLE a (x, n INTEGER)")
        values: list[Any] = [1] * 9000 + ["text", 2.5, b"\x00", None, 9_223_372_036_854_775_807]
        file.executemany("INSERT INTO a VALUES (?, ?)", [(value, number) for number, value in enumerate(values)])
    file.close()
    found = []
    with SqlReading(f"sqlite:///{tmp_path}/a.db", table="a") as reading:
        for rows in read_part(reading.connection, reading.parts()[0]):
            found += [(row["n"], row["x"]) for row in (rows.to_pylist() if isinstance(rows, pa.RecordBatch) else rows)]
    assert sorted(found) == list(enumerate(values))
    assert [type(value) for _, value in sorted(found)[9000:]] == [str, float, bytes, type(None), int]
