"""Pipelines in Beam YAML, as `python -m apache_beam.yaml.main` runs them."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("jinja2", reason="needs the extra yaml")

import apache_beam as beam
from apache_beam.typehints.schemas import named_fields_from_schema
from apache_beam.yaml import main
from apache_beam.yaml.yaml_provider import load_providers
from apache_beam.yaml.yaml_transform import expand_pipeline

import beam_mixpanel
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.yaml import PROVIDERS, ReadEventsFromFiles, ReadRowsFromBigQuery, ReadRowsFromSql, WriteToMixpanel
from tests.docs.blocks import blocks_of

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
    for transform in (ReadEventsFromFiles, ReadRowsFromBigQuery, ReadRowsFromSql, WriteToMixpanel):
        types = dict(named_fields_from_schema(provider.config_schema(transform.__name__)))
        assert types.keys() == inspect.signature(transform.__init__).parameters.keys() - {"self"}
    assert (types["project_token"], types["project_id"]) == (str | None, np.int64 | None)


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
        ({}, "either service_account with project_id, or project_token"),
        ({"service_account": "env:A"}, "needs the project_id"),
        ({"project_token": "env:A", "project_id": 123}, "project_id goes with a service_account"),
        ({"project_token": "env:A", "error_handling": {"threshold": 0.1}}, "error_handling takes `output: NAME`"),
        ({"project_token": "env:A", "mapping": {"evnt": "A"}}, "evnt"),
        (
            {"project_token": "env:A", "mapping": "evnt"},
            "mapping takes keys with values, such as {event: Order Placed}",
        ),
        ({"project_token": "env:A", "error_handling": "dead"}, "such as {output: dead_letters}, got 'dead'"),
        ({"project_token": "env:A", "num_shards": 0}, "num_shards must be between 1"),
        ({"project_token": "env:A", "max_events_per_sec": 0}, "`max_events_per_sec` must be between 1"),
        ({"project_token": "env:A", "max_buffering_secs": -1}, "`max_buffering_secs` must be between"),
    ],
)
def test_wrong_configurations_name_the_cure(config: dict[str, object], cure: str) -> None:
    """As errors of the pipeline's construction."""
    with pytest.raises(ValueError, match=cure):
        WriteToMixpanel(**config)  # type: ignore[arg-type]


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
