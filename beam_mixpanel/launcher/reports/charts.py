"""Charts as inline SVG: no script, no network, and good on paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

_WIDTH: Final = 1000
_HEIGHT: Final = 100
_WIDEST: Final = 60
_SMALLEST: Final = 0.8
"""What is not nothing is seen."""


def columns(values: Sequence[tuple[str, int]], *, title: str, labels: int = 5) -> str:
    """Draw a column for each value, as wide as there is room; words stand around it, and keep their size.

    Args:
      values: what each column is, and how high.
      title: for those who do not see it.
      labels: so many of the columns are named below.
    """
    if not values:
        return '<p class="soft">There is nothing to show.</p>'
    highest = max(1, *(count for _, count in values))
    step = _WIDTH / len(values)
    width = min(step * 0.8, _WIDEST)
    drawn = "".join(
        _column(place * step + (step - width) / 2, width, count / highest, f"{label}: {count:,}")
        for place, (label, count) in enumerate(values)
    )
    return (
        f'<figure><figcaption>at most {highest:,}</figcaption><svg class="columns" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'preserveAspectRatio="none" role="img" aria-label="{escape(title)}">{drawn}</svg>'
        f'<div class="labels">{_labels([label for label, _ in values], labels)}</div></figure>'
    )


def bar(share: float) -> str:
    """Draw one bar across."""
    filled = f'<rect width="{max(share * 100, 0.3):.2f}" height="12"/>'
    track = '<rect class="track" width="100" height="12"/>'
    return f'<svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">{track}{filled}</svg>'


def _column(left: float, width: float, share: float, told: str) -> str:
    height = _HEIGHT * share
    if share:
        height = max(height, _SMALLEST)
    return (
        f'<rect x="{left:.2f}" y="{_HEIGHT - height:.2f}" width="{width:.2f}" height="{height:.2f}">'
        f"<title>{escape(told)}</title></rect>"
    )


def _labels(labels: Sequence[str], wanted: int) -> str:
    """Name some columns at equal distances; where all are named, each stands below its own."""
    if wanted >= len(labels):
        return "".join(f'<span class="each">{escape(label)}</span>' for label in labels)
    shown = [round((len(labels) - 1) * place / (wanted - 1)) for place in range(wanted)]
    return "".join(f"<span>{escape(labels[place])}</span>" for place in shown)
