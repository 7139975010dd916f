"""Whatever shape an event comes in, it leaves as `{"event": name, "properties": {...}}`."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from beam_mixpanel.core.events.chunk import PreparedEvent
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.prepare import EventPreparer

NOW = 1_700_000_000_000
T = 1_686_668_880_123
NEW_YORK = ZoneInfo("America/New_York")
SENT = {"event": "Bought", "properties": {"time": T, "distinct_id": "ann", "price": 5, "$insert_id": "id-1"}}


class Column(str, Enum):
    EVENT = "event"
    TIME = "time"
    PROPERTIES = "properties"


class Row(NamedTuple):
    event: str
    time: Any
    distinct_id: str
    price: int


class Inner(NamedTuple):
    time: int
    distinct_id: str


@dataclasses.dataclass
class Outer:
    event: str
    properties: Inner


class Timestamp:
    """What the core knows of Beam's."""

    def __init__(self, micros: int) -> None:
        self.micros = micros


def prepared(event: Any, form: Form = Form()) -> PreparedEvent:
    preparer = EventPreparer(form)
    done = preparer.prepare_text(event, NOW) if isinstance(event, bytes) else preparer.prepare_object(event, NOW)
    assert [letter.message for letter in done.invalid] == []
    return done.events[0]


def sent(event: Any, form: Form = Form()) -> Any:
    return json.loads(prepared(event, form).body)


@pytest.mark.parametrize(
    "event",
    [
        SENT,
        {"event": "Bought", **SENT["properties"]},
        {"event_name": "Bought", **SENT["properties"]},
        {"event": None, "event_name": "Bought", **SENT["properties"]},
        {"event": "Bought", "properties": None, **SENT["properties"]},
        {"event": "Bought", "properties": {}, **SENT["properties"]},
        {"event": "Bought", "time": T, "price": 5, "properties": {"distinct_id": "ann", "$insert_id": "id-1"}},
        {"event_name": "Bought", "time": T, "properties": SENT["properties"]},
    ],
)
def test_every_shape_gives_the_same_event(event: dict[str, Any]) -> None:
    """Mixpanel's shape, the flat shape, and fields beside properties come to the same event, as text and as object."""
    assert sent(event) == SENT
    assert sent(json.dumps(event).encode()) == SENT


def test_rows_and_dataclasses_are_events() -> None:
    """Named tuples, dataclasses and keys from an enumeration serve as dicts do."""
    made = [
        sent(Row("Bought", T, "ann", 5)),
        sent({Column.EVENT: "Bought", Column.TIME: T, "distinct_id": "ann", "price": 5}),
        sent({"event": "Bought", Column.PROPERTIES: {Column.TIME: T, "distinct_id": "ann", "price": 5}}),
        sent({np.str_("event"): np.str_("Bought"), "time": np.int64(T), "distinct_id": "ann", "price": np.uint8(5)}),
    ]
    assert made == [made[0]] * 4
    assert made[0]["properties"].keys() == {"time", "distinct_id", "price", "$insert_id"}
    assert sent(Outer("Bought", Inner(T, "ann")))["properties"]["distinct_id"] == "ann"


def test_a_second_name_is_a_property() -> None:
    """Where `event` gives the name, `event_name` is kept as a property: nothing is dropped."""
    assert sent({"event": "a", "event_name": "b", "time": T})["properties"]["event_name"] == "b"


@pytest.mark.parametrize(
    ("given_id", "text"),
    [
        (7, "7"),
        (-7, "-7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (2**53 + 1, "9007199254740993"),
        (1234567890123456789, "1234567890123456789"),
        (2**64 + 1, "18446744073709551617"),
        (10**254, "1" + "0" * 254),
    ],
)
@pytest.mark.parametrize("key", ["distinct_id", "$user_id", "$device_id"])
@pytest.mark.parametrize("flat", [False, True])
def test_numbers_as_ids_become_text_with_every_digit(key: str, given_id: Any, text: str, flat: bool) -> None:
    """An id that is a number loses no digit, in JSON text or in an object; `7.0` is the 7 of a float column."""
    fields = {"time": T, key: given_id}
    event = {"event": "e", **fields} if flat else {"event": "e", "properties": fields}
    assert sent(event)["properties"][key] == text
    assert sent(json.dumps(event).encode())["properties"][key] == text


@pytest.mark.parametrize(
    ("given_id", "text"),
    [
        (Decimal("12345678901234567890123.00"), "12345678901234567890123"),
        (Decimal("7.10"), "7.10"),
        (Decimal("1E+3"), "1000"),
        (np.int64(5), "5"),
        (np.float64(5.0), "5"),
    ],
)
def test_other_numbers_as_ids_become_text(given_id: Any, text: str) -> None:
    """Decimals and numpy numbers serve as ids by their digits."""
    assert sent({"event": "e", "time": T, "distinct_id": given_id})["properties"]["distinct_id"] == text


@pytest.mark.parametrize("absent", [None, float("nan"), np.datetime64("NaT")])
def test_a_null_id_is_left_out(absent: Any) -> None:
    """A missing id is not sent as the text of a missing value."""
    assert "distinct_id" not in sent({"event": "e", "time": T, "distinct_id": absent})["properties"]


def test_numbers_beside_ids_keep_their_type() -> None:
    """Only ids become text; other integers of any size stay numbers with all their digits."""
    big = 2**70 + 1
    line = b'{"event":"e","time":%d,"n":%d,"deep":{"n":[%d]}}' % (T, big, big)
    assert sent(line)["properties"] | {"$insert_id": ""} == {
        "time": T,
        "n": big,
        "deep": {"n": [big]},
        "$insert_id": "",
    }


@pytest.mark.parametrize(
    "time",
    [
        datetime(2023, 6, 13, 15, 8, tzinfo=timezone.utc),
        datetime(2023, 6, 13, 11, 8, tzinfo=NEW_YORK),
        datetime(2023, 6, 13, 15, 8),
        "2023-06-13T15:08:00",
        Timestamp(1_686_668_880_000_000),
        1_686_668_880,
        Decimal("1686668880.0"),
    ],
)
@pytest.mark.parametrize("flat", [False, True])
def test_a_refused_object_can_be_replayed_with_the_same_time(time: Any, flat: bool) -> None:
    """The text of a dead letter says in which zone its time is, so that replaying it reads the same moment."""
    form = Form(zone=NEW_YORK)
    fields = {"time": time, "distinct_id": "null"}
    event = {"event": "e", **fields} if flat else {"event": "e", "properties": fields}
    (letter,) = EventPreparer(form).prepare_object(event, NOW).invalid
    assert letter.reason == "distinct_id_placeholder"
    mended = letter.event.replace(b'"null"', b'"ann"')
    good = {"event": "e", "time": time, "distinct_id": "ann"}
    assert sent(mended, form) == sent(good, form)


def test_an_object_needs_no_other_text_than_its_body() -> None:
    """Sending a prepared object's body again gives the same bytes, though its values had forms that JSON lacks."""
    event = {"event": "e", "time": datetime(2023, 6, 13, tzinfo=NEW_YORK), "price": Decimal("1.50"), "tags": {"b", "a"}}
    first = prepared(event)
    assert first.original is None
    assert prepared(first.body) == first


@pytest.mark.parametrize("inexact", [2.0**53, -1.2345e19, 1e300])
def test_a_python_float_too_large_to_be_exact_is_no_id(inexact: float) -> None:
    """Such a float may have lost digits already, and would merge users: it is invalid, by name."""
    (letter,) = (
        EventPreparer().prepare_object({"event": "e", "time": 1686668880, "distinct_id": inexact}, 10**13).invalid
    )
    assert (letter.reason, letter.field) == ("id_inexact", "properties.distinct_id")
