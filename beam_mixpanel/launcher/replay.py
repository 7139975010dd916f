"""The source of `replay`: the dead letters to try again, chosen and repaired."""

from __future__ import annotations

import apache_beam as beam

from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.transforms.dead_letters import FixDeadLetters, ReadDeadLetters, SelectDeadLetters


def open_dead_letters(settings: Settings) -> Opened:
    """Read the dead letters that the settings choose, repaired by the function that they name."""
    letters: beam.PTransform = ReadDeadLetters(settings.inputs)
    if settings.only_reasons:
        letters |= "SelectDeadLetters" >> SelectDeadLetters(settings.only_reasons)
    if settings.fix:
        letters |= "FixDeadLetters" >> FixDeadLetters(settings.fix)
    return Opened(letters, settings)
