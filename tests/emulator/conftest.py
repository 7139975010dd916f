"""What the tests of the emulator share: a server with a stopped clock, and a way to speak to it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from beam_mixpanel.emulator import Emulator

NOW = 1_750_000_000
NOW_MS = NOW * 1000

Event = dict[str, Any]
Send = Callable[..., requests.Response]


class StoppedClock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def shared_clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture(scope="session")
def _running(shared_clock: StoppedClock) -> Iterator[Emulator]:
    with Emulator(clock=shared_clock, record_bodies=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(_running: Emulator, shared_clock: StoppedClock) -> Emulator:
    """An emulator with default options, as new."""
    shared_clock.now = float(NOW)
    _running.reset()
    return _running


@pytest.fixture
def clock(shared_clock: StoppedClock) -> StoppedClock:
    """The clock of `emulator`."""
    return shared_clock


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def send(http: requests.Session) -> Send:
    """Post events to an emulator, as the connector does unless told otherwise."""

    def post(emulator: Emulator, events: Any, path: str = "/import?strict=1", **options: Any) -> requests.Response:
        body = options.pop("data", None) or gzip.compress(json.dumps(events).encode())
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"} | options.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value}
        options = {"auth": ("token", ""), "timeout": 5, **options}
        return http.post(emulator.url + path, data=body, headers=headers, **options)

    return post


@pytest.fixture
def event() -> Callable[..., Event]:
    """Make a valid event; properties given as None are left out."""

    def make(number: int = 0, *, name: str = "signup", **properties: Any) -> Event:
        insert_id = properties.pop("insert_id", f"id-{number}")
        full = {
            "time": NOW_MS - number,
            "distinct_id": f"user-{number}",
            "$insert_id": insert_id,
            **properties,
        }
        return {"event": name, "properties": {key: value for key, value in full.items() if value is not None}}

    return make
