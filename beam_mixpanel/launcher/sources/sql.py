"""Databases as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from beam_mixpanel.launcher.flags import CONNECTION, INCREMENTAL, TABLE
from beam_mixpanel.launcher.source import Source, Template
from beam_mixpanel.transforms.flags import Flag, FlagGroup

if TYPE_CHECKING:
    from beam_mixpanel.launcher.opened import Opened
    from beam_mixpanel.launcher.settings import Settings


SQL: Final = FlagGroup(
    title="Ranges",
    flags=(
        Flag(
            name="partition_column",
            value="COLUMN",
            meaning="its ranges are read in parallel; of integers, dates or timestamps",
        ),
    ),
)


def _open(settings: Settings) -> Opened:
    from beam_mixpanel.launcher.sql import open_database

    return open_database(settings)


SOURCE: Final = Source(
    name="sql",
    command="import sql",
    pipeline="beam_mixpanel.pipelines.sql_to_mixpanel",
    summary="Import rows of a SQL database into Mixpanel.",
    reads="A table of a SQL database, or what a query gives.",
    flags=(
        CONNECTION,
        TABLE,
        SQL,
        INCREMENTAL,
    ),
    examples=(
        "--connection env:DATABASE_URL --table orders --event 'Order Placed' \\\n"
        "    --time_column ordered_at --user_id_column customer --mixpanel_emulator",
    ),
    open=_open,
    template=Template(
        "SQL to Mixpanel",
        "Imports rows of a SQL database as events into Mixpanel.",
        ("connection",),
    ),
)
