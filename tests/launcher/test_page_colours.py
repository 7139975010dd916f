"""The colours of the pages: everything on them can be told from its ground, by day and by night."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

import pytest

TEXT: Final = 4.5
GRAPHICS: Final = 3.0
"""The contrast that WCAG 2.2, AA, asks for: https://www.w3.org/TR/WCAG22/#contrast-minimum, #non-text-contrast."""
LEVELS: Final = ("stop", "look", "note", "fine")

REPORTS: Final = {
    TEXT: [
        *((text, ground) for text in ("text", "soft", "look", "stop") for ground in ("back", "card")),
        *(("text", ground) for ground in ("track", *(f"{level}-back" for level in LEVELS))),
        *((level, f"{level}-back") for level in LEVELS),
    ],
    GRAPHICS: [("bar", "card"), ("bar", "track"), *((level, "card") for level in LEVELS)],
}
EMULATOR: Final = {
    TEXT: [(text, ground) for text in ("text", "muted", "accent", "bad") for ground in ("ground", "surface")],
    GRAPHICS: [
        *(("edge", ground) for ground in ("ground", "surface")),
        *((bar, "track") for bar in ("accent", "good", "warn", "bad")),
        ("good", "ground"),
    ],
}


def _schemes(css: str) -> dict[str, dict[str, str]]:
    """Read the colours of both schemes; what the dark one does not name is as in the light one."""
    light, _, rest = css.partition("prefers-color-scheme: dark")
    dark = re.split(r"\}\s*\}", rest, maxsplit=1)[0]
    by_day, by_night = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", text)) for text in (light, dark))
    return {"light": by_day, "dark": by_day | by_night}


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Give the contrast of two colours, from 1 to 21."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_as_the_guidelines_count_it() -> None:
    """The examples that everybody uses."""
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("file", "pairs"),
    [("launcher/reports/page.css", REPORTS), ("emulator/page.html", EMULATOR)],
    ids=["reports", "emulator"],
)
def test_everything_can_be_told_from_its_ground(
    file: str, pairs: dict[float, list[tuple[str, str]]], scheme: str
) -> None:
    """Text and graphics have the contrast that accessible pages have."""
    colours = _schemes((files("beam_mixpanel") / file).read_text())[scheme]
    weak = {
        f"{colour} on {ground}": round(contrast(colours[colour], colours[ground]), 2)
        for least, each in pairs.items()
        for colour, ground in each
        if contrast(colours[colour], colours[ground]) < least
    }
    assert not weak
