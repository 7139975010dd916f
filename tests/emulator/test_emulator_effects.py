"""What is stored is what Mixpanel would show, or with `as_sent` what came."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.emulator import Emulator, validation
from beam_mixpanel.emulator.rules import Context
from beam_mixpanel.emulator.validation import check_import

NOW_MS = 1_750_000_000_000
LONG = "\u00e9" * 256


def as_sent(emulator, http):
    assert http.put(f"{emulator.url}/_emulator/project", json={"as_sent": True}).status_code == 200


@pytest.mark.parametrize("value", [True, "true", "no", " "])
@pytest.mark.parametrize("path", ["/import?strict=1", "/track"])
def test_ignored_events_vanish(emulator, send, event, value, path):
    """An event with `$ignore` is not shown; the answer is a success, which at /import counts the others only."""
    answer = send(emulator, [event(0, token="t"), event(1, token="t", **{"$ignore": value})], path)
    assert answer.status_code == 200
    if path != "/track":
        assert answer.json() == {"code": 200, "num_records_imported": 1, "status": "OK"}
    assert emulator.events() == [event(0, token="t")]
    assert emulator.stats()["refused_by_reason"] == {"$ignore": 1}


@pytest.mark.parametrize("value", [False, "", 0, 1, {}, []])
def test_what_does_not_ignore(emulator, send, event, value):
    """An `$ignore` that is false, empty, or neither true nor text ignores nothing."""
    assert send(emulator, [event(0, **{"$ignore": value})]).json()["num_records_imported"] == 1
    assert len(emulator.events()) == 1


@pytest.mark.parametrize("verbose", ["0", "1"])
def test_ignored_events_are_a_success_without_strict(emulator, send, event, verbose):
    """A batch of which everything is ignored is a success where no count is shown."""
    answer = send(emulator, [event(0, **{"$ignore": True})], f"/import?strict=0&verbose={verbose}")
    status = answer.text if verbose == "0" else str(answer.json()["status"])
    assert (answer.status_code, status) == (200, "1")


def test_texts_are_cut(emulator, send, event):
    """Names, texts, and texts in lists are cut at 255 characters; objects and exact numbers stay as they are."""
    exact = {"n": 10**30, "list": [LONG, 10**30, [LONG], "short"], "object": {"a": LONG}, "escaped": "\n" * 256}
    answer = send(emulator, [event(0, name=LONG, text=LONG, **{LONG: 1}, **exact)])
    assert answer.status_code == 200
    [shown] = emulator.events()
    assert shown["event"] == LONG[:255]
    properties = shown["properties"]
    assert properties["text"] == LONG[:255]
    assert properties[LONG[:255]] == 1
    assert properties["list"] == [LONG[:255], 10**30, [LONG], "short"]
    assert properties["object"] == {"a": LONG}
    assert properties["escaped"] == "\n" * 255
    assert properties["n"] == 10**30


def test_what_is_cut_alike_is_one_event(emulator, send, event):
    """A cut name and a cut distinct_id count for de-duplication."""
    send(emulator, [event(0, name="n" * 255 + end, distinct_id="u" * 255 + end) for end in ("a", "b")])
    assert emulator.stats()["unique_events"] == 1


DERIVED = [
    ({"$user_id": "ann"}, "ann"),
    ({"$user_id": "ann", "$device_id": "d1", "distinct_id": "other"}, "ann"),
    ({"$device_id": "d1"}, "$device:d1"),
    ({"$device_id": "$device:d1", "distinct_id": "other"}, "$device:d1"),
    ({"$user_id": "", "$device_id": "d1"}, "$device:d1"),
    ({"$user_id": None, "$device_id": None, "distinct_id": "ann"}, "ann"),
    ({"$user_id": 7}, "7"),
    ({"$user_id": "undefined"}, "undefined"),
    ({"distinct_id": ""}, ""),
    ({"distinct_id": "ann"}, "ann"),
]


@pytest.mark.parametrize(("ids", "expected"), DERIVED)
def test_the_distinct_id_is_derived(emulator, send, event, ids, expected):
    """With Simplified ID Merge the user decides, then the device, then what was sent; the other ids stay."""
    sent = event(0, **({"distinct_id": None} | ids))
    assert send(emulator, [sent]).status_code == 200
    [shown] = emulator.events()
    assert shown["properties"] == sent["properties"] | {"distinct_id": expected}


@pytest.mark.parametrize(("ids", "expected"), DERIVED[:4])
def test_the_derived_distinct_id_counts_for_duplicates(emulator, send, event, ids, expected):
    """An event is the same under the id that is derived, however its sender named it."""
    send(emulator, [event(0, **({"distinct_id": None} | ids)), event(0, distinct_id=expected)])
    assert emulator.stats()["unique_events"] == 1


def test_events_without_any_user_share_one(emulator, send, event):
    """An event without distinct_id gets one that follows from the sender's address: another user's name for all."""
    send(emulator, [event(number, distinct_id=None) for number in range(3)])
    [shared] = {shown["properties"]["distinct_id"] for shown in emulator.events()}
    assert shared


def test_nothing_is_derived_with_original_id_merge(send, event):
    """With Original ID Merge the distinct_id is what was sent."""
    sent = event(0, time=1_700_000_000_000, **{"$user_id": "ann", "$device_id": "d"})
    with Emulator(id_merge="original") as emulator:
        send(emulator, [sent])
        assert emulator.events() == [sent]


def test_times_to_come_are_replaced(emulator, send, event, clock):
    """A time up to an hour ahead becomes the time of receipt, so a copy sent later is another event."""
    ahead = event(0, time=NOW_MS + 3_600_000)
    send(emulator, [ahead])
    clock.now += 1
    send(emulator, [ahead])
    assert [shown["properties"]["time"] for shown in emulator.events()] == [NOW_MS, NOW_MS + 1000]
    assert emulator.stats()["unique_events"] == 2


def test_identity_events_are_ignored_by_track_with_simplified_id_merge(emulator, send, event, http):
    """`/track` answers success and shows none; with Original ID Merge it keeps them."""
    verb = event(0, name="$identify", token="t")
    assert send(emulator, [verb], "/track?verbose=1").json() == {"error": None, "status": 1}
    assert emulator.events() == []
    http.put(f"{emulator.url}/_emulator/project", json={"id_merge": "original"})
    assert send(emulator, [verb], "/track").text == "1"
    assert emulator.events() == [verb]


EVERYTHING = {"$ignore": True, "$user_id": "ann", "time": NOW_MS + 1, "text": LONG, "distinct_id": None}


def test_as_sent_keeps_what_came(emulator, send, event, http):
    """With `as_sent` none of this happens."""
    as_sent(emulator, http)
    sent = event(0, name=LONG, **EVERYTHING)
    assert send(emulator, [sent]).json()["num_records_imported"] == 1
    assert emulator.events() == [sent]


def test_as_sent_is_an_option(send, event):
    """`as_sent` can be given at the start, and a reset returns to it."""
    with Emulator(as_sent=True) as emulator:
        emulator.reset()
        sent = event(0, time=1_700_000_000_000, text=LONG)
        send(emulator, [sent])
        assert emulator.events() == [sent]


TEXTS = st.sampled_from(["", "a", "x" * 255, "x" * 256, "\u2028" * 300, '"\\' * 200])
VALUES = TEXTS | st.lists(TEXTS, max_size=3) | st.integers() | st.dictionaries(TEXTS, TEXTS, max_size=2)
PROPERTIES = st.dictionaries(TEXTS | st.sampled_from(["$user_id", "$device_id", "$ignore", "distinct_id"]), VALUES)


@given(st.sampled_from(["e", "n" * 300]), PROPERTIES, st.integers(NOW_MS - 5, NOW_MS + 5), st.booleans())
def test_showing_twice_is_showing_once(name, properties, time, original):
    """What is shown of an event is shown unchanged, under the same identity, when it is sent again."""
    context = Context(NOW_MS, original_id_merge=original)
    properties = {"distinct_id": "u"} | properties | {"time": time, "$insert_id": "i"}
    first = check_import([json.dumps({"event": name, "properties": properties}).encode()], context)
    again = check_import(first.events, context)
    assert not again.refusals
    assert (again.events, again.keys, again.labels) == (first.events, first.keys, first.labels)


@given(PROPERTIES)
def test_the_quick_look_agrees_with_the_close_one(properties):
    """Whether an event is recognised in one parse or examined rule by rule, what is kept is the same."""
    context = Context(NOW_MS)
    properties = {"distinct_id": "u"} | properties | {"time": NOW_MS, "$insert_id": "i"}
    line = json.dumps({"event": "e", "properties": properties}).encode()
    quick = check_import([line], context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "_identity_of_plain_event", lambda *_: None)
        close = check_import([line], context)
    assert quick == close


def test_bodies_that_are_cut_are_measured_whole(emulator, send, event):
    """Limits hold for what is sent, not for what is kept: an event of 1 MB is refused, though its text would be cut."""
    body = gzip.compress(json.dumps([event(0, text="x" * 1_000_000)]).encode())
    assert send(emulator, None, data=body).json()["failed_records"][0]["field"] == "event"
