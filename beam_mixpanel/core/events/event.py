"""Brings an event into Mixpanel's form: its time as milliseconds, its ids as text, with an `$insert_id`.

Nothing is judged here. What cannot be brought into form stays as it is, and the rules say why.
"""

from __future__ import annotations

from datetime import timezone, tzinfo
from typing import Any, NamedTuple

from beam_mixpanel.core.events.ids import id_text, is_inexact
from beam_mixpanel.core.events.insert_id import CONTENT_IDS, InsertIdStrategy
from beam_mixpanel.core.events.rules import Given
from beam_mixpanel.core.events.shapes import TEXT_IDS, Event
from beam_mixpanel.core.events.time import MILLISECONDS_BELOW, SECONDS_BELOW, to_epoch_ms


class Form(NamedTuple):
    """How events are brought into form.

    Attributes:
      insert_id: how an absent `$insert_id` is made.
      zone: the zone of times that name none.
      max_age_ms: events older than this are refused (for `/track`); None for no such bound.
      redact: names of properties that are neither sent nor kept.
    """

    insert_id: InsertIdStrategy = CONTENT_IDS
    zone: tzinfo = timezone.utc
    max_age_ms: int | None = None
    redact: frozenset[str] = frozenset()


def bring_into_form(event: Event, form: Form, now_ms: int) -> Given:
    """Bring time and ids into Mixpanel's form, in place; an event already in form stays as it is.

    Args:
      event: in Mixpanel's shape, name and structure not yet trusted.
      form: what the user chose.
      now_ms: the present, for the rules.

    Returns:
      What the event said before, for the rules.
    """
    properties: dict[str, Any] = event.properties
    size = len(properties)
    given_time = time_ms = properties.get("time")
    # Milliseconds are the only integers of this size, so that most times need not be read.
    if type(given_time) is not int or not SECONDS_BELOW <= given_time < MILLISECONDS_BELOW:
        time_ms = to_epoch_ms(given_time, zone=form.zone)
        if time_ms is not None:
            properties["time"] = time_ms
    changed = type(given_time) is not int or time_ms != given_time
    ids: dict[str, Any] = {}
    for name in TEXT_IDS:
        value = properties.get(name)
        if type(value) is str or name not in properties:
            continue
        changed = True
        if value is None:
            del properties[name]
            continue
        ids[name] = value
        if not isinstance(value, (dict, list)) and not is_inexact(value):
            properties[name] = id_text(value)
    return Given(
        time=given_time,
        time_ms=time_ms,
        ids=ids,
        size=size,
        changed=changed,
        now_ms=now_ms,
        max_age_ms=form.max_age_ms,
    )
