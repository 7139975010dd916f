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
    from beam_mixpanel.client.credentials import ProjectToken, ServiceAccount
    from beam_mixpanel.core.dead_letter import DeadLetter
    from beam_mixpanel.core.mapping import EventMapping
    from beam_mixpanel.core.mapping_settings import mapping_of
    from beam_mixpanel.core.rows import RowBatch, RowList
    from beam_mixpanel.databases.reading import SqlReading
    from beam_mixpanel.transforms.dead_letters import ReadDeadLetters, WriteDeadLetters
    from beam_mixpanel.transforms.options import MixpanelOptions
    from beam_mixpanel.transforms.prepare import PreparedEvents, PrepareEvents
    from beam_mixpanel.transforms.read import ReadEventBlocksFromFiles, ReadEventsFromFiles
    from beam_mixpanel.transforms.read_bigquery import ReadRowsFromBigQuery
    from beam_mixpanel.transforms.read_rows import ReadRowsFromFiles
    from beam_mixpanel.transforms.read_sql import ReadRowsFromSql
    from beam_mixpanel.transforms.write import WriteToMixpanel, WriteToMixpanelResult

_HOMES = {
    "DeadLetter": "core.dead_letter",
    "EventMapping": "core.mapping",
    "ImportReceipt": "client.client",
    "MixpanelOptions": "transforms.options",
    "PrepareEvents": "transforms.prepare",
    "PreparedEvents": "transforms.prepare",
    "ProjectToken": "client.credentials",
    "ReadDeadLetters": "transforms.dead_letters",
    "ReadEventBlocksFromFiles": "transforms.read",
    "ReadEventsFromFiles": "transforms.read",
    "ReadRowsFromSql": "transforms.read_sql",
    "RowBatch": "core.rows",
    "RowList": "core.rows",
    "ServiceAccount": "client.credentials",
    "ReadRowsFromBigQuery": "transforms.read_bigquery",
    "ReadRowsFromFiles": "transforms.read_rows",
    "SqlReading": "databases.reading",
    "WriteDeadLetters": "transforms.dead_letters",
    "WriteToMixpanel": "transforms.write",
    "WriteToMixpanelResult": "transforms.write",
    "mapping_of": "core.mapping_settings",
}

__all__ = [
    "DeadLetter",
    "EventMapping",
    "ImportReceipt",
    "MixpanelOptions",
    "PrepareEvents",
    "PreparedEvents",
    "ProjectToken",
    "ReadDeadLetters",
    "ReadEventBlocksFromFiles",
    "ReadEventsFromFiles",
    "ReadRowsFromBigQuery",
    "ReadRowsFromFiles",
    "ReadRowsFromSql",
    "RowBatch",
    "RowList",
    "ServiceAccount",
    "SqlReading",
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
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
