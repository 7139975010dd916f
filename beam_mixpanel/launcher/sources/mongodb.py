"""MongoDB as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from beam_mixpanel.launcher.flags import CONNECTION, INCREMENTAL
from beam_mixpanel.launcher.source import Source, Template
from beam_mixpanel.transforms.flags import Flag, FlagGroup

if TYPE_CHECKING:
    from beam_mixpanel.launcher.opened import Opened
    from beam_mixpanel.launcher.settings import Settings


MONGODB: Final = FlagGroup(
    title="Documents",
    flags=(
        Flag(name="database", value="NAME", meaning="the database to read"),
        Flag(name="collection", value="NAME", meaning="the collection to read; a view will do"),
        Flag(
            name="filter",
            value="JSON",
            meaning="which documents; as for find, in MongoDB's extended JSON (default: all)",
        ),
    ),
)


def _open(settings: Settings) -> Opened:
    from beam_mixpanel.launcher.mongodb import open_collection

    return open_collection(settings)


SOURCE: Final = Source(
    name="mongodb",
    command="import mongodb",
    pipeline="beam_mixpanel.pipelines.mongodb_to_mixpanel",
    summary="Import documents of MongoDB into Mixpanel.",
    reads="A collection of MongoDB, or what a filter finds in it.",
    flags=(
        CONNECTION,
        MONGODB,
        INCREMENTAL,
    ),
    examples=(
        '--connection env:MONGODB_URL --database shop --collection orders --filter \'{"status": "paid"}\' \\\n'
        "    --event 'Order Placed' --time_column ordered_at --user_id_column customer --insert_id_columns _id \\\n"
        "    --mixpanel_emulator",
    ),
    open=_open,
    template=Template(
        "MongoDB to Mixpanel",
        "Imports documents of a MongoDB collection as events into Mixpanel.",
        ("connection", "database", "collection"),
    ),
)
