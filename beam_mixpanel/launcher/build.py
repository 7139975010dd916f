"""From settings to the transforms that they describe."""

from __future__ import annotations

import time

from beam_mixpanel.core.check.profile import ProfileSettings
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.transforms.options import MixpanelOptions
from beam_mixpanel.transforms.prepare import PrepareEvents
from beam_mixpanel.transforms.write import WriteToMixpanel


def write_to_mixpanel(settings: Settings) -> WriteToMixpanel:
    """Make the sink as the options say.

    Raises:
      ValueError: an option has a wrong value.
    """
    return WriteToMixpanel.from_options(settings.options, redact=settings.redact, mapping=settings.mapping)


def prepare_events(settings: Settings) -> PrepareEvents:
    """Make the step that prepares events as the sink would, and sends nothing.

    Raises:
      ValueError: an option has a wrong value.
    """
    options = settings.options.view_as(MixpanelOptions)
    return PrepareEvents(
        insert_id=options.mixpanel_insert_id,
        time_zone=options.mixpanel_time_zone,
        retention_days=options.mixpanel_retention_days,
        redact=settings.redact,
        mapping=settings.mapping,
    )


def profile_settings(settings: Settings) -> ProfileSettings:
    """Return what a check depends on besides events."""
    retention_days = settings.options.view_as(MixpanelOptions).mixpanel_retention_days
    return ProfileSettings(int(time.time() * 1000), retention_days, settings.show_values)
