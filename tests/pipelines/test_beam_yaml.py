"""Pipelines in Beam YAML, as `python -m apache_beam.yaml.main` runs them."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("jinja2", reason="needs the extra yaml")

import apache_beam as beam
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.testing.util import assert_that
from apache_beam.typehints.schemas import named_fields_from_schema
from apache_beam.yaml import main
from apache_beam.yaml.yaml_provider import load_providers
from apache_beam.yaml.yaml_transform import expand_pipeline

import beam_mixpanel
from beam_mixpanel.core.rows.mapping_settings import FLAGS
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.yaml import (
    PROVIDERS,
    ReadFromBigQueryBatched,
    ReadFromFilesBatched,
    ReadFromMongoDBBatched,
    ReadFromSqlBatched,
    WriteToMixpanel,
)
from tests.docs.blocks import blocks_of

try:
    from beam_mixpanel.transforms import read_bigquery
except ImportError:  # the extra gcp is absent
    read_bigquery = None  # type: ignore[assignment]

EXAMPLES = Path(__file__).parents[2] / "examples" / "yaml"
ORDERS = "order_id,ordered_at,customer,total\n1,2026-10-01T10:00:00Z,c1,10.5\n2,2026-10-01T11:00:00Z,c2,3\n"


def _run(example: str, tmp_path: Path, emulator: Emulator, orders: str) -> subprocess.CompletedProcess[str]:
    """Run an example as its first line says, in a folder of the test's."""
    (tmp_path / "orders.csv").write_text(orders)
    variables = {"input": f"{tmp_path}/orders.csv", "dead_letters": f"{tmp_path}/dead", "api_host": emulator.url}
    return _main(example, variables, "--runner=FnApiRunner")


def _main(example: str, variables: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    """Run Beam YAML's command."""
    command = [sys.executable, "-m", "apache_beam.yaml.main", *flags]
    command += [f"--yaml_pipeline_file={EXAMPLES / example}", f"--jinja_variables={json.dumps(variables)}"]
    return subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES)


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXPANEL_PROJECT_TOKEN", "a-token")


def test_files_become_events_and_dead_letters_lines(tmp_path: Path, emulator: Emulator) -> None:
    """Each event arrives; what cannot be imported is a line that `replay_dead_letters` reads."""
    done = _run("csv_to_mixpanel.yaml", tmp_path, emulator, ORDERS + "3,,c3,1\n")
    assert done.returncode == 0, done.stderr
    events = emulator.events()
    assert {event["properties"]["$insert_id"] for event in events} == {"1", "2"}
    assert [event["properties"]["$user_id"] for event in events] == ["c1", "c2"]
    assert {event["event"] for event in events} == {"Order Placed"}
    [letter] = [json.loads(line) for file in tmp_path.glob("dead*") for line in file.read_text().splitlines()]
    assert (letter["reason"], json.loads(letter["event"])["order_id"]) == ("time_missing", 3)


def test_rows_of_beam_become_events(tmp_path: Path, emulator: Emulator) -> None:
    """Rows that Beam's own transforms made are mapped like any others."""
    done = _run("rows_to_mixpanel.yaml", tmp_path, emulator, ORDERS)
    assert done.returncode == 0, done.stderr
    [event] = emulator.events()
    assert (event["properties"]["$insert_id"], event["properties"]["total"]) == ("1", 10.5)


def test_without_error_handling_a_dead_letter_fails_the_job(tmp_path: Path, emulator: Emulator) -> None:
    """Nothing is lost in silence."""
    done = _run("rows_to_mixpanel.yaml", tmp_path, emulator, ORDERS + "3,,c3,10\n")
    assert done.returncode != 0
    assert "time_missing" in done.stderr


def test_rows_of_a_database_become_events(tmp_path: Path, emulator: Emulator) -> None:
    """In ranges of its partition column, each row once."""
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE orders (order_id INTEGER, ordered_at TEXT, customer TEXT)")
        rows = ((number, "2026-10-01T10:00:00Z", f"c{number}") for number in range(1, 1001))
        database.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
        database.commit()
    variables = {"connection": f"sqlite:///{tmp_path}/shop.db", "table": "orders", "api_host": emulator.url}
    done = _main("sql_to_mixpanel.yaml", variables, "--runner=FnApiRunner")
    assert done.returncode == 0, done.stderr
    assert sorted(int(event["properties"]["$insert_id"]) for event in emulator.events()) == list(range(1, 1001))
    assert emulator.stats()["duplicates"] == 0


def test_rows_of_bigquery_become_events(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns that the example names are read, and no other."""
    beam_bigquery = pytest.importorskip("apache_beam.io.gcp.bigquery", reason="needs the extra gcp")
    from tests.bigquery_service import StorageServer

    wrapper = mock.MagicMock()
    wrapper.return_value = wrapper.from_pipeline_options.return_value = wrapper
    wrapper.get_table.return_value.numBytes = 1000
    monkeypatch.setattr(beam_bigquery.bigquery_tools, "BigQueryWrapper", wrapper)
    schema = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("customer", pa.string())])
    with StorageServer(schema) as storage:
        storage.streams = {"streams/1": [[{"id": 2**60, "at": 1_767_225_600_000_000, "customer": "c"}]]}
        monkeypatch.setattr(beam_bigquery.bq_storage, "BigQueryReadClient", storage.client)
        variables = {"table": "a-project.a_dataset.orders", "api_host": emulator.url}
        main.run(
            [
                "--runner=FnApiRunner",
                "--project=payer",
                f"--yaml_pipeline_file={EXAMPLES / 'bigquery_to_mixpanel.yaml'}",
                f"--jinja_variables={json.dumps(variables)}",
            ]
        )
    [event] = emulator.events()
    assert event["properties"]["$insert_id"] == str(2**60)
    assert list(storage.sessions[0].read_session.read_options.selected_fields) == ["id", "at", "customer"]


def test_an_example_tests_itself() -> None:
    """By Beam YAML's own `tests`, which need neither files nor credentials."""
    done = _main("rows_to_mixpanel.yaml", {"input": "orders.csv"}, "--tests")
    assert done.returncode == 0, done.stderr
    assert "Ran 1 test" in done.stderr


def test_configurations_are_typed() -> None:
    """Beam knows the keys of each transform and the types of plain ones."""
    [provider] = load_providers(PROVIDERS)
    for transform in (*COUNTERPARTS, WriteToMixpanel):
        types = dict(named_fields_from_schema(provider.config_schema(transform.__name__)))
        assert types.keys() == inspect.signature(transform.__init__).parameters.keys() - {"self"}
    assert (types["project_token"], types["project_id"]) == (str | None, np.int64 | None)


OTHERWISE_IN_YAML = {
    "credentials": "service_account with project_id, or project_token: YAML has no objects",
    "exclude": "what a mapping leaves out, as the launcher knows it; columns says what is needed",
    "listed": "decides how a large CSV file is read, never what; the launcher knows it",
    "patterns": "path, as Beam's own readers in YAML name it",
    "range_bytes": "the size of parts is chosen by measurement; it is an argument for tests",
    "share": "a snapshot that is shared needs a process that outlives the readers",
}
"""Arguments in Python that are not keys of the same name in YAML, and why."""
COUNTERPARTS = {
    WriteToMixpanel: beam_mixpanel.WriteToMixpanel,
    ReadFromFilesBatched: beam_mixpanel.ReadFromFilesBatched,
    ReadFromMongoDBBatched: beam_mixpanel.ReadFromMongoDBBatched,
    ReadFromSqlBatched: beam_mixpanel.SqlReading,
    ReadFromBigQueryBatched: read_bigquery and read_bigquery.ReadFromBigQueryBatched,
}
IN_YAML_ALONE = {"service_account", "project_id", "project_token", "error_handling", "path"}
BEFORE_READING = {"columns", "partition_column", "partitions"}
"""What `SqlReading` has methods for."""


def _parameters(transform: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(transform.__init__).parameters


def _arguments(transform: type) -> set[str]:
    return _parameters(transform).keys() - {"self"}


@pytest.mark.parametrize("transform", COUNTERPARTS)
def test_what_python_has_yaml_has(transform: type) -> None:
    """Each argument of a transform in Python is a key in YAML, or has a reason not to be; and the other way round."""
    theirs = COUNTERPARTS[transform]
    if theirs is None:
        pytest.skip("needs the extra gcp")
    ours, python = _arguments(transform), _arguments(theirs)
    assert python - ours <= OTHERWISE_IN_YAML.keys()
    also = BEFORE_READING if transform is ReadFromSqlBatched else set()
    assert ours - python <= IN_YAML_ALONE | also


def test_reasons_are_of_arguments_that_exist() -> None:
    """No reason outlives its argument."""
    theirs = set().union(*(_arguments(each) for each in COUNTERPARTS.values() if each))
    ours = set().union(*map(_arguments, COUNTERPARTS))
    assert OTHERWISE_IN_YAML.keys() <= theirs - ours
    assert ours >= IN_YAML_ALONE


MAPPED = {
    "preset": "amplitude", "event": "A", "event_column": "name", "time_column": "at", "time_unit": "ms",
    "time_format": "%Y", "distinct_id_column": "who", "user_id_column": "who", "device_id_column": "what",
    "insert_id_columns": ["id"], "include": ["a*"], "exclude": ["b"], "rename": {"a": "b"}, "tags": {"from": "shop"},
    "json_columns": ["j"], "spread_columns": ["s"], "flatten": True, "keep_nulls": True, "only_events": ["A"],
    "skip_events": ["B"], "from_time": "2026-01-01", "until_time": "2026-02-01", "map": "json:loads",
}  # fmt: skip
"""A value for each key of a mapping."""


def test_every_key_of_a_mapping_is_a_key_in_yaml() -> None:
    """The same mapping comes of it as of a mapping file."""
    assert MAPPED.keys() == FLAGS.keys()
    for key, value in MAPPED.items():
        with mock.patch("beam_mixpanel.yaml.write.Write") as write:
            WriteToMixpanel(project_token="env:A", mapping={key: value})
        assert write.call_args.kwargs["mapping"] == beam_mixpanel.mapping_of({key: value})


def test_defaults_are_those_of_the_transform_in_python() -> None:
    """A pipeline in YAML sends as one in Python does."""
    ours, theirs = (inspect.signature(each).parameters for each in (WriteToMixpanel, beam_mixpanel.WriteToMixpanel))
    same = ours.keys() & theirs.keys()
    assert {name: ours[name].default for name in same} == {name: theirs[name].default for name in same}
    assert len(same) > 10


def test_the_pipeline_of_the_page_runs_where_the_package_is_installed(
    tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder of one's own, as it stands, but for the destination."""
    pipeline = next(block.text for block in blocks_of(Path("docs", "yaml.md")) if block.language == "yaml")
    (tmp_path / "orders-1.csv").write_text(ORDERS + "3,,c3,10\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIXPANEL_SERVICE_ACCOUNT", "user:secret")
    main.run(
        [
            "--runner=FnApiRunner",
            f"--yaml_pipeline={pipeline.replace('region: eu', f'api_host: {emulator.url}')}",
        ]
    )
    assert {event["properties"]["$insert_id"] for event in emulator.events()} == {"1", "2"}
    assert "time_missing" in "".join(file.read_text() for file in tmp_path.glob("dead*"))


def test_every_transform_is_described() -> None:
    """Beam YAML takes the words for its users from the docstrings; docs/yaml.md names every key."""
    [provider] = load_providers(PROVIDERS)
    docs = (EXAMPLES.parents[1] / "docs" / "yaml.md").read_text()
    for name in provider.provided_transforms():
        section = docs.partition(f"### {name}\n")[2].partition("###")[0]
        keys = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        described = {field.name for field in provider.config_schema(name).fields if field.description}
        assert set(keys) == described == {field.name for field in provider.config_schema(name).fields}


def test_defaults_are_on_the_page() -> None:
    """Each default that is a number or a text is in its key's row of docs/yaml.md."""
    docs = (EXAMPLES.parents[1] / "docs" / "yaml.md").read_text()
    for transform in COUNTERPARTS:
        section = docs.partition(f"### {transform.__name__}\n")[2].partition("###")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \|(.*)", section, re.MULTILINE))
        for key, argument in _parameters(transform).items():
            default = argument.default
            if isinstance(default, (int, float)) and not isinstance(default, bool):
                assert {f"{default:g}", f"{default:,}"} & set(re.findall(r"[\d,.]*\d", rows[key])), key
            elif isinstance(default, str):
                assert f"`{default}`" in rows[key]


def test_unknown_keys_are_refused() -> None:
    """Before anything runs."""
    with pytest.raises(ValueError, match="regoin"):
        expand_pipeline(
            beam.Pipeline("FnApiRunner"),
            f"""
            providers: [{{include: "{PROVIDERS}"}}]
            pipeline:
              type: chain
              transforms:
                - {{type: Create, config: {{elements: [{{event: A}}]}}}}
                - {{type: WriteToMixpanel, config: {{project_token: "env:X", regoin: eu}}}}
            """,
        )


@pytest.mark.parametrize(
    ("config", "cure"),
    [
        ({}, "give `service_account` with `project_id`, or `project_token`"),
        ({"service_account": "env:A", "project_token": "env:B"}, "give `service_account` or `project_token`, not both"),
        ({"service_account": "env:A"}, "needs `project_id`"),
        ({"project_token": "env:A", "project_id": 123}, "`project_id` has no effect beside `project_token`"),
        ({"project_token": "env:A", "project_id": "123"}, "`project_id` has no effect beside `project_token`"),
        ({"project_token": "env:A", "error_handling": {"threshold": 0.1}}, "error_handling takes `output: NAME`"),
        ({"project_token": "env:A", "mapping": {"evnt": "A"}}, "^mapping: .*evnt"),
        ({"project_token": "env:A", "mapping": {"event": 5}}, "^mapping: event must be a text"),
        (
            {"project_token": "env:A", "mapping": "evnt"},
            "^mapping must have keys with values, such as {event: Order Placed}",
        ),
        ({"project_token": "env:A", "error_handling": "dead"}, "such as {output: dead_letters}, got a text"),
        ({"service_account": "env:A", "project_id": 1, "endpoint": "track"}, "`endpoint` track needs a ProjectToken"),
    ],
)
def test_wrong_configurations_name_the_cure(config: dict[str, object], cure: str) -> None:
    """As errors of the pipeline's construction."""
    with pytest.raises(ValueError, match=cure):
        WriteToMixpanel(**config)  # type: ignore[arg-type]


WRONG_VALUES: dict[type, dict[str, tuple[object, ...]]] = {
    WriteToMixpanel: {
        "service_account": (5, "0123456789abcdef", ["env:A"]),
        "project_id": ("abc", 1.5, True, "-1"),
        "project_token": (5, "0123456789abcdef"),
        "region": ("mars", 5, ""),
        "api_host": ("example.com", "https://user@example.com", "http://example.com", 5),
        "endpoint": ("engage", True),
        "mapping": ("event", ["event"], {"evnt": 1}),
        "insert_id": ("random", 5),
        "time_zone": ("Mars", 2),
        "retention_days": (0, "long", 1.5, True),
        "redact": ("email", {"email": True}, [5], 5),
        "max_batch_events": (0, 2001, "many", 1.5),
        "max_batch_bytes": (0, 10_000_001, "10 MB"),
        "max_concurrent_requests": (0, 1001, True, [1]),
        "max_events_per_sec": (0, "fast", float("inf"), float("nan"), True),
        "retry_deadline_secs": (-1, 86_401, "1h", True),
        "request_timeout_secs": (0, 601, "1m"),
        "ca_bundle": (5, ["own.pem"]),
        "num_shards": (0, 10_001, "abc", True, 1.5),
        "auto_sharding": ("yes", 1),
        "max_buffering_secs": (-1, 3601, "soon"),
        "on_undelivered": ("ignore", False),
        "error_handling": ("dead", {"threshold": 1}, {}),
    },
    ReadFromFilesBatched: {
        "path": (5, None, ["a"]),
        "format": ("xml", 5),
        "columns": ("a", [5]),
        "csv": (";", {"delimeter": ";"}, {"delimiter": ";;"}, {"delimiter": 5}, {"columns": "a"}, {"types": {"a": "t"}},
                {"encoding": "utf-99"}, {"text": "yes"}),
        "ndjson_as_rows": ("yes", 1),
        "extended_json": ("yes", 1),
    },
    ReadFromMongoDBBatched: {
        "connection": (5, None, "mongodb://u:p@h/d"),
        "database": (5, None),
        "collection": (5, None),
        "filter": (5, "{}", {"a": {"$oid": "0123456789abcdef"}}),
        "columns": ("a", [5]),
        "partitions": ("many", 1.5, 0),
    },
    ReadFromSqlBatched: {
        "connection": (5, None, "postgresql://u:p@h/d"),
        "table": (5,),
        "query": (["SELECT 1"],),
        "columns": ("a",),
        "partition_column": (5,),
        "partitions": ("many", 1.5, 8),
    },
    ReadFromBigQueryBatched: {
        "table": (5,),
        "query": (5,),
        "method": ("READ", 5),
        "columns": ("a", [5]),
        "row_restriction": (5,),
    },
}  # fmt: skip
"""For each key, values that it cannot have. `8` partitions lack the column."""
REST: dict[type, dict[str, object]] = {
    WriteToMixpanel: {"project_token": "env:A"},
    ReadFromFilesBatched: {"path": "orders.csv"},
    ReadFromMongoDBBatched: {"connection": "env:A", "database": "shop", "collection": "orders"},
    ReadFromSqlBatched: {"connection": "sqlite:///shop.db", "table": "orders"},
    ReadFromBigQueryBatched: {"table": "a-project.a_dataset.orders"},
}
"""What else a configuration needs."""


@pytest.mark.parametrize(
    ("transform", "key", "value"),
    [(transform, key, value) for transform, keys in WRONG_VALUES.items() for key in keys for value in keys[key]],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(transform: type, key: str, value: object) -> None:
    """By a sentence, without the value of what may be a secret."""
    if transform is ReadFromBigQueryBatched and read_bigquery is None:
        pytest.skip("needs the extra gcp")
    rest = REST[transform] if key != "project_id" else {"service_account": "env:A"}
    rest = {"project_id": 1} if key == "service_account" else rest
    with pytest.raises(ValueError, match=rf"\b{key}\b") as caught:
        transform(**rest | {key: value})
    assert "0123456789abcdef" not in str(caught.value)
    assert "u:p@h" not in str(caught.value)


def test_every_key_has_wrong_values_to_be_tried_with() -> None:
    """A new key is one more line above."""
    for transform, keys in WRONG_VALUES.items():
        assert keys.keys() == _arguments(transform)


@pytest.mark.parametrize(
    ("transform", "config", "cure"),
    [
        (
            WriteToMixpanel,
            {"region": "eu", "api_host": "https://example.com"},
            "`region` has no effect beside `api_host`",
        ),
        (
            WriteToMixpanel,
            {"ca_bundle": "own.pem", "api_host": "http://localhost:1"},
            "`ca_bundle` has no effect on an `api_host` of http://",
        ),
        (WriteToMixpanel, {"on_undelivered": "dead_letter"}, "on_undelivered: dead_letter needs error_handling"),
        (
            WriteToMixpanel,
            {"endpoint": "track", "retention_days": 30},
            "`retention_days` 30 has no effect with `endpoint` track, which refuses events older than 5 days",
        ),
        (ReadFromFilesBatched, {"format": "avro", "csv": {"delimiter": ";"}}, "csv has no effect with format: avro"),
        (ReadFromFilesBatched, {"format": "csv", "ndjson_as_rows": True}, "ndjson_as_rows has no effect with format"),
        (ReadFromFilesBatched, {"format": "csv", "extended_json": True}, "extended_json has no effect with format"),
        (ReadFromSqlBatched, {"partitions": 4}, "partitions needs partition_column"),
        (ReadFromBigQueryBatched, {"method": "EXPORT", "columns": ["a"]}, "columns has no effect with method: EXPORT"),
        (
            ReadFromBigQueryBatched,
            {"method": "EXPORT", "row_restriction": "a > 1"},
            "`row_restriction` needs the method",
        ),
    ],
)
def test_keys_without_effect_are_refused(transform: type, config: dict[str, object], cure: str) -> None:
    """What another key makes useless is an error, and not ignored."""
    if transform is ReadFromBigQueryBatched and read_bigquery is None:
        pytest.skip("needs the extra gcp")
    with pytest.raises(ValueError, match=cure):
        transform(**REST[transform] | config)


@pytest.mark.parametrize("key", ["auto_sharding", "max_buffering_secs"])
def test_options_of_streams_are_refused_on_bounded_input(key: str) -> None:
    """They would have no effect there."""
    write = WriteToMixpanel(project_token="env:A", **{key: 1.0 if key == "max_buffering_secs" else True})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{key} has an effect on streams only"):
        _ = beam.Pipeline("FnApiRunner") | beam.Create([beam.Row(event="A")]) | write


def test_a_null_is_as_if_the_key_were_absent() -> None:
    """Other languages have null fields, and templates leave values empty."""
    nulls = {key: None for key in _arguments(WriteToMixpanel) - {"project_token"}}
    with mock.patch("beam_mixpanel.yaml.write.Write") as write:
        WriteToMixpanel(project_token="env:A", **nulls)  # type: ignore[arg-type]
        WriteToMixpanel(project_token="env:A")
    with_nulls, without = write.call_args_list
    assert with_nulls.kwargs == without.kwargs
    assert with_nulls.kwargs["region"] == "us"


def test_numbers_of_other_languages_are_numbers(token_reference: str) -> None:
    """Whole numbers for fractions, NumPy's for ours, and text in quotes where templates give nothing else."""
    with mock.patch("beam_mixpanel.yaml.write.Write") as write:
        WriteToMixpanel(
            project_token=token_reference,
            num_shards=np.int64(3),  # type: ignore[arg-type]
            max_batch_events="100",  # type: ignore[arg-type]
            retry_deadline_secs=60,
            max_events_per_sec=np.float32(1.5),  # type: ignore[arg-type]
        )
    given = write.call_args.kwargs
    assert [type(given[key]) for key in ("num_shards", "max_batch_events", "retry_deadline_secs")] == [int, int, float]
    assert (given["num_shards"], given["max_batch_events"], given["max_events_per_sec"]) == (3, 100, 1.5)


_found: list[Any] = []
"""What the pipeline that ran last left, in this process."""


def _keep(letters: list[beam.Row]) -> None:
    _found[:] = letters


def _keep_one(element: object) -> None:
    _found.append(element)


def _write(api_host: str, rows: list[beam.Row], **config: Any) -> dict[str, int]:
    """Write rows by a configuration, with dead letters, and return the counters."""
    config = {"project_token": "env:MIXPANEL_PROJECT_TOKEN", "api_host": api_host} | config
    pipeline = beam.Pipeline("FnApiRunner")
    written = pipeline | beam.Create(rows) | WriteToMixpanel(**config, error_handling={"output": "dead"})
    assert_that(written["dead"], _keep)
    result = pipeline.run()
    result.wait_until_finish()
    return {each.key.metric.name: each.committed for each in result.metrics().query()["counters"]}


def _order(number: int, *, days_ago: int = 0, text: str = "") -> beam.Row:
    at = int(time.time()) - days_ago * 86_400
    return beam.Row(event="Ordered", time=at, user_id=f"u{number}", insert_id=f"id{number}", text=text)


def test_endpoint_decides_where_events_go(emulator: Emulator) -> None:
    """To `/import`, or to `/track`."""
    for endpoint in ("import", "track"):
        emulator.reset()
        _write(emulator.url, [_order(1)], endpoint=endpoint)
        assert [request["path"] for request in emulator.requests()] == [f"/{endpoint}"]


def test_max_batch_bytes_makes_more_requests(emulator: Emulator) -> None:
    """Three events of 0.6 MB are one request of at most 10 MB, and three of little more than 1 MB."""
    orders = [_order(number, text=chr(96 + number) * 600_000) for number in range(1, 4)]
    for config, requests in (({}, 1), ({"max_batch_bytes": 1_048_578}, 3)):
        emulator.reset()
        _write(emulator.url, orders, **config)
        assert len(emulator.requests()) == requests
        assert len(emulator.events()) == 3


def test_retention_days_decides_what_is_counted_as_old(emulator: Emulator) -> None:
    """Ten days are too old where the project keeps five."""
    assert "past_retention" not in _write(emulator.url, [_order(1, days_ago=10)])
    assert _write(emulator.url, [_order(1, days_ago=10)], retention_days=5)["past_retention"] == 1


def test_retry_deadline_secs_ends_the_attempts(emulator: Emulator) -> None:
    """A batch that is refused for good reasons of the server is tried until then, and is a dead letter afterwards."""
    emulator.add_fault(kind="status", status=503)
    started = time.monotonic()
    counters = _write(emulator.url, [_order(1)], retry_deadline_secs=2, on_undelivered="dead_letter")
    assert time.monotonic() - started < 60
    assert counters["undelivered"] == 1
    assert [letter.fate for letter in _found] == ["undelivered"]
    assert len(emulator.requests()) >= 1


def test_request_timeout_secs_ends_a_request(emulator: Emulator) -> None:
    """A server that never answers has so long for each request."""
    emulator.add_fault(kind="hang")
    _write(emulator.url, [_order(1)], request_timeout_secs=0.5, retry_deadline_secs=0, on_undelivered="dead_letter")
    [letter] = _found
    assert (letter.fate, letter.reason) == ("undelivered", "timeout")


class _Mixpanel(BaseHTTPRequestHandler):
    """Imports one event."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"code":200,"num_records_imported":1,"status":"OK"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def tls_url(tls: ssl.SSLContext) -> Iterator[str]:
    """A server that shows `certificate`."""
    with HTTPServer(("127.0.0.1", 0), _Mixpanel) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_ca_bundle_decides_who_is_trusted(tls_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An own authority's server is refused without it, and served with it."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    config = {"retry_deadline_secs": 0, "on_undelivered": "dead_letter"}
    assert "imported" not in _write(tls_url, [_order(1)], **config)
    assert [letter.reason for letter in _found] == ["tls_failed"]
    assert _write(tls_url, [_order(1)], **config, ca_bundle=str(certificate))["imported"] == 1


@pytest.mark.parametrize("auto_sharding", [True, False])
def test_auto_sharding_lets_the_runner_choose(*, auto_sharding: bool) -> None:
    """A stream is then grouped by the step whose keys Dataflow splits by itself."""
    pipeline = beam.Pipeline("BundleBasedDirectRunner")
    config: dict[str, Any] = {"auto_sharding": True} if auto_sharding else {}
    _ = pipeline | Stream() | WriteToMixpanel(project_token="env:A", **config)
    urns = {step.spec.urn for step in pipeline.to_runner_api().components.transforms.values()}
    assert ("beam:transform:group_into_batches_with_sharded_key:v1" in urns) == auto_sharding


@pytest.mark.parametrize(
    ("csv", "text", "total"),
    [
        ({}, "time,total\nNOW,2\n", 2),
        ({"delimiter": ";"}, "time;total\nNOW;2\n", 2),
        ({"columns": ["time", "total"]}, "NOW,2\n", 2),
        ({"encoding": "cp1252"}, "time,total\nNOW,\x80\n", "\u20ac"),
        ({"types": {"total": "text"}}, "time,total\nNOW,2\n", "2"),
        ({"text": True}, "time,total\nNOW,2\n", "2"),
    ],
)
def test_csv_says_how_files_are_written(
    csv: dict[str, Any], text: str, total: object, tmp_path: Path, emulator: Emulator
) -> None:
    """Each of its keys changes what arrives."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    (tmp_path / "orders.csv").write_bytes(text.replace("NOW", now).encode("latin-1"))
    mapping = {"event": "Ordered", "time_column": "time"}
    with beam.Pipeline("FnApiRunner") as pipeline:
        rows = pipeline | ReadFromFilesBatched(path=f"{tmp_path}/orders.csv", csv=csv)
        _ = rows | WriteToMixpanel(project_token="env:MIXPANEL_PROJECT_TOKEN", api_host=emulator.url, mapping=mapping)
    assert [event["properties"]["total"] for event in emulator.events()] == [total]


def test_ndjson_as_rows_makes_rows_of_lines(tmp_path: Path) -> None:
    """Without it, a line is an event."""
    line = {"event_name": "Ordered", "event_time": int(time.time()), "user_id": "u"}
    (tmp_path / "orders.ndjson").write_text(json.dumps(line))
    kinds = []
    for as_rows in (False, True):
        with beam.Pipeline("FnApiRunner") as pipeline:
            read = pipeline | ReadFromFilesBatched(path=f"{tmp_path}/orders.ndjson", ndjson_as_rows=as_rows)
            _ = read | beam.Map(_keep_one)
        kinds.append(type(_found.pop()).__name__)
    assert kinds == ["EventBlock", "RowList"]


class _Mapping(NamedTuple):
    event: str
    time_column: str | None
    tags: _Tags


class _Tags(NamedTuple):
    source: str


class _ErrorHandling(NamedTuple):
    output: str


def test_rows_stand_for_dicts(emulator: Emulator) -> None:
    """At any depth, and their null fields are absent, as other languages give settings of several types."""
    mapping = _Mapping("Order Placed", None, _Tags("shop"))
    write = WriteToMixpanel(
        project_token="env:MIXPANEL_PROJECT_TOKEN",
        api_host=emulator.url,
        mapping=mapping,  # type: ignore[arg-type]
        error_handling=_ErrorHandling("bad"),  # type: ignore[arg-type]
    )
    with beam.Pipeline("FnApiRunner") as pipeline:
        written = pipeline | beam.Create([beam.Row(time=1_790_000_000, user_id="u1")]) | write
        assert written.keys() == {"good", "bad"}
    [event] = emulator.events()
    assert (event["event"], event["properties"]["source"]) == ("Order Placed", "shop")
