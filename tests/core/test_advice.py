"""What is advised: each trouble by its own flag, and none where there is no trouble."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

import pytest

from beam_mixpanel.core.check import advice as advices
from beam_mixpanel.core.check.findings import check_report, plan
from beam_mixpanel.core.check.profile import Profile, ProfileSettings
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.reserved_names import meaning_of
from beam_mixpanel.core.rows.mapping import EVENTS_TAKE, KEYS
from beam_mixpanel.launcher.options import FileOptions, JobOptions, MappingOptions, RedactionOptions
from beam_mixpanel.transforms.options import MixpanelOptions

HOUR_MS = 3_600_000
NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00:00Z
ABOUT = {"retention_days": 730, "takes": "columns", "mapped": []}


def body(number: int, *, time: int | None = None, name: str = "A", **properties: Any) -> bytes:
    fields = {
        "time": NOON_MS + number * 1_234_567 if time is None else time,
        "$insert_id": f"i{number}",
        "distinct_id": "u",
    }
    return json.dumps({"event": name, "properties": fields | properties}).encode()


def report_of(
    *bodies: bytes, letters: tuple[DeadLetter, ...] = (), counts: dict[str, int] | None = None, **about: Any
) -> dict[str, Any]:
    profile = Profile(ProfileSettings(NOON_MS + 400 * 24 * HOUR_MS))
    profile.add_events(bodies)
    for letter in letters:
        profile.add_letter(letter)
    return check_report(profile.result(), counts or {}, ABOUT | about)


def titles(*bodies: bytes, **more: Any) -> list[str]:
    return [item["title"] for item in report_of(*bodies, **more)["advice"]]


def test_good_events_need_nothing() -> None:
    """Events in which nothing is odd draw no advice."""
    assert titles(*(body(number) for number in range(30))) == ["Nothing stands in the way"]


@pytest.mark.parametrize(
    ("bodies", "title"),
    [
        ([body(1, time=NOON_MS - 800 * 24 * HOUR_MS)], "Leave out what Mixpanel deletes"),
        ([body(1, time=NOON_MS + 400 * 24 * HOUR_MS + 5)], "Look at times to come"),
        ([body(1, time=900_000_000_000)], "Look at very old times"),
        ([body(number, time=NOON_MS + 12 * HOUR_MS) for number in range(20)], "Choose a column with the time of day"),
        ([body(number, time=NOON_MS) for number in range(20)], "Look at the times' precision and zone"),
        ([body(1), body(1, distinct_id="other")], "Give different events different ids"),
        ([body(1), body(1)], "Know the duplicates"),
        ([body(1, distinct_id="")], "Say who did it"),
        ([body(1, distinct_id=""), body(2)], "Know the events of nobody"),
        ([body(1, bucket=1)], "Rename bucket"),
        ([body(1, text="x" * 256)], "Shorten long texts"),
        ([body(1, price=1), body(2, price="1")], "Give each property one type"),
        ([body(1, user_email="a@b.c")], "Think of personal data"),
        ([body(number, time=NOON_MS + number % 12 * HOUR_MS) for number in range(1_000)], "Check the time zone"),
        ([body(number, name=str(number)) for number in range(5_001)], "Use fewer event names"),
    ],
)  # fmt: skip
def test_each_trouble_is_told(bodies: list[bytes], title: str) -> None:
    """The trouble is named, and does not stand for nothing being wrong."""
    assert title in titles(*bodies)


def test_a_mixture_of_null_and_one_type_is_no_trouble() -> None:
    """Nulls are no type of their own."""
    assert titles(body(1, price=1), body(2, price=None)) == ["Nothing stands in the way"]


def test_ids_at_whole_hours_hint_at_a_time_zone() -> None:
    """The same event imported under two zones has one id and times whole hours apart."""
    (item, *_) = report_of(body(1), body(1, time=NOON_MS + 1_234_567 + 2 * HOUR_MS))["advice"]
    assert "whole hours apart" in item["why"]


def test_a_crowd_that_is_one_user_stops_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixpanel would store the rest as events of nobody."""
    monkeypatch.setattr(advices.limits, "HOT_SHARD_EVENTS_PER_DAY", 10)
    (first, *_) = report_of(*(body(number, time=NOON_MS + number) for number in range(11)))["advice"]
    assert (first["level"], first["title"]) == ("stop", "Do not make a crowd one user")


def test_the_gravest_comes_first_and_dead_letters_get_a_place() -> None:
    """Refused events come before oddities, with the flags that let the job go on."""
    letters = tuple(
        DeadLetter(b"%d" % number, "validate", reason) for number, reason in enumerate(["time_missing", "odd"])
    )
    advice = report_of(body(1, bucket=1), letters=letters, counts={"repaired_insert_ids": 1})["advice"]
    assert [item["level"] for item in advice] == ["stop", "stop", "look", "note", "note"]
    assert {item["title"]: item["flag"] for item in advice}["Keep what is refused"] == (
        "--dead_letters out/dead --allow_dead_letters 2"
    )


def test_every_flag_that_is_advised_exists() -> None:
    """All flags named in the source of the advice are options of the beam_mixpanel.pipelines."""
    parser = argparse.ArgumentParser(add_help=False)
    for group in (FileOptions, MappingOptions, MixpanelOptions, RedactionOptions, JobOptions):
        group._add_argparse_args(parser)
    with open(advices.__file__) as source:
        advised = set(re.findall(r"--[a-z]\w+", source.read()))
    assert len(advised) > 15
    assert advised <= set(parser._option_string_actions)


@pytest.mark.parametrize(
    ("rule", "key", "first", "then"),
    [
        ("time_missing", "time_column", "--time_column COLUMN", "--time_column OTHER"),
        ("event_missing", "event_column", "--event_column COLUMN", "--event_column OTHER"),
    ],
)
def test_what_was_done_is_not_advised_again(rule: str, key: str, first: str, then: str) -> None:
    """Where the column is named already, the advice says that it is empty there, not to name it."""
    letters = (DeadLetter(b"1", "validate", rule),)
    before = report_of(body(1), letters=letters)["advice"][0]
    after = report_of(body(1), letters=letters, mapped=[key])["advice"][0]
    assert before["flag"].startswith(first)
    assert after["flag"].startswith(then)
    assert f"--{key} names holds nothing" in after["why"]


def test_a_format_is_proposed_that_suits_the_examples() -> None:
    """It can be pasted; where it did not help, it is not proposed again."""
    row = DeadLetter(b'{"Datum":"31.12.2024 23:59"}', "validate", "time_unreadable")
    advice = report_of(body(1), letters=(row,))["advice"][0]
    assert advice["flag"] == "--time_format '%d.%m.%Y %H:%M', or --map MODULE:FUNCTION"
    again = report_of(body(1), letters=(row,), mapped=["time_format"])["advice"][0]
    assert "--time_format" not in again["flag"]
    either = DeadLetter(b'{"Datum":"12/31/2024"}', "validate", "time_unreadable")
    advice = report_of(body(1), letters=(either,))["advice"][0]
    assert advice["flag"].startswith("--time_format %d/%m/%Y, or --time_format %m/%d/%Y, or --map")


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("Customer No", "--user_id_column 'Customer No', or --distinct_id_column COLUMN"),
        ("kunde_id", "--user_id_column kunde_id, or --distinct_id_column COLUMN"),
        ("userAgent", "--user_id_column COLUMN, or --distinct_id_column COLUMN"),
    ],
)
def test_a_column_that_may_be_the_users_is_proposed(name: str, flag: str) -> None:
    """By its name; a user agent is no user."""
    event = json.dumps({"event": "A", "properties": {"time": NOON_MS, "$insert_id": "i", name: "7"}}).encode()
    advice = {item["title"]: item["flag"] for item in report_of(event)["advice"]}
    assert advice["Say who did it"] == flag


def test_events_are_not_advised_to_map_columns() -> None:
    """A flag that names columns would take events in Mixpanel's shape for rows, and none would be imported."""
    rules = [*advices._CURES, "another"]
    letters = tuple(DeadLetter(b"%d" % number, "validate", rule) for number, rule in enumerate(rules))
    bodies = [
        body(1, time=NOON_MS + 400 * 24 * HOUR_MS + 5, bucket=1, text="x" * 256, a=1, email="a"),
        *(body(number, time=900_000_000_000, a="1", name=str(number)) for number in range(2, 5_010)),
        body(1),
    ]
    advice = report_of(*bodies, letters=letters, takes="events")["advice"]
    assert len(advice) > 20
    harmful = {f"--{key.removesuffix('s')}" for key in KEYS if key not in EVENTS_TAKE}
    assert {item["title"] for item in advice if harmful & set(re.findall(r"--[a-z]\w+", item["flag"]))} == set()


@pytest.mark.parametrize("rule", ["invalid_json", "not_an_object", "not_utf8", "csv_columns"])
def test_no_flag_is_promised_to_mend_what_cannot_be_read(rule: str) -> None:
    """A function sees no such line, so it is not advised."""
    assert report_of(body(1), letters=(DeadLetter(b"1", "parse", rule),))["advice"][0]["flag"] == ""


def test_names_of_properties_are_quoted_for_the_shell() -> None:
    """A flag can be pasted, whatever the property's name."""
    (item, *_) = report_of(body(1, **{"$mp_x'; rm": 1}))["advice"]
    assert item["flag"].startswith("--redact '$mp_x'\"'\"'; rm'")


@pytest.mark.parametrize(
    ("events", "size", "requests", "seconds"),
    [
        (0, 0, 0, 0.0),
        (1, 400, 1, 0.0),
        (30_001, 400, 16, 1.0),
        (2_000, 9_997_999, 1, 0.3),
        (2_000, 9_998_000, 2, 0.3),
        (600_000, 4_000_000_000, 401, 120.0),
    ],
)
def test_the_plan_follows_the_documented_limits(events: int, size: int, requests: int, seconds: float) -> None:
    """Requests of 2,000 events or 10 MB; 30,000 events a second or 2 GB a minute, whichever is slower."""
    planned = plan(events, {"bytes": size, "compressed_share": 0.2, "sampled_bytes": 10})
    assert (planned["requests"], planned["seconds"], planned["bytes_sent"]) == (
        requests,
        seconds,
        round(planned["bytes"] * 0.2),
    )
    assert 0 <= planned["bytes"] - size - events <= requests
    assert len(planned["arithmetic"]) == 4


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("bucket", True),
        ("$mp_any", True),
        ("mp_original_x", True),
        ("plan", False),
        ("$browser", False),
        ("mp_country_code", False),
    ],
)
def test_reserved_names(name: str, reserved: bool) -> None:
    """Mixpanel's own names are told from documented defaults and the user's."""
    assert bool(meaning_of(name)) == reserved


def test_events_that_mixpanel_drops_are_shown_before_the_import() -> None:
    """`$ignore` draws an advice that says what Mixpanel does, how many have it, and how to import them."""
    advice = report_of(body(1), body(2, **{"$ignore": True}))["advice"]
    (found,) = [item for item in advice if "$ignore" in item["title"]]
    assert "Of 2 events looked at, 1 have it" in found["why"]
    assert "--redact '$ignore'" in found["flag"]
