"""Refuses, before anything is read or sent, what cannot be done: outputs, destination, workers out of reach."""

from __future__ import annotations

import os
import re
from typing import Final

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions

from beam_mixpanel.client.credentials import Credentials
from beam_mixpanel.client.transport import PooledTransport
from beam_mixpanel.errors import MixpanelError, UsageError
from beam_mixpanel.launcher.build import prepare_events, write_to_mixpanel
from beam_mixpanel.launcher.emulated import EMULATOR_REFERENCE
from beam_mixpanel.launcher.options import IncrementalOptions
from beam_mixpanel.launcher.runners import runner_of, runs_on_this_machine, runs_remotely
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.usage import as_usage
from beam_mixpanel.secrets import SecretReference
from beam_mixpanel.transforms.options import MixpanelOptions
from beam_mixpanel.transforms.packaging_check import check_options

_BUCKET: Final = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9](?:/|$)")
"""What Beam, too, takes for a place in a bucket."""


def check_settings(settings: Settings) -> None:
    """Check what every job needs besides its source.

    Raises:
      UsageError: something cannot be done; the message says what to do.
    """
    check_outputs(settings)
    check_destination(settings)
    if settings.runs_remotely:
        check_remote(settings)


def check_outputs(settings: Settings) -> None:
    """See that what is to be written can be, and that an allowance for dead letters has some to count.

    Raises:
      UsageError: a folder cannot be written to, or options contradict each other.
    """
    if settings.checks and settings.options.view_as(StandardOptions).streaming:
        raise UsageError("a check ends when all is read, and a stream does not end; check files of its events instead")
    outputs = {
        "--summary": settings.summary,
        "--dead_letters": settings.dead_letters,
        "--report": settings.report,
        "--state": settings.options.view_as(IncrementalOptions).state,
    }
    for option, path in outputs.items():
        if path and "://" not in path:
            _check_writable(option, path)
    keeps_dead_letters = settings.dead_letters or settings.checks
    if settings.allowed_dead_letters and any(settings.allowed_dead_letters) and not keeps_dead_letters:
        raise UsageError("--allow_dead_letters needs --dead_letters PREFIX, where they are kept")


def check_destination(settings: Settings) -> None:
    """Build the step that sends, or that only prepares, and read the credentials where that is possible here.

    Raises:
      UsageError: the options of the step or the credentials are wrong.
    """
    with as_usage(ValueError, MixpanelError):
        if settings.checks:
            prepare_events(settings)
            return
        options = settings.options.view_as(MixpanelOptions)
        if settings.use_emulator:
            given = ("api_host", "service_account", "project_token", "project_id")
            if any(getattr(options, f"mixpanel_{name}") for name in given):
                raise UsageError("--mixpanel_emulator needs no host, no project and no credentials; leave them out")
            options.mixpanel_project_token = EMULATOR_REFERENCE
            write_to_mixpanel(settings)
            return
        credentials = _credentials(options)
        write_to_mixpanel(settings)
        if resolves_here(credentials.reference, settings.options):
            credentials.authorization()
        if options.mixpanel_ca_bundle and runs_on_this_machine(settings.options):
            PooledTransport(ca_bundle=options.mixpanel_ca_bundle)


def check_remote(settings: Settings) -> None:
    """Refuse what workers elsewhere cannot reach, and what a launcher would have to write that has ended by then.

    Raises:
      UsageError: an option names something on this machine, or needs the end of the job.
    """
    runner = runner_of(settings.options)
    _check_cloud(settings.options.view_as(GoogleCloudOptions), runner)
    with as_usage(ValueError):
        check_options(settings.options)
    if settings.use_emulator:
        raise UsageError(f"--mixpanel_emulator is out of reach of workers of {runner}; leave it out")
    for option, path in _paths_of_workers(settings):
        if "://" not in path:
            raise UsageError(f"{option} {path} is out of reach of workers of {runner}; give gs://BUCKET/...")
    if settings.submits_only:
        _check_needs_no_end(settings)


def resolves_here(reference: object, options: PipelineOptions) -> bool:
    """Return whether this machine can resolve a reference that its workers, too, will resolve.

    Raises:
      UsageError: only this machine could, but the workers run elsewhere.
    """
    if not isinstance(reference, SecretReference) or not reference.is_local:
        return False
    if runs_remotely(options):
        raise UsageError(
            f"workers of {runner_of(options)} cannot read {reference.text}; "
            "use gcp-secret:projects/P/secrets/S/versions/V"
        )
    return True


def _credentials(options: MixpanelOptions) -> Credentials:
    if not (options.mixpanel_service_account or options.mixpanel_project_token):
        raise UsageError(
            "no credentials: give --mixpanel_service_account REF with --mixpanel_project_id ID (REF is env:NAME, "
            "file:PATH or gcp-secret:...), or --mixpanel_emulator to try it out; beam-mixpanel check needs none"
        )
    return options.credentials()


def _check_writable(option: str, path: str) -> None:
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create the folder of {option}, {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder of {option}, {folder}, cannot be written to")
    if os.path.isdir(path):
        name = "report.html" if option == "--report" else option.removeprefix("--")
        raise UsageError(f"{option} {path} is a folder; add a name, such as {os.path.join(path, name)}")


def _check_cloud(options: GoogleCloudOptions, runner: str) -> None:
    """Ask for what Beam asks for, too, but after minutes of looking for a bucket of its own."""
    for option in ("project", "region", "temp_location"):
        if not getattr(options, option):
            raise UsageError(f"{runner} needs --project, --region and --temp_location gs://BUCKET/...; give --{option}")
    for option in ("temp_location", "staging_location"):
        place = getattr(options, option)
        if place and not _BUCKET.match(place):
            raise UsageError(f"--{option} must be gs://BUCKET/..., with a name of 3 or more characters, got {place}")


def _paths_of_workers(settings: Settings) -> list[tuple[str, str]]:
    paths = [("--input", path) for path in settings.inputs]
    if settings.dead_letters:
        paths.append(("--dead_letters", settings.dead_letters))
    if settings.checks and settings.report:
        # The profile, from which the report of a check is made, is written by a worker.
        paths.append(("--report", settings.report))
    return paths


def _check_needs_no_end(settings: Settings) -> None:
    for option, given in (
        ("--summary", settings.summary),
        ("--report", settings.report),
        ("--show_values", settings.show_values),
        ("--state", settings.options.view_as(IncrementalOptions).state),
        ("--allow_dead_letters", settings.allowed_dead_letters is not None),
    ):
        if given:
            raise UsageError(
                f"{option} is written or decided when the job finishes, but this command ends when the job is "
                "submitted; leave it out, or run on Dataflow without a template and wait for the job"
            )
