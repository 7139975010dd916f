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
    shapes = [shape for text in texts for shape in _SHAPE.finditer(mask(text))]
    found = [formats for formats in map(_formats_of, shapes) if formats]
    if not found or any(formats != found[0] for formats in found):
        return []
    return found[0]


def _formats_of(shape: re.Match[str]) -> list[str]:
    """Write a shape as formats; ISO 8601 needs none, so it gives none."""
    clock = _clock_of(shape)
    sign = shape["from_year"]
    if sign == "-" and not shape["half"]:
        return []
    if sign:
        return [f"{sign.join(('%Y', '%m', '%d'))}{clock}"]
    sign = shape["to_year"]
    year = {"9999": "%Y", "99": "%y"}[shape["year"]]
    by_day = f"{sign.join(('%d', '%m', year))}{clock}"
    by_month = f"{sign.join(('%m', '%d', year))}{clock}"
    # Dots are between the parts of dates where the day is first; who writes am and pm mostly begins with the month.
    if sign == ".":
        return [by_day]
    if shape["half"]:
        return [by_month, by_day]
    return [by_day, by_month]


def _clock_of(shape: re.Match[str]) -> str:
    """Write the time of day as a format, with what is between it and the date; empty where there is none."""
    if shape["gap"] is None:
        return ""
    clock = "%H:%M"
    if shape["half"]:
        clock = "%I:%M"
    if shape["secs"]:
        clock += ":%S"
    if shape["fraction"]:
        clock += ".%f"
    if shape["half"]:
        clock += shape["half"].replace("aa", "%p")
    return shape["gap"].replace("a", "T") + clock
