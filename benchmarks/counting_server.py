"""A server that only counts what arrives, so cheaply that it limits nobody; optionally slow, optionally limited."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from typing import Any

from isal import igzip

_EVENT_MARK = b'"properties":'
_REASONS = {200: b"OK", 429: b"Too Many Requests"}


class Limit:
    """A token bucket, or a rolling window where window_secs is given.

    Args:
      events_per_sec: the rate; 0 for none.
      window_secs: the rolling window; 0 for a bucket of one second.
    """

    def __init__(self, events_per_sec: float, window_secs: float) -> None:
        self._rate = events_per_sec
        self._window_secs = window_secs
        self._tokens = events_per_sec
        self._at = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque()
        self._recent_events = 0

    def admits(self, events: int) -> bool:
        """Take so many events, or none of them."""
        now = time.monotonic()
        if not self._rate:
            return True
        if self._window_secs:
            return self._admits_in_window(events, now)
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < events:
            return False
        self._tokens -= events
        return True

    def _admits_in_window(self, events: int, now: float) -> bool:
        while self._recent and self._recent[0][0] <= now - self._window_secs:
            self._recent_events -= self._recent.popleft()[1]
        if self._recent_events + events > self._rate * self._window_secs:
            return False
        self._recent.append((now, events))
        self._recent_events += events
        return True


class Counts:
    """What arrived."""

    def __init__(self, limit: Limit, latency_secs: float) -> None:
        self.limit = limit
        self.latency_secs = latency_secs
        self.events = 0
        self.requests = 0
        self.refused = 0
        self.bytes = 0
        self.first: float | None = None
        self.last = 0.0
        self.timeline: list[tuple[float, int, bool]] = []

    def answer(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Count a request's events; say what to answer."""
        now = time.monotonic()
        self.first = self.first or now
        events = igzip.decompress(body).count(_EVENT_MARK)
        self.requests += 1
        self.bytes += len(body)
        admitted = self.limit.admits(events)
        self.timeline.append((now, events, admitted))
        if not admitted:
            self.refused += 1
            return 429, {"code": 429, "error": "Project exceeded rate limits.", "status": "Too Many Requests"}
        self.events += events
        self.last = now
        return 200, {"code": 200, "num_records_imported": events, "status": "OK"}

    def report(self) -> dict[str, Any]:
        """Give the counts, and the time from the first request to the last accepted one."""
        secs = self.last - self.first if self.first else 0.0
        start = self.first or 0.0
        return {
            "events": self.events,
            "requests": self.requests,
            "refused": self.refused,
            "bytes": self.bytes,
            "secs": secs,
            "timeline": [(round(at - start, 3), events, admitted) for at, events, admitted in self.timeline],
        }


class _Connection(asyncio.Protocol):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end])
            length = _content_length(head)
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._reply(head, body)

    def _reply(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self._send(200, self._counts.report())
            return
        status, answer = self._counts.answer(body)
        asyncio.get_running_loop().call_later(self._counts.latency_secs, self._send, status, answer)

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self._transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (status, _REASONS[status], len(content), content)
        )


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve(counts: Counts, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(counts), "127.0.0.1", port)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Serve until killed; `GET /` gives the counts."""
    parser = argparse.ArgumentParser(description="Count the events that arrive at /import.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency_ms", type=float, default=0)
    parser.add_argument("--events_per_sec", type=float, default=0)
    parser.add_argument("--window_secs", type=float, default=0)
    arguments = parser.parse_args()
    limit = Limit(arguments.events_per_sec, arguments.window_secs)
    asyncio.run(_serve(Counts(limit, arguments.latency_ms / 1000), arguments.port))


if __name__ == "__main__":
    main()
