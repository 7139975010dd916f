"""Dead letters: one JSON line each, from which the event's very bytes come back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.events.dead_letter import DeadLetter, from_json_line, to_json_line

LETTERS = st.builds(
    DeadLetter,
    st.binary() | st.text().map(str.encode),
    *[st.text()] * 4,
    st.integers(0, 599),
    st.integers(0, 10**6),
    *[st.text()] * 3,
    st.integers(-(2**63), 2**63 - 1),
)


@given(LETTERS)
def test_a_line_gives_the_letter_back(letter: DeadLetter) -> None:
    """Whatever the bytes of the event, writing and reading a letter changes nothing; a line holds no newline."""
    line = to_json_line(letter)
    assert b"\n" not in line
    assert from_json_line(line) == from_json_line(line + b"\r\n") == letter


def test_a_line_reads_as_documented() -> None:
    """UTF-8 stands as text under `event`, other bytes as base64 under `event_base64`; all fields are there."""
    letter = DeadLetter(b'{"a":"\xc3\xa9"}', "import", "rejected", "f", "m", 400, 2, "id", "file@7", "rejected")
    assert json.loads(to_json_line(letter)) == {
        "event": '{"a":"é"}', "stage": "import", "reason": "rejected", "field": "f", "message": "m", "http_status": 400,
        "attempts": 2, "insert_id": "id", "source": "file@7", "fate": "rejected", "time_ms": 0,
    }  # fmt: skip
    binary = json.loads(to_json_line(letter._replace(event=b"\xff")))
    assert binary["event_base64"] == "/w=="
    assert "event" not in binary


def test_what_is_absent_takes_its_default() -> None:
    """A line with the event, stage and reason is enough; nulls count as absent, and unknown fields are ignored."""
    line = b'{"event":"{}","stage":"import","reason":"http_503","field":null,"run":"of another tool","event_base64":""}'
    assert from_json_line(line) == DeadLetter(b"{}", "import", "http_503")


WHOLE: dict[str, Any] = {"event": "{}", "stage": "import", "reason": "rejected"}


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"{}", b"\xff", b"[" * 100_000,
        *(json.dumps({key: value for key, value in WHOLE.items() if key != absent}).encode() for absent in WHOLE),
        *(
            json.dumps(WHOLE | change).encode()
            for change in (
                {"event": None}, {"event": 5}, {"event": None, "event_base64": "?"}, {"event": {}, "event_base64": 5},
                {"event": None, "event_base64": "A"}, {"event": None, "event_base64": "é"}, {"stage": 1},
                {"reason": None}, {"attempts": "2"}, {"http_status": True}, {"message": []}, {"attempts": 1.5},
                {"attempts": 2**63}, {"time_ms": -(2**63) - 1},
            )
        ),
    ],
)  # fmt: skip
def test_other_lines_are_refused(line: bytes) -> None:
    """What is no dead letter, or has a field of the wrong type, is one error that says what was expected."""
    with pytest.raises(ValueError, match="not a dead letter: expected a JSON object with event"):
        from_json_line(line)


NAMES = st.sampled_from(["event", "event_base64", "stage", "reason", "attempts"])
RECORDS = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(NAMES, inner))


@given(st.binary() | RECORDS.map(lambda record: json.dumps(record).encode()))
def test_any_line_is_a_letter_or_an_error(line: bytes) -> None:
    """Nothing but `ValueError` is raised, whatever the line."""
    try:
        letter = from_json_line(line)
    except ValueError:
        return
    assert from_json_line(to_json_line(letter)) == letter
