"""What tests of all levels share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from beam_mixpanel.emulator import Emulator

TOKEN_VARIABLE = "TEST_MIXPANEL_TOKEN"


@pytest.fixture
def token_reference(monkeypatch: pytest.MonkeyPatch) -> str:
    """A reference to a project token that the emulator accepts."""
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token")
    return f"env:{TOKEN_VARIABLE}"


@pytest.fixture(scope="session")
def _emulator() -> Iterator[Emulator]:
    with Emulator(record_bodies=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: Emulator) -> Emulator:
    """The session's emulator, emptied and without faults or limits."""
    _emulator.reset()
    _emulator.clear_faults()
    _emulator.set_limits()
    return _emulator
