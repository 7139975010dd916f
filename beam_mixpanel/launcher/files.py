"""The source of `import files`: from the options to the files that are read, or an error that names the cure."""

from __future__ import annotations

from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.core.formats.csv_format import CsvFormat
from beam_mixpanel.core.formats.kinds import DELIMITED, JSON, NDJSON
from beam_mixpanel.core.rows.mapped import may_hold_events
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.errors import MixpanelError, UnknownFormatError, UsageError
from beam_mixpanel.files.row_file import RowSettings
from beam_mixpanel.launcher.mapping import announce, announce_events, announce_incomplete, needed_columns
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.options import FileOptions, options_of
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.sources.files import JSON as FILES_OF_JSON
from beam_mixpanel.launcher.usage import as_usage
from beam_mixpanel.transforms.read_files import ReadFromFilesBatched, look_at_columns

_LOOKED_AT: Final = 10
"""So many files are asked for their columns before a job."""
_TEXT_WITH_HEADER: Final = DELIMITED
_JSON: Final = (NDJSON.name, JSON.name)
"""Formats without a header: other lines may have other columns than the first."""


def open_files(settings: Settings) -> Opened:
    """Look at the first files and choose what is read.

    Raises:
      UsageError: the mapping does not fit the files, or a file's format cannot be detected.
    """
    options = settings.options.view_as(FileOptions)
    rows = ReadFromFilesBatched(
        settings.inputs,
        options.input_format,
        columns=_columns_to_read(settings),
        csv=_csv_format(settings.options),
        extended_json=_is_extended_json(settings),
        listed=settings.files,
    )
    return Opened(rows, settings)


def check_files(settings: Settings) -> None:
    """See that the options for CSV files are right.

    Raises:
      UsageError: one is wrong.
    """
    with as_usage(ValueError):
        _csv_format(settings.options)


def takes_events(settings: Settings) -> bool:
    """Return whether columns are not mapped: a function makes the events, or files hold them in Mixpanel's shape."""
    mapping = settings.mapping or EventMapping()
    if mapping.map is not None or mapping.names_columns:
        return mapping.map is not None
    try:
        looked_at = _look_at_files(settings)
    except MixpanelError:
        return False
    return any(may_hold_events(names) for found, names in looked_at if found not in _TEXT_WITH_HEADER)


def _columns_to_read(settings: Settings) -> list[str] | None:
    """Bind the mapping to the columns that the first files have together, and print which column is what.

    JSON has no header, and there may be more files; then a column that is missing is only worth a warning. Files of
    JSON lines are events, not rows, unless there is a mapping.

    Returns:
      The columns that are needed, where every file was looked at and has the same; None for all.
    """
    mapping = settings.mapping or EventMapping()
    try:
        looked_at = _look_at_files(settings)
    except MixpanelError as error:
        if isinstance(error.__cause__, UnknownFormatError):
            raise UsageError(str(error)) from None
        return None  # the job reports a file that cannot be read
    formats = {file_format for file_format, _ in looked_at}
    columns = list(dict.fromkeys(name for _, names in looked_at for name in names))
    if not columns or (formats == {NDJSON.name} and settings.mapping is None):
        return None

    if formats.isdisjoint(_TEXT_WITH_HEADER) and announce_events(settings, columns):
        return None

    has_all_columns = formats.isdisjoint(_JSON) and len(settings.files) <= _LOOKED_AT
    if mapping.map is not None or has_all_columns:
        plan = announce(settings, columns)
        # Files whose columns differ could have others further on; only files that are alike are narrowed.
        if all(names == columns for _, names in looked_at):
            return needed_columns(settings, plan, columns)
        return None
    announce_incomplete(settings, columns)
    return None


def _look_at_files(settings: Settings) -> list[tuple[str, list[str]]]:
    """Return the format and the columns of each of the first files."""
    chosen = settings.options.view_as(FileOptions).input_format
    reading = RowSettings(chosen, csv=_csv_format(settings.options), extended_json=_is_extended_json(settings))
    return [look_at_columns(file.path, reading, size_bytes=file.size_bytes) for file in settings.files[:_LOOKED_AT]]


def _is_extended_json(settings: Settings) -> bool:
    return bool(settings.options.view_as(options_of(FILES_OF_JSON)).extended_json)


def _csv_format(options: PipelineOptions) -> CsvFormat:
    files = options.view_as(FileOptions)
    return CsvFormat.from_flags(
        files.csv_delimiter, files.csv_columns, files.csv_encoding, files.csv_types or [], text=files.csv_text
    )
