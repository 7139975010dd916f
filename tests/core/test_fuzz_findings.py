"""What `make fuzz` found, each as a case that stays; and a short run of it."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from beam_mixpanel.core.events.dead_letter import IMPORT, DeadLetter
from beam_mixpanel.core.events.insert_id import is_acceptable
from beam_mixpanel.core.events.prepare import EventPreparer, Preparation, identity_of
from beam_mixpanel.emulator.rules import Context
from beam_mixpanel.emulator.validation import MalformedJSONError, check_import

ROOT = Path(__file__).parents[2]
NOW = 1_700_000_000_000
PREPARER = EventPreparer()
ENDLESS_NUMBERS = [b"1e5000", b"-1e99999999", b"1e-99999999", b"1e99999999999999999999", b"0e9999999"]


def prepare(properties: bytes) -> Preparation:
    """Prepare an event in Mixpanel's shape with these properties beside a time."""
    return PREPARER.prepare_text(b'{"event":"e","properties":{%s,"time":%d}}' % (properties, NOW), NOW)


def reasons(done: Preparation) -> list[str]:
    return [letter.reason for letter in done.invalid]


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"e","properties":{"$insert_id":"id-1","time":1700000000000,"a":1e400}}',
        b'{"event":"e","properties":{"time":{},"$insert_id":7,"$insert_id":"id-1","time":1700000000000}}',
        b'{"event":"e","properties":"none","properties":{"$insert_id":"id-1","time":1700000000000}}',
    ],
)
def test_the_identity_of_an_odd_body_can_be_read(body: bytes) -> None:
    """Numbers past all doubles and repeated keys do not keep an event that was sent from becoming a dead letter."""
    assert PREPARER.prepare_text(body, NOW).events.bodies == [body]
    assert identity_of(body) == ("id-1", NOW)
    letter = DeadLetter(body, IMPORT, "rejected", insert_id="id-1", time_ms=NOW)
    assert PREPARER.prepare_dead_letter(letter, NOW).events.bodies == [body]


@pytest.mark.parametrize("number", ENDLESS_NUMBERS)
@pytest.mark.parametrize("key", [b"distinct_id", b"$user_id", b"$device_id"])
def test_an_id_with_endless_digits_is_refused(key: bytes, number: bytes) -> None:
    """A number that would fill the memory with digits is no id; it neither raises nor takes long."""
    assert reasons(prepare(b'"%s":%s,"$insert_id":"id-1"' % (key, number))) == ["id_inexact"]


@pytest.mark.parametrize("number", ENDLESS_NUMBERS[:4])
def test_an_insert_id_is_never_sent_as_a_number(number: bytes) -> None:
    """A number as `$insert_id` leaves as text, however large it is."""
    done = prepare(b'"$insert_id":%s' % number)
    assert is_acceptable(identity_of(done.events.bodies[0])[0])


def test_a_number_is_never_a_name() -> None:
    """Not even one whose exponent no decimal holds, which was kept as its digits."""
    text = b'{"event":1e99999999999999999999,"properties":{"$insert_id":"id-1","time":%d}}' % NOW
    assert reasons(PREPARER.prepare_text(text, NOW)) == ["event_missing"]


@pytest.mark.parametrize("value", [float("inf"), Decimal("-Infinity"), 10**4299], ids=type)
def test_an_infinite_id_is_refused(value: Any) -> None:
    """All users whose ids overflowed would become one, `Infinity`."""
    assert reasons(PREPARER.prepare_object({"event": "e", "time": NOW, "distinct_id": value}, NOW)) == ["id_inexact"]


def test_an_object_with_an_endless_integer_is_a_dead_letter() -> None:
    """An integer of more digits than Python writes is refused, and its letter can be written."""
    for event in ({"event": "e", "time": NOW, "a": 10**4300}, {"event": "e", "time": NOW, 10**4300: 1}, 10**4300):
        done = PREPARER.prepare_object(event, NOW)
        assert len(done.invalid) == 1
        assert b"too long" in done.invalid[0].event


def test_an_integer_of_4300_digits_is_exact() -> None:
    """That many digits can be written, and are read."""
    done = PREPARER.prepare_object({"event": "e", "time": NOW, "a": 10**4300 - 1}, NOW)
    assert b'"a":%s,' % (b"9" * 4300) in done.events.bodies[0]


def test_a_time_that_is_no_number_is_missing() -> None:
    """A signalling NaN cannot even be compared; any decimal NaN counts as null, as in other fields."""
    for value in (Decimal("NaN"), Decimal("sNaN")):
        event = {"event": "e", "properties": {"time": value}, "time": NOW}
        assert reasons(PREPARER.prepare_object(event, NOW)) == ["field_conflict"]
        assert reasons(PREPARER.prepare_object({"event": "e", "time": value}, NOW)) == ["time_missing"]


@pytest.mark.parametrize("time", ["1700000000.1239998", "1700000000.1235999", "1.7000000001239998e9"])
def test_a_time_is_one_millisecond_in_every_shape(time: str) -> None:
    """Float seconds are rounded alike in Mixpanel's shape, in the flat shape, beside a float id, and as an object."""
    texts = [
        b'{"event":"e","properties":{"time":%s}}' % time.encode(),
        b'{"event":"e","time":%s}' % time.encode(),
        b'{"event":"e","properties":{"time":%s,"distinct_id":7.5}}' % time.encode(),
    ]
    prepared = [PREPARER.prepare_text(text, NOW) for text in texts]
    prepared.append(PREPARER.prepare_object({"event": "e", "time": float(time)}, NOW))
    assert {identity_of(done.events.bodies[0])[1] for done in prepared} == {round(float(time) * 1000)}


def test_the_first_conflict_is_named() -> None:
    """Which of several fields in conflict a dead letter names is the same in every process."""
    names = [f"field {number}" for number in range(20)]
    event = {"event": "e", "properties": dict.fromkeys(names, 1), **dict.fromkeys(names, 2)}
    assert [letter.field for letter in PREPARER.prepare_object(event, NOW).invalid] == names[:1]


def test_the_emulator_survives_deep_nesting() -> None:
    """Brackets nested past any recursion are malformed to the emulator, rather than an error of its own."""
    deep = b'{"event":"e","properties":{"a":%s}}' % (b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(MalformedJSONError):
        check_import([deep], Context(NOW))


def test_a_short_run_finds_nothing() -> None:
    """`make fuzz` holds every law for some thousand cases of a fixed seed, and says so."""
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", "--cases", "12000", "--seed", "7"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 findings" in run.stdout
