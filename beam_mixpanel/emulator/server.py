"""The routes of the emulator, and the server that listens for them on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from dataclasses import asdict, fields
from http import HTTPStatus
from itertools import islice
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from beam_mixpanel.emulator import answers
from beam_mixpanel.emulator.export import RawExportQuery, raw_export_lines, received_lines
from beam_mixpanel.emulator.faults import parse_fault
from beam_mixpanel.emulator.guard import LoopbackOnly
from beam_mixpanel.emulator.ingestion import IMPORT_PATH, TRACK_PATH
from beam_mixpanel.emulator.options import EmulatorOptions, LimitSettings, ProjectSettings
from beam_mixpanel.emulator.page import PAGE
from beam_mixpanel.emulator.protocol import TransportInScopeProtocol
from beam_mixpanel.emulator.search import EventFilter
from beam_mixpanel.emulator.service import Service
from beam_mixpanel.emulator.view import StoredEvent, StoreView

FOUND_EVENTS = 500
SLICE_SECS = 0.005
LINES_PER_CHUNK = 1000
KEEP_ALIVE_SECS = 75
EVENTS_LIMIT = 10_000  # of one answer of the control channel, which holds it in memory
MAX_NUMBER_DIGITS = 18
# No other page may put this one into a frame and have its buttons pressed:
# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Content-Security-Policy/frame-ancestors
PAGE_HEADERS = {"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY"}
STORED_HEADER = "X-Events-Stored"
BACKLOG = 2048

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IngestionEndpoint:
    """The ASGI application behind `/import` and `/track`."""

    def __init__(self, service: Service) -> None:
        """Serve one service."""
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        await self._service.ingest(scope, receive, send)


class Routes:
    """Answers everything that is not ingestion."""

    def __init__(self, service: Service) -> None:
        """Serve one service."""
        self._service = service
        self._known: list[str] = []

    def application(self) -> Starlette:
        """Return the whole emulator as an ASGI application."""
        ingestion = IngestionEndpoint(self._service)
        control: dict[tuple[str, str], Handler] = {
            ("GET", "/"): self.page,
            ("GET", "/api/2.0/export"): self.raw_export,
            ("GET", "/_emulator/export"): self.export,
            ("GET", "/_emulator/events"): self.recent_events,
            ("GET", "/_emulator/requests"): self.requests,
            ("GET", "/_emulator/stats"): self.stats,
            ("POST", "/_emulator/reset"): self.reset,
            ("GET", "/_emulator/faults"): self.faults,
            ("POST", "/_emulator/faults"): self.add_faults,
            ("PUT", "/_emulator/faults"): self.replace_faults,
            ("DELETE", "/_emulator/faults"): self.remove_faults,
            ("GET", "/_emulator/limits"): self.limits,
            ("PUT", "/_emulator/limits"): self.set_limits,
            ("GET", "/_emulator/project"): self.project,
            ("PUT", "/_emulator/project"): self.set_project,
        }
        # The JavaScript SDK sends to /track/, the one for Node.js by GET: https://github.com/mixpanel/mixpanel-js,
        # https://github.com/mixpanel/mixpanel-node
        paths = [path + slash for path in (IMPORT_PATH, TRACK_PATH) for slash in ("", "/")]
        routes = [Route(path, ingestion, methods=["GET", "POST"]) for path in paths]
        routes += [Route(path, handler, methods=[method]) for (method, path), handler in control.items()]
        application = Starlette(routes=list(routes), exception_handlers={HTTPException: self.unknown})
        application.router.redirect_slashes = False
        self._known = sorted(
            f"{method} {route.path}" for route in routes for method in (route.methods or set()) - {"HEAD"}
        )
        return application

    async def unknown(self, request: Request, error: Exception) -> Response:
        """Answer what there is no endpoint for, with a list of those that there are."""
        status, allowed = int(HTTPStatus.NOT_FOUND), None
        if isinstance(error, HTTPException):
            status, allowed = error.status_code, error.headers
        message = f"{request.method} {request.url.path} is not emulated; the emulator knows {', '.join(self._known)}"
        answer = answers.envelope(status, message)
        return Response(answer.body, answer.status, allowed, media_type=answer.content_type)

    async def page(self, request: Request) -> Response:
        """Show the live page."""
        return Response(PAGE, media_type="text/html", headers=PAGE_HEADERS)

    async def raw_export(self, request: Request) -> Response:
        """Export every stored copy: https://docs.mixpanel.com/reference/raw-event-export."""
        query = dict(request.query_params)
        error = self._service.ingestion.refuse_credentials(dict(request.headers), query.get("project_id"))
        if error:
            return _respond(answers.envelope(401, error))
        try:
            parsed = RawExportQuery.parse(query, self._service.ingestion.now_ms())
        except (ValueError, msgspec.MsgspecError, RecursionError) as bad:
            return _error(str(bad))
        return _stream(raw_export_lines(self._service.store, parsed))

    async def export(self, request: Request) -> Response:
        """Export the events as they are stored."""
        deduplicated = request.query_params.get("deduplicated") in ("1", "true")
        return _stream(received_lines(self._service.store, deduplicated=deduplicated))

    async def recent_events(self, request: Request) -> Response:
        """Return the latest events that match, newest first.

        `event` is part of the name, `id` of the distinct_id or $insert_id; `after` is the number of an event: it
        and older ones are left out. The header says how many were stored.
        """
        query = request.query_params
        try:
            limit, after = _whole_number(query, "limit", FOUND_EVENTS), _whole_number(query, "after", 0)
        except ValueError as error:
            return _error(str(error))
        if limit > EVENTS_LIMIT:
            return _error(f"limit must be at most {EVENTS_LIMIT}; GET /_emulator/export has all events")
        wanted = EventFilter(query.get("event", ""), query.get("id", ""))
        with self._service.store.view() as view:
            numbers = await _find(view, wanted, limit=limit, after=after, abandoned=request.is_disconnected)
            found = [_describe(number, view.event(number)) for number in numbers]
        return _json(found, headers={STORED_HEADER: str(view.events)})

    async def requests(self, request: Request) -> Response:
        """Return the recent requests, oldest first."""
        return _json(self._service.recorder.describe(bodies=request.query_params.get("bodies") in ("1", "true")))

    async def stats(self, request: Request) -> Response:
        """Return the statistics."""
        return _json(self._service.describe())

    async def reset(self, request: Request) -> Response:
        """Return to the state at the start."""
        self._service.reset()
        return _json({"status": "reset"})

    async def faults(self, request: Request) -> Response:
        """Return the faults that are set."""
        return _json(self._service.faults.describe())

    async def add_faults(self, request: Request) -> Response:
        """Set one fault, or several in a list."""
        return await self._set_faults(request, replace=False)

    async def replace_faults(self, request: Request) -> Response:
        """Set one fault or several instead of those that are set."""
        return await self._set_faults(request, replace=True)

    async def remove_faults(self, request: Request) -> Response:
        """Remove all faults, or the one named by `id`."""
        query = request.query_params
        try:
            number = _whole_number(query, "id", 0)
        except ValueError as error:
            return _error(str(error))
        if "id" not in query:
            self._service.faults.clear()
        elif not self._service.faults.remove(number):
            return _error(f"no fault has id {number}", status=404)
        return _json(self._service.faults.describe())

    async def limits(self, request: Request) -> Response:
        """Return the rate limits and how much of them is used."""
        return _json(self._service.ingestion.limits.describe())

    async def set_limits(self, request: Request) -> Response:
        """Replace the rate limits; what is not named is off (the window: its default)."""
        try:
            content = msgspec.json.decode(await request.body(), type=dict[str, Any])
            self._service.ingestion.set_limits(LimitSettings(**content))
        except (ValueError, msgspec.MsgspecError, TypeError, RecursionError) as error:
            return _error(f"{error}. Valid keys: {', '.join(field.name for field in fields(LimitSettings))}")
        return _json(asdict(self._service.ingestion.limits.settings))

    async def project(self, request: Request) -> Response:
        """Return what kind of project this is."""
        return _json(asdict(self._service.ingestion.project))

    async def set_project(self, request: Request) -> Response:
        """Make it another kind of project; as at Mixpanel, only while it holds no events."""
        try:
            content = msgspec.json.decode(await request.body(), type=dict[str, Any])
            project = ProjectSettings(**{**asdict(self._service.ingestion.project), **content})
        except (ValueError, msgspec.MsgspecError, TypeError, RecursionError) as error:
            return _error(f"{error}. Valid keys: {', '.join(field.name for field in fields(ProjectSettings))}")
        if len(self._service.store):
            return _error("the kind of a project that holds events cannot be changed; reset it first", status=409)
        self._service.ingestion.project = project
        return _json(asdict(project))

    async def _set_faults(self, request: Request, *, replace: bool) -> Response:
        try:
            content = msgspec.json.decode(await request.body())
            rules = content if isinstance(content, list) else [content]
            faults = [parse_fault(rule) for rule in rules]
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            return _error(str(error))
        book = self._service.faults
        if replace:
            book.clear()
        added = [book.add(fault) for fault in faults]
        if isinstance(content, list):
            return _json(added)
        return _json(added[0])


class EmulatorServer(uvicorn.Server):
    """Uvicorn on a loopback socket of its own, which stops without waiting for anyone."""

    def __init__(self, options: EmulatorOptions, on_ready: Callable[[str], None]) -> None:
        """Bind the socket.

        Args:
          options: the emulator's.
          on_ready: called with the URL once connections are accepted.

        Raises:
          OSError: the port is taken, or the storage cannot be written.
          ValueError: the storage is not empty.
        """
        self._socket = _listen(options.host, options.port)
        try:
            self._service = Service(options)
        except (ValueError, OSError):
            self._socket.close()
            raise
        self._on_ready = on_ready
        config = uvicorn.Config(
            LoopbackOnly(Routes(self._service).application()),
            http=TransportInScopeProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECS,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)

    @property
    def url(self) -> str:
        """Where the emulator listens."""
        host, port = self._socket.getsockname()[:2]
        if ":" in host:  # IPv6
            return f"http://[{host}]:{port}"
        return f"http://{host}:{port}"

    def run_until_stopped(self) -> None:
        """Serve until `should_exit` is set, then delete temporary storage."""
        try:
            self.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self._service.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and say so."""
        url = self.url
        await super().startup(sockets)
        self._on_ready(url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Break all connections off, hanging requests included, and end."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to whoever started the server."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Accepted connections inherit it. asyncio sets it only on sockets whose `proto` is TCP, and this one's is 0; with
    # Nagle's algorithm an answer's body waits for the client's delayed acknowledgement of its headers: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _find(
    view: StoreView, wanted: EventFilter, *, limit: int, after: int, abandoned: Callable[[], Awaitable[bool]]
) -> list[int]:
    """Return the numbers of events that match, newest first, letting other requests proceed between."""
    numbers: list[int] = []
    began = time.monotonic()
    for block in view.newest_blocks():
        if len(numbers) >= limit or block.first_number + block.events <= after + 1:
            break
        numbers += islice(wanted.find(block), limit - len(numbers))
        if time.monotonic() - began > SLICE_SECS:
            await asyncio.sleep(0)
            if await abandoned():
                break
            began = time.monotonic()
    return [number for number in numbers if number > after]


def _whole_number(query: Mapping[str, str], name: str, default: int) -> int:
    """Read a parameter of the URL.

    Raises:
      ValueError: it is not a whole number, is negative, or is larger than anything it could count.
    """
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_NUMBER_DIGITS):
        raise ValueError(f"{name} must be a whole number, 0 or more, of at most {MAX_NUMBER_DIGITS} digits")
    return int(text)


def _describe(number: int, stored: StoredEvent) -> dict[str, Any]:
    return {"number": number} | stored._asdict() | {"event": msgspec.Raw(stored.event)}


def _respond(answer: answers.Answer) -> Response:
    return Response(answer.body, answer.status, media_type=answer.content_type)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type=answers.JSON)


def _error(message: str, status: int = 400) -> Response:
    return _json({"error": message, "status": status}, status)


def _stream(lines: Iterator[bytes]) -> StreamingResponse:
    return StreamingResponse(_chunks(lines), media_type="application/x-ndjson")


async def _chunks(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield lines by the thousand, letting other requests proceed between."""
    while chunk := b"".join(islice(lines, LINES_PER_CHUNK)):
        yield chunk
        await asyncio.sleep(0)
