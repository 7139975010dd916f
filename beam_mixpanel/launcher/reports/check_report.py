"""Finishes the report of a check: adds what only the launcher knows, and writes page and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from beam_mixpanel.core.check.advice import COLUMNS, EVENTS
from beam_mixpanel.core.check.findings import check_report
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.launcher.files import takes_events
from beam_mixpanel.launcher.reports.check_page import page_of
from beam_mixpanel.launcher.reports.files import json_beside, write_files
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.transforms.options import MixpanelOptions
from beam_mixpanel.transforms.profile import read_profile
from beam_mixpanel.version import VERSION


def write_report(page: str, settings: Settings, counts: Mapping[str, int], source: str) -> dict[str, Any]:
    """Write the page, and the same as JSON over the profile that the job left there.

    Args:
      page: the page's file; the profile is in the JSON file beside it.
      settings: of the run.
      counts: its counters.
      source: what was read, for people; empty where the settings name files.

    Returns:
      The report.

    Raises:
      OSError: a file cannot be read or written.
    """
    mixpanel = settings.options.view_as(MixpanelOptions)
    about = {
        "source": [source] if source else settings.inputs,
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": VERSION,
        "retention_days": mixpanel.mixpanel_retention_days,
        "time_zone": mixpanel.mixpanel_time_zone,
        "show_values": settings.show_values,
        "takes": EVENTS if takes_events(settings) else COLUMNS,
        "mapped": (settings.mapping or EventMapping()).given,
    }
    report = check_report(read_profile(json_beside(page)), counts, about)
    write_files(page, page_of(report), report)
    return report
