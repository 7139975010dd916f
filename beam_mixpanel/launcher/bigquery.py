"""The source of `import bigquery`: from the options to what is read, or an error that names the cure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from apache_beam.options.pipeline_options import GoogleCloudOptions

from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.sources.bigquery_sql import Source, identifier, literal
from beam_mixpanel.core.sources.increments import Mark
from beam_mixpanel.errors import IncrementalError, UsageError
from beam_mixpanel.launcher.bigquery_columns import BigQueryColumns, columns_of, newest_of
from beam_mixpanel.launcher.incremental import Recurrence, epilogue_of, recurrence_of
from beam_mixpanel.launcher.mapping import announce, needed_columns
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.options import BigQueryOptions, TableOptions
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.usage import as_usage

_Newest: TypeAlias = "Callable[..., Mark | None]"


class _Window(NamedTuple):
    """Which rows are new, and the value to remember when they are imported."""

    conditions: tuple[str, ...] = ()
    mark: Mark | None = None


def open_bigquery(settings: Settings) -> Opened:
    """Look at the columns and choose what is read.

    Raises:
      UsageError: the options, the mapping and what BigQuery says do not fit each other.
    """
    try:
        from beam_mixpanel.transforms.read_bigquery import EXPORT, ReadFromBigQueryBatched
    except ImportError as error:
        raise UsageError(str(error)) from None
    method = settings.options.view_as(BigQueryOptions).bigquery_method
    project = settings.options.view_as(GoogleCloudOptions).project
    what = settings.options.view_as(TableOptions)
    source = Source(what.table, what.query)
    with as_usage(IncrementalError, ValueError):
        ReadFromBigQueryBatched(**source._asdict(), method=method).check_options(settings.options)
        found = columns_of(**source._asdict(), project=project)
        if method == EXPORT:
            settings = _with_json_columns(settings, found)
        plan = announce(settings, found.names)
        recurrence = recurrence_of(settings, plan, source.name, source.database(project))
        window = _window(source, recurrence, settings, project)
        in_query = bool(window.conditions) and (method == EXPORT or source.query is not None)
        read = Source(query=source.select("*", window.conditions)) if in_query else source
        rows = ReadFromBigQueryBatched(
            **read._asdict(),
            method=method,
            columns=needed_columns(settings, plan, found.names),
            row_restriction=None if in_query else " AND ".join(window.conditions) or None,
        )
    return Opened(rows, settings, epilogue_of(source.name, recurrence, window.mark))


def _with_json_columns(settings: Settings, found: BigQueryColumns) -> Settings:
    """Have columns read as JSON that an export gives as text."""
    mapping = settings.mapping or EventMapping()
    if mapping.map is not None or not found.json_columns:
        return settings
    columns = tuple(dict.fromkeys((*mapping.json_columns, *found.json_columns)))
    return settings._replace(mapping=replace(mapping, json_columns=columns))


def _window(source: Source, recurrence: Recurrence | None, settings: Settings, project: str | None) -> _Window:
    """Bound what is read by the greatest value that there is now."""
    if recurrence is None:
        return _Window()
    if source.is_partition:
        raise UsageError(f"--since, --until and --state need a whole table, not one partition: {source.table}")
    column = identifier(recurrence.increment.cursor_column)

    def newest(*conditions: str) -> Mark | None:
        value: Mark | None = newest_of(source.select(f"MAX({column})", conditions), project=project)
        return value

    highest = newest()
    recurrence.compare(highest)
    if highest is None:
        return _Window((f"{column} IS NOT NULL",) if recurrence.may_be_empty else ())
    return _bounded(column, recurrence, highest, newest)


def _bounded(column: str, recurrence: Recurrence, highest: Mark, newest: _Newest) -> _Window:
    """Read from the lower bound on, up to the upper one or what is there now; nulls where there is no lower one."""
    lower, upper = recurrence.increment.bounds(highest, recurrence.state, recurrence.zone)
    bounds = [] if lower is None else [f"{column} >= {literal(lower)}"]
    if upper is None:
        mark: Mark | None = highest
        bounds.append(f"{column} <= {literal(highest)}")
    else:
        bounds.append(f"{column} < {literal(upper)}")
        mark = newest(*bounds)
    if lower is None:
        return _Window((f"({' AND '.join(bounds)} OR {column} IS NULL)",), mark)
    return _Window(tuple(bounds), mark)
