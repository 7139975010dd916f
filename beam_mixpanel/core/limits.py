"""Every number that Mixpanel publishes and that an event or a request must respect.

Where two pages of Mixpanel disagree, the stricter reading stands here, so that nothing is sent
which one of the readings would refuse.
"""

from __future__ import annotations

from typing import Final

IMPORT_DOCS: Final = "https://docs.mixpanel.com/reference/import-events"
"""`/import`: batch, event and property limits, `$insert_id`, `time`, placeholder ids, retries."""
TRACK_DOCS: Final = "https://docs.mixpanel.com/reference/track-event"
RATE_LIMIT_DOCS: Final = "https://docs.mixpanel.com/reference/rate-limits"
RETENTION_DOCS: Final = "https://docs.mixpanel.com/docs/orgs-and-projects/managing-projects"
EVENT_DOCS: Final = "https://docs.mixpanel.com/docs/data-structure/events-and-properties"

MAX_BATCH_EVENTS: Final = 2000
MAX_BATCH_BYTES: Final = 10_000_000
"""2000 events and 10 MB of uncompressed JSON a request (IMPORT_DOCS)."""
MAX_EVENT_BYTES: Final = 999_999
"""An event must stay *below* 1 MB of uncompressed JSON (IMPORT_DOCS)."""
MAX_LINE_BYTES: Final = 8_000_000
"""A longer line of a file is not held in memory: an event of less than 1 MB may be spelt up to six times as long, with
an escape such as `\\u0041` for each character, and there may be some white space around it."""

MAX_PROPERTIES: Final = 254
MAX_NESTED_KEYS: Final = 254
MAX_LIST_ELEMENTS: Final = 254
"""IMPORT_DOCS says *fewer than 255* of each."""
MAX_NESTING: Final = 3
"""A list or object that is a property's value is level 1, what it contains level 2 (IMPORT_DOCS)."""

MAX_EVENT_NAME_CHARS: Final = 255
"""Property names and strings are cut at 255 (EVENT_DOCS); a cut event name would be another event."""
MAX_DISTINCT_ID_CHARS: Final = 255
"""A cut id would merge users; Mixpanel's import guides give 255 for ids."""

MAX_INSERT_ID_BYTES: Final = 36
INSERT_ID_CHARS: Final = "[A-Za-z0-9-]"
"""An `$insert_id` has 1 to 36 of these (IMPORT_DOCS)."""

PLACEHOLDER_IDS: Final = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        "anon",
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "<nil>",
        "0",
        "-1",
        "true",
        "false",
        "[]",
        "{}",
    }
)
"""Ids that `/import` refuses (IMPORT_DOCS). The page does not say whether case matters: any case is refused."""

EARLIEST_TIME_MS: Final = 31_536_000_000
"""1971-01-01T00:00:00Z: earlier events are refused (IMPORT_DOCS)."""
MAX_AHEAD_MS: Final = 3_600_000
"""Events more than one hour ahead of the server are refused (IMPORT_DOCS)."""
TRACK_MAX_AGE_MS: Final = 5 * 86_400_000
"""`/track` drops older events and answers success (TRACK_DOCS)."""
DEFAULT_RETENTION_DAYS: Final = 730
"""Projects made since 2025-09-01 delete events after two years (RETENTION_DOCS)."""

MAX_EVENTS_PER_SEC: Final = 30_000
MAX_BYTES_PER_SEC: Final = 2_000_000_000 / 60
"""A project's share: 30,000 events/s or 2 GB of uncompressed JSON a minute (RATE_LIMIT_DOCS)."""
RECOMMENDED_REQUESTS_IN_FLIGHT: Final = 20
"""IMPORT_DOCS recommends 10 to 20 concurrent clients."""

HOT_SHARD_DOCS: Final = "https://docs.mixpanel.com/docs/tracking-best-practices/hot-shard-limits"
HOT_SHARD_EVENTS_PER_DAY: Final = 200_000
"""More events of one `distinct_id` on one day are stored as `$hotshard_events` of nobody (HOT_SHARD_DOCS)."""
MAX_EVENT_NAMES: Final = 5_000
"""Events of further names are stored, but not indexed (EVENT_DOCS)."""
MAX_TEXT_CHARS: Final = 255
"""Longer texts, and names of properties, are cut (EVENT_DOCS)."""
