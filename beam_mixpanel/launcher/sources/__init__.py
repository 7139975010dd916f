"""The sources, one module each, imported by name. Nothing here needs Beam, which takes seconds to load."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from beam_mixpanel.launcher.source import Source

NAMES: Final = ("files", "sql", "mongodb", "bigquery", "pubsub", "replay")
"""Every source, in the order of the command's help; dead letters are a source, too."""


def source_named(name: str) -> Source:
    """Return a source by its name."""
    source: Source = import_module(f"{__name__}.{name}").SOURCE
    return source


def all_sources() -> list[Source]:
    """Return every source."""
    return [source_named(name) for name in NAMES]


CHECKABLE: Final = tuple(source.name for source in all_sources() if not source.is_stream)
"""What can be checked: sources that have an end."""


def names_no_source(words: Sequence[str]) -> bool:
    """Return whether what follows `check` begins with a word that is no source of a check, such as `pubsub`.

    A file that is there is none either, but is meant: it is reported with the options.
    """
    return bool(words) and words[0].isalpha() and words[0] not in CHECKABLE and not os.path.exists(words[0])


def check_of(name: str) -> Source:
    """Return what a check reads: a source, with the words of the check."""
    source = source_named(name)
    words = "" if name == "files" else f" {name}"
    return source._replace(
        command=f"check{words}",
        pipeline="beam_mixpanel.pipelines.check_events",
        summary="Check events before they are imported into Mixpanel: a page to decide by. Sends nothing.",
        reads="What an import would do; sends nothing.",
        examples=_CHECKS if name == "files" else tuple(map(_as_check, source.examples)),
        template=None,
    )


_CHECKS: Final = (
    "--input 'events/*.ndjson' --report report.html",
    "--input orders.csv --event 'Order Placed' --time_column ordered_at --user_id_column customer",
    "sql --connection env:DATABASE_URL --table orders --event 'Order Placed' --time_column ordered_at",
)


def _as_check(example: str) -> str:
    return example.replace(" --mixpanel_emulator", "")
