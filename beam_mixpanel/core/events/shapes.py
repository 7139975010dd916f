"""Mixpanel's shape of an event, as types that carry its limits: a good event is checked while it is parsed.

The types say what the rules on names, counts and nesting say (`rules.RULES`); a property test holds the two together.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from beam_mixpanel.core import limits

TEXT_IDS: Final = ("distinct_id", "$user_id", "$device_id")
"""Properties that Mixpanel takes as text; a number becomes its digits."""

_Scalar = str | int | float | bool | None
_Keys = msgspec.Meta(max_length=limits.MAX_NESTED_KEYS)
_Elements = msgspec.Meta(max_length=limits.MAX_LIST_ELEMENTS)
_Level3 = _Scalar | Annotated[list[_Scalar], _Elements] | Annotated[dict[str, _Scalar], _Keys]
_Level2 = _Scalar | Annotated[list[_Level3], _Elements] | Annotated[dict[str, _Level3], _Keys]
Level1 = _Scalar | Annotated[list[_Level2], _Elements] | Annotated[dict[str, _Level2], _Keys]
"""A property's value, within the limits on counts and nesting."""


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event in Mixpanel's shape; the types carry the limits on names, counts and nesting."""

    event: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_EVENT_NAME_CHARS)]
    properties: Annotated[dict[str, Level1], msgspec.Meta(max_length=limits.MAX_PROPERTIES)]


class SkimmedProperties(msgspec.Struct, gc=False):
    """The properties that must be in form for an event to be sent as it stands; others are skipped unread."""

    time: Annotated[int, msgspec.Meta(ge=limits.EARLIEST_TIME_MS)]
    insert_id: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_INSERT_ID_BYTES)] = msgspec.field(
        name="$insert_id"
    )
    distinct_id: Annotated[str, msgspec.Meta(max_length=limits.MAX_DISTINCT_ID_CHARS)] = ""
    user_id: str = msgspec.field(name="$user_id", default="")
    device_id: str = msgspec.field(name="$device_id", default="")


class SkimmedEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """As much of an event as must be looked at to send it as it stands; several times as fast to decode."""

    event: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_EVENT_NAME_CHARS)]
    properties: SkimmedProperties
