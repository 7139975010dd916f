"""Parts of tables: together they are all rows, each once, whatever happens meanwhile."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from beam_mixpanel.core.sources.increments import Increment, State
from beam_mixpanel.databases.database import ansi_literal
from beam_mixpanel.databases.postgresql import PostgreSql
from beam_mixpanel.databases.reading import MOST_ATTEMPTS, Part, SqlReading, read_part
from beam_mixpanel.errors import DatabaseError, LostConnectionError
from benchmarks.private_postgres import PostgresMissingError, PrivatePostgres

_OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'beam_mixpanel'"
READERS = f"{_OURS} AND state = 'active'"
SHARERS = f"{_OURS} AND state = 'idle in transaction'"


def _values(rows: Any, column: str = "id") -> list[Any]:
    """Give a column; the others may hold what Python has no value for without pandas."""
    return list(rows[column].to_pylist()) if isinstance(rows, pa.RecordBatch) else [row[column] for row in rows]


def _read(reading: SqlReading, column: str = "id") -> list[Any]:
    return [
        value
        for part in reading.parts()
        for rows in read_part(reading.connection, part, reading.snapshot, sleep=_no_sleep)
        for value in _values(rows, column)
    ]


def _no_sleep(secs: float) -> None:
    pass


@pytest.fixture
def events(postgres: PrivatePostgres) -> PrivatePostgres:
    """A table of 20,000 rows, some of whose times are null or infinite."""
    postgres.execute(
        "DROP TABLE IF EXISTS events",
        "CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz, day date, name text)",
        "INSERT INTO events SELECT n, CASE n % 100 WHEN 1 THEN NULL WHEN 2 THEN 'infinity' WHEN 3 THEN '-infinity' "
        "ELSE timestamptz '2024-01-01' + n * interval '1 second' END, "
        "date '2024-01-01' + (n % 7)::int, 'Event ' || n FROM generate_series(1, 20000) n",
    )
    return postgres


@pytest.mark.parametrize("column", ["id", "at", "day"])
@pytest.mark.parametrize("partitions", [1, 4, 7])
def test_each_row_is_in_one_part(
    events: PrivatePostgres, postgres_reference: str, column: str, partitions: int
) -> None:
    """Ranges of integers, moments and days cover all rows, those that are null or infinite, too."""
    with SqlReading(postgres_reference, table="events") as reading:
        reading.split(column, partitions)
        assert len(reading.parts()) == partitions + 1
        assert sorted(_read(reading)) == list(range(1, 20_001))


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ("(1, -9223372036854775808), (2, 9223372036854775807), (3, 0), (4, NULL)", 5),
        ("(1, 7), (2, 7), (3, NULL)", 2),
        ("(1, NULL), (2, NULL)", 1),
        ("", 1),
    ],
    ids=["all of 64 bits", "one value", "nulls only", "no row"],
)
def test_ranges_of_odd_keys_hold_each_row_once(
    postgres: PrivatePostgres, postgres_reference: str, rows: str, parts: int
) -> None:
    """However far the ends are apart, or if there are none."""
    postgres.execute("DROP TABLE IF EXISTS odd", "CREATE TABLE odd (id int, key bigint)")
    if rows:
        postgres.execute(f"INSERT INTO odd VALUES {rows}")
    with SqlReading(postgres_reference, table="odd") as reading:
        reading.split("key", 4)
        assert len(reading.parts()) == parts
        assert sorted(_read(reading)) == list(range(1, rows.count("(") + 1))
    postgres.execute("DROP TABLE odd")


def test_names_that_need_quotes_and_views_are_read(postgres: PrivatePostgres, postgres_reference: str) -> None:
    """As a table, by the name that it has."""
    postgres.execute(
        'DROP SCHEMA IF EXISTS "My Shop" CASCADE',
        'CREATE SCHEMA "My Shop"',
        'CREATE TABLE "My Shop"."Order ""A""" (id int, "At Last" timestamptz)',
        'INSERT INTO "My Shop"."Order ""A""" SELECT n, now() FROM generate_series(1, 9) n',
        'CREATE VIEW "My Shop".seen AS SELECT * FROM "My Shop"."Order ""A""" WHERE id > 5',
    )
    with SqlReading(postgres_reference, table='"My Shop"."Order ""A"""') as reading:
        reading.split("At Last", 3)
        assert sorted(_read(reading)) == list(range(1, 10))
    with SqlReading(postgres_reference, table="My Shop.seen") as reading:
        assert sorted(_read(reading)) == [6, 7, 8, 9]
    postgres.execute('DROP SCHEMA "My Shop" CASCADE')


@pytest.fixture
def numbered(postgres: PrivatePostgres) -> PrivatePostgres:
    """A table whose key is a `numeric`, with fractions, more digits than 64 bits hold, and what is no number."""
    postgres.execute(
        "DROP TABLE IF EXISTS numbered",
        "CREATE TABLE numbered (id int, key numeric, token uuid DEFAULT gen_random_uuid())",
        "INSERT INTO numbered SELECT n, 12345678901234567890 + n / 4.0 FROM generate_series(1, 1000) n",
        "INSERT INTO numbered VALUES (1001, NULL), (1002, 'NaN'), (1003, 'NaN')",
    )
    return postgres


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_a_numeric_key_is_cut_into_ranges(numbered: PrivatePostgres, postgres_reference: str, partitions: int) -> None:
    """As ids of other systems often are; what is no number is in the part of the nulls."""
    with SqlReading(postgres_reference, table="numbered") as reading:
        reading.split("key", partitions)
        assert len(reading.parts()) == partitions + 1
        assert sorted(_read(reading)) == list(range(1, 1004))


def test_what_is_no_number_is_never_remembered(numbered: PrivatePostgres, postgres_reference: str) -> None:
    """PostgreSQL holds NaN greater than all numbers: a run that began at it would never find another row."""
    with SqlReading(postgres_reference, table="numbered") as reading:
        reading.select_new(Increment("key"))
        assert reading.mark == 12345678901234568140
        assert sorted(_read(reading)) == list(range(1, 1004))
    numbered.execute("INSERT INTO numbered VALUES (1004, 12345678901234568140.25)")
    with SqlReading(postgres_reference, table="numbered") as reading:
        reading.select_new(Increment("key", overlap="1"), State("numbered", "key", 12345678901234568140))
        assert reading.mark == Decimal("12345678901234568140.25")
        assert sorted(_read(reading)) == [996, 997, 998, 999, 1000, 1004]


def test_a_column_without_order_is_refused_with_the_cure(numbered: PrivatePostgres, postgres_reference: str) -> None:
    """A key of UUIDs has no least value in PostgreSQL."""
    cure = r"partition column 'token'.*choose one of integers"
    with SqlReading(postgres_reference, table="numbered") as reading, pytest.raises(DatabaseError, match=cure):
        reading.split("token", 4)


def test_rows_that_arrive_while_it_reads_are_left_to_the_next_run(
    events: PrivatePostgres, postgres_reference: str
) -> None:
    """With rows added, changed and removed before every part, all parts together see the state of the beginning."""
    found: list[Any] = []
    with SqlReading(postgres_reference, table="events") as reading:
        reading.split("id", 4)
        assert reading.snapshot
        for number, part in enumerate(reading.parts()):
            events.execute(
                f"INSERT INTO events SELECT n, now(), current_date, 'new' FROM generate_series({-number}, 0) n "
                "ON CONFLICT DO NOTHING",
                f"INSERT INTO events VALUES ({30_000 + number}, now(), current_date, 'new')",
                f"UPDATE events SET id = id + 100000 WHERE id % 1000 = {number}",
                f"DELETE FROM events WHERE id % 1000 = {500 + number}",
            )
            for rows in read_part(reading.connection, part, reading.snapshot):
                found += zip(_values(rows), _values(rows, "name"), strict=True)
    assert sorted(found) == [(number, f"Event {number}") for number in range(1, 20_001)]


def test_four_readers_at_once_read_each_row_once_while_rows_arrive(
    events: PrivatePostgres, postgres_reference: str
) -> None:
    """Readers in threads and a writer beside them: every row of the beginning once, and none of the writer's."""
    ended = threading.Event()

    def write() -> None:
        number = 100_000
        with events.cursor() as cursor:
            while not ended.is_set():
                number += 1
                cursor.execute(f"INSERT INTO events VALUES ({number}, now()), (-{number}, NULL)")

    writer = threading.Thread(target=write)
    with SqlReading(postgres_reference, table="events") as reading:
        reading.split("at", 4)
        writer.start()
        found: Counter[Any] = Counter()
        lock = threading.Lock()

        def read(part: Part) -> None:
            for rows in read_part(reading.connection, part, reading.snapshot):
                with lock:
                    found.update(_values(rows))

        readers = [threading.Thread(target=read, args=(part,)) for part in reading.parts()]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    ended.set()
    writer.join()
    assert found == Counter(range(1, 20_001))
    assert events.rows("SELECT count(*) FROM events")[0][0] > 20_000


def test_a_lost_connection_is_made_again_in_the_same_snapshot(
    events: PrivatePostgres, postgres_reference: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader whose server process is ended reads its part again; what changed meanwhile does not show."""
    waits: list[float] = []

    def wait(secs: float) -> None:
        waits.append(secs)
        events.execute("UPDATE events SET name = 'changed'")

    found: list[tuple[int, str]] = []
    with SqlReading(postgres_reference, query="SELECT id, repeat(name, 300) AS name FROM events") as reading:
        for rows in read_part(reading.connection, reading.parts()[0], reading.snapshot, sleep=wait):
            if not found:
                assert events.rows(f"SELECT pg_terminate_backend(pid) FROM ({READERS}) AS readers") == [(True,)]
            found += zip(_values(rows), _values(rows, "name"), strict=True)
    assert len(waits) == 1
    assert len(found) > 20_000
    assert set(found) == {(number, f"Event {number}" * 300) for number in range(1, 20_001)}
    assert "reading it again" in caplog.text
    assert events.password not in caplog.text


def test_a_lost_snapshot_is_told_and_the_bounds_stay(
    events: PrivatePostgres, postgres_reference: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the connection that holds the snapshot is ended, the parts are read as they are, in their bounds."""
    with SqlReading(postgres_reference, table="events") as reading:
        reading.split("id", 2)
        assert events.rows(f"SELECT pg_terminate_backend(pid) FROM ({SHARERS}) AS sharers") == [(True,)]
        events.execute("INSERT INTO events VALUES (30000, now(), current_date, 'new')")
        assert sorted(_read(reading)) == list(range(1, 20_001))
    assert "as it is now" in caplog.text


def test_a_database_that_stays_away_fails_the_job() -> None:
    """After so many attempts, with growing waits, the loss is told."""
    waits: list[float] = []

    def never(*_: Any) -> Any:
        raise LostConnectionError("gone")

    parts = read_part(None, Part("p", ""), sleep=waits.append, uniform=lambda low, _: low, connect=never)  # type: ignore[arg-type]
    with pytest.raises(LostConnectionError):
        next(parts)
    assert waits == [3.0, 5.0, 9.0, 17.0, 33.0]
    assert len(waits) == MOST_ATTEMPTS - 1


def test_a_query_that_fails_half_way_is_not_tried_again(events: PrivatePostgres, postgres_reference: str) -> None:
    """A division by zero is the query's fault: it is told, without the row's values."""
    query = "SELECT id, ('x' || name)::int AS n FROM events WHERE id > 19990"
    with SqlReading(postgres_reference, query=query) as reading:
        parts = read_part(reading.connection, reading.parts()[0], reading.snapshot, sleep=pytest.fail)
        with pytest.raises(DatabaseError, match="invalid input syntax") as failed:
            list(parts)
    assert "Event" not in str(failed.value)


def test_columns_and_bounds_are_chosen_by_the_database(events: PrivatePostgres, postgres_reference: str) -> None:
    """Only the columns that are needed are fetched, and only rows from the mark on, it included."""
    with SqlReading(postgres_reference, query="SELECT * FROM events -- all\n;") as reading:
        reading.choose(["id"])
        reading.select_new(Increment("id"), State("events", "id", 19_990))
        assert reading.mark == 20_000
        events.execute("INSERT INTO events VALUES (20001)")
        rows = [rows for part in reading.parts() for rows in read_part(reading.connection, part)]
        assert [batch.schema.names for batch in rows] == [["id"]]
        assert sorted(_read(reading)) == list(range(19_990, 20_001))


@pytest.mark.parametrize(
    ("increment", "state", "expected"),
    [
        (Increment("at"), None, 20_000),
        (Increment("at", since="2024-01-01T05:33:20Z"), None, 1),
        (Increment("at", until="2024-01-01T00:00:10Z"), None, 600 + 6),
        (Increment("at", since="2024-01-01T00:00:04Z", until="2024-01-01T00:00:06Z"), None, 2),
        (Increment("at", since="2030-01-01"), None, 0),
        (Increment("id", overlap="9"), State("events", "id", 20_000), 10),
        (Increment("id"), State("events", "id", 99_999), 0),
    ],
)
def test_increments(
    events: PrivatePostgres, postgres_reference: str, increment: Increment, state: State | None, expected: int
) -> None:
    """Bounds, marks and overlaps choose rows; those without a place are read where there is no lower bound."""
    with SqlReading(postgres_reference, table="events") as reading:
        reading.select_new(increment, state)
        reading.split("id", 3)
        found = _read(reading)
        assert len(found) == len(set(found)) == expected
        assert (reading.mark is None) == (expected == 0)


def _duckdb(folder: Path) -> str:
    with duckdb.connect(str(folder / "a.duckdb")) as file:
        file.execute(
            "CREATE TABLE events AS SELECT n AS id, CASE WHEN n % 10 = 0 THEN NULL WHEN n % 10 = 1 THEN TIMESTAMP "
            "'infinity' ELSE TIMESTAMP '2024-01-01' + to_seconds(n) END AS at FROM range(20000) q(n)"
        )
    return f"duckdb:///{folder}/a.duckdb"


def _sqlite(folder: Path) -> str:
    with sqlite3.connect(folder / "a.db") as file:
        file.execute("CREATE TABLE events (id INTEGER, at INTEGER)")
        rows = [(number, number % 10 or None) for number in range(20_000)]
        file.executemany("INSERT INTO events VALUES (?, ?)", rows)
    file.close()
    return f"sqlite:///{folder}/a.db"


def test_nanoseconds_that_python_has_no_value_for_do_not_keep_the_last_row_back(tmp_path: Path) -> None:
    """A mark has microseconds; the rows of its microsecond are read, all of them, and again by the next run."""
    with duckdb.connect(str(tmp_path / "a.duckdb")) as file:
        file.execute(
            "CREATE TABLE events AS SELECT n AS id, epoch_ns(TIMESTAMP '2024-01-01') + n AS ns, "
            "make_timestamp_ns(ns) AS at FROM range(1500) q(n)"
        )
    state = None
    for expected in (list(range(1500)), list(range(1000, 1500))):
        with SqlReading(f"duckdb:///{tmp_path}/a.duckdb", table="events") as reading:
            reading.select_new(Increment("at"), state)
            assert sorted(_read(reading)) == expected
            assert reading.mark == datetime(2024, 1, 1, 0, 0, 0, 1)
            state = State("events", "at", reading.mark)


@pytest.mark.parametrize("unit", [timedelta(seconds=1), timedelta(milliseconds=1), timedelta(days=1)])
@pytest.mark.parametrize("partitions", [0, 1, 3, 7])
def test_a_database_whose_times_are_coarse_gives_its_newest_rows(
    postgres: PrivatePostgres,
    postgres_reference: str,
    monkeypatch: pytest.MonkeyPatch,
    unit: timedelta,
    partitions: int,
) -> None:
    """As ClickHouse, which cuts a bound to the seconds that a column has: every row is still in one part."""

    def cut(_: PostgreSql, value: Any) -> str:
        if isinstance(value, datetime):
            value -= (value - datetime(2024, 1, 1, tzinfo=value.tzinfo)) % unit
        return ansi_literal(value)

    postgres.execute(
        "DROP TABLE IF EXISTS coarse",
        "CREATE TABLE coarse AS SELECT n AS id, timestamptz '2024-01-01' + (n / 10) * "
        f"interval '{unit.total_seconds()} seconds' AS at FROM generate_series(0, 99) n",
    )
    monkeypatch.setattr(PostgreSql, "literal", cut)
    with SqlReading(postgres_reference, table="coarse") as reading:
        reading.select_new(Increment("at"))
        if partitions:
            reading.split("at", partitions)
        assert sorted(_read(reading)) == list(range(100))
        assert reading.mark is not None
        state = State("coarse", "at", reading.mark)
    with SqlReading(postgres_reference, table="coarse") as reading:
        reading.select_new(Increment("at"), state)
        assert sorted(_read(reading)) == list(range(90, 100))


@pytest.mark.parametrize("bad_row", [0, 250_000])
def test_errors_of_duckdb_hold_no_value_of_a_row(tmp_path: Path, bad_row: int) -> None:
    """Neither at once nor in the middle of a result, whose errors come through Arrow without DuckDB's class."""
    with duckdb.connect(str(tmp_path / "a.duckdb")) as file:
        file.execute(
            "CREATE TABLE events AS SELECT CASE n WHEN ? THEN 's3cret' ELSE '1' END AS id FROM range(300000) q(n)",
            [bad_row],
        )
    query = "SELECT id::INTEGER AS id FROM events"
    with pytest.raises(DatabaseError) as caught, SqlReading(f"duckdb:///{tmp_path}/a.duckdb", query=query) as reading:
        _read(reading)
    assert "s3cret" not in str(caught.value)
    assert "refuses" in str(caught.value)


@pytest.mark.parametrize("mark", ["9999-12-31 23:59:59.999999", "2024-01-01"])
def test_the_last_moment_of_all_is_read(tmp_path: Path, mark: str) -> None:
    """Behind it there is no other to read up to."""
    with duckdb.connect(str(tmp_path / "a.duckdb")) as file:
        file.execute(f"CREATE TABLE events AS SELECT 1 AS id, TIMESTAMP '{mark}' AS at")
    with SqlReading(f"duckdb:///{tmp_path}/a.duckdb", table="events") as reading:
        reading.select_new(Increment("at"))
        assert _read(reading) == [1]


@pytest.mark.parametrize("make", [_duckdb, _sqlite])
@pytest.mark.parametrize("column", ["id", "at"])
def test_embedded_databases_are_read_in_parts(tmp_path: Path, make: Any, column: str) -> None:
    """DuckDB and SQLite give each row once, in ranges of numbers and moments; nulls are a part."""
    with SqlReading(make(tmp_path), table="events") as reading:
        reading.split(column, 4)
        assert sorted(_read(reading)) == list(range(20_000))


def test_rows_that_arrive_in_sqlite_are_left_to_the_next_run(tmp_path: Path) -> None:
    """Without a shared snapshot, the bounds keep out rows with greater keys."""
    with SqlReading(_sqlite(tmp_path), table="events") as reading:
        reading.split("id", 4)
        reading.close()
        with sqlite3.connect(tmp_path / "a.db") as file:
            file.execute("INSERT INTO events VALUES (30000, 1), (20000, 1)")
        file.close()
        assert sorted(_read(reading)) == list(range(20_000))


def test_text_that_is_not_utf_8_costs_no_other_row(tmp_path: Path) -> None:
    """A text of broken bytes arrives as lone surrogates, which no event may hold; its neighbours are whole."""
    with sqlite3.connect(tmp_path / "a.db") as file:
        file.execute("CREATE TABLE a (x TEXT)")
        file.execute("INSERT INTO a VALUES ('ü'), (CAST(x'ff41' AS TEXT))")
    file.close()
    with SqlReading(f"sqlite:///{tmp_path}/a.db", table="a") as reading:
        assert _read(reading, "x") == ["ü", "\udcffA"]


def _generic(folder: Path) -> str:
    return _sqlite(folder).replace("sqlite:", "sqlite+pysqlite:")


def test_other_databases_are_read_by_sqlalchemy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that names a driver is left to SQLAlchemy: columns, ranges, bounds and nulls work the same."""
    monkeypatch.setenv("GENERIC", _generic(tmp_path))
    with SqlReading("env:GENERIC", table="events") as reading:
        assert reading.columns == ["id", "at"]
        reading.select_new(Increment("id", since="100"))
        reading.split("at", 3)
        assert sorted(_read(reading)) == list(range(100, 20_000))


def _sizes(batches: Iterator[Any]) -> list[int]:
    return [len(_values(rows)) for rows in batches]


@pytest.mark.parametrize("make", [_duckdb, _sqlite, _generic])
def test_rows_come_in_small_batches(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reader gives a whole table at once."""
    monkeypatch.setenv("ANY", make(tmp_path))
    with SqlReading("env:ANY", table="events") as reading:
        sizes = _sizes(read_part(reading.connection, reading.parts()[0]))
    assert sum(sizes) == 20_000
    assert max(sizes) <= 8192


def test_rows_of_postgresql_come_in_small_batches(events: PrivatePostgres, postgres_reference: str) -> None:
    """About a megabyte at a time, whatever the rows' size."""
    query = "SELECT id, repeat('x', 1000) AS text FROM events"
    with SqlReading(postgres_reference, query=query) as reading:
        sizes = [rows.nbytes for rows in read_part(reading.connection, reading.parts()[0])]  # type: ignore[union-attr]
    assert len(sizes) >= 15
    assert max(sizes) < 3_000_000


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ({"table": "evnets"}, "did you mean events"),
        ({"table": "EVENTS"}, "did you mean events"),
        ({"table": "nothing_like_it"}, "there are .*events"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "AS"),
        ({"query": "SELEC 1"}, "syntax error"),
        ({"query": "DELETE FROM events RETURNING id"}, "refuses"),
        ({"table": "events", "split": "idd"}, "did you mean id"),
        ({"table": "events", "split": "name"}, "integers, dates or timestamps"),
        ({"table": "events", "cursor": "when"}, "the columns are id, at, day, name"),
    ],
)
def test_what_is_not_there_names_what_is(
    events: PrivatePostgres, postgres_reference: str, given: dict[str, str], cure: str
) -> None:
    """A wrong table, column or query is an error that says what to do instead."""

    def read() -> None:
        with SqlReading(postgres_reference, table=given.get("table"), query=given.get("query")) as reading:
            if "split" in given:
                reading.split(given["split"], 2)
            if "cursor" in given:
                reading.select_new(Increment(given["cursor"]))

    with pytest.raises(DatabaseError, match=cure):
        read()


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("wrong password", "refuses the user name or password"),
        ("wrong port", "cannot connect"),
        ("mysql+nodriver://app:hunter2@127.0.0.1/db", "install"),
        ("oracle://app:hunter2@127.0.0.1/db", "pip install"),
        ("sqlite:////no/such/file.db", "no such file"),
        ("duckdb:////no/such/file.duckdb", "no such file"),
    ],
)
def test_what_cannot_be_connected_to_is_told_without_the_password(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch, url: str, cure: str
) -> None:
    """The error names the cure, and neither it nor what it was raised from holds the password."""
    closed = postgres.port + 1 if postgres.port < 65535 else 1
    urls = {
        "wrong password": postgres.url_of("hunter2"),
        "wrong port": f"postgresql://app:hunter2@127.0.0.1:{closed}/postgres",
    }
    monkeypatch.setenv("ANY", urls.get(url, url))
    with pytest.raises((DatabaseError, LostConnectionError), match=cure) as refused:
        SqlReading("env:ANY", table="events")
    error: BaseException | None = refused.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ("sslmode=require", "libpq-ssl"),
        ("sslmode=always", "libpq-ssl"),
        ("tls=yes", 'invalid URI query parameter: "tls"'),
        ("connect_timeout=long", "connect_timeout"),
    ],
)
def test_a_url_that_never_connects_is_no_lost_connection(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch, options: str, cure: str
) -> None:
    """What no other attempt would mend is a wrong argument, and is not tried again."""
    monkeypatch.setenv("ANY", f"{postgres.url}?{options}")
    with pytest.raises(DatabaseError, match=cure):
        SqlReading("env:ANY", table="events")


@pytest.fixture(scope="session")
def tls_postgres(certificate: Path) -> Iterator[PrivatePostgres]:
    """A server that shows a certificate."""
    try:
        server = PrivatePostgres()
    except PostgresMissingError as error:
        pytest.skip(str(error))
    with server:
        server.serve_tls(certificate, certificate.with_suffix(".key"))
        yield server


def test_a_server_is_known_by_its_certificate(
    tls_postgres: PrivatePostgres, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`verify-full` reads over TLS from the server that the certificate is of, and from no other."""
    query = "SELECT ssl::text AS ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    monkeypatch.setenv("TLS_URL", f"{tls_postgres.url}?sslmode=verify-full&sslrootcert={certificate}")
    with SqlReading("env:TLS_URL", query=query) as reading:
        assert _read(reading, "ssl") == ["true"]
    other = tmp_path / "other.pem"
    other.write_bytes(b"")
    monkeypatch.setenv("TLS_URL", f"{tls_postgres.url}?sslmode=verify-full&sslrootcert={other}")
    with pytest.raises(DatabaseError, match="sslrootcert") as refused:
        SqlReading("env:TLS_URL", query=query)
    assert tls_postgres.password not in str(refused.value)
    elsewhere = tls_postgres.url.replace("127.0.0.1", "db.example.com")
    options = f"hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={certificate}"
    monkeypatch.setenv("TLS_URL", f"{elsewhere}?{options}")
    with pytest.raises(DatabaseError, match="certificate"):
        SqlReading("env:TLS_URL", query=query)
