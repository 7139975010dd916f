"""From the command line to checked settings, or an error that names the cure."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, NoReturn

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions, TestOptions
from apache_beam.runners.runner import create_runner

from beam_mixpanel.client.credentials import Credentials
from beam_mixpanel.client.transport import PooledTransport
from beam_mixpanel.core.check.profile import ProfileSettings
from beam_mixpanel.core.formats.csv_format import CsvFormat
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.mapping_settings import FLAGS, mapping_of, settings_from_flags, settings_from_yaml
from beam_mixpanel.core.user_function import load
from beam_mixpanel.databases.url import EMBEDDED, Connection
from beam_mixpanel.errors import MappingError, MixpanelError, UnreadableFileError, UsageError, UserFunctionError
from beam_mixpanel.files.listing import InputFile, match_files, open_file
from beam_mixpanel.files.row_file import RowSettings
from beam_mixpanel.launcher.examples import examples_of
from beam_mixpanel.launcher.options import (
    BigQueryOptions,
    FileOptions,
    IncrementalOptions,
    JobOptions,
    MappingOptions,
    PubSubOptions,
    RedactionOptions,
    ReplayOptions,
    SqlOptions,
    TableOptions,
)
from beam_mixpanel.launcher.plain_flags import actions_of, plain_flags
from beam_mixpanel.secrets import SecretReference
from beam_mixpanel.transforms.options import MixpanelOptions
from beam_mixpanel.transforms.packaging_check import check_options
from beam_mixpanel.transforms.prepare import PrepareEvents
from beam_mixpanel.transforms.read_rows import ReadRowsFromFiles, look_at_columns
from beam_mixpanel.transforms.write import WriteToMixpanel

DEFAULT_RUNNER = "FnApiRunner"
STREAM_RUNNER = "DirectRunner"
"""The one on this machine that reads Pub/Sub."""
IN_PROCESS_RUNNERS = frozenset({"FnApiRunner", "BundleBasedDirectRunner"})
LOCAL_RUNNERS = frozenset({"FnApiRunner", "DirectRunner", "BundleBasedDirectRunner", "PrismRunner"})
REMOTE_RUNNER = "Dataflow"
"""How the names of the runners begin whose workers are elsewhere."""
OptionGroups = tuple[type[PipelineOptions], ...]
COMMON_OPTIONS: OptionGroups = (MappingOptions, MixpanelOptions, RedactionOptions, JobOptions)
"""What every pipeline of ours takes."""
_SOME_TAKE: OptionGroups = (
    FileOptions,
    ReplayOptions,
    TableOptions,
    SqlOptions,
    BigQueryOptions,
    IncrementalOptions,
    PubSubOptions,
)
"""What only some of them take; the others refuse it rather than ignore it."""
_BUCKET: Final = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9](?:/|$)")
"""What Beam, too, takes for a place in a bucket."""
DEFAULT_CHECK = "report.html"
EMULATOR_REFERENCE = "env:BEAM_MIXPANEL_EMULATOR_TOKEN"
_EMULATOR_TOKEN = "emulator"  # noqa: S105 - accepted by the emulator only


class AllowedDeadLetters(NamedTuple):
    """How many dead letters still count as success: a number, or a share of the events read."""

    number: int
    share: float

    @classmethod
    def parse(cls, text: str) -> AllowedDeadLetters:
        """Read `N` or `P%`.

        Raises:
          UsageError: it is neither.
        """
        try:
            if text.endswith("%"):
                share = float(text[:-1]) / 100
                if 0 <= share <= 1:
                    return cls(0, share)
            elif int(text) >= 0:
                return cls(int(text), 0.0)
        except ValueError:
            pass
        raise UsageError(f"--allow_dead_letters must be a number such as 10 or a share such as 0.5%, got {text!r}")

    def permit(self, dead_letters: int, read: int) -> bool:
        """Tell whether so many are accepted."""
        return dead_letters <= max(self.number, self.share * read)


class Settings(NamedTuple):
    """What a pipeline needs to be built and run.

    Attributes:
      options: Beam's, with ours among them.
      inputs: file names or globs, each with at least one file; none for other sources.
      files: those that they match, each once.
      dead_letters: prefix of the files for them; None to fail at the first.
      allowed_dead_letters: how many still count as success.
      summary: file for the books; None for none.
      validate_only: send nothing.
      use_emulator: start one for this run.
      mapping: how rows become events; None where no flag says so.
      only_reasons: of the dead letters to replay; empty for all.
      fix: repairs events on the way; None to send them as they are.
      check_report: the page to write of a check that sends nothing; None for an import.
      show_values: the examples of reports are values, not only their shape.
      run_report: the page to write of how the run went; None for none.
    """

    options: PipelineOptions
    inputs: list[str]
    files: list[InputFile]
    dead_letters: str | None
    allowed_dead_letters: AllowedDeadLetters
    summary: str | None
    validate_only: bool
    use_emulator: bool
    mapping: EventMapping | None = None
    only_reasons: tuple[str, ...] = ()
    fix: str | None = None
    check_report: str | None = None
    show_values: bool = False
    run_report: str | None = None

    @property
    def runs_remotely(self) -> bool:
        """Whether the workers share neither files nor variables with this machine."""
        return str(self.options.view_as(StandardOptions).runner).startswith(REMOTE_RUNNER)

    @property
    def submits_only(self) -> bool:
        """Whether this process ends before the job does, as a template's launcher must, and so keeps no books."""
        standard = self.options.view_as(StandardOptions)
        return self.runs_remotely and bool(
            standard.streaming
            or standard.no_wait_until_finish
            or self.options.view_as(GoogleCloudOptions).template_location
            or self.options.view_as(TestOptions).dry_run
        )

    def write_to_mixpanel(self) -> WriteToMixpanel:
        """Make the sink as the options say."""
        _credentials(self.options.view_as(MixpanelOptions))
        return WriteToMixpanel.from_options(self.options, redact=self._redact, mapping=self.mapping)

    @property
    def _redact(self) -> Sequence[str]:
        return self.options.view_as(RedactionOptions).redact or ()

    def look_at(self, file: InputFile) -> tuple[str, list[str]]:
        """Tell a file's format and columns."""
        chosen = self.options.view_as(FileOptions).input_format
        settings = RowSettings(chosen, csv=_csv_format(self.options))
        return look_at_columns(file.path, settings, size_bytes=file.size_bytes)

    def read_files(self, columns: Sequence[str] | None = None) -> ReadRowsFromFiles:
        """Make the source as the options say, for these columns or all."""
        chosen = self.options.view_as(FileOptions).input_format
        csv = _csv_format(self.options)
        return ReadRowsFromFiles(self.inputs, chosen, columns=columns, csv=csv, listed=self.files)

    def prepare_events(self) -> PrepareEvents:
        """Make the offline check as the options say."""
        options = self.options.view_as(MixpanelOptions)
        return PrepareEvents(
            insert_id=options.mixpanel_insert_id,
            time_zone=options.mixpanel_time_zone,
            retention_days=options.mixpanel_retention_days,
            redact=self._redact,
            mapping=self.mapping,
        )

    def profile_settings(self) -> ProfileSettings:
        """Give what a check depends on besides events."""
        retention_days = self.options.view_as(MixpanelOptions).mixpanel_retention_days
        return ProfileSettings(int(time.time() * 1000), retention_days, self.show_values)

    def send_to_emulator(self, url: str) -> None:
        """Point the options at an emulator."""
        os.environ[EMULATOR_REFERENCE.partition(":")[2]] = _EMULATOR_TOKEN
        options = self.options.view_as(MixpanelOptions)
        options.mixpanel_api_host = url
        # What says where events go otherwise would have no effect, and be refused.
        options.mixpanel_region = "us"
        options.mixpanel_ca_bundle = None
        options.mixpanel_project_token = EMULATOR_REFERENCE


def parse(
    program: str,
    description: str,
    argv: Sequence[str] | None,
    also: OptionGroups = (FileOptions,),
    *,
    checks: bool = False,
) -> Settings:
    """Read and check the arguments, as far as that goes without reading or sending an event.

    Args:
      program: the module's name, for the help.
      description: what it does, for the help.
      argv: the arguments; None for the process's.
      also: the options that it takes besides those of every pipeline.
      checks: whether it sends nothing, and its report tells what an import would do.

    Raises:
      UsageError: something is wrong with them.
      SystemExit: help was asked for.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(arguments):
        _print_help(program, description, (*also, *COMMON_OPTIONS))
    options = _parse_options(arguments, also)
    job = options.view_as(JobOptions)
    replay = options.view_as(ReplayOptions)
    page = job.report or DEFAULT_CHECK if checks else job.check_report
    inputs = options.view_as(FileOptions).input or []
    settings = Settings(
        options,
        inputs,
        _match(inputs) if FileOptions in also else [],
        job.dead_letters,
        AllowedDeadLetters.parse(job.allow_dead_letters),
        job.summary,
        job.validate_only or page is not None,
        job.mixpanel_emulator and not (job.validate_only or page),
        _mapping(options.view_as(MappingOptions)),
        tuple(replay.only_reason or ()),
        _function("--fix", replay.fix),
        page,
        job.show_values,
        None if checks else job.report,
    )
    if FileOptions in also:
        _check_csv(options)
    if TableOptions in also:
        _check_table(options.view_as(TableOptions))
    if SqlOptions in also:
        _check_connection(options)
    if PubSubOptions in also:
        _check_stream(settings)
    _check_outputs(settings, checks)
    _check_destination(settings, options.view_as(MixpanelOptions))
    if settings.runs_remotely:
        _check_remote(settings)
    return settings


def chosen_settings(options: PipelineOptions, groups: OptionGroups = (*COMMON_OPTIONS, *_SOME_TAKE)) -> dict[str, Any]:
    """Give the options of ours that differ from their defaults, by flag; secrets are references in them."""
    given = ((action, getattr(options.view_as(group), action.dest)) for group in groups for action in actions_of(group))
    return {action.option_strings[0]: value for action, value in given if value not in (action.default, None)}


def _function(option: str, name: str | None) -> str | None:
    """Check that a function is there before the workers look for it."""
    try:
        if name is not None:
            load(name)
    except UserFunctionError as error:
        raise UsageError(f"{option}: {error}") from None
    return name


def _parse_options(arguments: list[str], also: OptionGroups) -> PipelineOptions:
    if not any(argument.partition("=")[0] == "--runner" for argument in arguments):
        arguments = [*arguments, f"--runner={STREAM_RUNNER if PubSubOptions in also else DEFAULT_RUNNER}"]
    arguments = plain_flags(arguments, (*COMMON_OPTIONS, *also), _all_options(also)._actions)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parser = _all_options(also)
            chosen, unknown = parser.parse_known_args(arguments)
            options = PipelineOptions(arguments)
            for group in (*COMMON_OPTIONS, *also):
                options.view_as(group)
    except SystemExit:
        raise UsageError(complaint.getvalue().strip().rpartition("error: ")[2]) from None
    _check_runner(chosen.runner)
    _check_unknown(unknown, list(parser._option_string_actions), takes_others=chosen.runner not in LOCAL_RUNNERS)
    return options


def _all_options(also: OptionGroups) -> argparse.ArgumentParser:
    """Make a parser of every option that Beam and this pipeline know."""
    parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve", allow_abbrev=False)
    pending = list(PipelineOptions.__subclasses__())
    while pending:
        group = pending.pop()
        pending += group.__subclasses__()
        if "_add_argparse_args" in vars(group) and (group in also or group not in _SOME_TAKE):
            group._add_argparse_args(parser)
    return parser


def option_names(pipeline: str) -> list[str]:
    """List what a pipeline takes, besides the options of Beam: for completion on the command line."""
    groups = (*importlib.import_module(pipeline).OPTIONS, *COMMON_OPTIONS)
    return [name for group in groups for action in actions_of(group) for name in action.option_strings]


def _check_runner(name: str) -> None:
    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError):
        raise UsageError(f"unknown runner {name}; use one of {', '.join(StandardOptions.KNOWN_RUNNER_NAMES)}") from None


def _check_unknown(unknown: list[str], options: list[str], *, takes_others: bool) -> None:
    """Refuse what nobody knows, rather than drop it as Beam does; remote runners bring options of their own."""
    before = ""
    for argument in unknown:
        name = argument.partition("=")[0]
        if not name.startswith("-"):
            if not (takes_others and before.startswith("--") and "=" not in before):
                # Repeated only where it is a file: it may be a secret that was meant for an option.
                known = repr(argument) if os.path.exists(argument) else "an argument"
                raise UsageError(
                    f"{known} belongs to no option; if it comes from a pattern, quote the pattern "
                    "(--input 'events/*.ndjson') or give --input several times"
                )
        elif not takes_others or name.startswith("--mixpanel"):
            near = difflib.get_close_matches(f"--{name.lstrip('-')}", options, 1)
            raise UsageError(f"unknown option {name}{f'; did you mean {near[0]}?' if near else ''}")
        before = argument


def _match(patterns: list[str]) -> list[InputFile]:
    """Find the files to read, each once."""
    if not patterns:
        raise UsageError("no input: give --input FILE or a glob, such as --input 'events/*.ndjson.gz'")
    try:
        found = dict(file for pattern in patterns for file in match_files(pattern))
    except (UnreadableFileError, ValueError) as error:
        raise UsageError(str(error)) from None
    return [InputFile(path, size_bytes) for path, size_bytes in found.items()]


def _mapping(options: MappingOptions) -> EventMapping | None:
    """Put together what the mapping file and the flags say; None where they say nothing."""
    try:
        flags = settings_from_flags({flag: getattr(options, flag) for flag in FLAGS.values()})
        settings = _mapping_file(options.mapping) | flags if options.mapping else flags
        if not settings and not options.mapping:
            return None
        mapping = mapping_of(settings)
        if mapping.map is not None:
            load(mapping.map)
    except (MappingError, UserFunctionError) as error:
        raise UsageError(str(error)) from None
    return mapping


def _mapping_file(path: str) -> dict[str, Any]:
    try:
        with open_file(path) as file:
            return settings_from_yaml(file.read(), path)
    except (UnreadableFileError, OSError) as error:
        raise UsageError(f"cannot read --mapping {path}: {error}") from None


def _csv_format(options: PipelineOptions) -> CsvFormat:
    files = options.view_as(FileOptions)
    return CsvFormat.from_flags(
        files.csv_delimiter, files.csv_columns, files.csv_encoding, files.csv_types or [], text=files.csv_text
    )


def _check_csv(options: PipelineOptions) -> None:
    try:
        _csv_format(options)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_table(options: TableOptions) -> None:
    if bool(options.table) == bool(options.query):
        raise UsageError("give either --table NAME or --query 'SELECT ...'")


def _check_stream(settings: Settings) -> None:
    """See that a stream can be read where it is to run, and that no event can stop it."""
    pubsub = settings.options.view_as(PubSubOptions)
    standard = settings.options.view_as(StandardOptions)
    if bool(pubsub.subscription) == bool(pubsub.topic):
        raise UsageError("give either --subscription projects/PROJECT/subscriptions/NAME or --topic NAME")
    if not (settings.runs_remotely or standard.runner == STREAM_RUNNER):
        raise UsageError(
            f"Beam's Pub/Sub source does not run on {standard.runner}: use --runner=DataflowRunner, or "
            f"{STREAM_RUNNER} to try it out"
        )
    if pubsub.id_attribute and standard.runner == STREAM_RUNNER:
        raise UsageError(f"--id_attribute works on Dataflow only; leave it out on {STREAM_RUNNER}")
    if not (settings.dead_letters or settings.validate_only):
        raise UsageError(
            "a stream needs --dead_letters PREFIX: without it, the first event that cannot be imported would stop it"
        )
    standard.streaming = True


def _check_connection(options: PipelineOptions) -> None:
    reference = options.view_as(SqlOptions).connection
    if not reference:
        raise UsageError(
            "no database: give --connection REF, where REF names a URL (postgresql://USER:PASSWORD@HOST/DATABASE): "
            "env:NAME, file:PATH or gcp-secret:...; or sqlite:///FILE, duckdb:///FILE"
        )
    try:
        resolves_here(Connection(reference).reference, options)
    except ValueError as error:
        raise UsageError(f"--connection: {error}") from None


def _check_remote(settings: Settings) -> None:
    """Refuse what workers elsewhere cannot reach, and what would be written by a launcher that is gone by then."""
    runner = settings.options.view_as(StandardOptions).runner
    _check_cloud(settings.options.view_as(GoogleCloudOptions), str(runner))
    try:
        check_options(settings.options)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if settings.use_emulator:
        raise UsageError(f"--mixpanel_emulator is out of reach of workers of {runner}; leave it out")
    for option, path in _paths_of_workers(settings):
        if "://" not in path:
            raise UsageError(f"{option} {path} is out of reach of workers of {runner}; give gs://BUCKET/...")
    if (settings.options.view_as(SqlOptions).connection or "").startswith(EMBEDDED):
        raise UsageError(f"--connection names a file, which is out of reach of workers of {runner}")
    if settings.submits_only:
        _check_no_books(settings)


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
    inputs = [("--input", path) for path in settings.inputs]
    outputs = (("--dead_letters", settings.dead_letters), ("--check_report", settings.check_report))
    return [*inputs, *((option, path) for option, path in outputs if path)]


def _check_no_books(settings: Settings) -> None:
    incremental = settings.options.view_as(IncrementalOptions)
    for option, given in (
        ("--summary", settings.summary),
        ("--report", settings.run_report),
        ("--check_report", settings.check_report),
        ("--show_values", settings.show_values),
        ("--state", incremental.state),
        ("--allow_dead_letters", settings.allowed_dead_letters != AllowedDeadLetters(0, 0.0)),
    ):
        if given:
            raise UsageError(
                f"{option} needs the books, which are drawn up when the job has ended, but this command ends when "
                "it is submitted; leave it out, or run on Dataflow without a template"
            )


def _check_outputs(settings: Settings, checks: bool) -> None:
    if settings.check_report and settings.options.view_as(StandardOptions).streaming:
        raise UsageError("a check ends when all is read, and a stream does not end; check files of its events instead")
    outputs = {
        "--summary": settings.summary,
        "--dead_letters": settings.dead_letters,
        "--report" if checks else "--check_report": settings.check_report,
        **({} if checks else {"--report": settings.run_report}),
        "--state": settings.options.view_as(IncrementalOptions).state,
    }
    for option, path in outputs.items():
        if path and "://" not in path:
            _check_writable(option, path)
    if settings.allowed_dead_letters != AllowedDeadLetters(0, 0.0) and not (
        settings.dead_letters or settings.validate_only
    ):
        raise UsageError("--allow_dead_letters needs --dead_letters PREFIX, where they are kept")


def _check_writable(option: str, path: str) -> None:
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create the folder of {option}, {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder of {option}, {folder}, cannot be written to")
    if os.path.isdir(path):
        name = "report.html" if option.endswith("report") else option[2:]
        raise UsageError(f"{option} {path} is a folder; add a name, such as {os.path.join(path, name)}")


def _check_destination(settings: Settings, options: MixpanelOptions) -> None:
    try:
        if settings.validate_only:
            settings.prepare_events()
            return
        if settings.use_emulator:
            given = ("api_host", "service_account", "project_token", "project_id")
            if any(getattr(options, f"mixpanel_{name}") for name in given):
                raise UsageError("--mixpanel_emulator needs no host, no project and no credentials; leave them out")
            options.mixpanel_project_token = EMULATOR_REFERENCE
            settings.write_to_mixpanel()
            return
        settings.write_to_mixpanel()
        credentials = _credentials(options)
        if resolves_here(credentials.reference, settings.options):
            credentials.authorization()
        _check_ca_bundle(options.mixpanel_ca_bundle, settings.options)
    except (ValueError, MixpanelError) as error:
        raise UsageError(str(error)) from None


def _credentials(options: MixpanelOptions) -> Credentials:
    if not (options.mixpanel_service_account or options.mixpanel_project_token):
        raise UsageError(
            "no credentials: give --mixpanel_service_account REF with --mixpanel_project_id ID (REF is env:NAME, "
            "file:PATH or gcp-secret:...), or --mixpanel_emulator to try it out, or --validate_only"
        )
    try:
        return options.credentials()
    except ValueError as error:
        raise UsageError(str(error)) from None


def resolves_here(reference: object, options: PipelineOptions) -> bool:
    """Tell whether this machine can resolve a reference that its workers, too, will resolve.

    Raises:
      UsageError: only this machine could, but the workers run elsewhere.
    """
    if not isinstance(reference, SecretReference) or not reference.is_local:
        return False
    runner = str(options.view_as(StandardOptions).runner)
    if runner.startswith(REMOTE_RUNNER):
        raise UsageError(
            f"workers of {runner} cannot read {reference.text}; use gcp-secret:projects/P/secrets/S/versions/V"
        )
    return True


def _check_ca_bundle(path: str | None, options: PipelineOptions) -> None:
    """Read the bundle where the workers are on this machine."""
    if path and options.view_as(StandardOptions).runner in LOCAL_RUNNERS:
        PooledTransport(ca_bundle=path)


def _print_help(program: str, description: str, groups: OptionGroups) -> NoReturn:
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"{examples_of(program)}Every option of Apache Beam and of the chosen --runner works, too.\n"
        "Exit codes: 0 all imported; 3 ended with dead letters; 1 the job failed; 2 the arguments are wrong.",
    )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    for group in groups:
        group._add_argparse_args(parser)
    parser.print_help()
    raise SystemExit(0)
