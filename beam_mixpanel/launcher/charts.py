"""Charts as inline SVG: no script, no network, and good on paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

_WIDTH: Final = 1000
_HEIGHT: Final = 180
_LEFT: Final = 4
_FOOT: Final = 20
_HEAD: Final = 16


def columns(values: Sequence[tuple[str, int]], *, title: str, labels: int = 6) -> str:
    """Draw a column for each value.

    Args:
      values: what each column is, and how high.
      title: for those who do not see it.
      labels: so many of the columns are named below.
    """
    if not values:
        return '<p class="soft">There is nothing to show.</p>'
    highest = max(1, *(count for _, count in values))
    step = _WIDTH / len(values)
    drawn = [
        f'<line x1="0" y1="{_HEAD + _HEIGHT}" x2="{_WIDTH}" y2="{_HEAD + _HEIGHT}"/>',
        f'<text x="{_LEFT}" y="{_HEAD - 5}">at most {highest:,}</text>',
    ]
    for place, (label, count) in enumerate(values):
        height = max(_HEIGHT * count / highest, 1.5 if count else 0)
        width = min(max(step * 0.8, 0.5), 60)
        drawn.append(
            f'<rect x="{place * step + (step - width) / 2:.2f}" y="{_HEAD + _HEIGHT - height:.2f}" width="{width:.2f}" '
            f'height="{height:.2f}"><title>{escape(label)}: {count:,}</title></rect>'
        )
    drawn += _labels([label for label, _ in values], step, labels)
    size = f'viewBox="0 0 {_WIDTH} {_HEAD + _HEIGHT + _FOOT}"'
    return f'<svg {size} role="img" aria-label="{escape(title)}">{"".join(drawn)}</svg>'


def bar(share: float) -> str:
    """Draw one bar across."""
    filled = f'<rect width="{max(share * 100, 0.3):.2f}" height="12" rx="1"/>'
    track = '<rect class="track" width="100" height="12" rx="1"/>'
    return f'<svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">{track}{filled}</svg>'


def _labels(labels: Sequence[str], step: float, wanted: int) -> list[str]:
    last = len(labels) - 1
    shown = sorted({round(last * place / max(1, wanted - 1)) for place in range(min(wanted, len(labels)))})
    drawn = []
    for place in shown:
        anchor = "middle" if len(labels) == 1 or 0 < place < last else "start" if place == 0 else "end"
        x = {"start": place * step + _LEFT, "end": (place + 1) * step - _LEFT, "middle": (place + 0.5) * step}[anchor]
        drawn.append(
            f'<text x="{x:.1f}" y="{_HEAD + _HEIGHT + 15}" text-anchor="{anchor}">{escape(labels[place])}</text>'
        )
    return drawn
