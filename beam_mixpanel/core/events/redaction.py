"""Properties that are neither sent nor kept: what `--redact` names.

A property counts by its name at the top of an event: in `properties`, or beside them, or among the fields of a flat
event. What is nested deeper is part of another property's value.
"""

from __future__ import annotations

import hashlib
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from beam_mixpanel.core.arguments import check_names
from beam_mixpanel.core.events.insert_id import hash_bytes
from beam_mixpanel.core.events.validation import Event
from beam_mixpanel.core.json.text import UNREADABLE, UNWRITABLE
from beam_mixpanel.core.json.values import fields_of, to_json_key
from beam_mixpanel.errors import UnsupportedValueError

_NEEDED: Final = {
    "time": "Mixpanel refuses an event without it",
    "$insert_id": "without it an event that is sent twice would appear twice",
    "event": "it is the event's name",
    "event_name": "it is the event's name",
    "properties": "it holds all properties; name the one that is to go",
}
_WITHHELD: Final = re.compile(rb'"withheld: [0-9]+ bytes, SHA-256 [0-9a-f]{64}"')
_RawFields = dict[str, msgspec.Raw]

_decode_fields = msgspec.json.Decoder(_RawFields).decode
_encode = msgspec.json.Encoder().encode


def check_redacted(names: Iterable[str]) -> frozenset[str]:
    """Give the names as a set.

    Raises:
      TypeError: they are no list of texts.
      ValueError: one is empty, or names what an event cannot do without.
    """
    redacted = frozenset(check_names("redact", names, "properties"))
    for name in redacted:
        if not name.isprintable():
            raise ValueError(f"`redact` must name properties, got {name!r}")
        if name in _NEEDED:
            raise ValueError(f"`redact`: {name} cannot be redacted: {_NEEDED[name]}")
    return redacted


class Redaction:
    """Takes properties out of events.

    Args:
      names: of the properties.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._quoted = [json.dumps(name, ensure_ascii=False).encode() for name in sorted(names)]
        can_be_escaped_shortly = any(sign in name for name in names for sign in '"\\/')
        self._escape = b"\\" if can_be_escaped_shortly else b"\\u"

    def may_concern(self, text: bytes) -> bool:
        """Tell whether JSON text may hold one of the properties; False is certain, however its keys are written."""
        return self._escape in text or any(quoted in text for quoted in self._quoted)

    def apply_to(self, event: Event) -> None:
        """Take the properties out of an event, in place."""
        for name in self._names & event.properties.keys():
            del event.properties[name]

    def rewrite_text(self, text: bytes) -> bytes:
        """Give an original text without the properties, everything else as it was written.

        An event without `$insert_id` gets one from the whole text, so that two which differ in a redacted property
        stay two. What is no event to us may hold anything anywhere: of that nothing is kept but its length and hash.
        """
        try:
            fields = _decode_fields(text.removeprefix(BOM_UTF8))
            holder = _decode_fields(fields["properties"]) if _is_given(fields.get("properties")) else fields
        except UNREADABLE:
            return withhold(text)
        if not self.may_concern(text):
            return text
        has_id = _is_given(holder.get("$insert_id")) or _is_given(fields.get("$insert_id"))
        kept = self._without(holder) | ({} if has_id else {"$insert_id": msgspec.Raw(_encode(hash_bytes(text)))})
        return _encode(kept if holder is fields else self._without(fields) | {"properties": kept})

    def rewrite_fields(self, fields: Mapping[Any, Any], text: bytes) -> dict[Any, Any] | None:
        """Do the same to an event that came as an object.

        Args:
          fields: the object's.
          text: what stands for the whole object.

        Returns:
          None where it is no event to us.
        """
        given = fields.get("properties")
        try:
            inner = fields if given is None else fields_of(given)
        except UnsupportedValueError:
            return None
        if inner is None:
            return None
        has_id = any(where.get("$insert_id") not in (None, "") for where in (fields, inner))
        kept = self._without(inner) | ({} if has_id else {"$insert_id": hash_bytes(text)})
        return kept if given is None else self._without(fields) | {"properties": kept}

    def _without(self, fields: Mapping[Any, Any]) -> dict[Any, Any]:
        return {key: value for key, value in fields.items() if _name_of(key) not in self._names}


def withhold(text: bytes) -> bytes:
    """Stand for a text that cannot be redacted: a JSON string that tells its length and hash. Twice is once."""
    if _WITHHELD.fullmatch(text):
        return text
    return b'"withheld: %d bytes, SHA-256 %s"' % (len(text), hashlib.sha256(text).hexdigest().encode())


def _is_given(value: msgspec.Raw | None) -> bool:
    return value is not None and bytes(value) not in (b"null", b'""')


def _name_of(key: Any) -> str:
    try:
        return to_json_key(key)
    except (UnsupportedValueError, *UNWRITABLE, RecursionError):
        return ""
