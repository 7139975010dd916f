"""Speaks to a running emulator: what `Emulator` and `EmulatorProcess` have in common."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

# No proxy of the environment stands between a test and loopback.
_open = build_opener(ProxyHandler({})).open
TIMEOUT_SECS = 120


class EmulatorControl:
    """The control channel of one emulator.

    Attributes:
      url: where it listens, such as http://127.0.0.1:8080.
    """

    url: str

    def stats(self) -> dict[str, Any]:
        """Return the statistics."""
        statistics: dict[str, Any] = self._call("GET", "stats")
        return statistics

    def events(self, deduplicated: bool = False) -> list[dict[str, Any]]:
        """Return the stored events in order of arrival: every copy, or the latest of equal ones."""
        body = self._read("GET", "export?deduplicated=true" if deduplicated else "export")
        return [json.loads(line) for line in body.splitlines()]

    def requests(self, *, bodies: bool = False) -> list[dict[str, Any]]:
        """Return the recent requests; with bodies also their events, if the emulator records bodies."""
        requests: list[dict[str, Any]] = self._call("GET", "requests?bodies=1" if bodies else "requests")
        return requests

    def reset(self) -> None:
        """Return to the state at the start: no events, no faults, statistics and limits as they were."""
        self._call("POST", "reset")

    def add_fault(self, *, kind: str, **options: Any) -> dict[str, Any]:
        """Set a fault; return it with its id.

        Raises:
          ValueError: unknown kind or option; the message names the valid ones.
        """
        fault: dict[str, Any] = self._call("POST", "faults", {"kind": kind, **options})
        return fault

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are set, each with how often it was applied."""
        faults: list[dict[str, Any]] = self._call("GET", "faults")
        return faults

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._call("DELETE", "faults")

    def set_limits(self, **limits: Any) -> None:
        """Replace the rate limits: rate_limit, rate_limit_burst, rolling_limit, rolling_window_secs.

        Raises:
          ValueError: unknown name or bad value.
        """
        self._call("PUT", "limits", limits)

    def _call(self, method: str, what: str, content: object = None) -> Any:
        return json.loads(self._read(method, what, content))

    def _read(self, method: str, what: str, content: object = None) -> bytes:
        data = None if content is None else json.dumps(content).encode()
        request = Request(f"{self.url}/_emulator/{what}", data, method=method)  # noqa: S310 (loopback)
        try:
            with _open(request, timeout=TIMEOUT_SECS) as response:
                body: bytes = response.read()
                return body
        except HTTPError as error:
            with error:
                raise ValueError(json.loads(error.read())["error"]) from error
