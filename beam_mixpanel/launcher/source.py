"""What a source is: its name, its options, and how it is opened. All that knows sources reads it from here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.parse import OptionGroups
from beam_mixpanel.launcher.settings import Settings


class Source(NamedTuple):
    """Where events come from.

    Attributes:
      name: the word after `beam-mixpanel import` and `beam-mixpanel check`.
      pipeline: the module of its job.
      summary: what the job does, in a sentence.
      groups: the options that it has besides those of every pipeline.
      open: looks at the source before the job and chooses what is read; raises `UsageError` where the options do not
        fit it.
    """

    name: str
    pipeline: str
    summary: str
    groups: OptionGroups
    open: Callable[[Settings], Opened]
