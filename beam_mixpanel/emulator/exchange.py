"""One HTTP exchange: reads the request, sends an answer, or breaks the connection in a chosen way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope, Send

from beam_mixpanel.emulator.answers import Answer
from beam_mixpanel.emulator.bodies import MAX_GZIP_OVERHEAD_BYTES
from beam_mixpanel.emulator.ingestion import IngestionRequest

TRANSPORT = "beam_mixpanel.transport"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, no time to linger: close() sends RST instead of FIN


class ClientGoneError(ConnectionError):
    """The client closed the connection before its request was complete."""


class Exchange:
    """A request of which nothing is read yet, and the ways to end it."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        process: Callable[[IngestionRequest], Answer],
        max_body_bytes: int,
    ) -> None:
        """Wrap an ASGI request.

        Args:
          scope: must hold the transport among its extensions, see `protocol.py`.
          receive: ASGI.
          send: ASGI.
          process: what turns a request into its answer.
          max_body_bytes: more of a body is read but not kept.
        """
        self._scope, self._receive, self._send = scope, receive, send
        self._process = process
        self._max_body_bytes = max_body_bytes
        self.method: str = scope["method"]
        self.path: str = scope["path"].rstrip("/")
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        self.request: IngestionRequest | None = None
        self.status: int | None = None

    async def read(self) -> IngestionRequest:
        """Read the body, once."""
        if self.request is None:
            body = b"".join([part async for part in self._parts()])
            self.request = IngestionRequest(
                path=self.path,
                query=self.query,
                headers=self.headers,
                body=body,
                max_body_bytes=self._max_body_bytes,
            )
        return self.request

    async def read_part(self) -> None:
        """Read some of the body, but not to its end if it is long."""
        await self._receive_request()

    async def process(self) -> Answer:
        """Let the request have its effect, and return the answer it would get."""
        return self._process(await self.read())

    def process_instead(self, request: IngestionRequest) -> Answer:
        """Let another request have its effect."""
        return self._process(request)

    async def answer(self, answer: Answer) -> None:
        """Send an answer."""
        await self._begin(answer)
        await self._send({"type": "http.response.body", "body": answer.body})

    async def answer_slowly(self, answer: Answer, interval_secs: float) -> None:
        """Send an answer, its body one byte at a time."""
        await self._begin(answer)
        for place, byte in enumerate(answer.body):
            if place and await self.client_leaves_within(interval_secs):
                return
            await self._send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def answer_partly(self, answer: Answer, sent_bytes: int) -> None:
        """Announce the whole answer, send only its first bytes, and close."""
        await self._begin(answer)
        await self._send({"type": "http.response.body", "body": answer.body[:sent_bytes], "more_body": True})
        await self.close()

    async def answer_and_close(self, answer: Answer) -> None:
        """Send an answer that promises to keep the connection, and close it."""
        await self.answer(answer)
        self._transport.close()

    async def close(self) -> None:
        """Close the connection; an answer that was not complete stays so."""
        self._transport.close()
        await self._gone()

    async def reset(self) -> None:
        """Break the connection off with a TCP reset."""
        connection: socket.socket = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._transport.abort()
        await self._gone()

    async def client_leaves_within(self, secs: float | None) -> bool:
        """Wait (None: for ever), but not longer than the client does; return whether it has gone."""
        try:
            await asyncio.wait_for(self._gone(), secs)
        except asyncio.TimeoutError:
            return False
        return True

    @property
    def _transport(self) -> asyncio.WriteTransport:
        transport: asyncio.WriteTransport = self._scope["extensions"][TRANSPORT]["transport"]
        return transport

    async def _begin(self, answer: Answer) -> None:
        self.status = answer.status
        headers = {"content-length": str(len(answer.body))}
        if answer.content_type:
            headers["content-type"] = answer.content_type
        headers |= {name.lower(): value for name, value in answer.headers.items()}
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": encoded})

    async def _parts(self) -> Any:
        """Yield the body, up to one byte more than could be allowed; the rest is read and thrown away."""
        room, more = self._max_body_bytes + MAX_GZIP_OVERHEAD_BYTES + 1, True
        while more:
            message = await self._receive_request()
            more = message.get("more_body", False)
            part = message.get("body", b"")[:room]
            room -= len(part)
            yield part

    async def _receive_request(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
