"""The source of `import mongodb`: from the options to what is read, or an error that names the cure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from bson import json_util

from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.plan import ColumnPlan
from beam_mixpanel.databases.mongodb import MongoCollection, filter_of
from beam_mixpanel.databases.mongodb_increments import select_new
from beam_mixpanel.errors import CredentialsError, DatabaseError, IncrementalError, MappingError, UsageError
from beam_mixpanel.launcher.checks import resolves_here
from beam_mixpanel.launcher.incremental import epilogue_of, recurrence_of
from beam_mixpanel.launcher.mapping import announce, announce_events, announce_incomplete
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.options import ConnectionOptions, options_of
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.sources.mongodb import MONGODB
from beam_mixpanel.launcher.usage import as_usage, notice
from beam_mixpanel.transforms.read_mongodb import ReadFromMongoDBBatched

_WRONG_ARGUMENTS: Final = (DatabaseError, CredentialsError, IncrementalError, ValueError)
"""What MongoDB, its driver or a state says of options that do not fit; a lost connection is not among them."""
_ROLES: Final = (
    "time_column",
    "distinct_id_column",
    "user_id_column",
    "device_id_column",
    "insert_id_columns",
)
"""What the mapping looks for among the names of columns where the user does not say."""


def open_collection(settings: Settings) -> Opened:
    """Connect, look at the first documents, and choose what is read.

    Raises:
      UsageError: the options, the mapping or the database do not fit each other.
      LostConnectionError: the database cannot be reached.
    """
    options = settings.options.view_as(options_of(MONGODB))
    connection = settings.options.view_as(ConnectionOptions)
    _check_given(connection.connection, options.database, options.collection)
    with as_usage(*_WRONG_ARGUMENTS):
        place = MongoCollection.named(connection.connection, options.database, options.collection)
        resolves_here(place.reference, settings.options)
        condition = filter_of("filter", options.filter)
        names = place.look(condition)
        plan = _announce(settings, names)
        recurrence = recurrence_of(settings, plan, _source_name(place, condition), f"{place.url().address}")
        mark = None
        if recurrence:
            selected = select_new(place, condition, recurrence.increment, recurrence.state, recurrence.zone)
            recurrence.compare(selected.highest)
            condition, mark = selected.condition, selected.mark
        if names and place.keys() is None:
            notice("mongodb", "its `_id`s are not all ObjectIds, all integers or all text: it is read in one part")
        columns, exclude = _columns_to_read(settings.mapping or EventMapping())
        rows = ReadFromMongoDBBatched(
            connection.connection,
            database=place.database,
            collection=place.collection,
            filter=condition,
            columns=columns,
            exclude=exclude,
            partitions=connection.partitions,
        )
    return Opened(rows, settings, epilogue_of(place.name, recurrence, mark))


def _check_given(connection: str | None, database: str | None, collection: str | None) -> None:
    if not connection:
        raise UsageError(
            "no database: give --connection REF, where REF names a URL (mongodb://USER:PASSWORD@HOST/ or "
            "mongodb+srv://...): env:NAME, file:PATH or gcp-secret:..."
        )
    if not database or not collection:
        raise UsageError("give --database NAME and --collection NAME")


def _announce(settings: Settings, names: Sequence[str]) -> ColumnPlan | None:
    """Print which column is what. Further documents may have other fields, so that one is missing is only a warning."""
    if not names:
        notice("mongodb", "no document is found")
    mapping = settings.mapping or EventMapping()
    if mapping.map is not None:
        return announce(settings, names)
    if not announce_events(settings, names) and names:
        announce_incomplete(settings, names)
    try:
        return mapping.bind(names, complete=False)
    except MappingError as error:
        raise UsageError(str(error)) from None


def _columns_to_read(mapping: EventMapping) -> tuple[list[str] | None, list[str]]:
    """Return the fields that documents are narrowed to, None for all; and then those that can be left out.

    A document further on can have a field that the first ones have not. So documents are narrowed only to what the
    mapping names in full: where it names every property, and every column that it would look for by its name.
    """
    if mapping.map is not None or not mapping.names_columns:
        return None, []
    roles: dict[str, Any] = {key: getattr(mapping, key) for key in _ROLES}
    used = [name for value in roles.values() for name in ([value] if isinstance(value, str) else value or ())]
    used += [name for name in (mapping.event_column, *mapping.json_columns, *mapping.spread_columns) if name]
    names_event = mapping.event is not None or mapping.event_column is not None
    names_all = names_event and all(roles.values()) and not any("*" in name for name in mapping.include)
    if not names_all:
        return None, [name for name in mapping.exclude if "*" not in name and name not in used]
    # Of what is nested (`parent.child`), the whole field.
    named = [*used, *mapping.include]
    return list(dict.fromkeys([*named, *(name.partition(".")[0] for name in named)])), []


def _source_name(place: MongoCollection, condition: dict[str, Any]) -> str:
    """Name a collection in a state, with what tells another filter from this one."""
    if not condition:
        return place.name
    text = json.dumps(json.loads(json_util.dumps(condition)), sort_keys=True)
    return f"{place.name} filter {hashlib.sha256(text.encode()).hexdigest()[:16]}"
