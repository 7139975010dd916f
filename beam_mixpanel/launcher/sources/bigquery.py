"""BigQuery as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from beam_mixpanel.launcher.flags import INCREMENTAL, TABLE
from beam_mixpanel.launcher.source import Source, Template
from beam_mixpanel.transforms.flags import Flag, FlagGroup

if TYPE_CHECKING:
    from beam_mixpanel.launcher.opened import Opened
    from beam_mixpanel.launcher.settings import Settings


BIGQUERY: Final = FlagGroup(
    title="BigQuery",
    flags=(
        Flag(
            name="bigquery_method",
            choices=("DIRECT_READ", "EXPORT"),
            default="DIRECT_READ",
            meaning="the Storage Read API, or files under --temp_location (default DIRECT_READ)",
        ),
    ),
)


def _open(settings: Settings) -> Opened:
    from beam_mixpanel.launcher.bigquery import open_bigquery

    return open_bigquery(settings)


SOURCE: Final = Source(
    name="bigquery",
    command="import bigquery",
    pipeline="beam_mixpanel.pipelines.bigquery_to_mixpanel",
    summary="Import rows of BigQuery into Mixpanel.",
    reads="A table of BigQuery, or what a query gives.",
    flags=(
        TABLE,
        BIGQUERY,
        INCREMENTAL,
    ),
    examples=(
        "--project my-project --table my-project.analytics.orders \\\n"
        "    --event 'Order Placed' --time_column ordered_at --user_id_column customer --mixpanel_emulator",
    ),
    open=_open,
    template=Template(
        "BigQuery to Mixpanel",
        "Imports rows of a BigQuery table or query as events into Mixpanel.",
    ),
)
