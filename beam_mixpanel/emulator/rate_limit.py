"""Rate limits counted in events: a token bucket and a rolling window.

Source: https://docs.mixpanel.com/reference/rate-limits ("30k events per second", over a rolling minute)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from beam_mixpanel.emulator.options import LimitSettings


class TokenBucket:
    """Holds up to `burst` events and refills by `per_sec`.

    A request larger than the whole bucket is let through when the bucket is full, and leaves a debt:
    otherwise it could never be sent.
    """

    def __init__(self, per_sec: float, burst: float, now: float) -> None:
        """Start full."""
        self.per_sec, self.burst = per_sec, burst
        self.tokens, self._updated = burst, now

    def fits(self, events: int, now: float) -> bool:
        """Tell whether a request of so many events may pass now."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self._updated) * self.per_sec)
        self._updated = now
        return self.tokens >= min(events, self.burst)

    def take(self, events: int, now: float) -> None:
        """Count a request that passed."""
        self.tokens -= events


class RollingWindow:
    """Lets at most `limit` events pass in any window of `window_secs`."""

    def __init__(self, limit: int, window_secs: float) -> None:
        """Start with an empty window."""
        self.limit, self.window_secs = limit, window_secs
        self.used = 0
        self._passed: deque[tuple[float, int]] = deque()

    def fits(self, events: int, now: float) -> bool:
        """Tell whether a request of so many events may pass now."""
        while self._passed and self._passed[0][0] <= now - self.window_secs:
            self.used -= self._passed.popleft()[1]
        return self.used + events <= self.limit

    def take(self, events: int, now: float) -> None:
        """Count a request that passed."""
        self.used += events
        self._passed.append((now, events))


class RateLimits:
    """All limits that are on; a request passes all of them, or counts in none."""

    def __init__(self, settings: LimitSettings, clock: Callable[[], float]) -> None:
        """Start with nothing used.

        Args:
          settings: the limits.
          clock: seconds.
        """
        self.settings = settings
        self._clock = clock
        self._bucket: TokenBucket | None = None
        self._window: RollingWindow | None = None
        if settings.rate_limit is not None:
            burst = settings.rate_limit_burst or settings.rate_limit
            self._bucket = TokenBucket(settings.rate_limit, burst, clock())
        if settings.rolling_limit is not None:
            self._window = RollingWindow(settings.rolling_limit, settings.rolling_window_secs)

    def admit(self, events: int) -> bool:
        """Count a request of so many events, unless a limit refuses it."""
        now = self._clock()
        limits = [limit for limit in (self._bucket, self._window) if limit]
        if not all([limit.fits(events, now) for limit in limits]):
            return False
        for limit in limits:
            limit.take(events, now)
        return True

    def describe(self) -> dict[str, Any]:
        """Return the settings, and how much of each limit is used (0 to 1; None for a limit that is off)."""
        now = self._clock()
        for limit in (self._bucket, self._window):
            if limit:
                limit.fits(0, now)
        bucket, window = self._bucket, self._window
        use: dict[str, float | None] = {"rate_limit_use": None, "rolling_limit_use": None}
        if bucket:
            use["rate_limit_use"] = min(1.0, 1 - bucket.tokens / bucket.burst)
        if window:
            use["rolling_limit_use"] = window.used / window.limit
        return asdict(self.settings) | use
