"""What our HTML pages have in common: one file each, no script, no network, light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib import resources
from typing import Final

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_FITTING: Final = 3
"""A table of more columns may have to be scrolled sideways, which must be possible without a mouse."""


def document(title: str, sections: str) -> str:
    """Write a page of sections."""
    style = resources.files(__package__).joinpath("page.css").read_text()
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<style>{style}</style></head><body><main>{sections}</main></body></html>\n"
    )


def card(title: str, told: str, content: str) -> str:
    """Write a section; told and content are HTML already."""
    return f'<section class="card"><h2>{escape(title)}</h2><p>{told}</p>{content}</section>'


def tile(figure: str, told: str, *, is_bad: bool = False) -> str:
    """Write a figure in large type, with what it is below; both are HTML already."""
    kind = "tile"
    if is_bad:
        kind = "tile bad"
    return f'<div class="{kind}"><b>{figure}</b><span>{told}</span></div>'


def soft(content: str) -> str:
    """Write a paragraph in pale type, of content that is HTML already; of none, nothing."""
    if not content:
        return ""
    return f'<p class="soft">{content}</p>'


def table_of(heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a table of cells that are HTML already; a head that begins with `#` is of numbers."""
    heads = list(heads)
    kinds = ["number" if head.startswith("#") else "" for head in heads]
    head = ""
    if any(each.strip("#") for each in heads):
        cells = (_head_cell(each, kind) for each, kind in zip(heads, kinds, strict=True))
        head = f"<thead><tr>{''.join(cells)}</tr></thead>"
    # The first column names its row: in larger type, if the column has a name itself.
    kinds[0] = "name" if heads[0] else ""
    lines = []
    for row in rows:
        cells = (f"<td{_class(kind)}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    reached = ""
    if len(heads) > _FITTING:
        reached = ' tabindex="0" role="group" aria-label="table"'
    return f'<div class="scroll"{reached}><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def _head_cell(head: str, kind: str) -> str:
    if not head:
        return "<td></td>"
    return f'<th scope="col"{_class(kind)}>{head.removeprefix("#")}</th>'


def _class(kind: str) -> str:
    if kind:
        return f' class="{kind}"'
    return ""


def moment_of(text: str) -> str:
    """Write an ISO moment in UTC as people do."""
    return text.replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")


def in_bytes(size: float) -> str:
    """Write a size in the unit that suits it."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    size /= 1000
    return f"{size:,.1f} TB"


def in_time(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{hours:.1f} h"
    return f"{hours / 24:.1f} days"
