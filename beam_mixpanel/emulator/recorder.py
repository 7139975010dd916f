"""Remembers recent requests, for tests; never a credential."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from beam_mixpanel.emulator.bodies import BadBodyError, BodyTooLargeError
from beam_mixpanel.emulator.ingestion import IngestionRequest

MAX_REQUESTS = 1000
MAX_BODY_BYTES = 256_000_000
SECRET_HEADERS = frozenset({"cookie", "proxy-authorization"})


class RequestRecorder:
    """A bounded list of what was requested and how it was answered."""

    def __init__(self, *, record_bodies: bool) -> None:
        """Start empty; bodies are kept as they were sent, and decoded when they are asked for."""
        self._record_bodies = record_bodies
        self._requests: deque[tuple[dict[str, Any], IngestionRequest | None]] = deque()
        self._body_bytes = 0

    def record(
        self,
        description: dict[str, Any],
        headers: Mapping[str, str],
        request: IngestionRequest | None,
        *,
        authorized: bool,
    ) -> None:
        """Remember a request.

        Args:
          description: what is known of it besides the following.
          headers: as received.
          request: None if its body was not read to the end.
          authorized: whether its credentials were accepted.
        """
        shown = {name: _shown(name, value, authorized=authorized) for name, value in headers.items()}
        content = {"headers": shown, **_describe_body(request)}
        # A fresh copy: the request itself has its decoded body attached.
        kept = None
        if request and self._record_bodies:
            kept = replace(request)
            self._body_bytes += len(kept.body)
        self._requests.append(({**description, **content}, kept))
        while len(self._requests) > MAX_REQUESTS or self._body_bytes > MAX_BODY_BYTES:
            _, forgotten = self._requests.popleft()
            if forgotten:
                self._body_bytes -= len(forgotten.body)

    def describe(self, *, bodies: bool) -> list[dict[str, Any]]:
        """Return the requests, oldest first; with `bodies` also their events, if bodies are recorded."""
        if not bodies:
            return [description for description, _ in self._requests]
        return [description | {"events": _events_of(request)} for description, request in self._requests]

    def clear(self) -> None:
        """Forget all."""
        self._requests.clear()
        self._body_bytes = 0


def _shown(name: str, value: str, *, authorized: bool) -> str:
    if name == "authorization":
        became = "accepted" if authorized else "refused"
        return f"{value.partition(' ')[0]} ({became})"
    if name in SECRET_HEADERS:
        return "(hidden)"
    return value


def _describe_body(request: IngestionRequest | None) -> dict[str, Any]:
    if request is None:
        return {"event_count": None, "body_sha256": None, "body_bytes": None, "uncompressed_bytes": None}
    readable = request.uncompressed_bytes is not None
    return {
        "event_count": request.event_count,
        "body_sha256": hashlib.sha256(request.uncompressed).hexdigest() if readable else None,
        "body_bytes": len(request.body),
        "uncompressed_bytes": request.uncompressed_bytes,
    }


def _events_of(request: IngestionRequest | None) -> list[Any] | None:
    """Return the events as JSON values; one that is not valid JSON as null."""
    if request is None:
        return None
    try:
        return [msgspec.Raw(event) for event in request.batch.events]
    except (BadBodyError, BodyTooLargeError):
        return None
