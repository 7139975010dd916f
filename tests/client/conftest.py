"""What the tests of the client share: a clock that only waiting moves."""

from __future__ import annotations

import threading

import pytest


class Clock:
    """Stands still until somebody sleeps; may be shared by threads."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, secs: float) -> None:
        with self._lock:
            self.naps.append(secs)
            self.now += secs


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def new_clock() -> type[Clock]:
    """For properties, each example of which needs a clock of its own."""
    return Clock
