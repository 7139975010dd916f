"""Lets a request reach the connection it came on, which some faults have to break."""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from beam_mixpanel.emulator.exchange import TRANSPORT


class TransportInScopeProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, with the transport among the extensions of the ASGI scope."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {TRANSPORT: {"transport": self.transport}}
