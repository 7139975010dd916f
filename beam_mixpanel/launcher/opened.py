"""A source that has been looked at: what to read, with what settings, and what to do when the job has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import apache_beam as beam

from beam_mixpanel.launcher.settings import Settings


def _nothing() -> None:
    pass


class Epilogue(NamedTuple):
    """What is left to be done when a job has ended.

    Attributes:
      source: what was read, for people; empty for files.
      confirm: called where everything that was read has been imported or filtered, as the books say.
      close: called in any case.
      may_be_empty: reading nothing is no failure, as for a job that looks for what is new.
      unconfirmed: the message for a run whose dead letters keep the source from remembering; empty for none.
    """

    source: str = ""
    confirm: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing
    may_be_empty: bool = False
    unconfirmed: str = ""


class Opened(NamedTuple):
    """What a pipeline is built of.

    Attributes:
      rows: reads rows, events or dead letters, of any kind that `WriteToMixpanel` accepts.
      settings: those of the job, with what the source adds to the mapping.
      epilogue: what to do when the job has ended.
    """

    rows: beam.PTransform
    settings: Settings
    epilogue: Epilogue = Epilogue()
