"""A local server that answers as Mixpanel's ingestion API does.

`Emulator` runs it on a thread of this process, `EmulatorProcess` in a process of its own, and
`beam-mixpanel emulator --port N` on the command line. Importing this package loads no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beam_mixpanel.emulator.embedded import Emulator
    from beam_mixpanel.emulator.process import EmulatorProcess

__all__ = ["Emulator", "EmulatorProcess"]


def __getattr__(name: str) -> Any:
    if name == "Emulator":
        from beam_mixpanel.emulator.embedded import Emulator

        return Emulator
    if name == "EmulatorProcess":
        from beam_mixpanel.emulator.process import EmulatorProcess

        return EmulatorProcess
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
