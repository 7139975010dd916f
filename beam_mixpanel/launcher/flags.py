"""The options of our own jobs as data; those of the sink are in `transforms/flags.py`. Nothing here needs Beam."""

from __future__ import annotations

from typing import Final

from beam_mixpanel.core.formats.csv_types import COLUMN_TYPES
from beam_mixpanel.core.formats.kinds import AUTO, BY_NAME
from beam_mixpanel.core.rows.mapping import TIME_UNITS
from beam_mixpanel.core.rows.mapping_settings import FLAGS
from beam_mixpanel.core.rows.presets import PRESETS
from beam_mixpanel.transforms.flags import Flag, FlagGroup

FILES: Final = FlagGroup(
    title="Files",
    flags=(
        Flag(
            name="input",
            value="GLOB",
            repeated=True,
            meaning="files to read; plain, .gz, .bz2 or .zst; any Beam file system",
        ),
        Flag(
            name="input_format",
            choices=(AUTO, *BY_NAME),
            default=AUTO,
            meaning="format of the files (default auto); auto detects it by their first bytes and names",
        ),
        Flag(name="csv_delimiter", value="C", meaning="what separates fields (default , and in TSV a tab)"),
        Flag(name="csv_columns", value="A,B", meaning="names of the columns of CSV files without a header"),
        Flag(
            name="csv_encoding",
            value="NAME",
            default="utf-8",
            meaning="encoding of CSV files (default utf-8); a BOM identifies UTF-16",
        ),
        Flag(
            name="csv_types",
            value="COLUMN:TYPE,…",
            repeated=True,
            meaning=f"types of CSV columns, instead of typing by rule; {', '.join(COLUMN_TYPES)}",
        ),
        Flag(name="csv_text", meaning="read every CSV column as text, unless --csv_types says otherwise"),
    ),
)
CONNECTION: Final = FlagGroup(
    title="Database",
    flags=(
        Flag(
            name="connection",
            value="REF",
            meaning="reference to the database's URL; env:NAME, file:PATH, gcp-secret:...; of SQL also sqlite:///FILE, "
            "duckdb:///FILE",
        ),
        Flag(
            name="partitions",
            value="N",
            kind=int,
            meaning="how many ranges are read in parallel (default 8; MongoDB: more for large collections)",
        ),
    ),
)
TABLE: Final = FlagGroup(
    title="Rows",
    flags=(
        Flag(
            name="table",
            value="NAME",
            meaning="the table to read; TABLE or SCHEMA.TABLE; in BigQuery, PROJECT.DATASET.TABLE",
        ),
        Flag(name="query", value="SQL", meaning="one SELECT, instead of a table"),
    ),
)
INCREMENTAL: Final = FlagGroup(
    title="What is new",
    flags=(
        Flag(
            name="cursor_column",
            value="COLUMN",
            meaning="column by which rows are new (default: the time column)",
        ),
        Flag(name="since", value="VALUE", meaning="read rows from this value of the cursor column on"),
        Flag(name="until", value="VALUE", meaning="read rows before this value of the cursor column"),
        Flag(
            name="state",
            value="FILE",
            meaning="remember the greatest value imported; the next run reads from there on",
        ),
        Flag(
            name="overlap",
            value="SPAN",
            meaning="start this far before the remembered value; 90s, 30m, 2h, 1d, or a number",
        ),
    ),
)
JOB: Final = FlagGroup(
    title="What a run leaves behind",
    flags=(
        Flag(
            name="dead_letters",
            value="PREFIX",
            meaning="keep events that were not imported in PREFIX-*.jsonl; without it the first one fails the job",
        ),
        Flag(
            name="allow_dead_letters",
            value="N|P%",
            meaning="exit 0 with up to N of them, or P percent of events (default 0); of a check: any number",
        ),
        Flag(name="summary", value="FILE", meaning="write the books as JSON"),
        Flag(
            name="report",
            value="FILE",
            meaning="write a page that shows how the run went; JSON beside it; check: what an import would do "
            "(default there report.html)",
        ),
        Flag(name="mixpanel_emulator", meaning="send to an emulator that is started for this run"),
        Flag(name="show_values", rare=True, meaning="show values in the page's examples, not only their shape"),
    ),
)
REDACTION: Final = FlagGroup(
    title="Privacy",
    flags=(
        Flag(
            name="redact",
            value="PROP",
            repeated=True,
            meaning="property to remove from each event; it is neither sent nor kept in dead letters",
        ),
    ),
)
_OF_MAPPINGS: Final[dict[str, tuple[str, str]]] = {
    "event": ("NAME", "name of every event"),
    "event_column": ("COLUMN", "column that holds the event's name"),
    "time_column": ("COLUMN", "column that holds the time"),
    "time_unit": (
        "UNIT",
        f"unit of numbers in it (default auto); {', '.join(TIME_UNITS)}; auto detects it by their size",
    ),
    "time_format": ("FORMAT", "format of text in it, as for strptime (default: ISO 8601)"),
    "distinct_id_column": ("COLUMN", "column that becomes distinct_id"),
    "user_id_column": ("COLUMN", "column that becomes $user_id, and distinct_id if no other does"),
    "device_id_column": ("COLUMN", "column that becomes $device_id"),
    "insert_id_columns": ("A,B", "column that becomes $insert_id; several are hashed"),
    "include": ("COLUMN", "columns that become properties (default *)"),
    "exclude": ("COLUMN", "columns that do not become properties"),
    "rename": ("OLD=NEW", "give a column's property another name"),
    "tags": ("NAME=VALUE", "property that every event gets"),
    "json_columns": ("COLUMN", "column whose text is JSON"),
    "spread_columns": ("COLUMN", "column that holds an object whose keys become properties"),
    "flatten": ("", "write nested records as parent.child"),
    "keep_nulls": ("", "keep properties that are null"),
    "only_events": ("NAME", "import events of this name only"),
    "skip_events": ("NAME", "leave out events of this name"),
    "from_time": ("TIME", "leave out earlier events"),
    "until_time": ("TIME", "leave out events at or after this time"),
    "map": (
        "MODULE:FUNCTION",
        "Python function from row to event; or to a list of events or None; instead of columns",
    ),
}
"""What stands for the value of each key of a mapping, and what the key does."""
_NAMES: Final = frozenset({"rename", "tags", "json_columns", "spread_columns"})
"""Lists whose texts are names, taken as they are."""
_PATTERNS: Final = frozenset({"include", "exclude", "only_events", "skip_events"})
"""Lists whose texts may hold a `*`."""


_RARE: Final = frozenset({"keep_nulls", "from_time", "until_time", "spread_columns"})


def _of_mapping(key: str) -> Flag:
    value, meaning = _OF_MAPPINGS[key]
    hint = "; * stands for anything" if key in _PATTERNS else ""
    return Flag(
        name=FLAGS[key],
        value=value,
        meaning=meaning + hint,
        repeated=key in _NAMES | _PATTERNS,
        rare=key in _RARE,
    )


MAPPING: Final = FlagGroup(
    title="Mapping of rows to events",
    flags=(
        Flag(name="mapping", value="FILE", meaning="YAML file with the keys of these flags; a flag overrides its key"),
        Flag(
            name="preset",
            value="NAME",
            suggestions=tuple(PRESETS),
            meaning=f"ready mapping for a vendor's export; one of {', '.join(PRESETS)}",
        ),
        *map(_of_mapping, _OF_MAPPINGS),
    ),
)
