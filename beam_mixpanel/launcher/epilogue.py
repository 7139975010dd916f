"""What is to be done for a source when its job has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


def _nothing() -> None:
    pass


class Epilogue(NamedTuple):
    """What a pipeline leaves to be done when its job has ended.

    Attributes:
      source: what it read, for people; empty for files.
      confirm: done where everything that was read has been imported or filtered, as the books say.
      close: done in any case.
      may_be_empty: whether to read nothing is no failure, as for a job that looks for what is new.
    """

    source: str = ""
    confirm: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing
    may_be_empty: bool = False
