"""Formats that are proposed for times that could not be read."""

from __future__ import annotations

from datetime import datetime

import pytest

from beam_mixpanel.core.check.masking import mask
from beam_mixpanel.core.check.time_shapes import proposed_formats


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("31.12.2024 23:59", ["%d.%m.%Y %H:%M"]),
        ("1.2.24", ["%d.%m.%y"]),
        ("12/31/2024 11:59 PM", ["%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p"]),
        ("31/12/2024, 23:59:58", ["%d/%m/%Y, %H:%M:%S", "%m/%d/%Y, %H:%M:%S"]),
        ("31-12-2024T23:59:58.123", ["%d-%m-%YT%H:%M:%S.%f", "%m-%d-%YT%H:%M:%S.%f"]),
        ("2024/12/31 23:59:58", ["%Y/%m/%d %H:%M:%S"]),
        ("2024-12-31 11:59:58PM", ["%Y-%m-%d %I:%M:%S%p"]),
        ("2024-12-31 23:59:58", []),
        ("2024-12-31", []),
        ("192.168.10.11", []),
        ("1.2.3", []),
        ("soon", []),
    ],
)
def test_a_shape_gives_the_formats_that_may_be_meant(text: str, formats: list[str]) -> None:
    """Among other columns, masked or not; what is ISO 8601 can be read, so it is not what is looked for."""
    row = f'{{"id": 12, "day": "2024-12-30", "at": "{text}", "amount": "12,50"}}'
    assert proposed_formats([row]) == proposed_formats([mask(row)]) == formats


@pytest.mark.parametrize("text", ["31.12.2024 23:59", "1/2/2024 1:02 AM", "2024/1/2 3:04:05"])
def test_what_is_proposed_reads_the_text(text: str) -> None:
    """The user can paste it."""
    for time_format in proposed_formats([text]):
        assert isinstance(datetime.strptime(text, time_format), datetime)


def test_nothing_is_proposed_where_texts_differ() -> None:
    """One format would not read them all."""
    assert proposed_formats(["31.12.2024", "12/31/2024"]) == []
    assert proposed_formats([]) == []
