"""Whether the workers of Dataflow will have this package, which they import: checked before a job is submitted.

A job whose workers lack it is accepted, starts machines, and fails minutes later, over and over where it is a stream.
Beam's options say what workers get (https://beam.apache.org/documentation/sdks/python-pipeline-dependencies/);
`--save_main_session`, `--prebuild_sdk_container_engine`, `--sdk_location` and `--files_to_stage` bring no package.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions, WorkerOptions
from apache_beam.transforms.external import ExternalTransform

from beam_mixpanel.version import VERSION

PACKAGE: Final = "beam-mixpanel"
CURE: Final = (
    "the workers of Dataflow would not have the package beam_mixpanel, and fail. Name an image that has it: "
    "--sdk_container_image IMAGE (templates/README.md builds one). Or have it installed when a worker starts: "
    f"--requirements_file FILE with the line {PACKAGE}=={VERSION}, --extra_package with the wheel of this package, "
    "or --setup_file setup.py of a package of yours that requires it"
)
_DATAFLOW: Final = re.compile(r"(?:.*\.)?(?:test)?dataflow(?:runner)?", re.IGNORECASE)
"""The names by which Beam makes its runner for Dataflow: `DataflowRunner`, `dataflow`, or with its module."""
_OFFICIAL_IMAGE: Final = re.compile(
    r"(?:docker\.io/)?apache/beam_python[\d.]+_sdk(?:_distroless)?(?:[:@].*)?"
    r"|(?:[a-z-]+\.)?gcr\.io/cloud-dataflow/v1beta3/.*"
)
"""Images of Beam and of Google, which have Beam and nothing of ours."""
_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?=\s*(?:[\[<>=!~;@(,]|$))")
"""The name at the beginning of a requirement: https://peps.python.org/pep-0508/"""
Requires = Callable[[str], Iterable[str] | None]
"""What a package requires, by its name; None where that is not known here."""


class Packaging(NamedTuple):
    """What options bring to workers.

    Attributes:
      image: the container image, if one is named.
      image_overrides: of the form `REGEX,IMAGE`.
      setup_file: of a package that is built and installed.
      extra_packages: files that are installed.
      requirements: the lines of the requirements file.
    """

    image: str | None = None
    image_overrides: tuple[str, ...] = ()
    setup_file: str | None = None
    extra_packages: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: PipelineOptions) -> Packaging:
        """Read them from Beam's options. A requirements file that cannot be read is left to Beam, which refuses it."""
        setup, worker = options.view_as(SetupOptions), options.view_as(WorkerOptions)
        return cls(
            # Beam copies the older option to the newer one when it validates a pipeline.
            worker.sdk_container_image or worker.worker_harness_container_image,
            tuple(worker.sdk_harness_container_image_overrides or ()),
            setup.setup_file,
            tuple(setup.extra_packages or ()),
            _lines_of(setup.requirements_file),
        )


def may_bring_package(packaging: Packaging, requires: Requires) -> bool:
    """Tell whether workers get the package; where that cannot be known, they may.

    Packages of the user's own can depend on it, so a setup file and an extra package count. So does a requirement that
    cannot be looked at here: a URL, a path, a package that is not installed.
    """
    images = [packaging.image, *(override.partition(",")[2] for override in packaging.image_overrides)]
    if any(image and not _OFFICIAL_IMAGE.fullmatch(image) for image in images):
        return True
    if packaging.setup_file or packaging.extra_packages:
        return True
    return any(_leads_to_package(line, requires) for line in map(_without_comment, packaging.requirements) if line)


def is_dataflow(runner: Any) -> bool:
    """Tell by a runner's name, or by the runner, whether its workers are Dataflow's."""
    name = runner if isinstance(runner, str) else type(runner).__name__
    return _DATAFLOW.fullmatch(name) is not None


def check_options(options: PipelineOptions, runner: Any = None) -> None:
    """Refuse a job for Dataflow whose workers would lack the package.

    Args:
      options: of the pipeline.
      runner: its name or the runner itself; None for what the options say.

    Raises:
      ValueError: they would; the message names the options that bring it.
    """
    chosen = runner or options.view_as(StandardOptions).runner
    if is_dataflow(chosen) and not may_bring_package(Packaging.of(options), _installed_requirements):
        raise ValueError(CURE)


def check_workers_have_package(pipeline: beam.Pipeline) -> None:
    """Refuse a pipeline for Dataflow whose workers would lack the package; to be called when a transform is applied.

    In an expansion service nothing is checked: there the options are those of a pipeline in another language, and the
    service itself has been told where its workers run.

    Raises:
      ValueError: they would; the message names the options that bring it.
    """
    if ExternalTransform.get_local_namespace() == "external":
        check_options(pipeline.options, pipeline.runner)


def _lines_of(requirements_file: str | None) -> tuple[str, ...]:
    if requirements_file is None or not os.path.isfile(requirements_file):
        return ()
    with open(requirements_file, encoding="utf-8", errors="replace") as file:
        return tuple(file.read().splitlines())


def _without_comment(line: str) -> str:
    """Remove a comment.

    Source: https://pip.pypa.io/en/stable/reference/requirements-file-format/#comments
    """
    return re.sub(r"(?:^|\s)#.*", "", line).strip()


def _leads_to_package(line: str, requires: Requires) -> bool:
    """Tell whether a requirement is the package, or requires it through any number of others."""
    if line.startswith("-"):
        # Options of pip, and other files (-r, -c), which Beam does not stage; -e names a place, as a path does.
        return line.startswith(("-e", "--editable"))
    pending, seen = [line], set[str]()
    while pending:
        found = _REQUIREMENT.match(pending.pop())
        if found is None:
            return True  # a URL or a path
        name = re.sub(r"[-_.]+", "-", found[0]).lower()
        if name == PACKAGE:
            return True
        if name not in seen:
            seen.add(name)
            more = requires(name)
            if more is None and len(seen) == 1:
                return True  # not installed here, so it may require anything
            pending += more or ()
    return False


def _installed_requirements(name: str) -> list[str] | None:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return None
