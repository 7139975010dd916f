"""Jobs as Dataflow is handed them, built without it: steps, coders, options, files, and no secret."""

from __future__ import annotations

import base64
import bz2
import importlib
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from tests.dataflow.conftest import ACCOUNT_REFERENCE, COMMON, DATABASE_REFERENCE, PIPELINES, SECRET, BuildJob, Job

GOLDEN = Path(__file__).with_name("golden")
TEMPLATES = Path(__file__).parents[2] / "templates"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")
_SOURCE_ITSELF = "ReadRows/DirectRead/ReadBatches/EmitSource.None"
"""Where Beam pickles the description of what to read; no rows."""
_STAGED_BY_BEAM = {"pickled_main_session", "submission_environment_dependencies.txt"}
"""The names of the main module, and of the launcher's packages."""
_MAIN_URNS = {
    "beam:transform:pardo:v1",
}


@pytest.mark.parametrize("name", PIPELINES)
def test_step_names_are_those_of_the_golden_file(name: str, build_job: BuildJob) -> None:
    """A job can be updated in place (`--update`) only where each step with state keeps its name."""
    golden = GOLDEN / f"{name}.txt"
    steps = "\n".join(build_job(name).steps) + "\n"
    if not golden.exists():
        golden.write_text(steps)
        pytest.fail(f"{golden.name} was not there; look at what was written, and commit it")
    assert steps == golden.read_text(), (
        f"the steps of {name} have other names. A running stream then refuses --update, unless "
        f"--transform_name_mapping names the changes. If that is meant: remove {golden.name}, run this test again, "
        "commit the file, and say so in CHANGELOG.md"
    )


@pytest.mark.parametrize("name", PIPELINES)
def test_golden_files_are_committed(name: str) -> None:
    """Each pipeline has its list, and the list has our main steps."""
    names = (GOLDEN / f"{name}.txt").read_text().splitlines()
    assert {"WriteToMixpanel/Prepare", "WriteToMixpanel/SendBatches", "WriteDeadLetters"} <= set(names)


@pytest.mark.parametrize("name", PIPELINES)
def test_steps_are_what_the_service_knows(name: str, build_job: BuildJob) -> None:
    """No step needs another language, and shuffles are Beam's own, which the service does itself."""
    graph = build_job(name).graph
    urns = {step.spec.urn for step in graph.components.transforms.values()}
    assert urns >= _MAIN_URNS
    assert "beam:transform:group_by_key:v1" in urns
    assert not any("external" in urn for urn in urns)
    assert {environment.urn for environment in graph.components.environments.values()} == {"beam:env:docker:v1"}


@pytest.mark.parametrize("name", PIPELINES)
def test_events_travel_by_coders_of_ours(name: str, build_job: BuildJob) -> None:
    """Chunks have their own coder, dead letters and receipts Beam's for rows, and nothing is pickled on its way."""
    graph = build_job(name).graph
    coders = _coders_of_steps(graph)
    assert coders["WriteToMixpanel/Prepare/CheckAndEncode/ParDo(_PrepareEventsFn).None"] == "EventChunkCoder"
    assert coders["WriteToMixpanel/Prepare/CheckAndEncode/ParDo(_PrepareEventsFn).invalid"] == "beam:coder:row:v1"
    assert coders["WriteToMixpanel/SendBatches/ParDoInWindows(SendBatchesFn).None"] == "beam:coder:row:v1"
    remainders = "WriteToMixpanel/Pack/InBundles/ParDoInWindows(_PackBatchesFn).remainders"
    if name != "pubsub_to_mixpanel":
        assert coders[remainders] == "beam:coder:kv:v1(beam:coder:varint:v1,EventChunkCoder)"
    pickled = {step for step, coder in coders.items() if re.search("[Pp]ickleCoder|Dill", coder)}
    assert pickled <= {_SOURCE_ITSELF}


def _coders_of_steps(graph: beam_runner_api_pb2.Pipeline) -> dict[str, str]:
    """Name the coder of each output, by step and tag."""
    components = graph.components

    def named(coder_id: str) -> str:
        coder = components.coders[coder_id]
        python = re.search(rb"([A-Z]\w*Coder\w*)\$", coder.spec.payload)
        parts = [named(part) for part in coder.component_coder_ids]
        return (python[1].decode() if python else coder.spec.urn) + (f"({','.join(parts)})" if parts else "")

    return {
        f"{step.unique_name}.{tag}": named(components.pcollections[output].coder_id)
        for step in components.transforms.values()
        for tag, output in step.outputs.items()
    }


@pytest.mark.parametrize("name", PIPELINES)
def test_no_secret_is_in_what_is_handed_over(name: str, build_job: BuildJob) -> None:
    """Neither in the graph with its pickled functions, nor in the job with its options; the references are."""
    job = build_job(name)
    graph = b"\n".join(_unpacked(job.graph.SerializeToString()))
    described = repr(job.description)
    assert SECRET.encode() not in graph
    assert SECRET not in described
    assert job.options["mixpanel_service_account"] == ACCOUNT_REFERENCE
    assert ACCOUNT_REFERENCE.encode() in graph
    assert (DATABASE_REFERENCE.encode() in graph) == (name == "sql_to_mixpanel")


@pytest.mark.parametrize("name", PIPELINES)
def test_what_is_pickled_needs_no_module_but_installed_ones(name: str, build_job: BuildJob) -> None:
    """Neither the module that was started, nor the repository's own `pipelines`, which workers do not have."""
    job = build_job(name)
    assert b"beam_mixpanel.transforms" in b"\n".join(_unpacked(job.graph.SerializeToString()))
    for text in _unpacked(job.graph.SerializeToString()):
        # A pickle writes the length of a short name before it: a module begins after a byte that is no letter.
        assert not re.search(rb"(?<![\w.])(?:pipelines(?:\.\w+)?|templates|tests)(?=[\x94\n])", text), text[:200]
        assert b"\x08__main__\x94" not in text


def test_the_search_finds_what_functions_hold() -> None:
    """A secret in a pickled function would be found; the plain bytes do not show it."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create([1]) | beam.Map(lambda _, held: held, SECRET)
    packed = pipeline.to_runner_api().SerializeToString()
    assert SECRET.encode() not in packed
    assert any(SECRET.encode() in text for text in _unpacked(packed))


def _unpacked(packed: bytes) -> Iterator[bytes]:
    """Give bytes, and what Beam has compressed and written as text inside them, at any depth."""
    yield packed
    for text in _BASE64.findall(packed):
        for unpacked in _decompressed(text):
            yield from _unpacked(unpacked)


def _decompressed(text: bytes) -> Iterator[bytes]:
    decoded = base64.b64decode(text[: len(text) // 4 * 4])
    for decompress, error in ((bz2.decompress, OSError), (zlib.decompress, zlib.error)):
        try:
            yield decompress(decoded)
        except (error, ValueError):
            continue


@pytest.mark.parametrize("name", PIPELINES)
def test_options_are_in_the_job(name: str, build_job: BuildJob) -> None:
    """What was asked for is what workers are given and the job's page shows; and the job is of the right kind."""
    job = build_job(name, "--max_num_workers=3", "--redact=email")
    asked = dict(flag.lstrip("-").split("=", 1) for flag in COMMON)
    temp = asked.pop("temp_location")
    assert asked.items() <= job.options.items()
    assert job.options["temp_location"].startswith(f"{temp}/")
    assert job.options["redact"] == ["email"]
    [pool] = job.description["environment"]["workerPools"]
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 3
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == ["gcr.io/a-project/import:1"]
    streaming = job.options["streaming"]
    assert job.description["type"] == ("JOB_TYPE_STREAMING" if streaming else "JOB_TYPE_BATCH")


@pytest.mark.parametrize("name", PIPELINES)
def test_nothing_is_staged_but_what_beam_adds(name: str, build_job: BuildJob) -> None:
    """Workers have the package in their image: no file of ours or of the user's is sent along, and no secret."""
    job = build_job(name)
    assert set(job.staged) <= _STAGED_BY_BEAM
    assert not any(SECRET.encode() in text for content in job.staged.values() for text in _unpacked(content))


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.usefixtures("uploads")
def test_a_dry_run_says_that_nothing_was_submitted(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with exit code 0 and one line, not with books of a job that did not run."""
    assert _run(name, "--dry_run=True", "--job_name=a-job") == 0
    error = capsys.readouterr().err
    assert "dry run: the job a-job was built, and not submitted" in error
    assert "balanced" not in error


@pytest.mark.usefixtures("uploads")
def test_a_template_launch_says_where_the_job_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The launcher ends at once, without asking the service for a job that it has not."""
    assert _run("files_to_mixpanel", "--template_location=gs://a-bucket/job_object") == 0
    assert "the job is written to gs://a-bucket/job_object" in capsys.readouterr().err


@pytest.mark.usefixtures("uploads")
def test_a_job_that_is_not_waited_for_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--no_wait_until_finish` it is submitted, and the page that shows it is told."""
    monkeypatch.setattr(*_submission(lambda job: job.proto.__class__(id="2026-11-23_1")))
    assert _run("files_to_mixpanel", "--no_wait_until_finish") == 0
    error = "".join(capsys.readouterr().err.split())
    assert "job2026-11-23_1issubmitted" in error
    assert "https://console.cloud.google.com/dataflow/jobs/europe-west1/2026-11-23_1?project=a-project" in error


@pytest.mark.usefixtures("uploads")
def test_a_refused_submission_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the service answers is told, with exit code 1."""

    def refuse(_: Any) -> Any:
        raise PermissionError("the caller does not have dataflow.jobs.create")

    monkeypatch.setattr(*_submission(refuse))
    assert _run("files_to_mixpanel", "--no_wait_until_finish") == 1
    assert "failed: the caller does not have dataflow.jobs.create" in capsys.readouterr().err


def _submission(answer: Callable[[Any], Any]) -> tuple[Any, str, Any]:
    from apache_beam.runners.dataflow.internal import apiclient

    return apiclient.DataflowApplicationClient, "submit_job_description", lambda _, job: answer(job)


def _run(name: str, *more: str) -> int:
    code: int = importlib.import_module(f"beam_mixpanel.pipelines.{name}").run([*COMMON, *PIPELINES[name], *more])
    return code


@pytest.mark.parametrize(
    ("name", "flags", "cure"),
    [
        ("files_to_mixpanel", ("--input=events.ndjson",), "gs://BUCKET"),
        ("files_to_mixpanel", ("--dead_letters=dead",), "gs://BUCKET"),
        ("files_to_mixpanel", ("--summary=gs://a-bucket/summary.json",), "leave it out"),
        ("files_to_mixpanel", ("--allow_dead_letters=5",), "leave it out"),
        ("files_to_mixpanel", ("--temp_location=gs://b/temp",), "3 or more characters"),
        ("files_to_mixpanel", ("--temp_location=",), "give --temp_location"),
        ("files_to_mixpanel", ("--region=",), "give --region"),
        ("files_to_mixpanel", ("--sdk_container_image=",), "--sdk_container_image IMAGE"),
        ("files_to_mixpanel", ("--sdk_container_image=apache/beam_python3.11_sdk:2.77.0",), "--requirements_file FILE"),
        ("pubsub_to_mixpanel", ("--sdk_container_image=", "--save_main_session"), "--sdk_container_image IMAGE"),
        ("files_to_mixpanel", ("--mixpanel_service_account=env:MIXPANEL_SERVICE_ACCOUNT",), "gcp-secret:"),
        ("files_to_mixpanel", ("--mixpanel_emulator",), "leave them out"),
        ("bigquery_to_mixpanel", ("--state=gs://a-bucket/state.json",), "leave it out"),
        ("sql_to_mixpanel", ("--connection=sqlite:///orders.db",), "out of reach"),
        ("sql_to_mixpanel", ("--connection=env:MIXPANEL_SERVICE_ACCOUNT",), "gcp-secret:"),
    ],
)
def test_what_workers_cannot_reach_is_refused(
    name: str,
    flags: tuple[str, ...],
    cure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is submitted, with exit code 2, the cure, and no secret."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.ndjson").write_text("{}\n")
    assert _run(name, "--dry_run=True", *flags) == 2
    error = capsys.readouterr().err
    assert cure in error
    assert SECRET not in error


@pytest.mark.usefixtures("uploads")
def test_options_that_beam_refuses_are_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and Beam's words, not its trace: an update must name the job."""
    assert _run("pubsub_to_mixpanel", "--dry_run=True", "--update") == 2
    assert "Existing job name must be provided" in capsys.readouterr().err


def test_flags_of_a_template_are_understood(build_job: BuildJob) -> None:
    """A template gives each option once and with a value: switches as true or false, several values as JSON."""
    job: Job = build_job("files_to_mixpanel", '--redact=["email","phone"]', "--csv_text=true", "--keep_nulls=false")
    assert job.options["redact"] == ["email", "phone"]
    assert job.options["csv_text"] is True
    assert not job.options.get("keep_nulls")


@pytest.mark.parametrize("name", PIPELINES)
def test_the_defaults_of_the_form_change_nothing(name: str, build_job: BuildJob) -> None:
    """The console's form gives every default as if it were asked for; the job is the one without them."""
    parameters = json.loads((TEMPLATES / f"{name}.json").read_text())["parameters"]
    defaults = [f"--{each['name']}={each['defaultValue']}" for each in parameters if "defaultValue" in each]
    assert len(defaults) > 10
    job, plain = build_job(name, *defaults), build_job(name)
    assert job.steps == plain.steps
    ours = {each["name"] for each in parameters}
    assert {key: value for key, value in job.options.items() if key in ours} == {
        key: value for key, value in plain.options.items() if key in ours
    }
