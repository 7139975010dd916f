"""`$insert_id`: kept where it can be, made from the event alone where not, the same everywhere and for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.events import insert_id as insert_ids
from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.insert_id import InsertIdStrategy, is_acceptable
from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, identity_of
from beam_mixpanel.core.limits import PLACEHOLDER_IDS

T = 1_686_668_880_123
NOW = 1_700_000_000_000
MIXPANEL_IMPORT_VECTORS = [
    ("6476-d725-cd82-7d45c82c3dd6", 1686668880000, "2371213552"),
    ("6476-d781-cd82-7d217c2c4b69", 1686344460000, "4063295875"),
    ("6476-d6b6-cd82-7d60ee2c2d81", 1686725580000, "2840891370"),
]


def prepared_id(event: Any, strategy: str = "content") -> str:
    """Give the id that an event is sent with."""
    done = EventPreparer(Form(InsertIdStrategy.parse(strategy))).prepare_object(event, NOW)
    assert [letter.message for letter in done.invalid] == []
    return identity_of(done.events[0].body)[0]


def event_with(**properties: Any) -> dict[str, Any]:
    return {"event": "Bought", "properties": {"time": T, "distinct_id": "ann"} | properties}


@pytest.mark.parametrize("given_id", ["a", "A-z-0-9", "-", "x" * 36, "3F2504E0-4F89-11D3-9A0C-0305E82C3301", "00"])
def test_an_acceptable_id_is_kept(given_id: str) -> None:
    """What Mixpanel would accept stays as it is, up to 36 bytes."""
    assert is_acceptable(given_id)
    assert prepared_id(event_with(**{"$insert_id": given_id})) == given_id


@pytest.mark.parametrize(
    "given_id",
    [
        "x" * 37,
        "a_b",
        "a b",
        "a.b",
        "é",
        "a\n",
        "\u0661",
        "a\x00",
        *sorted(PLACEHOLDER_IDS),
        "NULL",
        "Undefined",
        "N/A",
        "None",
    ],
)
def test_a_refused_id_is_replaced_and_counted(given_id: str) -> None:
    """What Mixpanel would refuse gives way to a hash of itself and the event's identity: equal for equals only."""
    assert not is_acceptable(given_id)
    event = event_with(**{"$insert_id": given_id})
    done = EventPreparer().prepare_object(event, NOW)
    made = identity_of(done.events[0].body)[0]
    assert done.repaired == 1
    from_file = EventPreparer().prepare_block(EventBlock(msgspec.json.encode(event), "f", 0), NOW)
    assert (from_file.events.bodies, from_file.repaired) == (done.events.bodies, 1)
    assert is_acceptable(made)
    assert len(made) == 32
    assert made == prepared_id(event_with(**{"$insert_id": given_id}, other="property"))
    assert made != prepared_id(event_with(**{"$insert_id": given_id}, time=T + 1))
    assert made != prepared_id(event_with(**{"$insert_id": given_id + "!"}))


@pytest.mark.parametrize("absent", [{}, {"$insert_id": None}, {"$insert_id": ""}])
def test_an_absent_id_is_made_and_not_counted_as_repaired(absent: dict[str, Any]) -> None:
    """Null and empty count as absent: the id comes from the content."""
    done = EventPreparer().prepare_object(event_with(**absent), NOW)
    assert done.repaired == 0
    assert identity_of(done.events[0].body)[0] == prepared_id(event_with())


@pytest.mark.parametrize(("given_id", "sent"), [(12, "12"), (12.0, "12"), (2**70, str(2**70))])
def test_a_number_serves_as_an_id_by_its_digits(given_id: Any, sent: str) -> None:
    """A number that would be acceptable as text is kept, digit by digit."""
    assert prepared_id(event_with(**{"$insert_id": given_id})) == sent


@pytest.mark.parametrize("given_id", [0, -1, True, [], {}, ["a"], 1.5, 10**36])
def test_other_values_are_replaced(given_id: Any) -> None:
    """Values whose text Mixpanel would refuse are replaced, even those that are no text at all."""
    assert len(prepared_id(event_with(**{"$insert_id": given_id}))) == 32


@pytest.mark.parametrize(
    ("event", "strategy", "expected"),
    [
        ({"event": "Bought", "time": T}, "content", "4dd16c3929002ea1c6d76f58c3688d69"),
        (event_with(price=1.5, tags=["a", None, True], big=2**70, city="Zürich"), "content",
         "6c9c57e984bf046ce6b249008dbf0d53"),
        (event_with(order="o-1", line=7), "columns:order,line", "60d2805814e4f21c279a84dc5298cc31"),
        (event_with(order="o-1"), "columns:event,order", "cefa91db453b35c8c991074482a9627f"),
        (event_with(**{"$insert_id": "bad id"}), "content", "cb85e4de8140c499ecdd95995eca8c6a"),
        (event_with(**{"$insert_id": ["bad", {"b": 1, "a": 2}]}), "content", "a0faa13d4840b9485f6f9aab88452154"),
    ],
)  # fmt: skip
def test_ids_never_change(event: Any, strategy: str, expected: str) -> None:
    """These ids were made once and must be made for ever: a library that changes them would duplicate events."""
    assert prepared_id(event, strategy) == expected


@pytest.mark.parametrize(("user", "time", "expected"), MIXPANEL_IMPORT_VECTORS)
def test_ids_of_mixpanel_import_are_made_alike(user: str, time: int, expected: str) -> None:
    """The published ids of the npm tool are met, so that a job it began can be finished here."""
    distinct_id = f"00000000-{user}"
    assert insert_ids.from_mixpanel_import("App Navigation", distinct_id, time) == expected
    flat = {"event": "App Navigation", "distinct_id": distinct_id, "time": time}
    assert prepared_id(flat, "mixpanel-import") == expected


def test_ids_of_mixpanel_import_take_the_time_as_the_source_has_it() -> None:
    """A number keeps its unit, text becomes milliseconds, and an absent user counts as empty text."""
    expected = insert_ids.from_mixpanel_import
    made = {
        "number": prepared_id({"event": "e", "time": T // 1000, "distinct_id": 5}, "mixpanel-import"),
        "float": prepared_id({"event": "e", "time": 1686668880.5, "distinct_id": "u"}, "mixpanel-import"),
        "text": prepared_id({"event": "e", "time": "2023-06-13T15:08:00.123Z"}, "mixpanel-import"),
    }
    assert made == {
        "number": expected("e", "5", T // 1000),
        "float": expected("e", "u", "1686668880.5"),
        "text": expected("e", None, T),
    }


def test_another_process_makes_the_same_ids() -> None:
    """Neither the seed of Python's hashes nor the process has a part in an id."""
    script = (
        "from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer, identity_of as read\n"
        "from beam_mixpanel.core.events.insert_id import from_mixpanel_import as murmur\n"
        f"event = {{'event': 'Bought', 'time': {T}, 'tags': {{'c', 'a', 'b'}}}}\n"
        f"print(read(EventPreparer().prepare_object(event, {NOW}).events[0].body)[0], murmur('e', 'u', 1))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    here = prepared_id({"event": "Bought", "time": T, "tags": {"a", "b", "c"}})
    assert said == {f"{here} {insert_ids.from_mixpanel_import('e', 'u', 1)}\n".encode()}


@pytest.mark.parametrize("missing", [{}, {"line": None}])
def test_a_missing_column_is_named(missing: dict[str, Any]) -> None:
    """Where a column of the id is absent or null the event is invalid: half an identity would merge events."""
    preparer = EventPreparer(Form(InsertIdStrategy.parse("columns:order,line")))
    done = preparer.prepare_object(event_with(order="o-1", **missing), NOW)
    assert [letter.reason for letter in done.invalid] == ["insert_id_column_missing"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("content", InsertIdStrategy()),
        ("mixpanel-import", InsertIdStrategy("mixpanel-import")),
        ("columns:a, b,", InsertIdStrategy("columns", ("a", "b"))),
    ],
)
def test_a_strategy_is_read(text: str, expected: InsertIdStrategy) -> None:
    """The three ways to make an id are named as documented."""
    assert InsertIdStrategy.parse(text) == expected


@pytest.mark.parametrize("text", ["", "uuid", "columns", "columns:", "columns: ,", "content:x", "mixpanel-import:x"])
def test_an_unknown_strategy_is_an_error_that_names_the_known(text: str) -> None:
    """A misspelt strategy tells which there are."""
    with pytest.raises(ValueError, match="must be content, columns:NAME,NAME or mixpanel-import"):
        InsertIdStrategy.parse(text)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
PROPERTIES = st.dictionaries(
    st.text().filter(lambda key: key not in ("time", "$insert_id", "distinct_id", "$user_id", "$device_id")),
    SCALARS | st.dictionaries(st.text(), SCALARS, max_size=3) | st.lists(SCALARS, max_size=3),
    max_size=6,
)


@given(PROPERTIES, st.randoms(use_true_random=False), st.sampled_from(["content", "columns:event,time"]))
def test_the_order_of_keys_has_no_part_in_an_id(properties: Any, random: Any, strategy: str) -> None:
    """Shuffled keys, at any level, in JSON text or in an object, give the same id."""

    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        items = [(key, shuffled(item)) for key, item in value.items()]
        random.shuffle(items)
        return dict(items)

    event = event_with(**properties)
    preparer = EventPreparer(Form(InsertIdStrategy.parse(strategy)))
    text = msgspec.json.encode(shuffled(event))
    made = {prepared_id(event, strategy), prepared_id(shuffled(event), strategy)}
    made.add(identity_of(preparer.prepare_text(text, NOW).events[0].body)[0])
    assert len(made) == 1
    assert is_acceptable(made.pop())


@given(st.text())
def test_acceptable_means_what_the_page_says(text: str) -> None:
    """An id is acceptable exactly if it is 1 to 36 ASCII letters, digits and hyphens, and no placeholder."""
    chars = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")
    oracle = 1 <= len(text) <= 36 and set(text) <= chars and text.lower() not in PLACEHOLDER_IDS
    assert is_acceptable(text) is oracle
