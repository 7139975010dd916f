"""What the rules for all kinds of code blocks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_mixpanel.emulator import Emulator


class BlockError(Exception):
    """A block of the docs is wrong; says why."""


class Checker:
    """Checks the blocks of a page, one after the other, in one folder.

    Args:
      folder: of the page.
      emulator: takes the place of Mixpanel.
      patch: to set variables of the environment.
    """

    def __init__(self, folder: Path, emulator: Emulator, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._emulator = emulator
        self._patch = patch
