"""Bodies: the JSON of a batch, and its gzip, byte for byte the same each time."""

from __future__ import annotations

import gzip
import json
import zlib

from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.sending.encoding import compress, encode_json

EVENTS = st.lists(
    st.dictionaries(st.text(), st.integers() | st.text(), max_size=3).map(lambda e: json.dumps(e).encode())
)


@given(EVENTS.filter(bool))
def test_a_body_is_a_json_array_of_its_events(events: list[bytes]) -> None:
    """The body decodes to the events, and is as long as they are with n - 1 commas and 2 brackets."""
    body = encode_json(events)
    assert json.loads(body) == [json.loads(event) for event in events]
    assert len(body) == sum(map(len, events)) + len(events) + 1


@given(st.binary(max_size=5000) | EVENTS.map(encode_json))
def test_gzip_gives_the_body_back_and_equal_bytes_twice(body: bytes) -> None:
    """What is compressed can be decompressed by anyone, and does not depend on when it was made."""
    packed = compress(body)
    assert gzip.decompress(packed) == zlib.decompress(packed, wbits=31) == body
    assert compress(body) == packed
    assert packed[4:8] == b"\0\0\0\0"


def test_event_bodies_get_much_smaller() -> None:
    """Compression is on: repetitive JSON shrinks to a small part."""
    body = encode_json([b'{"event":"Bought","properties":{"time":1686668880123}}'] * 2000)
    assert len(compress(body)) < len(body) / 20
