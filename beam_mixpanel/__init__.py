"""Apache Beam connector for Mixpanel: all events, each once, with exact books.

The public names are loaded when they are first used, so that `beam_mixpanel.core` and `beam_mixpanel.client` need no
Beam.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from beam_mixpanel.version import VERSION as __version__

if TYPE_CHECKING:
    from beam_mixpanel.client.client import ImportReceipt
    from beam_mixpanel.client.credentials import (
        Credentials,
        ProjectToken,
        SecretReference,
        SecretSource,
        SecretText,
        ServiceAccount,
    )
    from beam_mixpanel.client.errors import (
        ClosedError,
        CredentialsError,
        ImportRefusedError,
        MixpanelError,
        UndeliveredError,
    )
    from beam_mixpanel.core.chunk import EventChunk, PreparedEvent
    from beam_mixpanel.core.csv_format import CsvFormat, CsvHeaderError
    from beam_mixpanel.core.dead_letter import DeadLetter, Refused
    from beam_mixpanel.core.incremental import Increment, IncrementalError, State
    from beam_mixpanel.core.mapping import ColumnPlan, EventMapping, MappingError
    from beam_mixpanel.core.mapping_settings import mapping_of
    from beam_mixpanel.core.prepare import EventBlock
    from beam_mixpanel.core.rows import RefusedRows, RowBatch, RowList
    from beam_mixpanel.core.user_function import UserFunctionError
    from beam_mixpanel.databases.errors import DatabaseError, LostConnectionError, LostSnapshotError
    from beam_mixpanel.databases.reading import Part, SqlReading
    from beam_mixpanel.transforms.dead_letters import ReadDeadLetters, WriteDeadLetters
    from beam_mixpanel.transforms.files import UnreadableFileError
    from beam_mixpanel.transforms.guard import EventNotImportedError
    from beam_mixpanel.transforms.options import MixpanelOptions
    from beam_mixpanel.transforms.prepare import PreparedEvents, PrepareEvents
    from beam_mixpanel.transforms.read import ReadEventBlocksFromFiles, ReadEventsFromFiles
    from beam_mixpanel.transforms.read_bigquery import ReadRowsFromBigQuery
    from beam_mixpanel.transforms.read_rows import ReadRowsFromFiles
    from beam_mixpanel.transforms.read_sql import ReadRowsFromSql
    from beam_mixpanel.transforms.write import WriteToMixpanel, WriteToMixpanelResult

_HOMES = {
    "SecretText": "client.credentials",
    "Part": "databases.reading",
    "ColumnPlan": "core.mapping",
    "ClosedError": "client.errors",
    "Credentials": "client.credentials",
    "CredentialsError": "client.errors",
    "CsvFormat": "core.csv_format",
    "CsvHeaderError": "core.csv_format",
    "DatabaseError": "databases.errors",
    "DeadLetter": "core.dead_letter",
    "EventBlock": "core.prepare",
    "EventChunk": "core.chunk",
    "EventMapping": "core.mapping",
    "EventNotImportedError": "transforms.guard",
    "ImportReceipt": "client.client",
    "ImportRefusedError": "client.errors",
    "Increment": "core.incremental",
    "IncrementalError": "core.incremental",
    "LostConnectionError": "databases.errors",
    "LostSnapshotError": "databases.errors",
    "MappingError": "core.mapping",
    "MixpanelError": "client.errors",
    "MixpanelOptions": "transforms.options",
    "PrepareEvents": "transforms.prepare",
    "PreparedEvent": "core.chunk",
    "PreparedEvents": "transforms.prepare",
    "ProjectToken": "client.credentials",
    "ReadDeadLetters": "transforms.dead_letters",
    "ReadEventBlocksFromFiles": "transforms.read",
    "ReadEventsFromFiles": "transforms.read",
    "ReadRowsFromBigQuery": "transforms.read_bigquery",
    "ReadRowsFromFiles": "transforms.read_rows",
    "ReadRowsFromSql": "transforms.read_sql",
    "Refused": "core.dead_letter",
    "RefusedRows": "core.rows",
    "RowBatch": "core.rows",
    "RowList": "core.rows",
    "SecretReference": "client.credentials",
    "SecretSource": "client.credentials",
    "ServiceAccount": "client.credentials",
    "SqlReading": "databases.reading",
    "State": "core.incremental",
    "UndeliveredError": "client.errors",
    "UnreadableFileError": "transforms.files",
    "UserFunctionError": "core.user_function",
    "WriteDeadLetters": "transforms.dead_letters",
    "WriteToMixpanel": "transforms.write",
    "WriteToMixpanelResult": "transforms.write",
    "mapping_of": "core.mapping_settings",
}

_NEEDS_EXTRA = frozenset({"ReadRowsFromBigQuery"})

__all__ = [
    "ClosedError",
    "ColumnPlan",
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
    "ImportRefusedError",
    "Increment",
    "IncrementalError",
    "LostConnectionError",
    "LostSnapshotError",
    "MappingError",
    "MixpanelError",
    "MixpanelOptions",
    "Part",
    "PrepareEvents",
    "PreparedEvent",
    "PreparedEvents",
    "ProjectToken",
    "ReadDeadLetters",
    "ReadEventBlocksFromFiles",
    "ReadEventsFromFiles",
    "ReadRowsFromBigQuery",
    "ReadRowsFromFiles",
    "ReadRowsFromSql",
    "Refused",
    "RefusedRows",
    "RowBatch",
    "RowList",
    "SecretReference",
    "SecretSource",
    "SecretText",
    "ServiceAccount",
    "SqlReading",
    "State",
    "UndeliveredError",
    "UnreadableFileError",
    "UserFunctionError",
    "WriteDeadLetters",
    "WriteToMixpanel",
    "WriteToMixpanelResult",
    "__version__",
    "mapping_of",
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
