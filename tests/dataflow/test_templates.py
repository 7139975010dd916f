"""The Flex templates: their metadata against the code and Google's own type, and their image's recipe."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser
from google.cloud.dataflow_v1beta3 import ParameterType, TemplateMetadata

from beam_mixpanel.launcher.parse import COMMON_OPTIONS
from beam_mixpanel.launcher.plain_flags import actions_of
from templates import generate
from tests.dataflow.conftest import ACCOUNT_REFERENCE, PIPELINES

ROOT = Path(generate.__file__).parents[1]
_LEFT_OUT_ARE_REFUSED = {
    "mixpanel_emulator": ("files_to_mixpanel", "--mixpanel_emulator"),
    "summary": ("files_to_mixpanel", "--summary=gs://a-bucket/s"),
    "allow_dead_letters": ("files_to_mixpanel", "--allow_dead_letters=5"),
    "report": ("files_to_mixpanel", "--report=gs://a-bucket/r.html"),
    "show_values": ("files_to_mixpanel", "--show_values"),
    "state": ("bigquery_to_mixpanel", "--state=gs://a-bucket/s"),
    "overlap": ("bigquery_to_mixpanel", "--overlap=1h"),
}


def _metadata(name: str) -> Any:
    return TemplateMetadata.from_json((ROOT / "templates" / f"{name}.json").read_text())


def test_every_pipeline_has_a_template_and_the_reverse() -> None:
    """A new pipeline is not forgotten, neither here nor among the jobs; a check's launcher stays to write the page."""
    pipelines = {file.stem for file in (ROOT / "pipelines").glob("*_*.py") if file.stem != "__init__"}
    # MongoDB's launcher asks a server: its graph is looked at where there is one, in tests/mongodb.
    jobs = {*PIPELINES, "mongodb_to_mixpanel"}
    assert pipelines - {"check_events"} == set(generate.TEMPLATES) == jobs
    assert {file.stem for file in (ROOT / "templates").glob("*.json")} == set(generate.TEMPLATES)


def test_files_are_what_the_options_say() -> None:
    """After a change of an option: `python -m templates.generate`."""
    assert generate.main(["--check"]) == 0


def test_a_file_that_differs_is_told_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails on drift, and writing the files ends that."""
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("name", generate.TEMPLATES)
def test_options_are_those_that_the_pipeline_takes(name: str) -> None:
    """Each option that the command has is a parameter, but for those that a launcher refuses."""
    source = importlib.import_module(f"beam_mixpanel.pipelines.{name}").SOURCE
    options = {action.dest for group in (*source.groups, *COMMON_OPTIONS) for action in actions_of(group)}
    parameters = [parameter.name for parameter in _metadata(name).parameters]
    assert set(parameters) == options - set(generate.NOT_IN_TEMPLATES)
    assert len(parameters) == len(set(parameters))


@pytest.mark.parametrize("name", generate.TEMPLATES)
def test_google_reads_the_parameters(name: str) -> None:
    """Names, types, defaults and choices have the forms that the service and the console expect."""
    metadata = _metadata(name)
    assert metadata.name
    assert metadata.description
    for parameter in metadata.parameters:
        assert re.fullmatch("[a-z][a-z0-9_]*", parameter.name)
        assert parameter.label
        assert "%(" not in parameter.help_text
        assert parameter.help_text
        choices = [option.value for option in parameter.enum_options]
        assert (parameter.param_type == ParameterType.ENUM) == bool(choices)
        assert not choices or parameter.default_value in choices
        if parameter.param_type == ParameterType.NUMBER and parameter.default_value:
            float(parameter.default_value)
    required = {parameter.name for parameter in metadata.parameters if not parameter.is_optional}
    template = generate.TEMPLATES[name].template
    assert template
    assert required == set(template.required)


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("mixpanel_service_account", (ACCOUNT_REFERENCE,), ("user:secret", "env:NAME", "file:/secret")),
        ("mixpanel_project_token", (ACCOUNT_REFERENCE,), ("0123456789abcdef",)),
        ("input", ("gs://b/*.csv", '["gs://b/a","gs://b/c"]'), ("events.csv", "/data/a.csv")),
        ("dead_letters", ("gs://b/dead",), ("dead", '["gs://b/dead"]')),
        ("mixpanel_project_id", ("123",), ("abc", "")),
        ("mixpanel_region", ("us", "eu", "in"), ("uk",)),
        ("mixpanel_api_host", ("https://proxy.example.com",), ("http://proxy.example.com",)),
    ],
)
def test_regexes_take_the_good_and_refuse_the_bad(parameter: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    """A plain secret cannot even be typed into the console's form, nor a place that workers cannot reach."""
    [described] = [each for each in _metadata("files_to_mixpanel").parameters if each.name == parameter]
    [regex] = described.regexes
    assert [value for value in (*good, *bad) if re.search(regex, value)] == list(good)


@pytest.mark.parametrize("option", generate.NOT_IN_TEMPLATES)
def test_what_is_left_out_is_refused(
    option: str, uploads: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that is no parameter would do nothing in a template, and the launcher says so."""
    from tests.dataflow.conftest import COMMON, TEMPLATE_LOCATION

    name, flag = _LEFT_OUT_ARE_REFUSED[option]
    pipeline = importlib.import_module(f"beam_mixpanel.pipelines.{name}")
    assert pipeline.run([*COMMON, f"--template_location={TEMPLATE_LOCATION}", *PIPELINES[name], flag]) == 2
    assert option in capsys.readouterr().err
    assert uploads == {}


@pytest.mark.parametrize("name", generate.TEMPLATES)
def test_the_launcher_can_start_each_file(name: str, tmp_path: Path) -> None:
    """Google's launcher runs the pipeline's file, not its module, from a folder of its own."""
    file = ROOT / "pipelines" / f"{name}.py"
    command = [sys.executable, str(file), "--help"]
    ran = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert "--mixpanel_service_account" in ran.stdout


@pytest.fixture
def recipe(tmp_path: Path) -> list[dict[str, str]]:
    """The Dockerfile's instructions; the parser writes, so it is given a copy."""
    (tmp_path / "Dockerfile").write_text((ROOT / "templates" / "Dockerfile").read_text())
    structure: list[dict[str, str]] = DockerfileParser(str(tmp_path)).structure
    return [each for each in structure if each["instruction"] != "COMMENT"]


def _values(recipe: list[dict[str, str]], instruction: str) -> list[str]:
    return [each["value"] for each in recipe if each["instruction"] == instruction]


def test_images_and_packages_are_pinned(recipe: list[dict[str, str]]) -> None:
    """The same recipe makes the same image: no tag that moves, and each package at one version."""
    arguments = dict(value.partition("=")[::2] for value in _values(recipe, "ARG"))
    assert arguments["BEAM_VERSION"] in (ROOT / "templates" / "constraints.txt").read_text()
    for image in _values(recipe, "FROM"):
        name, _, tag = image.split(" ")[0].partition(":")
        assert name
        pinned = arguments[tag.strip("${}")] if tag.startswith("$") else tag
        assert re.search(r"\d", pinned), f"{image} has no version"
    [install] = [value for value in _values(recipe, "RUN") if "pip install" in value]
    assert "--constraint constraints.txt" in install
    assert "--no-cache-dir" in install
    pins = [line for line in (ROOT / "templates" / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.+-]+", pin) for pin in pins)


def test_the_launcher_has_a_tag_of_the_form_of_googles_releases(recipe: list[dict[str, str]]) -> None:
    """Such as 20230622_RC00, and the image is the one for the Python of the workers' image."""
    arguments = dict(value.partition("=")[::2] for value in _values(recipe, "ARG"))
    assert re.fullmatch(r"20\d{6}_RC\d\d", arguments["LAUNCHER_TAG"])
    launcher, workers = _values(recipe, "FROM")
    assert launcher.startswith("gcr.io/dataflow-templates-base/python311-template-launcher-base:")
    assert workers.startswith("apache/beam_python3.11_sdk:")


def test_one_image_launches_and_works(recipe: list[dict[str, str]]) -> None:
    """It starts as Beam's worker does, holds Google's launcher, and names a pipeline's file."""
    assert _values(recipe, "ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
    assert len(_values(recipe, "USER")) == 1
    assert any("/opt/google/dataflow/python_template_launcher" in value for value in _values(recipe, "COPY"))
    [variables] = _values(recipe, "ENV")
    assert variables == "FLEX_TEMPLATE_PYTHON_PY_FILE=/template/pipelines/${PIPELINE}.py"


def test_only_what_is_there_is_copied_and_no_secret(recipe: list[dict[str, str]]) -> None:
    """Sources exist in the repository, never all of it; nothing that looks like a secret is named."""
    for value in _values(recipe, "COPY"):
        if not value.startswith("--from="):
            for source in value.split(" ")[:-1]:
                assert source != "."
                assert (ROOT / source).exists(), source
    assert "ADD" not in {each["instruction"] for each in recipe}
    named = " ".join([*_values(recipe, "ENV"), *_values(recipe, "ARG")])
    assert not re.search("secret|token|password|credential|key", named, re.IGNORECASE)
