"""Keeps web pages away from the emulator, which may hold real customers' events and asks for no credentials.

Any page in a browser of this machine can send requests to loopback. Without this it could wipe or add events, and by
DNS rebinding (a name of its own that resolves to 127.0.0.1: https://owasp.org/www-community/attacks/DNS_Rebinding)
read them.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from beam_mixpanel.emulator import answers

FORBIDDEN = 403
# Set by browsers, and by no page: https://www.w3.org/TR/fetch-metadata/
OTHER_SITES = frozenset({b"cross-site", b"same-site"})


class LoopbackOnly:
    """An ASGI application that lets only requests pass that no other web page can have sent."""

    def __init__(self, application: ASGIApp) -> None:
        """Guard an application."""
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or let the application answer."""
        reason = _refusal(scope)
        if reason is None:
            await self._application(scope, receive, send)
            return
        answer = answers.json_answer(FORBIDDEN, {"error": reason, "status": FORBIDDEN})
        headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _refusal(scope: Scope) -> str | None:
    """Say why a request is refused, None if it may pass."""
    given: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if name in (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-dest"):
            given.setdefault(name, []).append(value)
    hosts = given.get(b"host", [])
    if len(hosts) != 1 or not _is_loopback(hosts[0]):
        return "the Host header must name this machine: localhost, an address of 127.0.0.0/8, or [::1]"
    own_origin = b"http://" + hosts[0].lower()
    if any(origin.lower() != own_origin for origin in given.get(b"origin", [])):
        return "requests of web pages from other origins are refused"
    if OTHER_SITES.intersection(given.get(b"sec-fetch-site", [])) and not _follows_a_link(scope, given):
        return "requests of web pages from other sites are refused"
    return None


def _follows_a_link(scope: Scope, given: dict[bytes, list[bytes]]) -> bool:
    """Tell whether somebody follows a link to the page: it changes nothing, and the other page cannot read it."""
    is_page = scope["method"] == "GET" and scope["path"] == "/"
    return is_page and given.get(b"sec-fetch-dest") == [b"document"]


@lru_cache(maxsize=128)
def _is_loopback(host: bytes) -> bool:
    try:
        name = urlsplit("//" + host.decode("ascii")).hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
