"""How events go to each endpoint of Mixpanel, and how its answers are read: one class an endpoint."""

from __future__ import annotations

import base64
import threading
from decimal import Decimal
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import msgspec

from beam_mixpanel.client.credentials import Credentials
from beam_mixpanel.client.transport import Answer
from beam_mixpanel.core.sending.encoding import encode_json
from beam_mixpanel.core.sending.outcome import Outcome, read_import_answer, read_track_answer
from beam_mixpanel.errors import CredentialsError
from beam_mixpanel.secrets import MASKED, SecretText
from beam_mixpanel.version import VERSION

__all__ = ["ImportWire", "TrackWire", "Wire", "forms_of_secret", "wire_of"]

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Wire(Protocol):
    """An endpoint, with the credentials of who sends."""

    url: str

    def headers(self) -> dict[str, str]:
        """Return the headers of a request."""

    def encode(self, events: list[bytes]) -> bytes:
        """Return the body of a request."""

    def without_echo(self, answer: Answer) -> Answer:
        """Mask in an answer what was sent as a secret."""

    def read(self, answer: Answer, size: int) -> Outcome:
        """Return what an answer to so many events means."""


def wire_of(endpoint: str, credentials: Credentials, host: str) -> Wire:
    """Return the wire to `import` or `track` at a host."""
    if endpoint == "track":
        return TrackWire(credentials, host)
    return ImportWire(credentials, host)


class _Body(bytes):
    """The events of a request, and at `/track` the token; a traceback with its variables shows neither."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class ImportWire:
    """`/import?strict=1`: every event is confirmed or named as rejected.

    `ip=0` keeps Mixpanel from placing events that hold no `ip` where our worker is; mixpanel-import sends it too
    (https://github.com/ak--47/mixpanel-import).
    """

    def __init__(self, credentials: Credentials, host: str) -> None:
        query = urlencode({"strict": "1", "ip": "0", **credentials.query})
        self.url = f"{host}/import?{query}"
        self._credentials = credentials
        self._lock = threading.Lock()
        self._authorization: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers of a request; reads the secret the first time."""
        with self._lock:
            if self._authorization is None:
                self._authorization = self._credentials.authorization()
        return _HEADERS | {"Authorization": self._authorization}

    def encode(self, events: list[bytes]) -> bytes:
        """Return the body of a request."""
        return _Body(encode_json(events))

    def without_echo(self, answer: Answer) -> Answer:
        """Mask in an answer what was sent as a secret."""
        return _without_secret(answer, self._authorization)

    def read(self, answer: Answer, size: int) -> Outcome:
        """Return what an answer means."""
        return read_import_answer(answer.status, answer.headers, answer.body, size)


class TrackWire:
    """`/track`: the token is in each event, and an answer says no more than that something was accepted."""

    def __init__(self, credentials: Credentials, host: str) -> None:
        self.url = f"{host}/track?verbose=1&ip=0"
        self._credentials = credentials
        self._lock = threading.Lock()
        self._token: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers of a request; the token goes into the events."""
        return dict(_HEADERS)

    def encode(self, events: list[bytes]) -> bytes:
        """Return the body of a request."""
        with self._lock:
            if self._token is None:
                self._token = self._credentials.project_token()
        if not self._token:
            raise CredentialsError("/track needs a project token; a service account can use /import only")
        return _Body(encode_json([_with_token(event, self._token) for event in events]))

    def without_echo(self, answer: Answer) -> Answer:
        """Mask in an answer what was sent as a secret."""
        return _without_secret(answer, self._token)

    def read(self, answer: Answer, size: int) -> Outcome:
        """Return what an answer means."""
        return read_track_answer(answer.status, answer.headers, answer.body)


_HEADERS: Final = {
    "Content-Type": "application/json",
    "Content-Encoding": "gzip",
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": f"beam-mixpanel/{VERSION}",
}


def _with_token(event: bytes, token: str) -> bytes:
    parsed: dict[str, Any] = _decode(event)
    parsed["properties"]["token"] = str.__str__(token)
    return _encode(parsed)


_SHORTEST_SECRET: Final = 6
"""Mixpanel's have 32 characters; what is shorter than this could be a word of the answer's own."""


def _without_secret(answer: Answer, sent: str | None) -> Answer:
    """Mask in an answer what was sent as a secret: a proxy may echo it, and the server's words are shown to people."""
    if answer.status == 200 or not sent:
        return answer
    body = answer.body
    for secret in forms_of_secret(sent):
        if len(secret) >= _SHORTEST_SECRET:
            body = body.replace(secret.encode(), MASKED.encode())
    return answer._replace(body=body)


def forms_of_secret(sent: str) -> list[SecretText]:
    """Give the forms in which a secret that was sent could be echoed, the longest first.

    Args:
      sent: the header's value, or a token.
    """
    scheme, _, encoded = sent.partition(" ")
    if scheme != "Basic":
        return [SecretText(sent)]
    pair = base64.b64decode(encoded).decode()
    username, _, secret = pair.partition(":")
    return [SecretText(form) for form in (pair, encoded, secret or username)]
