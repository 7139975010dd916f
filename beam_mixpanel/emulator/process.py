"""The emulator as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from beam_mixpanel.emulator.control import EmulatorControl
from beam_mixpanel.emulator.options import SECRET_VARIABLES, EmulatorOptions

STOP_SECS = 5.0
READY_LINE = "Mixpanel emulator listening on "
IMPORT_ROOT = Path(__file__).parents[2]
_START = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "from beam_mixpanel.emulator.__main__ import main; sys.exit(main())"
)
"""Not `python -m`, which looks into the current folder first: a json.py there would hide that of Python."""

Started = TypeVar("Started", bound="EmulatorProcess")


class EmulatorProcess(EmulatorControl):
    """A context manager: inside it, a child process listens at `url`.

    The child ends with this process, however that ends: it reads a pipe that the system closes then.
    """

    def __init__(self, **options: Any) -> None:
        """Prepare a process.

        Args:
          **options: see EmulatorOptions, all but clock.

        Raises:
          ValueError: an option has a bad value, or is clock.
        """
        if "clock" in options:
            raise ValueError("a clock cannot be given to another process; use Emulator")
        self._options = EmulatorOptions(**options)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self: Started) -> Started:
        """Start it, and wait until it accepts connections."""
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-c", _START, "--stop-when-stdin-closes", *self._flags()],
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the one who started it, who may have something left to ask
        )
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line.startswith(READY_LINE):
            self._stop()
            raise RuntimeError("the emulator process did not start; its error output says why")
        self.url = line.removeprefix(READY_LINE).strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it; requests that hang are broken off."""
        self._stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        if self._process is None:
            raise RuntimeError("the emulator process is not started")
        return self._process.pid

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _flags(self) -> list[str]:
        """Return the command line for all options that are no secrets and not what they are by default."""
        flags = []
        for field in fields(EmulatorOptions):
            value = getattr(self._options, field.name)
            if field.name in SECRET_VARIABLES or value == field.default:
                continue
            flag = "--" + field.name.replace("_", "-")
            flags.append(flag)
            if value is not True:
                flags.append(str(value))
        return flags

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES.values()}
        for name, variable in SECRET_VARIABLES.items():
            secret = getattr(self._options, name)
            if secret is not None:
                environment[variable] = secret
        path = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{IMPORT_ROOT}{os.pathsep}{path}" if path else str(IMPORT_ROOT)
        return environment
