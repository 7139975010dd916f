"""Rows from files of every format, in batches or one by one, and what must be known of files before a job begins."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
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
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.core.formats.byte_ranges import DEFAULT_RANGE_BYTES, MOST_BYTES
from beam_mixpanel.core.formats.csv_format import CsvFormat
from beam_mixpanel.core.formats.detection import may_be_csv
from beam_mixpanel.core.formats.kinds import AUTO, BY_NAME, CSV, DELIMITED
from beam_mixpanel.core.json.extended import plain_row
from beam_mixpanel.core.rows.batches import RefusedRows, RowBatch, RowList
from beam_mixpanel.files import csv as read_csv
from beam_mixpanel.files.formats import format_named
from beam_mixpanel.files.listing import InputFile, in_threads
from beam_mixpanel.files.row_file import RowFile, RowSettings, check_extended_json, look_at, report_growth_of
from beam_mixpanel.transforms.coding import register_coders
from beam_mixpanel.transforms.match_files import MatchEach, MatchFiles
from beam_mixpanel.transforms.unbatch import RowsOrError

Batch = RowBatch | RowList | EventBlock | RefusedRows
"""What travels from files to the sink."""

IN_STEPS: Final = "in_steps"
AT_ONCE: Final = "at_once"
NOT_AT_ALL: Final = "not_at_all"
"""How large CSV files are surveyed: by steps of their own, which workers share; where they are split; or not, whole."""
_TO_SURVEY: Final = "to_survey"

register_coders()


class ReadFromFilesBatched(beam.PTransform):
    """Reads files of rows in batches, the fastest way into `WriteToMixpanel`; many files and formats together.

    NDJSON, JSON, CSV, TSV, Avro, Parquet and ORC, on any file system that Beam knows; text files plain or compressed
    (gzip, bzip2, Zstandard, detected by their first bytes). Bounded. Large files are split: Parquet by row groups, ORC
    by stripes, Avro, NDJSON and CSV by byte ranges; a runner that repeats a bundle reads the same batches again. Memory
    stays flat: no file, row group or stripe is held as a whole, and a batch holds at most 8,192 rows or some 4 MB of
    text. A file that cannot be read to its end fails the job; a row that cannot be read becomes a dead letter.

    Returns `RowBatch`es (CSV, TSV, Parquet, ORC), `RowList`s (JSON, Avro), `EventBlock`s (NDJSON, unless
    `ndjson_as_rows`) and `RefusedRows`, all of which `WriteToMixpanel` and `PrepareEvents` take. `UnbatchRows` makes
    single rows of them.

    Args:
      patterns: file names or globs; a file that several of them match is read once.
      format: the name of a format in docs/files.md; `auto` detects each file's by its first bytes and its name.
      columns: those that are needed; others are not decoded where the format permits (CSV, Parquet, ORC). One that a
        file does not have is null.
      csv: how CSV files are written.
      ndjson_as_rows: return lines of JSON as rows: without a mapping, `WriteToMixpanel` then maps them by the names of
        their columns, rather than take each line for an event in Mixpanel's shape.
      extended_json: JSON and NDJSON are MongoDB's extended JSON, as `mongoexport` writes it; their values are those of
        the documents (docs/mongodb.md). Other formats are refused.
      range_bytes: the size of the parts into which large files are split.
      listed: the files that the patterns match now, where that is known; None if not. It decides nothing but whether
        the graph holds the steps that cut large CSV files: one that comes later is read in one piece.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument has a wrong value.
      UnreadableFileError: when the job runs, a file cannot be read, or a pattern matches none.
    """

    def __init__(
        self,
        patterns: FileNames,
        format: str = AUTO,
        *,
        columns: Sequence[str] | None = None,
        csv: CsvFormat = CsvFormat(),
        ndjson_as_rows: bool = False,
        extended_json: bool = False,
        range_bytes: int = DEFAULT_RANGE_BYTES,
        listed: Sequence[InputFile] | None = None,
    ) -> None:
        super().__init__()
        self._patterns = check_paths("patterns", patterns)
        self._listed = optional(_check_listed, "listed", listed)
        self._settings = _settings(
            format, columns, csv, range_bytes, ndjson_as_rows=ndjson_as_rows, extended_json=extended_json
        )

    def display_data(self) -> dict[str, Any]:
        """Say which files are read, and of what."""
        return {"patterns": ", ".join(self._patterns), **_shown(self._settings)}

    def expand(self, begin: PBegin) -> PCollection[Batch]:
        """Match, split, survey large CSV files, share out, read."""
        settings = self._settings
        surveys = self._may_cut_csv()
        cut_csv = IN_STEPS if surveys else NOT_AT_ALL
        split = (
            begin
            | "MatchFiles" >> MatchFiles(self._patterns)
            | "SplitFiles" >> beam.FlatMap(_split, settings, cut_csv).with_outputs(_TO_SURVEY, main="parts")
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
        return parts | "ShareOut" >> beam.Reshuffle() | "ReadParts" >> _read_parts(settings)

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


class ReadFromFiles(beam.PTransform):
    """Reads files of rows one by one, as dicts, for steps of your own that look at each row.

    Files as in `ReadFromFilesBatched`, which is several times faster into `WriteToMixpanel`; values as in
    `UnbatchRows`. Lines of NDJSON are rows, too. Bounded. The first row that cannot be read, such as a line that is not
    JSON, fails the job; to have such rows as dead letters, use `ReadFromFilesBatched` and `UnbatchRows`.

    Args:
      patterns: file names or globs; a file that several of them match is read once.
      format: the name of a format in docs/files.md; `auto` detects each file's by its first bytes and its name.
      columns: those that are needed; one that a file does not have is None.
      csv: how CSV files are written.
      extended_json: JSON and NDJSON are MongoDB's extended JSON, as `mongoexport` writes it; their values are those of
        the documents (docs/mongodb.md). Other formats are refused.
      range_bytes: the size of the parts into which large files are split.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument has a wrong value.
      UnreadableFileError: when the job runs, a file or row cannot be read, or a pattern matches none.
    """

    def __init__(
        self,
        patterns: FileNames,
        format: str = AUTO,
        *,
        columns: Sequence[str] | None = None,
        csv: CsvFormat = CsvFormat(),
        extended_json: bool = False,
        range_bytes: int = DEFAULT_RANGE_BYTES,
    ) -> None:
        super().__init__()
        self._read = ReadFromFilesBatched(
            patterns,
            format,
            columns=columns,
            csv=csv,
            ndjson_as_rows=True,
            extended_json=extended_json,
            range_bytes=range_bytes,
        )

    def display_data(self) -> dict[str, Any]:
        """Say which files are read, and of what."""
        return self._read.display_data()

    def expand(self, begin: PBegin) -> PCollection[dict[str, Any]]:
        """Read batches, and take them apart."""
        return begin | "ReadBatches" >> self._read | "Rows" >> RowsOrError()


class ReadAllFromFilesBatched(beam.PTransform):
    """Reads the files that its input names, in batches.

    The input is bounded or unbounded: file names, globs, `pathlib` paths, or `FileMetadata` as Beam's
    `MatchContinuously` returns. A file is read once for each element that names it, as it is when the element arrives.
    Batches have the windows and timestamps of their elements. A CSV file is surveyed by one worker and then
    shared out. Else as `ReadFromFilesBatched`.

    Args:
      format: the name of a format in docs/files.md; `auto` detects each file's by its first bytes and its name.
      columns: those that are needed; one that a file does not have is null.
      csv: how CSV files are written.
      ndjson_as_rows: return lines of JSON as rows, and not as blocks of events.
      extended_json: JSON and NDJSON are MongoDB's extended JSON, as `mongoexport` writes it; their values are those of
        the documents (docs/mongodb.md). Other formats are refused.
      range_bytes: the size of the parts into which large files are split.

    Raises:
      TypeError: an argument has the wrong type; when the job runs, an element names no file.
      ValueError: an argument has a wrong value.
      UnreadableFileError: when the job runs, a file cannot be read, or an element matches none; a runner of streams
        tries it again without end.
    """

    def __init__(
        self,
        format: str = AUTO,
        *,
        columns: Sequence[str] | None = None,
        csv: CsvFormat = CsvFormat(),
        ndjson_as_rows: bool = False,
        extended_json: bool = False,
        range_bytes: int = DEFAULT_RANGE_BYTES,
    ) -> None:
        super().__init__()
        self._settings = _settings(
            format, columns, csv, range_bytes, ndjson_as_rows=ndjson_as_rows, extended_json=extended_json
        )

    def display_data(self) -> dict[str, Any]:
        """Say what is read."""
        return _shown(self._settings)

    def expand(self, names: PCollection[Any]) -> PCollection[Batch]:
        """Match, split, share out, read: without a grouping, on which windows and triggers would act."""
        return (
            names
            | "MatchFiles" >> MatchEach()
            | "SplitFiles" >> beam.FlatMap(_split, self._settings, AT_ONCE)
            | "ShareOut" >> beam.Reshuffle()
            | "ReadParts" >> _read_parts(self._settings)
        )


class ReadAllFromFiles(beam.PTransform):
    """Reads the files that its input names row by row, as dicts.

    Input as in `ReadAllFromFilesBatched`, rows and errors as in `ReadFromFiles`.

    Args:
      format: the name of a format in docs/files.md; `auto` detects each file's by its first bytes and its name.
      columns: those that are needed; one that a file does not have is None.
      csv: how CSV files are written.
      extended_json: JSON and NDJSON are MongoDB's extended JSON, as `mongoexport` writes it; their values are those of
        the documents (docs/mongodb.md). Other formats are refused.
      range_bytes: the size of the parts into which large files are split.

    Raises:
      TypeError: an argument has the wrong type; when the job runs, an element names no file.
      ValueError: an argument has a wrong value.
      UnreadableFileError: when the job runs, a file or row cannot be read, or an element matches none.
    """

    def __init__(
        self,
        format: str = AUTO,
        *,
        columns: Sequence[str] | None = None,
        csv: CsvFormat = CsvFormat(),
        extended_json: bool = False,
        range_bytes: int = DEFAULT_RANGE_BYTES,
    ) -> None:
        super().__init__()
        self._read = ReadAllFromFilesBatched(
            format, columns=columns, csv=csv, ndjson_as_rows=True, extended_json=extended_json, range_bytes=range_bytes
        )

    def display_data(self) -> dict[str, Any]:
        """Say what is read."""
        return self._read.display_data()

    def expand(self, names: PCollection[Any]) -> PCollection[dict[str, Any]]:
        """Read batches, and take them apart."""
        return names | "ReadBatches" >> self._read | "Rows" >> RowsOrError()


def _settings(
    format: str,
    columns: Sequence[str] | None,
    csv: CsvFormat,
    range_bytes: int,
    *,
    ndjson_as_rows: bool,
    extended_json: bool,
) -> RowSettings:
    """Check the arguments that all of these transforms take."""
    if not isinstance(csv, CsvFormat):
        raise wrong_type("csv", "a CsvFormat, such as CsvFormat(delimiter=';')", csv)
    csv.check()
    check_choice("format", format, (AUTO, *BY_NAME))
    if check_flag("extended_json", extended_json):
        check_extended_json(format)
    return RowSettings(
        file_format=format,
        columns=optional(check_names, "columns", columns, "columns"),
        csv=csv,
        ndjson_as_rows=check_flag("ndjson_as_rows", ndjson_as_rows),
        extended_json=extended_json,
        range_bytes=check_whole_number("range_bytes", range_bytes, 1, MOST_BYTES),
    )


def _shown(settings: RowSettings) -> dict[str, Any]:
    return {
        "format": settings.file_format,
        "columns": "*" if settings.columns is None else ", ".join(settings.columns),
        "range_bytes": settings.range_bytes,
    }


def _read_parts(settings: RowSettings) -> beam.PTransform:
    return beam.FlatMap(_read, settings).with_output_types(Batch)


def _check_listed(name: str, listed: Sequence[InputFile]) -> Sequence[InputFile]:
    if not isinstance(listed, (list, tuple)) or not all(isinstance(file, InputFile) for file in listed):
        raise wrong_type(name, "a list of the files that the patterns match, each an InputFile", listed)
    return listed


def look_at_columns(
    path: str, settings: RowSettings = RowSettings(), *, size_bytes: int | None = None
) -> tuple[str, list[str]]:
    """Return a file's format and the names of its columns without reading it; for JSON, those that its first rows hold.

    Args:
      path: its name.
      settings: name the format, or leave it to be detected.
      size_bytes: its size when it was listed; None where it was not.

    Raises:
      UnreadableFileError: it cannot be read, or its format cannot be detected.
    """
    file = look_at(path, size_bytes, settings)
    report_growth_of(file)
    return file.file_format, format_named(file.file_format).columns(file, settings)


def _split(files: list[InputFile], settings: RowSettings, cut_csv: str) -> Iterator[Any]:
    for file, parts in in_threads(partial(_split_one, settings=settings, cut_csv=cut_csv), files):
        report_growth_of(file)
        for part in parts:
            if isinstance(part, read_csv.CsvRangeToSurvey):
                yield TaggedOutput(_TO_SURVEY, part)
            else:
                yield file.file_format, part


def _split_one(given: InputFile, settings: RowSettings, cut_csv: str) -> tuple[RowFile, list[Any]]:
    file = look_at(*given, settings)
    if file.file_format in DELIMITED and cut_csv == NOT_AT_ALL:
        settings = settings._replace(range_bytes=sys.maxsize)
    parts = list(format_named(file.file_format).split(file, settings))
    if cut_csv == AT_ONCE and any(isinstance(part, read_csv.CsvRangeToSurvey) for part in parts):
        parts = list(read_csv.parts_of((file.path, [read_csv.survey(part)[1] for part in parts])))
    return file, parts


def _planned(surveyed: tuple[str, Any]) -> Iterator[tuple[str, read_csv.CsvPart]]:
    for part in read_csv.parts_of(surveyed):
        yield CSV.name, part


def _read(part: tuple[str, Any], settings: RowSettings) -> Iterator[Any]:
    file_format, piece = part
    batches = format_named(file_format).read(piece, settings)
    if settings.extended_json:
        return map(_from_extended_json, batches)
    return batches


def _from_extended_json(batch: Any) -> Any:
    if isinstance(batch, RowList):
        return batch._replace(rows=list(map(plain_row, batch.rows)))
    return batch
