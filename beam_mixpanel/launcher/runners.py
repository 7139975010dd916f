"""What the launcher knows of Beam's runners: where their workers are, and whether their counts reach this process."""

from __future__ import annotations

from typing import Final

from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    TestOptions,
)

DEFAULT_RUNNER: Final = "FnApiRunner"
STREAM_RUNNER: Final = "DirectRunner"
"""The one on this machine that reads Pub/Sub."""
LOCAL_RUNNERS: Final = frozenset({"FnApiRunner", "DirectRunner", "BundleBasedDirectRunner", "PrismRunner"})
_IN_PROCESS: Final = frozenset({"FnApiRunner", "BundleBasedDirectRunner"})
_REMOTE: Final = "Dataflow"
"""How the names of the runners begin whose workers are elsewhere."""


def runner_of(options: PipelineOptions) -> str:
    """Return the name of the chosen runner."""
    return str(options.view_as(StandardOptions).runner)


def runs_remotely(options: PipelineOptions) -> bool:
    """Whether the workers share neither files nor variables with this machine."""
    return runner_of(options).startswith(_REMOTE)


def runs_on_this_machine(options: PipelineOptions) -> bool:
    """Whether the workers are known to be on this machine."""
    return runner_of(options) in LOCAL_RUNNERS


def runs_in_this_process(options: PipelineOptions) -> bool:
    """Whether this process does the work, so that what it has not counted was not done."""
    several = options.view_as(DirectOptions).direct_running_mode == "multi_processing"
    return runner_of(options) in _IN_PROCESS and not several


def submits_only(options: PipelineOptions) -> bool:
    """Whether this process ends before the job does, as the launcher of a template must, and so keeps no books."""
    standard = options.view_as(StandardOptions)
    return runs_remotely(options) and bool(
        standard.streaming
        or standard.no_wait_until_finish
        or options.view_as(GoogleCloudOptions).template_location
        or options.view_as(TestOptions).dry_run
    )
