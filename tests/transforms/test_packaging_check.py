"""Jobs for Dataflow whose workers would lack the package are refused before they are submitted."""

from __future__ import annotations

import contextlib
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.transforms.external import ExternalTransform

from beam_mixpanel.transforms.packaging_check import (
    Packaging,
    check_options,
    check_workers_have_package,
    is_dataflow,
    may_bring_package,
)

INSTALLED = {
    "my-etl": ["apache-beam>=2", "shop.tools"],
    "shop-tools": ["Beam_Mixpanel[gcp]>=1; python_version > '3'"],
    "apache-beam": ["numpy"],
    "numpy": [],
    "ring": ["ring"],
}
"""Packages and what they require."""
OWN_IMAGE = "europe-west1-docker.pkg.dev/p/dataflow/import:1"


def _requires(name: str) -> list[str] | None:
    return INSTALLED.get(name)


@pytest.mark.parametrize(
    ("packaging", "expected"),
    [
        (Packaging(), False),
        (Packaging(image=OWN_IMAGE), True),
        (Packaging(image="apache/beam_python3.11_sdk:2.77.0"), False),
        (Packaging(image="docker.io/apache/beam_python3.12_sdk_distroless"), False),
        (Packaging(image="gcr.io/cloud-dataflow/v1beta3/beam_python3.11_sdk:2.77.0"), False),
        (Packaging(image="apache/beam_python3.11_sdk:2.77.0", requirements=("beam-mixpanel",)), True),
        (Packaging(image="gcr.io/my-project/apache/beam_python3.11_sdk:1"), True),
        (Packaging(image_overrides=(f".*python.*,{OWN_IMAGE}",)), True),
        (Packaging(image_overrides=(".*java.*,apache/beam_python3.11_sdk:2.77.0",)), False),
        (Packaging(setup_file="./setup.py"), True),
        (Packaging(extra_packages=("dist/beam_mixpanel-1.0-py3-none-any.whl",)), True),
    ],
)
def test_images_and_files_bring_it(packaging: Packaging, expected: bool) -> None:
    """An image of one's own may have it; those of Beam and of Google have not."""
    assert may_bring_package(packaging, _requires) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["beam-mixpanel"], True),
        (["apache-beam[gcp]==2.77.0", "beam_mixpanel[gcp,sql] >= 1.0  # the sink"], True),
        (["Beam.Mixpanel==1; python_version >= '3.11'"], True),
        (["beam-mixpanel @ https://example.com/beam_mixpanel.whl"], True),
        (["git+https://example.com/beam-mixpanel.git@v1"], True),
        (["./dist/beam_mixpanel-1.0-py3-none-any.whl"], True),
        (["-e ."], True),
        (["my-etl==1"], True),
        (["a-package-that-is-not-installed"], True),
        ([], False),
        (["", "# beam-mixpanel"], False),
        (["numpy==2  # not beam-mixpanel"], False),
        (["apache-beam[gcp]"], False),
        (["ring"], False),
        (["-r others.txt", "--index-url https://example.com/beam-mixpanel"], False),
    ],
)
def test_requirements_bring_it(lines: list[str], expected: bool) -> None:
    """By name, through what they require, or where that cannot be looked at."""
    assert may_bring_package(Packaging(requirements=tuple(lines)), _requires) == expected


@pytest.mark.parametrize(
    ("runner", "expected"),
    [
        ("DataflowRunner", True),
        ("dataflow", True),
        ("TestDataflowRunner", True),
        ("apache_beam.runners.dataflow.dataflow_runner.DataflowRunner", True),
        ("FnApiRunner", False),
        ("PortableRunner", False),
        ("FlinkRunner", False),
    ],
)
def test_runners_of_dataflow_are_known(runner: str, expected: bool) -> None:
    """By every name that Beam takes, and others are not asked."""
    assert is_dataflow(runner) == expected
    if expected:
        with pytest.raises(ValueError, match="--sdk_container_image IMAGE"):
            check_options(PipelineOptions([f"--runner={runner}"]))
    else:
        check_options(PipelineOptions([f"--runner={runner}"]))


@pytest.mark.parametrize(
    "flags",
    [
        [f"--sdk_container_image={OWN_IMAGE}"],
        [f"--worker_harness_container_image={OWN_IMAGE}"],
        [f"--sdk_harness_container_image_overrides=.*,{OWN_IMAGE}"],
        ["--setup_file=./setup.py"],
        ["--extra_package=beam_mixpanel.tar.gz"],
        ["--extra_packages=beam_mixpanel.tar.gz"],
        ["--requirements_file={folder}/with.txt"],
    ],
)
def test_options_that_bring_it_are_read(flags: list[str], tmp_path: Path) -> None:
    """Each under its name in Beam."""
    (tmp_path / "with.txt").write_text("beam-mixpanel\n")
    check_options(PipelineOptions(["--runner=DataflowRunner", *(flag.format(folder=tmp_path) for flag in flags)]))


@pytest.mark.parametrize(
    "flags",
    [
        ["--save_main_session"],
        ["--prebuild_sdk_container_engine=cloud_build"],
        ["--sdk_location=beam.tar.gz"],
        ["--files_to_stage=beam_mixpanel.whl"],
        ["--requirements_file={folder}/without.txt"],
        ["--requirements_file={folder}/absent.txt"],
    ],
)
def test_options_that_do_not_help_do_not_count(flags: list[str], tmp_path: Path) -> None:
    """They bring other things, or nothing."""
    (tmp_path / "without.txt").write_text("numpy\n")
    flags = [flag.format(folder=tmp_path) for flag in flags]
    with pytest.raises(ValueError, match="would not have the package beam_mixpanel"):
        check_options(PipelineOptions(["--runner=DataflowRunner", *flags]))


def _dataflow_pipeline(*flags: str) -> beam.Pipeline:
    """Make a pipeline whose runner is an object, so that its options do not name it."""
    runners = pytest.importorskip("apache_beam.runners.dataflow.dataflow_runner", reason="needs the extra gcp")
    common = ("--project=a-project", "--region=europe-west1", "--temp_location=gs://a-bucket/temp")
    return beam.Pipeline(runner=runners.DataflowRunner(), options=PipelineOptions([*common, *flags]))


@pytest.fixture(autouse=True)
def _no_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Beam ask no bucket for its policy."""
    monkeypatch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None)


def test_a_pipeline_is_asked_for_its_runner() -> None:
    """Also where the runner was given as an object."""
    with pytest.raises(ValueError, match="would not have"):
        check_workers_have_package(_dataflow_pipeline())
    check_workers_have_package(_dataflow_pipeline(f"--sdk_container_image={OWN_IMAGE}"))
    check_workers_have_package(beam.Pipeline(runner="FnApiRunner"))


def test_a_job_in_beam_yaml_is_refused(token_reference: str) -> None:
    """While it is built, before anything is staged."""
    from beam_mixpanel.yaml import WriteToMixpanel

    for flags, refused in (((), True), ((f"--sdk_container_image={OWN_IMAGE}",), False)):
        rows = _dataflow_pipeline(*flags) | beam.Create([beam.Row(event="A")])
        with pytest.raises(ValueError, match="would not have") if refused else contextlib.nullcontext():
            _ = rows | WriteToMixpanel(project_token=token_reference)


def test_an_expansion_service_is_not_asked() -> None:
    """The options there are of a pipeline in another language, and the service knows its own environment."""
    with ExternalTransform.outer_namespace("external_1"):
        check_workers_have_package(_dataflow_pipeline())
