"""What Mixpanel does to an event that it accepts, so that what is stored here is what Mixpanel would show.

Sources: https://docs.mixpanel.com/reference/import-events (texts are cut, times to come are replaced),
https://docs.mixpanel.com/docs/tracking-methods/id-management/migrating-to-simplified-id-merge-system and
https://docs.mixpanel.com/troubleshooting/errors/server-side-events-without-a-user (whose event it is),
https://docs.mixpanel.com/docs/data-structure/property-reference/reserved-properties (`$ignore`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

# "255 characters": https://docs.mixpanel.com/reference/import-events; another page says bytes,
# https://docs.mixpanel.com/docs/data-structure/property-reference/data-type, and counts items of lists, too.
MAX_TEXT_CHARS = 255

DEVICE_PREFIX = "$device:"

# An event that names nobody gets a hash of the address it was sent from, so that all such events of a server share a
# user. Which hash is not documented; what reaches the emulator comes from loopback.
SHARED_USER = hashlib.sha256(b"127.0.0.1").hexdigest()[:32]


class OpenedEvent(msgspec.Struct):
    """An event whose name and values stay as they were written, so that every digit survives."""

    event: msgspec.Raw
    properties: dict[str, msgspec.Raw]


open_event = msgspec.json.Decoder(OpenedEvent).decode
_open_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.encode


def is_ignored(properties: Mapping[str, Any]) -> bool:
    """Tell whether `$ignore` has Mixpanel drop an event that it accepts: true, or any text but the empty one."""
    value = properties.get("$ignore")
    return value is True or (isinstance(value, str) and value != "")


def distinct_id_as_sent(properties: Mapping[str, Any]) -> str:
    """Return whose an event is, as its sender says; empty where the sender does not."""
    return _as_text(properties.get("distinct_id", ""))


def derived_distinct_id(properties: Mapping[str, Any]) -> str:
    """Return whose an event is in a project with Simplified ID Merge: its user's, else its device's, else as sent.

    A leading `$device:` of `$device_id` counts once, as probes of https://github.com/ak--47/mixpanel-import saw.
    """
    user, device = (_as_text(properties.get(name) or "") for name in ("$user_id", "$device_id"))
    if user:
        return user
    if device:
        return DEVICE_PREFIX + device.removeprefix(DEVICE_PREFIX)
    if "distinct_id" in properties:
        return distinct_id_as_sent(properties)
    return SHARED_USER


def cut(text: str) -> str:
    """Return what Mixpanel keeps of a text."""
    return text[:MAX_TEXT_CHARS]


def has_long_text(name: str, properties: Mapping[str, Any]) -> bool:
    """Tell whether Mixpanel cuts a name, a text, or a text in a list; texts in objects are left as they are."""
    texts = [name, *properties, *(value for value in properties.values() if isinstance(value, str))]
    lists = (value for value in properties.values() if isinstance(value, list))
    texts += (item for items in lists for item in items if isinstance(item, str))
    return any(len(text) > MAX_TEXT_CHARS for text in texts)


def rewritten(text: bytes, changes: Mapping[str, str | int], *, cut_texts: bool) -> bytes:
    """Return the JSON of an event with some properties changed and, if asked, long texts cut."""
    opened = open_event(text)
    opened.properties.update((name, msgspec.Raw(_encode(value))) for name, value in changes.items())
    if cut_texts:
        opened.event = _cut_raw(opened.event)
        opened.properties = {cut(name): _cut_raw(value) for name, value in opened.properties.items()}
    return _encode(opened)


def _cut_raw(raw: msgspec.Raw) -> msgspec.Raw:
    """Cut a text, or the texts in a list, and leave every other value as it was written."""
    written = bytes(raw)
    if len(written) <= MAX_TEXT_CHARS:
        return raw
    if written.startswith(b'"'):
        return msgspec.Raw(_encode(cut(msgspec.json.decode(written, type=str))))
    if written.startswith(b"["):
        return msgspec.Raw(_encode([_cut_text(item) for item in _open_list(raw)]))
    return raw


def _cut_text(raw: msgspec.Raw) -> msgspec.Raw:
    """Cut a text; a list within a list is left as it is."""
    return _cut_raw(raw) if bytes(raw).startswith(b'"') else raw


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
