"""`beam-mixpanel dead-letters`: what is in the files of dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from beam_mixpanel.core.events.dead_letter import DeadLetter, from_json_line

_NO_LETTER = DeadLetter(b"", "parse", "not_a_dead_letter", message="a line that is no dead letter")
_LONGEST = 300


@click.group("dead-letters")
def dead_letters() -> None:
    """Look into files of dead letters."""


@dead_letters.command()
@click.argument("patterns", nargs=-1, required=True, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object for each reason, instead of a table.")
@click.option("--show-events", is_flag=True, help="Show the first event of each reason, too; it may be private.")
def summary(patterns: tuple[str, ...], as_json: bool, show_events: bool) -> None:
    """Count dead letters by stage, fate and reason, with what was said of the first of each.

    \b
    beam-mixpanel dead-letters summary 'out/dead-*'
    """
    groups = _grouped(_letters(patterns), show_events)
    if as_json:
        click.echo(json.dumps(groups, indent=2, ensure_ascii=False))
        return
    Console(highlight=False, emoji=False).print(_table(groups))
    if groups:
        quoted = " ".join(f"--input '{pattern}'" for pattern in patterns)
        click.echo(f"To send them again, after the cause is gone: beam-mixpanel replay {quoted} …")


def _letters(patterns: Iterable[str]) -> Iterator[DeadLetter]:
    from beam_mixpanel.errors import UnreadableFileError
    from beam_mixpanel.files.listing import match_files, open_file

    try:
        files = dict.fromkeys(file.path for pattern in patterns for file in match_files(pattern))
        for path in files:
            with open_file(path) as file:
                for line in file:
                    if line.strip():
                        yield _letter(line)
    except (UnreadableFileError, ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None


def _letter(line: bytes) -> DeadLetter:
    try:
        return from_json_line(line)
    except ValueError:
        return _NO_LETTER


def _grouped(letters: Iterable[DeadLetter], show_events: bool) -> list[dict[str, Any]]:
    """Count by reason; the most frequent first."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for letter in letters:
        key = (letter.stage, letter.fate, letter.reason)
        group = groups.get(key)
        if group is None:
            group = groups[key] = {
                **dict(zip(("stage", "fate", "reason"), key, strict=True)),
                "count": 0,
                "field": letter.field,
                "message": letter.message,
                "source": letter.source,
                **({"event": letter.event[:_LONGEST].decode(errors="replace")} if show_events else {}),
            }
        group["count"] += 1
    return sorted(groups.values(), key=lambda group: (-group["count"], group["reason"]))


def _table(groups: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{sum(group['count'] for group in groups):,} dead letters", title_justify="left")
    table.add_column("count", justify="right")
    for column in ("stage", "fate", "reason", "the first of them"):
        table.add_column(column, overflow="fold")
    for group in groups:
        said = group["message"]
        if group["field"]:
            said = f"{group['field']}: {said}"
        if group["source"]:
            said += f"\n{group['source']}"
        if "event" in group:
            said += f"\n{group['event']}"
        as_text = said.replace("[", "\\[")
        table.add_row(f"{group['count']:,}", group["stage"], group["fate"], group["reason"], as_text)
    return table
