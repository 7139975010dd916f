"""Pub/Sub as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from beam_mixpanel.launcher.source import Source, Template
from beam_mixpanel.transforms.flags import Flag, FlagGroup

if TYPE_CHECKING:
    from beam_mixpanel.launcher.opened import Opened
    from beam_mixpanel.launcher.settings import Settings


PUBSUB: Final = FlagGroup(
    title="Pub/Sub",
    flags=(
        Flag(
            name="subscription",
            value="NAME",
            meaning="the subscription to read, projects/PROJECT/subscriptions/NAME; what is imported is acknowledged",
        ),
        Flag(
            name="topic",
            value="NAME",
            meaning="read what is published from now on, of projects/PROJECT/topics/NAME; by a subscription that lasts "
            "as long as the job",
        ),
        Flag(
            name="id_attribute",
            value="NAME",
            meaning="attribute that identifies repeated messages (Dataflow)",
        ),
    ),
)


def _open(settings: Settings) -> Opened:
    from beam_mixpanel.launcher.pubsub import open_messages

    return open_messages(settings)


SOURCE: Final = Source(
    name="pubsub",
    command="import pubsub",
    pipeline="beam_mixpanel.pipelines.pubsub_to_mixpanel",
    summary="Import messages of Pub/Sub into Mixpanel.",
    reads="Messages of Pub/Sub, as they come.",
    flags=(PUBSUB,),
    examples=(
        "--subscription projects/my-project/subscriptions/orders --dead_letters out/dead \\\n"
        "    --runner DirectRunner --mixpanel_emulator",
    ),
    open=_open,
    template=Template(
        "Pub/Sub to Mixpanel",
        "Imports messages of Pub/Sub as events into Mixpanel, as they come.",
        ("dead_letters",),
    ),
    is_stream=True,
)
