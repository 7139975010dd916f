"""Times: every form that sources hold them in, exact to the millisecond, never guessed."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.events.time import to_epoch_ms
from beam_mixpanel.core.json.values import unwrap

MS = 1_686_668_880_123
"""2023-06-13T15:08:00.123Z."""
NEW_YORK = ZoneInfo("America/New_York")
VALID_MS = st.integers(31_536_000_000, 9_999_999_999_999)
"""From 1971 on, as long as milliseconds cannot be taken for microseconds."""


class BeamTimestamp(NamedTuple):
    """What the core knows of Beam's `Timestamp`."""

    micros: int


class NoOffset(tzinfo):
    def utcoffset(self, moment: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_686_668_880, 1_686_668_880_000),
        (MS, MS),
        (MS * 1000 + 999, MS),
        (MS * 1_000_000 + 999_999, MS),
        (1_686_668_880.123, MS),
        (float(MS), MS),
        (Decimal("1686668880.123"), MS),
        (Decimal("1686668880.1239999999999999999999999999999999"), MS),
        (Decimal("1.686668880123E+12"), MS),
        ("1686668880", 1_686_668_880_000),
        ("1686668880.123999999999999999999999999999999999", MS),
        ("1686668880123", MS),
        ("1686668880123.99999999999999999999999999999999", MS),
        ("1686668880123456", MS),
        ("1686668880123456789", MS),
        ("1.686668880123e9", MS),
        ("  1686668880123\n", MS),
        (9_999_999_999, 9_999_999_999_000),
        (10**10, 10**10),
        (10**13 - 1, 10**13 - 1),
        (10**13, 10**10),
        (10**16 - 1, 10**13 - 1),
        (10**16, 10**10),
        (10**19 - 1, 10**13 - 1),
    ],
)
def test_numbers_are_told_apart_by_their_size(value: Any, expected: int) -> None:
    """Seconds, milliseconds, microseconds and nanoseconds, as numbers or as text, come to the same milliseconds."""
    assert to_epoch_ms(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-06-13T15:08:00.123Z", MS),
        ("2023-06-13T15:08:00.123z", MS),
        ("2023-06-13t15:08:00.123Z", MS),
        ("2023-06-13 15:08:00.123", MS),
        ("2023-06-13 15:08:00.123 UTC", MS),
        ("2023-06-13 15:08:00,123 GMT", MS),
        ("2023-06-13T15:08:00.123000000000000000000001Z", MS),
        ("2023-06-13T15:08:00.123999999999999999999999Z", MS),
        ("2023-06-13T15:08:00.1Z", MS - 23),
        ("2023-06-13T15:08:00.12Z", MS - 3),
        ("2023-06-13T15:08:00Z", MS - 123),
        ("2023-06-13T15:08Z", MS - 123),
        ("2023-06-13T17:08:00.123+02:00", MS),
        ("2023-06-13T17:08:00.123+0200", MS),
        ("2023-06-13T17:08:00.123 +02", MS),
        ("2023-06-13T09:38:00.123-05:30", MS),
        ("2023-06-13", 1_686_614_400_000),
        ("2023-06-13Z", 1_686_614_400_000),
        ("1970-01-01T00:00:00.999Z", 999),
        ("1969-12-31T23:59:59.999Z", -1),
        ("9999-12-31T23:59:59.999-05:00", 253_402_318_799_999),
    ],
)
def test_iso_8601_text_is_read(text: str, expected: int) -> None:
    """ISO 8601 with `Z`, a name, an offset or no zone (UTC) and with fractions of any length is read exactly."""
    assert to_epoch_ms(text) == expected


@pytest.mark.parametrize(
    ("value", "utc"),
    [
        ("2023-01-15 12:00:00", "2023-01-15T17:00:00Z"),
        ("2023-07-15 12:00:00", "2023-07-15T16:00:00Z"),
        ("2023-07-15", "2023-07-15T04:00:00Z"),
        ("2023-07-15T12:00:00Z", "2023-07-15T12:00:00Z"),
        ("2023-07-15T12:00:00+02:00", "2023-07-15T10:00:00Z"),
        ("2023-11-05 01:30:00", "2023-11-05T05:30:00Z"),
        ("2023-03-12 02:30:00", "2023-03-12T07:30:00Z"),
        (datetime(2023, 7, 15, 12), "2023-07-15T16:00:00Z"),
        (datetime(2023, 7, 15, 12, tzinfo=NoOffset()), "2023-07-15T16:00:00Z"),
        (date(2023, 1, 15), "2023-01-15T05:00:00Z"),
        (datetime(2023, 7, 15, 12, tzinfo=timezone.utc), "2023-07-15T12:00:00Z"),
    ],
)
def test_the_users_zone_serves_where_none_is_named(value: Any, utc: str) -> None:
    """Clock times and dates without zone are in the user's zone, summer time included; others keep their own."""
    assert to_epoch_ms(value, zone=NEW_YORK) == to_epoch_ms(utc)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2023, 6, 13, 15, 8, 0, 123_999, tzinfo=timezone.utc),
        datetime(2023, 6, 13, 15, 8, 0, 123_000),
        datetime(2023, 6, 13, 11, 8, 0, 123_000, tzinfo=NEW_YORK),
        datetime(2023, 6, 13, 17, 8, 0, 123_000, tzinfo=timezone(timedelta(hours=2))),
        BeamTimestamp(MS * 1000 + 999),
        np.int64(MS),
        np.float64(1_686_668_880.123),
        np.datetime64("2023-06-13T15:08:00.123"),
        np.datetime64("2023-06-13T15:08:00.123456789"),
        np.datetime64(MS, "ms"),
        pa.scalar(MS, pa.timestamp("ms")),
        pa.scalar(MS * 1000, pa.timestamp("us", "Europe/Paris")),
        pa.scalar(MS * 1_000_000 + 789, pa.timestamp("ns")),
        pa.scalar(MS * 1_000_000 + 789, pa.timestamp("ns", "Europe/Paris")),
        pa.scalar(MS),
        pa.scalar("2023-06-13T15:08:00.123Z"),
    ],
)
def test_objects_of_every_kind_are_read(value: Any) -> None:
    """Python, Beam, numpy and Arrow moments come to the same milliseconds, nanoseconds cut off."""
    assert to_epoch_ms(unwrap(value)) == MS


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, "", " ", "soon", "now", b"1686668880", [1_686_668_880], {}, object()),
        *(float("nan"), float("inf"), float("-inf"), 1e300, 10**19, -(10**19), 10**400),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e9999999"), Decimal("-1e19")),
        *("NaN", "sNaN", "Infinity", "-inf", "1e9999999", "1e999999999999", "1e99999999999999999999", "1_686_668_880"),
        *("2023-13-01", "2023-00-01", "2023-02-30", "0000-01-01", "2023-06-13T24:00:00Z", "2023-06-13T15:60:00Z"),
        *("2023-06-13T15:08:00+99:00", "2023-06-13T15:08:00+01:75", "2023-06-13T15Z", "13/06/2023", "2023-6-13"),
        *("\u0662\u0660\u0662\u0663-06-13", "\u0661\u0666\u0668\u0666\u0666\u0666\u0668\u0668\u0668\u0660"),
        *("0x64", "1686668880Z", "2023-06-13T15:08:00.Z", "2023-06-13T15:08:00 Europe/Paris", "--1"),
        *(unwrap(np.datetime64("NaT")), unwrap(np.datetime64("10000-01-01T00:00:00"))),
    ],
)
def test_what_is_no_time_is_not_guessed(value: object) -> None:
    """Whatever is not clearly a time gives none, and never an exception."""
    assert to_epoch_ms(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1, -1000), (-1.5, -1500), ("-1686668880123", -MS), (Decimal("-0.0001"), -1), (0, 0), ("1e-9999999", 0)],
)
def test_times_before_1970_keep_their_sign(value: Any, expected: int) -> None:
    """A negative time stays negative, so that it is refused for being too early rather than taken for another."""
    assert to_epoch_ms(value) == expected


@given(VALID_MS)
def test_a_millisecond_survives_every_unit(ms: int) -> None:
    """Whichever unit and form a time is written in, the same millisecond is read."""
    seconds = f"{ms // 1000}.{ms % 1000:03}"
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)
    forms: list[object] = [ms, ms * 1000, ms * 10**6, str(ms), str(ms * 1000), str(ms * 10**6), ms / 1000]
    forms += [seconds, Decimal(seconds), float(seconds), Decimal(ms), float(ms), float(ms * 1000)]
    forms += [moment, moment.replace(tzinfo=None), moment.isoformat(), BeamTimestamp(ms * 1000)]
    assert {to_epoch_ms(form) for form in forms} == {ms}


@given(VALID_MS, st.integers(-14 * 60, 14 * 60))
def test_an_offset_moves_the_clock_not_the_moment(ms: int, minutes: int) -> None:
    """A moment written with any offset is read as the same moment, whatever the user's zone."""
    zone = timezone(timedelta(minutes=minutes))
    moment = (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)).astimezone(zone)
    assert to_epoch_ms(moment.isoformat(), zone=NEW_YORK) == ms
    assert to_epoch_ms(moment.replace(tzinfo=None), zone=zone) == ms


@given(st.one_of(st.text(), st.integers(), st.floats(), st.decimals(), st.datetimes(), st.dates(), st.binary()))
def test_any_value_has_an_answer(value: object) -> None:
    """Any text, number or date gives an integer or none, never an exception."""
    answer = to_epoch_ms(value)
    assert answer is None or type(answer) is int
