"""`beam-mixpanel insert-id`: why an event has the `$insert_id` that it has."""

from __future__ import annotations

import sys
import time

import click

from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy, is_acceptable
from beam_mixpanel.core.events.prepare import EventPreparer, identity_of
from beam_mixpanel.core.events.reading import parse_object

_KINDS = {
    "content": "it has none, so this is a hash of all of it; two events that are alike in everything get the same",
    "columns": "it has none, so this is a hash of {columns}",
    "mixpanel-import": "it has none, so this is murmur3 of event, distinct_id and time, as mixpanel-import does it",
}


@click.command("insert-id")
@click.argument("event", required=False, metavar="[JSON]")
@click.option(
    "--strategy", default="content", show_default=True, metavar="content|columns:A,B|mixpanel-import",
    help="How an absent id is made: as --mixpanel_insert_id, or columns:A,B as --insert_id_columns, does it.",
)  # fmt: skip
def insert_id(event: str | None, strategy: str) -> None:
    """Tell the $insert_id with which an event is sent, and why it is that one.

    \b
    beam-mixpanel insert-id '{"event":"A","properties":{"time":1760000000,"distinct_id":"u"}}'
    head -1 events.ndjson | beam-mixpanel insert-id
    """
    if event is None:
        event = sys.stdin.readline()
    line = event.strip().encode()
    if not line:
        raise click.UsageError("give an event as JSON, as the argument or on standard input")
    try:
        chosen = InsertIdStrategy.parse(strategy)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    done = EventPreparer(Form(chosen)).prepare_text(line, int(time.time() * 1000))
    if done.invalid:
        raise click.ClickException(f"the event is invalid ({done.invalid[0].reason}): {done.invalid[0].message}")
    sent, time_ms = identity_of(done.events.bodies[0])
    click.echo(f"$insert_id  {sent}")
    click.echo(f"because     {_why(line, chosen)}")
    click.echo(
        f"time        {time_ms} ms; Mixpanel shows one of the events that agree in name, distinct_id, time and this"
    )


def _why(line: bytes, strategy: InsertIdStrategy) -> str:
    fields = parse_object(line)
    properties = fields.get("properties", fields) if isinstance(fields, dict) else {}
    given = properties.get("$insert_id", properties.get("insert_id"))
    if given is None:
        return _KINDS[strategy.kind].format(columns=", ".join(strategy.columns))
    if is_acceptable(given):
        return "the event has it, and Mixpanel takes it as it is"
    return f"the event has {given!r}, which Mixpanel refuses, so this is a hash of that, the name, distinct_id and time"
