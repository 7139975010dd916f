"""Apache Beam connector for Mixpanel: no event lost, none shown twice, every one accounted for.

What `__all__` names here, in `beam_mixpanel.errors`, `beam_mixpanel.yaml` and `beam_mixpanel.emulator` is public: the
transforms, their elements, settings, credentials and errors. All other modules may change without notice.

Names are loaded when they are first used, so that `beam_mixpanel.core` and `beam_mixpanel.client` need no Beam.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from beam_mixpanel.version import VERSION as __version__

if TYPE_CHECKING:
    from beam_mixpanel.client.credentials import Credentials, ProjectToken, ServiceAccount
    from beam_mixpanel.client.results import ImportReceipt
    from beam_mixpanel.core.events.chunk import EventChunk, PreparedEvent
    from beam_mixpanel.core.events.dead_letter import DeadLetter, RefusedLetter
    from beam_mixpanel.core.events.prepare import EventBlock
    from beam_mixpanel.core.formats.csv_format import CsvFormat
    from beam_mixpanel.core.rows.batches import RefusedRows, RowBatch, RowList
    from beam_mixpanel.core.rows.mapping import EventMapping
    from beam_mixpanel.core.rows.mapping_settings import mapping_of
    from beam_mixpanel.core.rows.plan import ColumnPlan
    from beam_mixpanel.core.rows.presets import mixpanel_event
    from beam_mixpanel.core.sources.increments import Increment, State
    from beam_mixpanel.databases.reading import Part, SqlReading
    from beam_mixpanel.errors import (
        ClosedError,
        ConfigurationError,
        CredentialsError,
        CsvHeaderError,
        DatabaseError,
        EventNotImportedError,
        IncrementalError,
        InputError,
        LostConnectionError,
        LostSnapshotError,
        MappingError,
        MixpanelError,
        NothingImportedError,
        RefusedError,
        TransientError,
        UndeliveredError,
        UnreadableFileError,
        UserFunctionError,
    )
    from beam_mixpanel.secrets import SecretReference, SecretSource, SecretText
    from beam_mixpanel.transforms.dead_letters import ReadDeadLetters, WriteDeadLetters
    from beam_mixpanel.transforms.options import MixpanelOptions
    from beam_mixpanel.transforms.prepare import PreparedEvents, PrepareEvents
    from beam_mixpanel.transforms.read_bigquery import ReadFromBigQueryBatched
    from beam_mixpanel.transforms.read_files import (
        ReadAllFromFiles,
        ReadAllFromFilesBatched,
        ReadFromFiles,
        ReadFromFilesBatched,
    )
    from beam_mixpanel.transforms.read_mongodb import ReadFromMongoDBBatched
    from beam_mixpanel.transforms.read_ndjson import (
        ReadAllFromNdjson,
        ReadAllFromNdjsonBatched,
        ReadFromNdjson,
        ReadFromNdjsonBatched,
    )
    from beam_mixpanel.transforms.read_sql import ReadFromSql, ReadFromSqlBatched
    from beam_mixpanel.transforms.unbatch import UnbatchedRows, UnbatchRows
    from beam_mixpanel.transforms.write import WriteToMixpanel, WriteToMixpanelResult

_HOMES = {
    "ClosedError": "errors",
    "ColumnPlan": "core.rows.plan",
    "ConfigurationError": "errors",
    "Credentials": "client.credentials",
    "CredentialsError": "errors",
    "CsvFormat": "core.formats.csv_format",
    "CsvHeaderError": "errors",
    "DatabaseError": "errors",
    "DeadLetter": "core.events.dead_letter",
    "EventBlock": "core.events.prepare",
    "EventChunk": "core.events.chunk",
    "EventMapping": "core.rows.mapping",
    "EventNotImportedError": "errors",
    "ImportReceipt": "client.results",
    "Increment": "core.sources.increments",
    "IncrementalError": "errors",
    "InputError": "errors",
    "LostConnectionError": "errors",
    "LostSnapshotError": "errors",
    "MappingError": "errors",
    "MixpanelError": "errors",
    "MixpanelOptions": "transforms.options",
    "NothingImportedError": "errors",
    "Part": "databases.reading",
    "PrepareEvents": "transforms.prepare",
    "PreparedEvent": "core.events.chunk",
    "PreparedEvents": "transforms.prepare",
    "ProjectToken": "client.credentials",
    "ReadAllFromFiles": "transforms.read_files",
    "ReadAllFromFilesBatched": "transforms.read_files",
    "ReadAllFromNdjson": "transforms.read_ndjson",
    "ReadAllFromNdjsonBatched": "transforms.read_ndjson",
    "ReadDeadLetters": "transforms.dead_letters",
    "ReadFromBigQueryBatched": "transforms.read_bigquery",
    "ReadFromFiles": "transforms.read_files",
    "ReadFromFilesBatched": "transforms.read_files",
    "ReadFromMongoDBBatched": "transforms.read_mongodb",
    "ReadFromNdjson": "transforms.read_ndjson",
    "ReadFromNdjsonBatched": "transforms.read_ndjson",
    "ReadFromSql": "transforms.read_sql",
    "ReadFromSqlBatched": "transforms.read_sql",
    "RefusedError": "errors",
    "RefusedLetter": "core.events.dead_letter",
    "RefusedRows": "core.rows.batches",
    "RowBatch": "core.rows.batches",
    "RowList": "core.rows.batches",
    "SecretReference": "secrets",
    "SecretSource": "secrets",
    "SecretText": "secrets",
    "ServiceAccount": "client.credentials",
    "SqlReading": "databases.reading",
    "State": "core.sources.increments",
    "TransientError": "errors",
    "UnbatchRows": "transforms.unbatch",
    "UnbatchedRows": "transforms.unbatch",
    "UndeliveredError": "errors",
    "UnreadableFileError": "errors",
    "UserFunctionError": "errors",
    "WriteDeadLetters": "transforms.dead_letters",
    "WriteToMixpanel": "transforms.write",
    "WriteToMixpanelResult": "transforms.write",
    "mapping_of": "core.rows.mapping_settings",
    "mixpanel_event": "core.rows.presets",
}

_NEEDS_EXTRA = frozenset({"ReadFromBigQueryBatched", "ReadFromMongoDBBatched"})

__all__ = [
    "ClosedError",
    "ColumnPlan",
    "ConfigurationError",
    "Credentials",
    "CredentialsError",
    "CsvFormat",
    "CsvHeaderError",
    "DatabaseError",
    "DeadLetter",
    "EventBlock",
    "EventChunk",
    "EventMapping",
    "EventNotImportedError",
    "ImportReceipt",
    "Increment",
    "IncrementalError",
    "InputError",
    "LostConnectionError",
    "LostSnapshotError",
    "MappingError",
    "MixpanelError",
    "MixpanelOptions",
    "NothingImportedError",
    "Part",
    "PrepareEvents",
    "PreparedEvent",
    "PreparedEvents",
    "ProjectToken",
    "ReadAllFromFiles",
    "ReadAllFromFilesBatched",
    "ReadAllFromNdjson",
    "ReadAllFromNdjsonBatched",
    "ReadDeadLetters",
    "ReadFromBigQueryBatched",
    "ReadFromFiles",
    "ReadFromFilesBatched",
    "ReadFromMongoDBBatched",
    "ReadFromNdjson",
    "ReadFromNdjsonBatched",
    "ReadFromSql",
    "ReadFromSqlBatched",
    "RefusedError",
    "RefusedLetter",
    "RefusedRows",
    "RowBatch",
    "RowList",
    "SecretReference",
    "SecretSource",
    "SecretText",
    "ServiceAccount",
    "SqlReading",
    "State",
    "TransientError",
    "UnbatchRows",
    "UnbatchedRows",
    "UndeliveredError",
    "UnreadableFileError",
    "UserFunctionError",
    "WriteDeadLetters",
    "WriteToMixpanel",
    "WriteToMixpanelResult",
    "__version__",
    "mapping_of",
    "mixpanel_event",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        if name not in _NEEDS_EXTRA:
            raise
        return _absent(name, str(error))
    globals()[name] = value
    return value


def _absent(name: str, cure: str) -> type:
    """Return a placeholder for a name whose extra is not installed: `import *` and `help` work; using it raises."""

    def refuse(self: object, *_: object, **__: object) -> None:
        raise ImportError(cure)

    return type(name, (), {"__doc__": cure, "__module__": __name__, "__init__": refuse})


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
