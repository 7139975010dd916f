"""Builds the jobs that Dataflow would be handed, with Google's services answered at the boundary."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import pytest

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="needs the extra gcp")

from apache_beam.io.filesystem import FileMetadata, MatchResult
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.options.pipeline_options import GoogleCloudOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.internal import apiclient
from google.cloud import bigquery, secretmanager

from tests.bigquery_service import JobServer

SECRET = "s3cr3t-that-must-not-travel"
ACCOUNT_REFERENCE = "gcp-secret:projects/a-project/secrets/mixpanel/versions/1"
DATABASE_REFERENCE = "gcp-secret:projects/a-project/secrets/database/versions/1"
_EVENT = b'{"event":"A","properties":{"time":1760000000,"distinct_id":"u"}}\n'
_MAPPING = ("--event=Ordered", "--time_column=at", "--user_id_column=customer")
_DEAD_LETTERS = "--dead_letters=gs://a-bucket/dead/letters"
PIPELINES = {
    "files_to_mixpanel": ("--input=gs://a-bucket/events/*.ndjson", _DEAD_LETTERS),
    "replay_dead_letters": ("--input=gs://a-bucket/dead/letters-*", "--dead_letters=gs://a-bucket/dead/again"),
    "bigquery_to_mixpanel": ("--table=a-project.a_dataset.orders", *_MAPPING, _DEAD_LETTERS),
    "pubsub_to_mixpanel": ("--subscription=projects/a-project/subscriptions/orders", *_MAPPING, _DEAD_LETTERS),
    "sql_to_mixpanel": (f"--connection={DATABASE_REFERENCE}", "--table=orders", *_MAPPING, _DEAD_LETTERS),
}
"""The options that each job needs besides `COMMON`; a new pipeline is one more line, here."""
TEMPLATE_LOCATION = "gs://a-bucket/staging/template_launches/1/job_object"
COMMON = (
    "--runner=DataflowRunner",
    "--project=a-project",
    "--region=europe-west1",
    "--temp_location=gs://a-bucket/temp",
    "--sdk_container_image=gcr.io/a-project/import:1",
    "--mixpanel_project_id=123",
    f"--mixpanel_service_account={ACCOUNT_REFERENCE}",
)


class Job(NamedTuple):
    """What the launcher of a template leaves in the bucket.

    Attributes:
      graph: the pipeline that workers fetch.
      description: the job that the service is handed.
      staged: all other files, by the last part of their names.
    """

    graph: beam_runner_api_pb2.Pipeline
    description: dict[str, Any]
    staged: dict[str, bytes]

    @property
    def steps(self) -> list[str]:
        """The names by which Dataflow knows the steps, without lines of Beam's sources."""
        transforms = self.graph.components.transforms
        inner = {step for transform in transforms.values() for step in transform.subtransforms}
        names = {transforms[step].unique_name for step in inner} - {
            transforms[root].unique_name for root in self._roots
        }
        return sorted(re.sub(r"\.py:\d+", ".py", name) for name in names)

    @property
    def _roots(self) -> list[str]:
        return [root for root in self.graph.root_transform_ids if not self.graph.components.transforms[root].spec.urn]

    @property
    def options(self) -> dict[str, Any]:
        """The pipeline options that workers and the job's page are given."""
        options: dict[str, Any] = self.description["environment"]["sdkPipelineOptions"]["options"]
        return options


_built: dict[tuple[str, tuple[str, ...]], Job] = {}
"""Building takes seconds, and nothing changes a job."""
BuildJob = Callable[..., Job]


@pytest.fixture(autouse=True)
def _bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find one file of one event wherever something is looked for; nothing may be written while a job is built."""
    found = [MatchResult("", [FileMetadata("gs://a-bucket/events/a.ndjson", len(_EVENT))])]
    monkeypatch.setattr(GCSFileSystem, "match", lambda *_: found)
    monkeypatch.setattr(GCSFileSystem, "open", lambda *_, **__: io.BytesIO(_EVENT))
    monkeypatch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None)
    monkeypatch.setattr(GCSFileSystem, "create", mock.Mock(side_effect=AssertionError("nothing is to be written")))


@pytest.fixture(autouse=True)
def _secret_manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hold the account, and the database's URL, whose database is there to be looked at."""
    with contextlib.closing(sqlite3.connect(tmp_path / f"{SECRET}.db")) as database:
        database.execute("CREATE TABLE orders (id integer PRIMARY KEY, at text, customer text)")
        database.execute("INSERT INTO orders VALUES (1, '2026-01-01', 'a')")
        database.commit()
    values = {"mixpanel": f"user:{SECRET}", "database": f"sqlite:///{tmp_path}/{SECRET}.db"}

    def access(name: str) -> Any:
        return SimpleNamespace(payload=SimpleNamespace(data=values[name.split("/")[3]].encode(), data_crc32c=None))

    client = SimpleNamespace(access_secret_version=access)
    monkeypatch.setattr(secretmanager, "SecretManagerServiceClient", lambda: client)
    monkeypatch.setenv("MIXPANEL_SERVICE_ACCOUNT", values["mixpanel"])


@pytest.fixture(autouse=True)
def _tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answer what is asked of BigQuery before a job."""
    columns = [("id", "INTEGER"), ("at", "TIMESTAMP"), ("customer", "STRING")]
    with JobServer([{"name": name, "type": kind} for name, kind in columns]) as server:
        monkeypatch.setattr(bigquery, "Client", server.client)
        yield


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What Beam's client of Dataflow uploads, by name; it needs no credentials."""
    files: dict[str, bytes] = {}

    def stage(_: Any, folder: str, name: str, stream: Any, *__: Any, **___: Any) -> None:
        files[f"{folder}/{name}"] = stream.read()

    monkeypatch.setattr(apiclient.DataflowApplicationClient, "stage_file", stage)
    monkeypatch.setattr(apiclient, "get_service_credentials", lambda _: None)
    monkeypatch.setattr(apiclient, "create_storage_client", lambda *_: None)
    return files


@pytest.fixture
def build_job(uploads: dict[str, bytes]) -> BuildJob:
    """Run a pipeline as the launcher of a Flex template does, and read what it leaves."""

    def build(name: str, *more: str) -> Job:
        if (name, more) not in _built:
            _built[name, more] = build_anew(name, *more)
        return _built[name, more]

    def build_anew(name: str, *more: str) -> Job:
        uploads.clear()
        pipeline = importlib.import_module(f"beam_mixpanel.pipelines.{name}")
        assert pipeline.run([*COMMON, f"--template_location={TEMPLATE_LOCATION}", *PIPELINES[name], *more]) == 0
        description = json.loads(uploads.pop(TEMPLATE_LOCATION))
        graph_name = description["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        graph = beam_runner_api_pb2.Pipeline.FromString(uploads.pop(graph_name))
        return Job(graph, description, {name.rpartition("/")[2]: content for name, content in uploads.items()})

    return build
