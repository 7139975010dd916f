"""What a source is: its name, its options, its examples, and how it is opened.

The command, its help, completion, the templates, the reference and the jobs read it from here. Nothing here needs Beam.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from beam_mixpanel.launcher.flags import JOB, MAPPING, REDACTION
from beam_mixpanel.transforms.flags import MIXPANEL, FlagGroup

if TYPE_CHECKING:
    from beam_mixpanel.launcher.opened import Opened
    from beam_mixpanel.launcher.parse import OptionGroups
    from beam_mixpanel.launcher.settings import Settings


class Template(NamedTuple):
    """What the metadata of a Flex template say of a source, besides its options.

    Attributes:
      title: for the list of templates.
      description: what it does.
      required: the options without which it does not start.
    """

    title: str
    description: str
    required: tuple[str, ...] = ()


class Source(NamedTuple):
    """Where events come from.

    Attributes:
      name: the word after `beam-mixpanel import`.
      command: all words of the command.
      pipeline: the module of its job.
      summary: what the job does, in a sentence.
      reads: what it reads, for the list of commands.
      flags: the options that it has besides those of every job.
      examples: what its help begins with, without the words of the command.
      open: looks at the source before the job and chooses what is read; raises `UsageError` where the options do not
        fit it.
      template: of Dataflow; None where there is none.
      is_stream: it runs until it is stopped, so it cannot be checked.
    """

    name: str
    command: str
    pipeline: str
    summary: str
    reads: str
    flags: tuple[FlagGroup, ...]
    examples: tuple[str, ...]
    open: Callable[[Settings], Opened]
    template: Template | None = None
    is_stream: bool = False

    @property
    def all_flags(self) -> tuple[FlagGroup, ...]:
        """Return the groups of all its options, in the order of help."""
        destination, *others = MIXPANEL
        return (*self.flags, MAPPING, destination, JOB, REDACTION, *others)

    @property
    def groups(self) -> OptionGroups:
        """Return the classes of Beam's of the options that it has besides those of every job."""
        from beam_mixpanel.launcher.options import options_of

        return tuple(map(options_of, self.flags))
