"""Dead letters as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from beam_mixpanel.launcher.flags import FILES
from beam_mixpanel.launcher.source import Source, Template
from beam_mixpanel.transforms.flags import Flag, FlagGroup

if TYPE_CHECKING:
    from beam_mixpanel.launcher.opened import Opened
    from beam_mixpanel.launcher.settings import Settings


REPLAY: Final = FlagGroup(
    title="Dead letters to send again",
    flags=(
        Flag(name="only_reason", value="REASON", repeated=True, meaning="replay only the dead letters of this reason"),
        Flag(
            name="fix",
            value="MODULE:FUNCTION",
            meaning="repair each event by this Python function; from event to event, list of events or None",
        ),
    ),
)


def _open(settings: Settings) -> Opened:
    from beam_mixpanel.launcher.replay import open_dead_letters

    return open_dead_letters(settings)


SOURCE: Final = Source(
    name="replay",
    command="replay",
    pipeline="beam_mixpanel.pipelines.replay_dead_letters",
    summary="Send dead letters to Mixpanel again.",
    reads="Send dead letters of an earlier run again.",
    flags=(
        FILES,
        REPLAY,
    ),
    examples=(
        "--input 'out/dead-*' --mixpanel_emulator",
        "--input 'out/dead-*' --only_reason http_503 --dead_letters out/again \\\n"
        "    --mixpanel_project_id 123 --mixpanel_service_account env:MIXPANEL_SERVICE_ACCOUNT",
    ),
    open=_open,
    template=Template(
        "Mixpanel dead letters, again",
        "Sends dead letters of an earlier job to Mixpanel again.",
        ("input",),
    ),
)
