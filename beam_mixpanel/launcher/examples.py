"""What the help of each pipeline shows to begin with."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "beam_mixpanel.pipelines.files_to_mixpanel": (
        "--input 'events/*.ndjson.gz' --mixpanel_emulator",
        "--input orders.csv --event 'Order Placed' --time_column ordered_at --mixpanel_emulator",
        "--input 'events/*.ndjson' --mixpanel_project_id 123 \\\n"
        "    --mixpanel_service_account env:MIXPANEL_SERVICE_ACCOUNT --mixpanel_region eu --dead_letters out/dead",
    ),
    "beam_mixpanel.pipelines.check_events": (
        "--input 'events/*.ndjson' --report report.html",
        "--input orders.csv --event 'Order Placed' --time_column ordered_at --user_id_column customer",
    ),
    "beam_mixpanel.pipelines.replay_dead_letters": (
        "--input 'out/dead-*' --mixpanel_emulator",
        "--input 'out/dead-*' --only-reason http_503 --dead_letters out/again \\\n"
        "    --mixpanel_project_id 123 --mixpanel_service_account env:MIXPANEL_SERVICE_ACCOUNT",
    ),
    "beam_mixpanel.pipelines.sql_to_mixpanel": (
        "--connection env:DATABASE_URL --table orders --event 'Order Placed' \\\n"
        "    --time_column ordered_at --user_id_column customer --mixpanel_emulator",
    ),
    "beam_mixpanel.pipelines.bigquery_to_mixpanel": (
        "--project my-project --table my-project.analytics.orders \\\n    --event 'Order Placed' "
        "--time_column ordered_at --user_id_column customer --mixpanel_emulator",
    ),
    "beam_mixpanel.pipelines.pubsub_to_mixpanel": (
        "--subscription projects/my-project/subscriptions/orders --dead_letters out/dead \\\n"
        "    --runner DirectRunner --mixpanel_emulator",
    ),
}
"""What the help of a pipeline shows, after the name of its module."""


def examples_of(program: str) -> str:
    """Give the examples of a pipeline, for its help."""
    lines = EXAMPLES.get(program, ())
    return "Examples:\n" + "".join(f"  python -m {program} {line}\n" for line in lines) + "\n" if lines else ""
