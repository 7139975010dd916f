"""Every argument of what the package offers: a wrong one is refused where it is given, in words that help."""

from __future__ import annotations

import inspect
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("google.cloud.bigquery_storage_v1", reason="needs the extra gcp")

from apache_beam.options.value_provider import StaticValueProvider
from apache_beam.transforms import PTransform
from apache_beam.transforms.display import DisplayData
from apache_beam.utils.shared import Shared

import beam_mixpanel
from beam_mixpanel import (
    EventMapping,
    PrepareEvents,
    ProjectToken,
    ReadAllFromFiles,
    ReadAllFromFilesBatched,
    ReadAllFromNdjson,
    ReadAllFromNdjsonBatched,
    ReadDeadLetters,
    ReadFromFiles,
    ReadFromFilesBatched,
    ReadFromMongoDBBatched,
    ReadFromNdjson,
    ReadFromNdjsonBatched,
    ReadFromSql,
    ReadFromSqlBatched,
    ServiceAccount,
    SqlReading,
    UnbatchRows,
    WriteDeadLetters,
    WriteToMixpanel,
)
from beam_mixpanel.core.formats.csv_format import CsvFormat
from beam_mixpanel.core.rows.mapping import KEYS
from beam_mixpanel.transforms.read_bigquery import ReadFromBigQueryBatched

SECRET = "hunter2-of-someone"
TOKEN = ProjectToken("token")
NAN, INFINITE = float("nan"), float("inf")

NO_TEXT = (None, 5, True, b"x", ["x"], "", " ")
NO_OPTIONAL_TEXT = NO_TEXT[1:]
NO_WHOLE_NUMBER = (None, "5", True, 1.5, NAN, INFINITE, [5], 0, -1)
NO_NUMBER = (None, "5", True, NAN, INFINITE, -INFINITE, [5], -1)
NO_FLAG = (None, 0, 1, "true", "no")
NO_NAMES = ("email", b"email", 5, True, [5], [None], [""], {"email": 1})
NO_FILES = (None, 5, True, b"x", [], [5], "", [""], {"a": 1})
NO_FUNCTION = (None, 5, "time")

ROW_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "extended_json": NO_FLAG,
    "format": (None, "xml", "CSV", 5, True),
    "columns": NO_NAMES,
    "csv": (None, ";", {"delimiter": ";"}, CsvFormat),
    "range_bytes": NO_WHOLE_NUMBER,
}
"""What all transforms take that read files of rows."""

WRONG: dict[Any, dict[str, tuple[Any, ...]]] = {
    WriteToMixpanel: {
        "credentials": (None, SECRET, 5, {"token": SECRET}, SECRET.encode(), ProjectToken, Shared()),
        "region": (None, "mars", "US", 5, ["us"], ""),
        "api_host": (5, "", "api.mixpanel.com", "ftp://x", f"https://user:{SECRET}@x", "http://example.com", ["x"]),
        "endpoint": (None, "export", True, 5),
        "insert_id": (*NO_TEXT, "uuid", "columns:order"),
        "time_zone": (*NO_TEXT, "Mars/Base"),
        "retention_days": (*NO_WHOLE_NUMBER, 10**9),
        "redact": (None, *NO_NAMES, ["time"]),
        "mapping": (5, "mapping.yaml", True, ["event"], EventMapping),
        "max_concurrent_requests": (*NO_WHOLE_NUMBER, 1001),
        "max_events_per_sec": (*NO_NUMBER[1:], 0),
        "max_batch_events": (*NO_WHOLE_NUMBER, 2001),
        "max_batch_bytes": (*NO_WHOLE_NUMBER, 10_000_001),
        "retry_deadline_secs": (*NO_NUMBER, 86_401),
        "request_timeout_secs": (*NO_NUMBER, 0, 601),
        "ca_bundle": NO_OPTIONAL_TEXT,
        "on_undelivered": (None, "drop", True),
        "num_shards": NO_WHOLE_NUMBER[1:],
        "max_buffering_secs": (*NO_NUMBER, 0, 3601),
        "auto_sharding": NO_FLAG,
    },
    PrepareEvents: {
        "insert_id": (*NO_TEXT, "uuid"),
        "time_zone": (*NO_TEXT, "Mars/Base"),
        "retention_days": NO_WHOLE_NUMBER,
        "max_age_ms": NO_WHOLE_NUMBER[1:],
        "redact": (None, *NO_NAMES, ["$insert_id"]),
        "mapping": (5, "mapping.yaml", True),
        "clock": NO_FUNCTION,
    },
    ReadFromNdjsonBatched: {
        "patterns": NO_FILES,
        "range_bytes": NO_WHOLE_NUMBER,
        "block_bytes": NO_WHOLE_NUMBER,
        "max_line_bytes": NO_WHOLE_NUMBER,
    },
    ReadFromNdjson: {"patterns": NO_FILES, "max_line_bytes": NO_WHOLE_NUMBER},
    ReadAllFromNdjsonBatched: dict.fromkeys(("range_bytes", "block_bytes", "max_line_bytes"), NO_WHOLE_NUMBER),
    ReadAllFromNdjson: {"max_line_bytes": NO_WHOLE_NUMBER},
    ReadFromFiles: {"patterns": NO_FILES, **ROW_ARGUMENTS},
    ReadAllFromFiles: ROW_ARGUMENTS,
    ReadAllFromFilesBatched: {**ROW_ARGUMENTS, "ndjson_as_rows": NO_FLAG},
    ReadFromFilesBatched: {
        **ROW_ARGUMENTS,
        "patterns": NO_FILES,
        "ndjson_as_rows": NO_FLAG,
        "listed": (5, "a.csv", ["a.csv"], True),
    },
    ReadFromBigQueryBatched: {
        "table": (*NO_OPTIONAL_TEXT, "orders"),
        "query": NO_OPTIONAL_TEXT,
        "method": (None, "STREAM", 5),
        "columns": NO_NAMES,
        "row_restriction": NO_OPTIONAL_TEXT,
    },
    ReadFromMongoDBBatched: {
        "connection": (None, 5, "", f"mongodb://user:{SECRET}@host/db", SECRET, ["env:X"]),
        "database": NO_TEXT,
        "collection": NO_TEXT,
        "filter": (5, [SECRET], f"{{{SECRET}", True),
        "columns": NO_NAMES,
        "exclude": (None, "a", 5, [5], [""]),
        "partitions": (0, True, 1.5, "3", 10_001),
    },
    ReadFromSqlBatched: {"reading": (None, f"postgresql://user:{SECRET}@host/db", 5, SqlReading)},
    ReadFromSql: {"reading": (None, f"postgresql://user:{SECRET}@host/db", 5, SqlReading)},
    UnbatchRows: {},
    ReadDeadLetters: {"patterns": NO_FILES},
    WriteDeadLetters: {"prefix": NO_TEXT},
    ServiceAccount: {
        "username": (None, 5, "", " ", f"a:{SECRET}", "a\udcff", True, b"a"),
        "secret": (None, 5, "", " ", True, SECRET.encode(), f"{SECRET}\udcff", [SECRET]),
        "project_id": (None, "", "abc", SECRET, 1.0, True, -1, ["1"]),
    },
    ServiceAccount.from_reference: {
        "reference": (None, 5, "", SECRET, f"env:${SECRET}", SECRET.encode(), "gcp-secret:x"),
        "project_id": (None, SECRET, True),
    },
    ServiceAccount.from_secret: {"secret": (None, SECRET, 5, dict), "project_id": (None, SECRET, True)},
    ProjectToken: {"token": (None, 5, "", " ", True, SECRET.encode(), f"{SECRET}\udcff")},
    ProjectToken.from_reference: {"reference": (None, 5, "", SECRET, f"file-{SECRET}:x")},
    ProjectToken.from_secret: {"secret": (None, SECRET, 5, dict)},
    SqlReading: {
        "connection": (None, 5, "", f"postgresql://user:{SECRET}@host/db", SECRET, ["env:X"]),
        "table": NO_OPTIONAL_TEXT,
        "query": NO_OPTIONAL_TEXT,
        "share": NO_FLAG,
    },
    EventMapping: {
        **dict.fromkeys(("event", "event_column", "time_column"), NO_OPTIONAL_TEXT),
        **dict.fromkeys(("distinct_id_column", "user_id_column", "device_id_column"), NO_OPTIONAL_TEXT),
        **dict.fromkeys(("insert_id_columns", "include", "exclude"), (None, 5, True, [5], [""], {"a": "b"})),
        **dict.fromkeys(("json_columns", "spread_columns"), (None, 5, True, [5], [""], {"a": "b"})),
        **dict.fromkeys(("only_events", "skip_events"), (None, 5, True, [5], [""], {"a": "b"})),
        "time_unit": (None, "h", 5, True),
        "time_format": (*NO_OPTIONAL_TEXT, "%Q", "%H:%M"),
        "rename": (None, "a", ["a"], {"a": 5}, {5: "a"}),
        "tags": (None, "a", ["a"], {"a": None}, {"a": NAN}, {"a": object()}),
        "flatten": NO_FLAG,
        "keep_nulls": NO_FLAG,
        "from_time": (True, NAN, "yesterday", ["2026-01-01"]),
        "until_time": (True, NAN, "tomorrow", ["2026-01-01"]),
        "map": (5, True, "f", ["a:b"]),
    },
}  # fmt: skip
"""For each thing that is made, and each argument of it, values that it refuses."""

RIGHT: dict[Any, dict[str, Any]] = {
    WriteToMixpanel: {"credentials": TOKEN},
    ReadFromNdjsonBatched: {"patterns": "a"},
    ReadFromNdjson: {"patterns": "a"},
    ReadFromFilesBatched: {"patterns": "a"},
    ReadFromFiles: {"patterns": "a"},
    ReadFromBigQueryBatched: {"table": "p.d.t"},
    ReadFromMongoDBBatched: {"connection": "env:A", "database": "d", "collection": "c"},
    ReadDeadLetters: {"patterns": "a"},
    ServiceAccount: {"username": "user", "secret": "s", "project_id": 1},
    ServiceAccount.from_reference: {"reference": "env:A", "project_id": 1},
    SqlReading: {"connection": "sqlite:///nowhere.db", "table": "t"},
}
"""The arguments that cannot be left out."""

CASES = [
    pytest.param(made, name, value, id=f"{made.__qualname__}-{name}-{number}")
    for made, arguments in WRONG.items()
    for name, values in arguments.items()
    for number, value in enumerate((*values, StaticValueProvider(str, "x")))
]


class _Source:
    def get_secret_bytes(self) -> bytes:
        return b"user:secret"


RIGHT[ServiceAccount.from_secret] = {"secret": _Source(), "project_id": 1}


@pytest.mark.parametrize(("made", "name", "value"), CASES)
def test_a_wrong_argument_is_refused_where_it_is_given(made: Any, name: str, value: Any) -> None:
    """The error names the argument, and never repeats what may be a secret."""
    arguments = {**RIGHT.get(made, {}), name: value}
    if made in (ReadFromBigQueryBatched, SqlReading) and name == "query":
        del arguments["table"]
    with pytest.raises((TypeError, ValueError)) as caught:
        made(**arguments)
    message = str(caught.value)
    assert name in message or (name in ("connection", "reference") and "reference" in message)
    assert SECRET not in message
    if isinstance(value, StaticValueProvider):
        assert "ValueProvider" in message
        assert "when the pipeline is built" in message


def test_the_table_covers_every_argument() -> None:
    """All parameters of all public transforms, credentials, mappings and readings are in it."""
    public = [getattr(beam_mixpanel, name) for name in beam_mixpanel.__all__ if name != "__version__"]
    transforms = {each for each in public if inspect.isclass(each) and issubclass(each, PTransform)}
    assert transforms <= set(WRONG)
    for made, arguments in WRONG.items():
        assert set(inspect.signature(made).parameters) == set(arguments), made
    assert set(WRONG[EventMapping]) == set(KEYS)


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        (lambda **given: CsvFormat(**given).check(), {"delimiter": 5}),
        (lambda **given: CsvFormat(**given).check(), {"columns": "id,name"}),
        (lambda **given: CsvFormat(**given).check(), {"encoding": None}),
        (lambda **given: CsvFormat(**given).check(), {"types": [("a", "number")]}),
        (lambda **given: CsvFormat(**given).check(), {"text": "no"}),
        (beam_mixpanel.mapping_of, {"settings": "event"}),
    ],
)
def test_other_public_values_are_checked_as_well(made: Callable[..., Any], wrong: dict[str, Any]) -> None:
    """The format of CSV files and the settings of a mapping name what is wrong with them."""
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        made(**wrong)


def test_names_may_come_from_any_iterable(tmp_path: Path) -> None:
    """A generator, a set or an array of names is what a list is; numbers of NumPy are numbers, and paths are paths."""
    names = (name for name in ("email", "phone"))
    redacted = PrepareEvents(redact=names)._fn._redact
    assert redacted == {"email", "phone"}
    sink = WriteToMixpanel(TOKEN, max_batch_events=np.int64(5), num_shards=np.int32(2), ca_bundle=tmp_path / "ca.pem")
    assert sink._sending.ca_bundle == str(tmp_path / "ca.pem")
    assert type(sink._batch_limits.max_events) is int
    assert ReadFromFilesBatched(tmp_path / "a.csv", columns={"a"})._patterns == (str(tmp_path / "a.csv"),)
    assert ReadFromNdjson([tmp_path / "a", "b"])._patterns == (str(tmp_path / "a"), "b")
    with pytest.raises(TypeError, match="max_batch_events"):
        WriteToMixpanel(TOKEN, max_batch_events=Decimal(5))


def test_a_dict_is_a_mapping_with_the_keys_of_a_file() -> None:
    """A dict means what the same keys mean in YAML, presets among them, and a wrong key is refused."""
    keys = {"event": "A", "time_column": "at", "include": "x"}
    assert PrepareEvents(mapping=keys)._fn._mapping == EventMapping(event="A", time_column="at", include=("x",))
    assert PrepareEvents(mapping={"preset": "ga4"})._fn._mapping == beam_mixpanel.mapping_of({"preset": "ga4"})
    with pytest.raises(ValueError, match="did you mean time_column"):
        WriteToMixpanel(TOKEN, mapping={"time_colum": "at"})


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[SqlReading]:
    """A table to read, in a database whose path holds something like a password."""
    database = sqlite3.connect(tmp_path / "shop.db")
    database.execute("CREATE TABLE orders (id INTEGER, at TEXT)")
    database.commit()
    database.close()
    with SqlReading(f"sqlite:///{tmp_path}/shop.db", table="orders") as reading:
        yield reading


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("choose", ("id",)),
        ("choose", ([5],)),
        ("split", (None, 2)),
        ("split", ("id", True)),
        ("split", ("id", "2")),
        ("split", ("id", 0)),
    ],
)
def test_a_reading_refuses_wrong_arguments(reading: SqlReading, method: str, given: tuple[Any, ...]) -> None:
    """Columns, the partition column and the number of partitions are checked where they are given."""
    with pytest.raises((TypeError, ValueError), match=r"columns|partition"):
        getattr(reading, method)(*given)


def test_display_data_of_every_transform_says_what_it_does_and_no_secret(reading: SqlReading) -> None:
    """Each public transform shows something, as plain values, and nothing of what it was given as a secret."""
    made = {
        WriteToMixpanel: WriteToMixpanel(ServiceAccount("user", SECRET, project_id=1), mapping={"tags": {"k": SECRET}}),
        PrepareEvents: PrepareEvents(redact=["email"], mapping={"event": "A", "tags": {"k": SECRET}}),
        ReadFromNdjsonBatched: ReadFromNdjsonBatched("in/*.ndjson"),
        ReadFromNdjson: ReadFromNdjson("in/*.ndjson"),
        ReadFromFilesBatched: ReadFromFilesBatched(["in/*.csv", "b"], columns=["a"]),
        ReadFromBigQueryBatched: ReadFromBigQueryBatched(query=f"SELECT '{SECRET}'"),
        ReadFromMongoDBBatched: ReadFromMongoDBBatched("env:A", database="d", collection="c", filter={"email": SECRET}),
        ReadFromSqlBatched: ReadFromSqlBatched(reading),
        ReadFromFiles: ReadFromFiles("in/*.csv"),
        ReadAllFromFiles: ReadAllFromFiles("csv"),
        ReadAllFromFilesBatched: ReadAllFromFilesBatched("csv"),
        ReadAllFromNdjson: ReadAllFromNdjson(),
        ReadAllFromNdjsonBatched: ReadAllFromNdjsonBatched(),
        ReadFromSql: ReadFromSql(reading),
        ReadDeadLetters: ReadDeadLetters("dead-*"),
        WriteDeadLetters: WriteDeadLetters("dead"),
    }
    public = [getattr(beam_mixpanel, name) for name in beam_mixpanel.__all__ if name != "__version__"]
    transforms = {each for each in public if inspect.isclass(each) and issubclass(each, PTransform)}
    assert transforms == {*made, UnbatchRows}  # which has no arguments
    for transform in made.values():
        items = DisplayData.create_from(transform).items
        shown = {item.key: item.value for item in items if item.namespace.endswith(type(transform).__name__)}
        assert shown, transform
        assert SECRET not in repr([item.get_dict() for item in items]), transform
        assert all(type(value) in (str, int, float, bool) for value in shown.values()), shown


def test_display_data_of_a_database_shows_the_reference(reading: SqlReading) -> None:
    """A connection is shown as it was named, which for a server is a reference, and parts by their number."""
    shown = ReadFromSqlBatched(reading).display_data()
    assert shown["connection"].endswith("shop.db")
    assert shown["parts"] == 1


def test_credentials_still_travel() -> None:
    """A sink whose arguments were checked can be pickled, without the secret."""
    account = ServiceAccount("user", SECRET, project_id=np.int64(7))
    assert account.project_id == "7"
    assert SECRET.encode() not in pickle.dumps(account)


@pytest.mark.parametrize(
    ("arguments", "first", "second"),
    [
        ({"region": "eu", "api_host": "https://example.com"}, "region", "api_host"),
        ({"ca_bundle": "own.pem", "api_host": "http://localhost:1"}, "ca_bundle", "api_host"),
        ({"endpoint": "track", "retention_days": 30}, "retention_days", "endpoint"),
    ],
)
def test_an_argument_without_effect_is_refused(arguments: dict[str, Any], first: str, second: str) -> None:
    """The message names it, and what takes its effect away; each of them is accepted alone."""
    token = ProjectToken.from_reference("env:A")
    with pytest.raises(ValueError, match=f"`{first}`.* has no effect .*`{second}`"):
        WriteToMixpanel(token, **arguments)
    for name, value in arguments.items():
        WriteToMixpanel(token, **{name: value})
