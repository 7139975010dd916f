"""The profile of events: exact where it says so, and the same however events are shared out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.check import profile as profiles
from beam_mixpanel.core.check.profile import Profile, ProfileSettings
from beam_mixpanel.core.check.property_table import PropertySample
from beam_mixpanel.core.events.dead_letter import DeadLetter

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
SETTINGS = ProfileSettings(NOW_MS)


def body(name: str = "A", time: int = NOW_MS - DAY_MS, insert_id: str = "i", **properties: Any) -> bytes:
    return json.dumps({"event": name, "properties": {"time": time, "$insert_id": insert_id, **properties}}).encode()


def letter(text: str, reason: str = "time_missing") -> DeadLetter:
    return DeadLetter(text.encode(), "validate", reason, "properties.time", "is missing", source=f"f@{len(text)}")


def profile_of(*bodies: bytes, settings: ProfileSettings = SETTINGS) -> dict[str, Any]:
    profile = Profile(settings)
    profile.add_events(bodies)
    return profile.result()


BODIES = st.builds(
    body,
    st.sampled_from(["A", "B", "é"]),
    st.integers(NOW_MS - 900 * DAY_MS, NOW_MS),
    st.text("abc", min_size=1, max_size=3),
    distinct_id=st.text("xy", max_size=3),
    value=st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
)
LETTERS = st.builds(letter, st.text(max_size=5), st.sampled_from(["time_missing", "invalid_json"]))


@given(
    st.lists(st.tuples(st.lists(BODIES, max_size=12), st.lists(LETTERS, max_size=3)), min_size=1, max_size=4),
    st.randoms(),
)
def test_order_and_parts_change_nothing(parts: list[Any], chance: Any) -> None:
    """Profiles of parts, merged in any order, are the profile of all in one, under bounds so small that all trim."""
    with pytest.MonkeyPatch.context() as patch:
        for name, bound in {"MOST_KEYS": 4, "MOST_NAMES": 2, "_SAMPLED_BYTES": 300}.items():
            patch.setattr(profiles, name, bound)
        patch.setattr(
            profiles, "PropertySample", lambda show_values: PropertySample(show_values=show_values, most_events=5)
        )
        whole = Profile(SETTINGS)
        whole.add_events([found for bodies, _ in parts for found in bodies])
        for refused in [found for _, letters in parts for found in letters]:
            whole.add_letter(refused)
        singles = [_part([found], []) for bodies, _ in parts for found in bodies]
        singles += [_part([], letters) for _, letters in parts]
        chance.shuffle(singles)
        middle = len(singles) // 2
        left, right = _merged(singles[:middle]), _merged(singles[middle:])
        right.merge(left)
        assert right.result() == whole.result()


def _part(bodies: list[bytes], letters: list[DeadLetter]) -> Profile:
    part = Profile(SETTINGS)
    part.add_events(bodies)
    for refused in letters:
        part.add_letter(refused)
    return part


def _merged(parts: list[Profile]) -> Profile:
    merged = Profile(SETTINGS)
    for part in parts:
        merged.merge(part)
    return merged


def test_times_are_counted_exactly() -> None:
    """Days, hours, and each oddity, by event."""
    midnight = NOW_MS // DAY_MS * DAY_MS
    times = [midnight, midnight + 3_600_000, midnight + 1_000, midnight + 1, NOW_MS + 5, 900_000_000_000]
    result = profile_of(*(body(time=time) for time in times))
    assert result["times"] == {
        "first_ms": 900_000_000_000,
        "last_ms": NOW_MS + 5,
        "past_retention": 1,
        "ahead": 1,
        "before_2000": 1,
        "midnight": 1,
        "whole_hour": 3,
        "whole_second": 4,
    }
    assert sum(result["hours"]) == sum(count for _, count in result["days"]) == 6
    assert result["days"][-1] == [midnight // DAY_MS, 5]


def test_duplicates_are_told_from_ids_of_different_events() -> None:
    """The same identity repeats; the same id at another time, by whole hours or not, is another event."""
    result = profile_of(
        *[body(insert_id="twice", distinct_id="u", note=number) for number in range(2)],
        *[body(insert_id="shift", time=NOW_MS - hours * 3_600_000) for hours in (1, 3)],
        *[body(insert_id="names", name=name) for name in "AB"],
        body(insert_id="once"),
    )
    assert result["insert_ids"] == {
        "exact": True,
        "distinct": 4,
        "repeated_events": 1,
        "ids_of_different_events": 2,
        "events_of_such_ids": 4,
        "ids_whole_hours_apart": 1,
    }


def test_users_are_those_that_mixpanel_would_count() -> None:
    """`distinct_id`, else `$user_id`, else `$device_id`; an event with none has no user."""
    given_ids: list[dict[str, str]] = [
        {"distinct_id": "a"},
        {"$user_id": "a"},
        {"$device_id": "d"},
        {"distinct_id": ""},
        {},
    ]
    result = profile_of(*(body(**ids) for ids in given_ids))
    assert result["users"] == {"distinct": 2, "exact": True, "events_without": 2}


def test_a_crowd_that_is_one_user_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user over the limit on one day is named, masked; over it on several days together is not."""
    monkeypatch.setattr(profiles.limits, "HOT_SHARD_EVENTS_PER_DAY", 3)
    spread = [body(time=NOW_MS - day * DAY_MS, distinct_id="spread") for day in range(5)]
    result = profile_of(*[body(distinct_id="bot-7@x.io")] * 4, *[body(distinct_id="calm")] * 3, *spread)
    heavy = result["heavy_users"]
    assert heavy["largest"] == [{"user": "aaa-9@a.aa", "day": (NOW_MS - DAY_MS) // DAY_MS, "events": 4}]
    assert (heavy["number"], heavy["undercount"]) == (1, 0)


def test_properties_are_described() -> None:
    """Types, nulls, different values, long texts; a number past all doubles does no harm."""
    values = [None, 1, 2.5, "x", "2026-01-02", "y" * 256, ["z" * 256], {"k": 1}, True]
    rows = profile_of(*(body(p=value) for value in values), body(p=1).replace(b'"p": 1', b'"p": 1e400'))["properties"][
        "rows"
    ]
    (row,) = rows
    assert row["types"] == {"number": 3, "text": 2, "boolean": 1, "date": 1, "list": 1, "null": 1, "object": 1}
    assert (row["name"], row["events"], row["cut"], row["distinct"], row["exact"]) == ("p", 10, 2, 8, True)


def test_the_last_of_two_equal_keys_counts() -> None:
    """As for Mixpanel; the first one may be of any type."""
    twice = body(distinct_id="a").replace(b'"$insert_id": "i"', b'"$insert_id": 5, "$insert_id": "i"')
    assert profile_of(twice, body(distinct_id="a"))["insert_ids"]["repeated_events"] == 1


def test_properties_come_from_a_sample_that_says_so() -> None:
    """Of many events an even part is looked at, never none, even where all are equal."""
    sample = PropertySample(show_values=False, most_events=100)
    for number in range(10_000):
        sample.add([(number * 0x9E3779B97F4A7C15 % 2**64, body(p=number))])
    assert 50 <= sample.events <= 100
    assert abs(sample.events * sample.one_in - 10_000) < 2_500
    equal = PropertySample(show_values=False, most_events=100)
    equal.add((7, body(p=1)) for _ in range(1_000))
    assert equal.rows()[0][0].events == 1_000


def test_properties_without_number_are_bounded() -> None:
    """A name for each event fills no memory, and the report says that names are missing."""
    profile = Profile(SETTINGS)
    for start in range(0, 4_000, 100):
        profile.add_events([body(insert_id=str(number), **{f"p{number}": 1}) for number in range(start, start + 100)])
    properties = profile.result()["properties"]
    assert (len(properties["rows"]), properties["complete"]) == (1_000, False)


@pytest.mark.parametrize("show_values", [False, True])
def test_values_are_shown_only_where_asked_for(show_values: bool) -> None:
    """No value of an event is in the profile unless it was asked for: names of events and properties are."""
    settings = SETTINGS._replace(show_values=show_values)
    profile = Profile(settings)
    profile.add_events([body(email="someone@example.com", card=4111111111111111, tags=["vip"], nested={"k": "secret"})])
    profile.add_letter(letter('{"event": "A", "properties": {"mail": "other@example.com", "age": 77}}'))
    profile.add_letter(letter("broken other@example.com", "invalid_json"))
    text = json.dumps(profile.result())
    for value in ("someone@example", "4111111111111111", "vip", "secret", "other@example", "77"):
        assert (value in text) == show_values
    assert "email" in text


def test_refusals_have_few_examples() -> None:
    """Each rule has its count, its words, its page and at most five examples, the same in any order."""
    profile = Profile(SETTINGS)
    for number in range(20):
        profile.add_letter(letter("x" * number))
    profile.add_letter(letter("y", "made_up"))
    missing, other = profile.result()["refused"]
    assert (missing["rule"], missing["events"], len(missing["examples"])) == ("time_missing", 20, 5)
    assert missing["docs"].startswith("https://docs.mixpanel.com/")
    assert other == {
        "rule": "made_up",
        "meaning": "",
        "docs": "",
        "events": 1,
        "examples": [{"source": "f@1", "field": "properties.time", "message": "is missing", "event": "a"}],
    }


def test_sizes_are_exact() -> None:
    """Bytes, the largest, and how many between which bounds."""
    bodies = [body(), body(note="x" * 1_000)]
    sizes = profile_of(*bodies)["sizes"]
    assert sizes["bytes"] == sum(map(len, bodies))
    assert sizes["largest"] == len(bodies[1])
    assert [place for place, count in enumerate(sizes["histogram"]) if count] == [0, 4]
    assert 0 < sizes["compressed_share"] < 1


def test_a_property_has_no_more_values_than_events() -> None:
    """An estimate of different values never passes the number of values there are."""
    for many in (600, 800, 1_000, 1_200):
        bodies = [body(number=f"{many} {number}") for number in range(many)] + [body(number=None)]
        (row,) = (row for row in profile_of(*bodies)["properties"]["rows"] if row["name"] == "number")
        assert 0.8 * many < row["distinct"] <= many
