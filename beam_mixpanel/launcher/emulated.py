"""An emulator in Mixpanel's place for the length of one run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from rich.console import Console

from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.usage import as_usage
from beam_mixpanel.transforms.options import MixpanelOptions

EMULATOR_REFERENCE: Final = "env:BEAM_MIXPANEL_EMULATOR_TOKEN"
_EMULATOR_TOKEN: Final = "emulator"  # noqa: S105 - accepted by the emulator only


@contextlib.contextmanager
def emulator_of(settings: Settings, console: Console) -> Iterator[None]:
    """Run an emulator for the length of the block, if the settings ask for one.

    Raises:
      UsageError: what it needs is not installed.
    """
    if not settings.use_emulator:
        yield
        return
    from beam_mixpanel.emulator import EmulatorProcess

    with as_usage(ImportError):
        emulator = EmulatorProcess()
    with emulator:
        os.environ[EMULATOR_REFERENCE.partition(":")[2]] = _EMULATOR_TOKEN
        options = settings.options.view_as(MixpanelOptions)
        options.mixpanel_api_host = emulator.url
        # What says where events go otherwise would have no effect, and be refused.
        options.mixpanel_region = "us"
        options.mixpanel_ca_bundle = None
        options.mixpanel_project_token = EMULATOR_REFERENCE
        console.print(f"emulator at {emulator.url}", highlight=False)
        yield
        unique = emulator.stats().get("unique_events", emulator.stats().get("unique"))
        console.print(f"the emulator shows {unique:,} events, each once", highlight=False)
