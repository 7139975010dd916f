"""What a job was asked for, as values: checked options, and the files and mapping that they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.files.listing import InputFile
from beam_mixpanel.launcher import runners
from beam_mixpanel.launcher.options import RedactionOptions
from beam_mixpanel.launcher.verdict import AllowedDeadLetters


class Settings(NamedTuple):
    """What a pipeline needs to be built and run.

    Attributes:
      options: Beam's, with ours among them.
      inputs: file names or globs, each with at least one file; none for other sources.
      files: those that they match, each once.
      dead_letters: prefix of the files for them; None to fail at the first.
      allowed_dead_letters: how many still count as success; None where the user did not say.
      summary: file for the books; None for none.
      report: the page to write of a check, or of how an import went; None for none.
      checks: send nothing, and report what an import would do.
      use_emulator: start one for this run.
      mapping: how rows become events; None where no flag says so.
      only_reasons: of the dead letters to replay; empty for all.
      fix: repairs events on the way; None to send them as they are.
      show_values: the examples of reports are values, not only their shape.
    """

    options: PipelineOptions
    inputs: list[str]
    files: list[InputFile]
    dead_letters: str | None = None
    allowed_dead_letters: AllowedDeadLetters | None = None
    summary: str | None = None
    report: str | None = None
    checks: bool = False
    use_emulator: bool = False
    mapping: EventMapping | None = None
    only_reasons: tuple[str, ...] = ()
    fix: str | None = None
    show_values: bool = False

    @property
    def redact(self) -> Sequence[str]:
        """The properties that never leave."""
        return self.options.view_as(RedactionOptions).redact or ()

    @property
    def runs_remotely(self) -> bool:
        """Whether the workers share neither files nor variables with this machine."""
        return runners.runs_remotely(self.options)

    @property
    def submits_only(self) -> bool:
        """Whether this process ends before the job does, and so keeps no books."""
        return runners.submits_only(self.options)
