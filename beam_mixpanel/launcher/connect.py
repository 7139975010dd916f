"""What every importing pipeline does with its events, as the settings say."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from beam_mixpanel.client.results import ImportReceipt
from beam_mixpanel.core.events.dead_letter import DeadLetter, RefusedLetter
from beam_mixpanel.errors import NothingImportedError
from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.options import IncrementalOptions
from beam_mixpanel.launcher.reports.check_report import json_beside
from beam_mixpanel.transforms.dead_letters import FixDeadLetters, ReadDeadLetters, SelectDeadLetters, WriteDeadLetters
from beam_mixpanel.transforms.profile import ProfileEvents, WriteProfile


class FailIfNothingImported(beam.PTransform):
    """Fails a job at its end, where nobody waits for it to look at its books."""

    def expand(self, receipts: PCollection[ImportReceipt]) -> PCollection[None]:
        """Add up what was imported."""
        return (
            receipts
            | "Imported" >> beam.Map(_imported).with_output_types(int)
            | "Sum" >> beam.CombineGlobally(sum)
            | "Fail" >> beam.Map(_fail_if_none)
        )


def _imported(receipt: ImportReceipt) -> int:
    return receipt.imported


def _fail_if_none(imported: int) -> None:
    if not imported:
        raise NothingImportedError(
            "nothing was imported; the counters read, filtered, invalid and rejected, and the dead letters, say why"
        )


def read_dead_letters(pipeline: beam.Pipeline, settings: Settings) -> PCollection[DeadLetter | RefusedLetter]:
    """Read the dead letters to try again, chosen and repaired."""
    letters = pipeline | "ReadDeadLetters" >> ReadDeadLetters(settings.inputs)
    if settings.only_reasons:
        letters |= "SelectDeadLetters" >> SelectDeadLetters(settings.only_reasons)
    if settings.fix:
        letters |= "FixDeadLetters" >> FixDeadLetters(settings.fix)
    return letters


def import_events(events: PCollection[Any], settings: Settings) -> None:
    """Connect events to Mixpanel, or to the offline check, and what cannot be imported to its own files."""
    letters: tuple[PCollection[DeadLetter], ...] = ()
    if settings.validate_only:
        prepared = events | "PrepareEvents" >> settings.prepare_events()
        letters = (prepared.invalid,)
        if settings.check_report:
            _ = (
                prepared
                | "ProfileEvents" >> ProfileEvents(settings.profile_settings())
                | "WriteProfile" >> WriteProfile(json_beside(settings.check_report))
            )
    else:
        result = events | "WriteToMixpanel" >> settings.write_to_mixpanel()
        if settings.submits_only and events.is_bounded and settings.options.view_as(IncrementalOptions).since is None:
            _ = result.receipts | "FailIfNothingImported" >> FailIfNothingImported()
        if settings.dead_letters:
            letters = result.dead_letter_parts
    if settings.dead_letters:
        _ = letters | "WriteDeadLetters" >> WriteDeadLetters(settings.dead_letters)
