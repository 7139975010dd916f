"""The options `--mixpanel_*`, as Beam pipeline options that a job of anybody's can have beside its own.

Beam finds every subclass of `PipelineOptions` that was imported, and refuses two options of one name. So this module
has one class, and imports no other.
"""

from __future__ import annotations

import argparse
import difflib
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.client.credentials import Credentials, credentials_of
from beam_mixpanel.transforms.flags import MIXPANEL, add_flags

_PREFIX: Final = "mixpanel_"
_OF_CREDENTIALS: Final = ("service_account", "project_token", "project_id")


class MixpanelOptions(PipelineOptions):
    """Where to send, as whom, and how: options of the command line for `WriteToMixpanel.from_options`.

    Each is named `--mixpanel_` and an argument of `WriteToMixpanel`, so that they clash with no option of a job's own.
    The credentials are `--mixpanel_service_account` with `--mixpanel_project_id`, or `--mixpanel_project_token`, as
    references to secrets.
    """

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, *MIXPANEL)

    def credentials(self) -> Credentials:
        """Make the credentials that the options refer to.

        Raises:
          ValueError: they refer to none or to two, a project id is missing or has no effect, or what they hold is no
            reference; it is not repeated.
        """
        # A template gives a parameter that was left empty as an empty text.
        given = {name: getattr(self, _PREFIX + name) or None for name in _OF_CREDENTIALS}
        return credentials_of(**given, written=f"`{_PREFIX}{{}}`")

    def arguments(self) -> dict[str, Any]:
        """Give the arguments of `WriteToMixpanel` that the options hold, but for the credentials."""
        names = (flag.name.removeprefix(_PREFIX) for group in MIXPANEL for flag in group)
        return {name: getattr(self, _PREFIX + name) for name in names if name not in _OF_CREDENTIALS}


def check_names_of_options(options: PipelineOptions) -> None:
    """Refuse options `--mixpanel_*` that do not exist: Beam only logs that it drops what no option is named.

    Raises:
      ValueError: there is none of such a name; the message suggests one.
    """
    options.view_as(MixpanelOptions)
    known = options.get_all_options().keys()
    for name in options.get_all_options(retain_unknown_options=True).keys() - known:
        if name.startswith(_PREFIX):
            close = difflib.get_close_matches(name, [each for each in known if each.startswith(_PREFIX)], 1)
            raise ValueError(f"there is no option {name}" + (f"; did you mean {close[0]}?" if close else ""))
