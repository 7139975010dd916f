"""How times seem to be written, as formats to propose; none is ever read by a guess."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from beam_mixpanel.core.check.masking import mask

_SHAPE: Final = re.compile(
    r"(?<![\w.:/-])"
    r"(?:9{4}(?P<from_year>[./-])9{1,2}(?P=from_year)9{1,2}|9{1,2}(?P<to_year>[./-])9{1,2}(?P=to_year)(?P<year>9{4}|99))"
    r"(?:(?P<gap>,? |a)9{1,2}:99(?P<secs>:99(?P<fraction>\.9{1,6})?)?(?P<half> ?aa)?)?"
    r"(?![\w:/-])"
)


def proposed_formats(texts: Iterable[str]) -> list[str]:
    """Give the formats of `strptime` that suit what seems to be a time in texts, or in their masks.

    Args:
      texts: rows that hold a time that could not be read, and other things.

    Returns:
      One format, or two where days and months may stand in either order; none where texts differ, or hold no such time.
    """
    found = [formats for text in texts for shape in _SHAPE.finditer(mask(text)) if (formats := _formats_of(shape))]
    return found[0] if found and all(formats == found[0] for formats in found) else []


def _formats_of(shape: re.Match[str]) -> list[str]:
    """Write a shape as formats; ISO 8601 needs none, so it gives none."""
    clock = ""
    if shape["gap"] is not None:
        hours, half = ("%I", shape["half"].replace("aa", "%p")) if shape["half"] else ("%H", "")
        secs = f":%S{'.%f' if shape['fraction'] else ''}" if shape["secs"] else ""
        clock = f"{shape['gap'].replace('a', 'T')}{hours}:%M{secs}{half}"
    sign = shape["from_year"]
    if sign:
        return [] if sign == "-" and not shape["half"] else [f"{sign.join(('%Y', '%m', '%d'))}{clock}"]
    sign = shape["to_year"]
    year = "%Y" if shape["year"] == "9999" else "%y"
    by_day, by_month = (f"{sign.join((*order, year))}{clock}" for order in (("%d", "%m"), ("%m", "%d")))
    if sign == ".":
        return [by_day]
    return [by_month, by_day] if shape["half"] else [by_day, by_month]
