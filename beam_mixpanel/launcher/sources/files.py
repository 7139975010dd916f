"""Files as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from beam_mixpanel.core.formats import kinds
from beam_mixpanel.launcher.flags import FILES
from beam_mixpanel.launcher.source import Source, Template
from beam_mixpanel.transforms.flags import Flag, FlagGroup

if TYPE_CHECKING:
    from beam_mixpanel.launcher.opened import Opened
    from beam_mixpanel.launcher.settings import Settings


JSON: Final = FlagGroup(
    title="JSON files",
    flags=(
        Flag(
            name="extended_json",
            meaning="they are MongoDB's extended JSON, as mongoexport writes it; values become those of the documents",
        ),
    ),
)


def _open(settings: Settings) -> Opened:
    from beam_mixpanel.launcher.files import open_files

    return open_files(settings)


SOURCE: Final = Source(
    name="files",
    command="import files",
    pipeline="beam_mixpanel.pipelines.files_to_mixpanel",
    summary="Import events from files into Mixpanel.",
    reads=f"{kinds.in_words()} files.",
    flags=(FILES, JSON),
    examples=(
        "--input 'events/*.ndjson.gz' --mixpanel_emulator",
        "--input orders.csv --event 'Order Placed' --time_column ordered_at --mixpanel_emulator",
        "--input 'events/*.ndjson' --mixpanel_project_id 123 \\\n"
        "    --mixpanel_service_account env:MIXPANEL_SERVICE_ACCOUNT --mixpanel_region eu --dead_letters out/dead",
    ),
    open=_open,
    template=Template(
        "Files to Mixpanel",
        f"Imports events from files ({kinds.in_words()}) into Mixpanel.",
        ("input",),
    ),
)
