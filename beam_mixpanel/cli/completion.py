"""What the shell completes: names of options, their choices, and files.

The names stand here, and a test compares them with the code: to ask the pipelines, Beam would have to be loaded, which
takes seconds, at each key that completes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from click.shell_completion import CompletionItem

_COMMON: Final = """
    --mapping --preset --event --event_column --time_column --time_unit --time_format --distinct_id_column
    --user_id_column --device_id_column --insert_id_columns --include --exclude --rename --tag --json_column
    --spread_column --flatten --keep_nulls --only_event --skip_event --from_time --until_time --map
    --mixpanel_project_id --mixpanel_service_account --mixpanel_project_token
    --mixpanel_region --mixpanel_api_host --mixpanel_endpoint --mixpanel_max_concurrent_requests
    --mixpanel_max_events_per_sec --mixpanel_max_batch_events --mixpanel_max_batch_bytes
    --mixpanel_retry_deadline_secs --mixpanel_request_timeout_secs --mixpanel_ca_bundle
    --mixpanel_on_undelivered --mixpanel_num_shards --mixpanel_max_buffering_secs --mixpanel_auto_sharding
    --mixpanel_insert_id --mixpanel_time_zone --mixpanel_retention_days --redact --dead_letters
    --allow_dead_letters --summary --report --mixpanel_emulator --show_values
"""
_ALSO: Final = {
    "beam_mixpanel.pipelines.files_to_mixpanel": """
        --input --input_format --csv_delimiter --csv_columns --csv_encoding --csv_types --csv_text
    """,
    "beam_mixpanel.pipelines.bigquery_to_mixpanel": """
        --table --query --bigquery_method --cursor_column --since --until --state --overlap
    """,
    "beam_mixpanel.pipelines.sql_to_mixpanel": """
        --table --query --connection --partition_column --partitions --cursor_column --since --until --state
        --overlap
    """,
    "beam_mixpanel.pipelines.pubsub_to_mixpanel": "--subscription --topic --id_attribute",
    "beam_mixpanel.pipelines.replay_dead_letters": """
        --input --input_format --csv_delimiter --csv_columns --csv_encoding --csv_types --csv_text
        --only-reason --fix
    """,
    "beam_mixpanel.pipelines.check_events": """
        --input --input_format --csv_delimiter --csv_columns --csv_encoding --csv_types --csv_text
    """,
}

CHOICES: Final[dict[str, Sequence[str]]] = {
    "--bigquery_method": ("DIRECT_READ", "EXPORT"),
    "--input_format": ("auto", "ndjson", "json", "csv", "tsv", "avro", "parquet"),
    "--mixpanel_endpoint": ("import", "track"),
    "--mixpanel_on_undelivered": ("fail", "dead_letter"),
    "--mixpanel_region": ("us", "eu", "in"),
    "--preset": ("amplitude", "ga4", "mixpanel", "posthog", "segment", "segment_warehouse"),
    "--id-merge": ("simplified", "original"),
}
"""Options with few values."""
SWITCHES: Final = frozenset(
    {
        *("--csv_text", "--flatten", "--keep_nulls", "--mixpanel_auto_sharding", "--mixpanel_emulator"),
        *("--show_values", "--record-bodies", "--stop-when-stdin-closes", "--help"),
    }
)
"""Options without a value."""


def options_of(module: str) -> list[str]:
    """List what a pipeline or the emulator takes, besides the options of Beam."""
    if module in _ALSO:
        return [*_ALSO[module].split(), *_COMMON.split(), "--help"]
    from beam_mixpanel.emulator.__main__ import _parser

    return list(_parser()._option_string_actions)


def complete(module: str, before: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """Complete a word: a value where an option waits for one, else an option.

    Args:
      module: whose options.
      before: the words before it; bash gives the `=` of `--option=value` as a word of its own.
      incomplete: how it begins.
    """
    words = [word for word in before if word != "="]
    option = words[-1] if words else ""
    if option.startswith("-") and "=" not in option and option not in SWITCHES and not incomplete.startswith("-"):
        return _values(option, incomplete)
    return [CompletionItem(name) for name in options_of(module) if name.startswith(incomplete)]


def _values(option: str, incomplete: str) -> list[CompletionItem]:
    if option not in CHOICES:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(choice) for choice in CHOICES[option] if choice.startswith(incomplete)]
