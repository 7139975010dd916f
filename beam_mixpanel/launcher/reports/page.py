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


def table_of(heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a table of cells that are HTML already; a head that begins with `#` is of numbers."""
    heads = list(heads)
    classes = [' class="number"' if head.startswith("#") else "" for head in heads]
    cells_of_head = "".join(
        f'<th scope="col"{kind}>{head.removeprefix("#")}</th>' if head else "<td></td>"
        for head, kind in zip(heads, classes, strict=True)
    )
    classes[0] = ' class="name"' if heads[0] else ""
    lines = "".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for cell, kind in zip(row, classes, strict=True))}</tr>" for row in rows
    )
    head = f"<thead><tr>{cells_of_head}</tr></thead>" if any(head.strip("#") for head in heads) else ""
    reached = ' tabindex="0" role="group" aria-label="table"' if len(heads) > _FITTING else ""
    return f'<div class="scroll"{reached}><table>{head}<tbody>{lines}</tbody></table></div>'


def moment_of(text: str) -> str:
    """Write an ISO moment in UTC as people do."""
    return text.replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")


def in_bytes(size: float) -> str:
    """Write a size in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def in_time(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
