"""The file in which a recurring job remembers how far it has come, on any file system that Beam knows."""

from __future__ import annotations

import os
from typing import Final

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_mixpanel.core.sources.increments import State
from beam_mixpanel.errors import IncrementalError, UsageError

_TEXT: Final = "text/plain"


def read_state(path: str) -> State | None:
    """Read what the run before left; None where there is no file yet.

    Raises:
      UsageError: the file cannot be read, or is none of ours.
    """
    try:
        if not FileSystems.exists(path):
            return None
        with FileSystems.open(path, _TEXT, CompressionTypes.UNCOMPRESSED) as file:
            return State.from_json(file.read().decode())
    except IncrementalError as error:
        raise UsageError(f"--state {path} {error}; give another file, or remove it to start over") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read --state {path}: {error}") from None


def write_state(path: str, state: State) -> None:
    """Write a state so that others find the old one or the new one, never half of it.

    Files on this machine are replaced; object stores show an object when it is written whole.

    Raises:
      OSError: it cannot be written; the old one is unchanged.
    """
    content = state.to_json().encode()
    if FileSystems.get_scheme(path) is None:
        _replace(path, content)
        return
    with FileSystems.create(path, _TEXT, CompressionTypes.UNCOMPRESSED) as file:
        file.write(content)


def _replace(path: str, content: bytes) -> None:
    new = f"{path}.{os.getpid()}.new"
    try:
        with open(new, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError:
        if os.path.exists(new):
            os.remove(new)
        raise
