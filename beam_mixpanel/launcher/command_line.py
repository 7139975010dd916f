"""From a command line to checked settings: what is wrong is refused before a job starts, with its cure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.core.user_function import load
from beam_mixpanel.errors import UnreadableFileError, UsageError, UserFunctionError
from beam_mixpanel.files.listing import InputFile, match_files
from beam_mixpanel.launcher.checks import check_settings
from beam_mixpanel.launcher.files import check_files
from beam_mixpanel.launcher.mapping import mapping_from
from beam_mixpanel.launcher.options import (
    FileOptions,
    JobOptions,
    MappingOptions,
    PubSubOptions,
    ReplayOptions,
    SqlOptions,
    TableOptions,
)
from beam_mixpanel.launcher.parse import OptionGroups, parse_options
from beam_mixpanel.launcher.pubsub import check_stream
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.sql import check_connection, check_table
from beam_mixpanel.launcher.usage import as_usage
from beam_mixpanel.launcher.verdict import AllowedDeadLetters

DEFAULT_CHECK_REPORT: Final = "report.html"
_CHECKS: Final[dict[type[PipelineOptions], Callable[[Settings], None]]] = {
    FileOptions: check_files,
    TableOptions: check_table,
    SqlOptions: check_connection,
    PubSubOptions: check_stream,
}
"""What else must be right where a pipeline has these options."""


def read_settings(arguments: Sequence[str], also: OptionGroups, *, checks: bool = False) -> Settings:
    """Read and check a command line, as far as that goes without reading or sending an event.

    Args:
      arguments: as given.
      also: the groups of options that are taken besides those of every pipeline.
      checks: nothing is to be sent, and the report is what an import would do.

    Raises:
      UsageError: something is wrong; the message says what to do.
    """
    settings = _settings_from(parse_options(arguments, also), also, checks=checks)
    for group in also:
        if group in _CHECKS:
            _CHECKS[group](settings)
    check_settings(settings)
    return settings


def _settings_from(options: PipelineOptions, also: OptionGroups, *, checks: bool) -> Settings:
    job = options.view_as(JobOptions)
    replay = options.view_as(ReplayOptions)
    inputs = options.view_as(FileOptions).input or []
    allowed = job.allow_dead_letters
    return Settings(
        options=options,
        inputs=inputs,
        files=_match(inputs) if FileOptions in also else [],
        dead_letters=job.dead_letters,
        allowed_dead_letters=None if allowed is None else AllowedDeadLetters.parse(allowed),
        summary=job.summary,
        report=job.report or (DEFAULT_CHECK_REPORT if checks else None),
        checks=checks,
        use_emulator=job.mixpanel_emulator and not checks,
        mapping=mapping_from(options.view_as(MappingOptions)),
        only_reasons=tuple(replay.only_reason or ()),
        fix=_function("--fix", replay.fix),
        show_values=job.show_values,
    )


def _match(patterns: list[str]) -> list[InputFile]:
    """Find the files to read, each once."""
    if not patterns:
        raise UsageError("no input: give --input FILE or a glob, such as --input 'events/*.ndjson.gz'")
    with as_usage(UnreadableFileError, ValueError):
        found = dict(file for pattern in patterns for file in match_files(pattern))
    return [InputFile(path, size_bytes) for path, size_bytes in found.items()]


def _function(option: str, name: str | None) -> str | None:
    """Check that a function is there before the workers look for it."""
    try:
        if name is not None:
            load(name)
    except UserFunctionError as error:
        raise UsageError(f"{option}: {error}") from None
    return name
