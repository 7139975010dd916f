"""Names of properties that Mixpanel gives a meaning of its own.

Source: https://docs.mixpanel.com/docs/data-structure/property-reference/reserved-properties, and for those that the
server adds https://docs.mixpanel.com/docs/data-structure/property-reference/default-properties
"""

from __future__ import annotations

from typing import Final

_HIDES: Final = "can keep other events from appearing"
_CONSUMED: Final = "is consumed and not stored"
_OWN: Final = "is Mixpanel's own; what you send is overwritten or misread"
_ADDED: Final = "is added by the server; a re-imported export should not bring it"

_MEANINGS: Final[dict[str, str]] = {
    "bucket": _HIDES,
    "$bucket": _HIDES,
    "token": _CONSUMED,
    "$ignore": "makes Mixpanel drop the event, and still answer success",
    "$source": "marks events of Mixpanel's partners",
    "$import": _ADDED,
    "$mp_api_endpoint": _ADDED,
    "$mp_api_timestamp_ms": _ADDED,
    "mp_processing_time_ms": _ADDED,
    "$mp_event_size": _ADDED,
} | dict.fromkeys(
    (
        "$time", "$distinct_id", "$event_name", "$identified_id", "$anon_id", "alias", "$distinct_ids", "$partner_id",
        "$distinct_id_before_identity", "$is_reshuffled", "$preshuffle_distinct_id", "$failure_reason",
        "$failure_description", "$identity_failure_reason", "$duration_s", "$event_count", "$origin_start",
        "$origin_end",
    ),
    _OWN,
)  # fmt: skip
_PREFIXES: Final = ("mp_original_", "$warehouse_", "$mp_")


def meaning_of(name: str) -> str:
    """Say what Mixpanel does with a property of this name; empty where it is the user's, or a documented default."""
    if name in _MEANINGS:
        return _MEANINGS[name]
    if name.startswith(_PREFIXES):
        return _OWN
    return ""
