"""Takes the events out of a request's body, each as its own JSON text.

Accepted are a JSON array and newline-delimited JSON (https://docs.mixpanel.com/reference/import-events), and the
form that older SDKs send: https://github.com/mixpanel/mixpanel-python has JSON in its field `data`,
https://github.com/mixpanel/mixpanel-ruby base64 of it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import msgspec

# isal undoes gzip several times faster than zlib does, and speaks the same interface.
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""Whatever msgspec raises for text that it cannot read: which class that is differs from version to version."""
_gzip: Any = import_module("isal.isal_zlib" if find_spec("isal") else "zlib")

FORM = "application/x-www-form-urlencoded"
GZIP_WINDOW_BITS = 31
MAX_GZIP_OVERHEAD_BYTES = 65_536  # what gzip may add to data that it cannot compress, generously

_split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_one_value = msgspec.json.Decoder(msgspec.Raw)


class BadBodyError(ValueError):
    """The body cannot be read; the message is what the client is told (synthetic: no page documents it)."""


class BodyTooLargeError(ValueError):
    """The uncompressed body exceeds the limit."""


@dataclass(frozen=True)
class Batch:
    """The events of one request.

    Attributes:
      events: one JSON text each, without newlines.
      form: the other fields, when the body was a form; None otherwise.
    """

    events: list[bytes]
    form: Mapping[str, str] | None = None


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int = 0) -> bytes: ...


@dataclass
class _Bounded:
    """Collects output until it exceeds a limit."""

    max_bytes: int
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)
        if self.size > self.max_bytes:
            raise BodyTooLargeError


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo `Content-Encoding`, stopping as soon as the result exceeds max_bytes.

    Raises:
      BadBodyError: unknown encoding, or data that is not gzip.
      BodyTooLargeError: more than max_bytes.
    """
    if encoding in ("", "identity"):
        if len(body) > max_bytes:
            raise BodyTooLargeError
        return body
    if encoding != "gzip":
        raise BadBodyError("unsupported content encoding, expected gzip")
    if len(body) > max_bytes + MAX_GZIP_OVERHEAD_BYTES:
        raise BodyTooLargeError
    try:
        return _gunzip(body, max_bytes)
    except (_gzip.error, EOFError) as error:
        raise BadBodyError("body is not valid gzip") from error


def read_batch(body: bytes, content_type: str, *, single_object: bool = False) -> Batch:
    """Split an uncompressed body into events.

    Args:
      body: the uncompressed body.
      content_type: the request's header; anything unknown is read as JSON.
      single_object: whether one event without a list around it is accepted, as `/track` does.

    Raises:
      BadBodyError: the body is not what content_type says.
    """
    media_type = _media_type(content_type)
    if media_type == "application/x-ndjson":
        return Batch(_split_lines(body))
    if media_type == FORM:
        return read_query(_fields(body))
    return Batch(_split_json(body, single_object=single_object))


def read_query(query: Mapping[str, str]) -> Batch:
    """Take the events out of the parameter `data` of a URL, as the Node.js SDK sends them by GET, or of a form.

    Source: https://github.com/mixpanel/mixpanel-node

    Raises:
      BadBodyError: it is neither JSON nor base64 of JSON.
    """
    data = query.get("data", "")
    form = {name: value for name, value in query.items() if name != "data"}
    if not data:
        return Batch([], form)
    return Batch(_split_json(_data_of(data), single_object=True), form)


def form_fields(body: bytes, content_type: str) -> Mapping[str, str]:
    """Return the fields of a form; none of a body that is not a form.

    Raises:
      BadBodyError: the body is not what content_type says.
    """
    if _media_type(content_type) != FORM:
        return {}
    return _fields(body)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    output = _Bounded(max_bytes)
    while body:
        member: _Decompressor = _gzip.decompressobj(GZIP_WINDOW_BITS)
        while not member.eof:
            part = member.decompress(body, max_bytes + 1)
            output.add(part)
            body = member.unconsumed_tail
            if not (part or body):
                raise EOFError
        body = member.unused_data.lstrip(b"\0")
    return b"".join(output.parts)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _fields(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="surrogateescape")
    except ValueError as error:
        raise BadBodyError("body is not a form") from error
    return {name: values[-1] for name, values in fields.items()}


def _data_of(data: str) -> bytes:
    """Return the JSON of a `data` field that holds JSON, or base64 of JSON."""
    if data.lstrip()[:1] in ("[", "{"):
        return data.encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(data.replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadBodyError("data is neither JSON nor base64") from error


def _split_lines(body: bytes) -> list[bytes]:
    return [event for line in body.split(b"\n") if line.strip() for event in _one(line)]


def _split_json(body: bytes, *, single_object: bool) -> list[bytes]:
    if single_object and body.lstrip()[:1] == b"{":
        return _one(body)
    try:
        events = [bytes(event) for event in _split_array(body)]
    except UNREADABLE:
        events = _split_leniently(body)
    if b"\n" not in body:
        return events
    return [event.replace(b"\n", b" ") for event in events]


def _one(text: bytes) -> list[bytes]:
    try:
        return [bytes(_one_value.decode(text)).replace(b"\n", b" ")]
    except UNREADABLE:
        return [event.replace(b"\n", b" ") for event in _split_leniently(b"[" + text + b"]")]


def _split_leniently(body: bytes) -> list[bytes]:
    """Split an array whose strings may hold lone surrogates: one such event does not spoil the batch."""
    try:
        text = body.decode("utf-8", "surrogateescape")
        is_array = isinstance(json.loads(text), list)
    except (ValueError, RecursionError) as error:
        raise BadBodyError("body is not valid JSON") from error
    if not is_array:
        raise BadBodyError("body must be a JSON array of events")
    return list(_elements(text))


def _elements(text: str) -> Any:
    """Yield the text of each element of an array that is known to be valid."""
    decoder, white = json.JSONDecoder(), " \t\r\n"
    position = len(text) - len(text.lstrip(white)) + 1
    while True:
        while text[position] in white + ",":
            position += 1
        if text[position] == "]":
            return
        _, end = decoder.raw_decode(text, position)
        yield text[position:end].encode("utf-8", "surrogateescape")
        position = end
