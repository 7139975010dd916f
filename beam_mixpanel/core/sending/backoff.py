"""How long to wait before sending again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_DELAY_SECS: Final = 2.0
MAX_DELAY_SECS: Final = 60.0
MIN_JITTER_SECS: Final = 1.0
MAX_JITTER_SECS: Final = 5.0


def delay_secs(attempt: int, *, retry_after_secs: float | None, uniform: Callable[[float, float], float]) -> float:
    """Give the delay before the next attempt: 2 s doubling to 60 s, plus 1 to 5 s of jitter.

    Args:
      attempt: attempts made so far, from 1.
      retry_after_secs: what the server asked for, if it did; it replaces the doubling, capped at 60 s.
      uniform: draws a number between two bounds (`random.uniform`).

    Source: https://docs.mixpanel.com/reference/import-events
    """
    base: float
    if retry_after_secs is None:
        base = min(FIRST_DELAY_SECS * 2.0 ** min(attempt - 1, 10), MAX_DELAY_SECS)
    else:
        base = min(max(retry_after_secs, 0.0), MAX_DELAY_SECS)
    return base + uniform(MIN_JITTER_SECS, MAX_JITTER_SECS)
