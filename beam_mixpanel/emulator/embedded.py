"""The emulator on a thread of this process."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, TypeVar

from beam_mixpanel.emulator.control import EmulatorControl
from beam_mixpanel.emulator.options import EmulatorOptions
from beam_mixpanel.emulator.server import EmulatorServer

START_SECS = 10.0

Started = TypeVar("Started", bound="Emulator")


class Emulator(EmulatorControl):
    """A context manager: inside it, the emulator listens at `url`."""

    def __init__(self, **options: Any) -> None:
        """Prepare an emulator.

        Args:
          **options: see EmulatorOptions; port is any free one unless given.

        Raises:
          ValueError: an option has a bad value.
        """
        self._options = EmulatorOptions(**options)
        self._server: EmulatorServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self: Started) -> Started:
        """Start it, and wait until it accepts connections."""
        ready = threading.Event()
        self._server = EmulatorServer(self._options, lambda _: ready.set())
        self.url = self._server.url
        self._thread = threading.Thread(target=self._server.run_until_stopped, name="mixpanel-emulator", daemon=True)
        self._thread.start()
        if not ready.wait(START_SECS):
            raise RuntimeError(f"the emulator did not start within {START_SECS} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it; requests that hang are broken off."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join()
