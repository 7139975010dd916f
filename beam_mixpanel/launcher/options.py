"""The options of our own pipelines, each class one group; those of the sink itself are `transforms/options.py`.

They have short names such as `--input`, which would clash with the options of other people's jobs: nothing outside the
launcher and its pipelines imports them.
"""

from __future__ import annotations

import argparse
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.core.formats.csv_types import COLUMN_TYPES
from beam_mixpanel.core.formats.detection import AUTO, FORMATS
from beam_mixpanel.core.rows.mapping import TIME_UNITS
from beam_mixpanel.core.rows.mapping_settings import FLAGS
from beam_mixpanel.core.rows.presets import PRESETS


class JobOptions(PipelineOptions):
    """What a run leaves behind, and what counts as success."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--dead_letters",
            metavar="PREFIX",
            help="write events that were not imported to PREFIX-*.jsonl; without it the first one fails the job",
        )
        parser.add_argument(
            "--allow_dead_letters",
            metavar="N|P%",
            help="exit 0 with up to N dead letters, or P percent of the events read (default 0; of a check: any)",
        )
        parser.add_argument("--summary", metavar="FILE", help="write the books as JSON")
        parser.add_argument(
            "--report",
            metavar="FILE",
            help="write a page that shows how the run went, and JSON beside it; check: what an import would do "
            "(default there report.html)",
        )
        parser.add_argument(
            "--mixpanel_emulator", action="store_true", help="send to an emulator that is started for this run"
        )
        parser.add_argument(
            "--show_values", action="store_true", help="show values in the page's examples, not only their shape"
        )


class RedactionOptions(PipelineOptions):
    """Which properties never leave."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--redact",
            action="append",
            metavar="PROP",
            help="property that is taken out of each event: neither sent, nor kept in dead letters; may be given "
            "several times",
        )


class MappingOptions(PipelineOptions):
    """How rows become events; each flag is a key of a mapping file, too."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--mapping", metavar="FILE", help="YAML file with the keys of these flags; a flag takes its key's place"
        )
        parser.add_argument("--preset", metavar="NAME", help=f"a mapping that is ready: {', '.join(PRESETS)}")
        for key, (metavar, meaning) in _MAPPING_HELP.items():
            _add_mapping_flag(parser, key, metavar, meaning)


_MAPPING_HELP: Final[dict[str, tuple[str, str]]] = {
    "event": ("NAME", "name of every event"),
    "event_column": ("COLUMN", "column that holds the event's name"),
    "time_column": ("COLUMN", "column that holds the time"),
    "time_unit": ("UNIT", f"unit of numbers in it: {', '.join(TIME_UNITS)} (default auto: told by size)"),
    "time_format": ("FORMAT", "format of text in it, as for strptime (default: ISO 8601)"),
    "distinct_id_column": ("COLUMN", "column that becomes distinct_id"),
    "user_id_column": ("COLUMN", "column that becomes $user_id, and distinct_id if no other does"),
    "device_id_column": ("COLUMN", "column that becomes $device_id"),
    "insert_id_columns": ("A,B", "column that becomes $insert_id; several are hashed"),
    "include": ("COLUMN", "columns that become properties (default *)"),
    "exclude": ("COLUMN", "columns that do not"),
    "rename": ("OLD=NEW", "give a column's property another name"),
    "tags": ("NAME=VALUE", "property that every event gets"),
    "json_columns": ("COLUMN", "column whose text is JSON"),
    "spread_columns": ("COLUMN", "column that holds an object whose keys become properties"),
    "flatten": ("", "write nested records as parent.child"),
    "keep_nulls": ("", "keep properties that are null"),
    "only_events": ("NAME", "import events of this name only"),
    "skip_events": ("NAME", "leave out events of this name"),
    "from_time": ("TIME", "leave out earlier events"),
    "until_time": ("TIME", "leave out events of this time and later ones"),
    "map": ("MODULE:FUNCTION", "Python function from row to event, list of events or None, instead of columns"),
}
_MAPPING_SWITCHES: Final = ("flatten", "keep_nulls")
_MAPPING_LISTS: Final = (
    "include", "exclude", "rename", "tags", "json_columns", "spread_columns", "only_events", "skip_events",
)  # fmt: skip


def _add_mapping_flag(parser: argparse.ArgumentParser, key: str, metavar: str, meaning: str) -> None:
    flag = f"--{FLAGS[key]}"
    if key in _MAPPING_SWITCHES:
        parser.add_argument(flag, action="store_true", help=meaning)
    elif key in _MAPPING_LISTS:
        hint = "; may be given several times" + (
            "" if key in ("rename", "tags", "json_columns", "spread_columns") else "; * stands for anything"
        )
        parser.add_argument(flag, action="append", metavar=metavar, help=meaning + hint)
    else:
        parser.add_argument(flag, metavar=metavar, help=meaning)


class FileOptions(PipelineOptions):
    """Which files to read."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--input",
            action="append",
            metavar="GLOB",
            help="files to read; may be given several times; plain, .gz, .bz2 or .zst; any Beam file system",
        )
        parser.add_argument(
            "--input_format",
            default=AUTO,
            choices=(AUTO, *FORMATS),
            help="format of the files (default auto: told by their first bytes and names)",
        )
        _add_csv(parser)


def _add_csv(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv_delimiter", metavar="C", help="what separates fields (default , and in TSV a tab)")
    parser.add_argument("--csv_columns", metavar="A,B", help="names of the columns of CSV files without a header")
    parser.add_argument(
        "--csv_encoding",
        default="utf-8",
        metavar="NAME",
        help="of CSV files (default utf-8; a BOM tells UTF-16)",
    )
    parser.add_argument(
        "--csv_types",
        action="append",
        metavar="COLUMN:TYPE,…",
        help=f"types of CSV columns: {', '.join(COLUMN_TYPES)}; others are typed by rule",
    )
    parser.add_argument("--csv_text", action="store_true", help="type no CSV column by rule; all is text")


class ReplayOptions(PipelineOptions):
    """Which dead letters to try again, and how to repair them."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--only-reason",
            "--only_reason",
            action="append",
            metavar="REASON",
            help="replay only the dead letters of this reason; may be given several times",
        )
        parser.add_argument(
            "--fix",
            metavar="MODULE:FUNCTION",
            help="repair each event by this Python function, from event to event, list of events or None",
        )


class TableOptions(PipelineOptions):
    """Which rows to read, of what holds tables."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--table",
            metavar="NAME",
            help="the table to read: TABLE or SCHEMA.TABLE; in BigQuery, PROJECT.DATASET.TABLE",
        )
        parser.add_argument("--query", metavar="SQL", help="one SELECT, instead of a table")


class BigQueryOptions(PipelineOptions):
    """How to read BigQuery."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--bigquery_method",
            default="DIRECT_READ",
            choices=("DIRECT_READ", "EXPORT"),
            help="the Storage Read API, or an export to files under --temp_location (default DIRECT_READ)",
        )


class PubSubOptions(PipelineOptions):
    """Which messages to read."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--subscription",
            metavar="NAME",
            help="the subscription to read: projects/PROJECT/subscriptions/NAME; what is imported is acknowledged",
        )
        parser.add_argument(
            "--topic",
            metavar="NAME",
            help="read what is published from now on, by a subscription that lasts as long as the job: "
            "projects/PROJECT/topics/NAME",
        )
        parser.add_argument(
            "--id_attribute",
            metavar="NAME",
            help="attribute that tells repeated messages apart from new ones (Dataflow)",
        )


class SqlOptions(PipelineOptions):
    """How to read a SQL database."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--connection",
            metavar="REF",
            help="reference to the database's URL (env:NAME, file:PATH, gcp-secret:...), or sqlite:///FILE, "
            "duckdb:///FILE",
        )
        parser.add_argument(
            "--partition_column",
            metavar="COLUMN",
            help="of integers, dates or timestamps: its ranges are read in parallel",
        )
        parser.add_argument(
            "--partitions", type=int, metavar="N", help="how many ranges (default 8 with --partition_column)"
        )


class IncrementalOptions(PipelineOptions):
    """What of a source is new."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--cursor_column",
            metavar="COLUMN",
            help="tells new rows from old ones (default: the mapping's time column)",
        )
        parser.add_argument("--since", metavar="VALUE", help="read rows from this value of the cursor column on")
        parser.add_argument("--until", metavar="VALUE", help="read rows up to, without, this value")
        parser.add_argument(
            "--state",
            metavar="FILE",
            help="remember the greatest value that was imported, and read from there on the next time",
        )
        parser.add_argument(
            "--overlap", metavar="SPAN", help="begin so far before the remembered value: 90s, 30m, 2h, 1d, or a number"
        )
