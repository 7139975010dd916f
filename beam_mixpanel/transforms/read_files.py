"""`ReadFromFilesBatched`: rows from files of every format, and what must be known of files before a job begins."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection, TaggedOutput

from beam_mixpanel.core.arguments import (
    FileNames,
    check_choice,
    check_flag,
    check_names,
    check_paths,
    check_whole_number,
    optional,
    wrong_type,
)
from beam_mixpanel.core.formats.byte_ranges import DEFAULT_RANGE_BYTES, MOST_BYTES
from beam_mixpanel.core.formats.csv_format import CsvFormat
from beam_mixpanel.core.formats.detection import may_be_csv
from beam_mixpanel.core.formats.kinds import AUTO, BY_NAME, CSV, DELIMITED
from beam_mixpanel.files import csv as read_csv
from beam_mixpanel.files.formats import format_named
from beam_mixpanel.files.listing import InputFile, in_threads
from beam_mixpanel.files.row_file import RowFile, RowSettings, look_at, report_growth_of
from beam_mixpanel.transforms.coding import register_coders
from beam_mixpanel.transforms.match_files import MatchFiles

_TO_SURVEY: Final = "to_survey"

register_coders()


class ReadFromFilesBatched(beam.PTransform):
    """Reads files of rows: CSV, TSV, JSON, NDJSON, Avro and Parquet, many together.

    On any file system that Beam knows; text files plain or compressed (gzip, bzip2, Zstandard, told by their first
    bytes). Large files are split: Parquet by row groups, Avro, NDJSON and CSV by byte ranges. Memory stays flat: no
    file, and no row group, is held as a whole. A file that cannot be read to its end fails the job; a row that is
    none becomes a dead letter.

    Gives `RowBatch`es (CSV, TSV, Parquet), `RowList`s (JSON, Avro), `EventBlock`s (NDJSON, unless `ndjson_as_rows`)
    and `RefusedRows`, all of which `WriteToMixpanel` and `PrepareEvents` take.

    Args:
      patterns: file names or globs; a file that several of them match is read once.
      format: one of `ndjson`, `json`, `csv`, `tsv`, `avro`, `parquet`; `auto` tells each file's by its first bytes
        and its name.
      columns: those that are needed; others are not decoded where the format permits (CSV, Parquet). One that a file
        does not have is null.
      csv: how CSV files are written.
      ndjson_as_rows: give lines of JSON as rows, to be mapped, and not as blocks of events.
      range_bytes: the size of the parts into which large files are split.
      listed: the files that the patterns match now, where that is known; None if not. It decides nothing but whether
        the graph holds the steps that cut large CSV files: one that comes later is read in one piece.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument has a wrong value.
    """

    def __init__(
        self,
        patterns: FileNames,
        format: str = AUTO,
        *,
        columns: Sequence[str] | None = None,
        csv: CsvFormat = CsvFormat(),
        ndjson_as_rows: bool = False,
        range_bytes: int = DEFAULT_RANGE_BYTES,
        listed: Sequence[InputFile] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(csv, CsvFormat):
            raise wrong_type("csv", "a CsvFormat, such as CsvFormat(delimiter=';')", csv)
        csv.check()
        self._patterns = check_paths("patterns", patterns)
        self._listed = optional(_check_listed, "listed", listed)
        self._settings = RowSettings(
            check_choice("format", format, (AUTO, *BY_NAME)),
            optional(check_names, "columns", columns, "columns"),
            csv,
            check_flag("ndjson_as_rows", ndjson_as_rows),
            check_whole_number("range_bytes", range_bytes, 1, MOST_BYTES),
        )

    def display_data(self) -> dict[str, Any]:
        """Say which files are read, and of what."""
        return {
            "patterns": ", ".join(self._patterns),
            "format": self._settings.file_format,
            "columns": "*" if self._settings.columns is None else ", ".join(self._settings.columns),
            "range_bytes": self._settings.range_bytes,
        }

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Match, split, survey large CSV files, share out, read."""
        settings = self._settings
        surveys = self._may_cut_csv()
        split = (
            begin
            | "MatchFiles" >> MatchFiles(self._patterns)
            | "SplitFiles" >> beam.FlatMap(_split, settings, surveys).with_outputs(_TO_SURVEY, main="parts")
        )
        parts = split["parts"]
        if surveys:
            surveyed = (
                split[_TO_SURVEY]
                | "ShareOutRanges" >> beam.Reshuffle()
                | "SurveyRanges" >> beam.Map(read_csv.survey)
                | "ByFile" >> beam.GroupByKey()
                | "PlanFiles" >> beam.FlatMap(_planned)
            )
            parts = (parts, surveyed) | "AllParts" >> beam.Flatten()
        return (
            parts | "ShareOut" >> beam.Reshuffle() | "ReadParts" >> beam.FlatMap(_read, settings).with_output_types(Any)
        )

    def _may_cut_csv(self) -> bool:
        """Tell whether a CSV file may be there that is large enough to be cut, so that it must be surveyed."""
        file_format, range_bytes = self._settings.file_format, self._settings.range_bytes
        if file_format not in (AUTO, *DELIMITED):
            return False
        if self._listed is not None:
            patterns = tuple(file.path for file in self._listed if file.size_bytes > range_bytes)
        else:
            patterns = self._patterns
        return any(file_format != AUTO or may_be_csv(pattern) for pattern in patterns)


def _check_listed(name: str, listed: Sequence[InputFile]) -> Sequence[InputFile]:
    if not isinstance(listed, (list, tuple)) or not all(isinstance(file, InputFile) for file in listed):
        raise wrong_type(name, "a list of the files that the patterns match, each an InputFile", listed)
    return listed


def look_at_columns(
    path: str, settings: RowSettings = RowSettings(), *, size_bytes: int | None = None
) -> tuple[str, list[str]]:
    """Tell a file's format and the names of its columns without reading it; for JSON, those that its first rows hold.

    Args:
      path: its name.
      settings: name the format, or leave it to be told.
      size_bytes: its size when it was listed; None where it was not.

    Raises:
      UnreadableFileError: it cannot be read, or its format cannot be told.
    """
    file = look_at(path, size_bytes, settings)
    report_growth_of(file)
    return file.file_format, format_named(file.file_format).columns(file, settings)


def _split(files: list[InputFile], settings: RowSettings, surveys: bool) -> Iterator[Any]:
    def split_one(given: InputFile) -> tuple[RowFile, list[Any]]:
        file = look_at(*given, settings)
        # Where nothing was planned to survey its ranges, a CSV file is read in one piece.
        whole = file.file_format in DELIMITED and not surveys
        chosen = settings._replace(range_bytes=sys.maxsize) if whole else settings
        return file, list(format_named(file.file_format).split(file, chosen))

    for file, parts in in_threads(split_one, files):
        report_growth_of(file)
        for part in parts:
            if isinstance(part, read_csv.CsvRangeToSurvey):
                yield TaggedOutput(_TO_SURVEY, part)
            else:
                yield file.file_format, part


def _planned(surveyed: tuple[str, Any]) -> Iterator[tuple[str, read_csv.CsvPart]]:
    for part in read_csv.parts_of(surveyed):
        yield CSV.name, part


def _read(part: tuple[str, Any], settings: RowSettings) -> Iterator[Any]:
    file_format, piece = part
    return format_named(file_format).read(piece, settings)
