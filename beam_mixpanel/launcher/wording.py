"""From the words of the library, which speaks of arguments, to those of the command line, which has flags."""

from __future__ import annotations

import re
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.core.rows.mapping_settings import FLAGS
from beam_mixpanel.launcher.options import SOME_TAKE, FileOptions, RedactionOptions
from beam_mixpanel.launcher.plain_flags import actions_of
from beam_mixpanel.transforms.guard import TAKE_THEM_OVER
from beam_mixpanel.transforms.options import MixpanelOptions

_SAME_NAME: Final[tuple[type[PipelineOptions], ...]] = (MixpanelOptions, RedactionOptions, *SOME_TAKE)
"""Groups of options that are named as the arguments they become, some with a prefix."""
_PREFIX: Final = re.compile("^mixpanel_")

FLAG_OF: Final[dict[str, str]] = {
    **{key: f"--{flag}" for key, flag in FLAGS.items()},
    **{_PREFIX.sub("", action.dest): action.option_strings[0] for group in _SAME_NAME for action in actions_of(group)},
    **{action.dest: action.option_strings[0] for action in actions_of(MixpanelOptions)},
    **{
        action.dest.replace("csv_", "csv."): action.option_strings[0]
        for action in actions_of(FileOptions)
        if action.dest.startswith("csv_")
    },
    **{name: f"--{name}" for name in ("project", "temp_location")},
    "patterns": "--input",
    "format": "--input_format",
}
"""For each argument, or key of a mapping, the flag that sets it."""
_ARGUMENT: Final = re.compile(r"`([\w.]+)`")


def in_flags(message: object) -> str:
    """Write the flag for each argument that a message names; the library writes these between backticks."""
    text = str(message).replace(TAKE_THEM_OVER, "give --dead_letters PREFIX")
    return _ARGUMENT.sub(lambda found: FLAG_OF.get(found[1], found[0]), text)
