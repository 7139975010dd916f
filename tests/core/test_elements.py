"""Whatever an element is: an event, or a dead letter that names its type and the cure; never an exception."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, MutableSequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import struct_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.events.event import Form
from beam_mixpanel.core.events.prepare import EventPreparer, Preparation
from beam_mixpanel.core.rows.batches import RowList
from beam_mixpanel.core.rows.by_row import RowPreparer
from beam_mixpanel.core.rows.mapping import EventMapping

NOW = 1_700_000_000_000
FIELDS = {"event": "Tested", "time": NOW, "distinct_id": "ann", "$insert_id": "id-1"}


def struct(fields: dict[str, Any]) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(fields)
    return made


class Bare(Mapping[str, Any]):
    """A mapping with nothing but what it must have."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    get = items = keys = values = None  # type: ignore[assignment]


class Broken:
    """Raises whatever a test says, wherever it is read."""

    def __init__(self, error: BaseException, where: str) -> None:
        self._error, self._where = error, where

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "__dict__", "_error", "_where"):
            return object.__getattribute__(self, name)
        if name == self._where:

            def fail() -> Any:
                raise self._error

            return fail
        raise AttributeError(name)

    def __repr__(self) -> str:
        raise self._error


class RaisingProperty:
    @property
    def _asdict(self) -> Any:
        raise KeyError("secret value")


class RaisingMapping(Bare):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("secret value")


class RaisingSequence(MutableSequence[int]):
    def __getitem__(self, place: Any) -> Any:
        raise RuntimeError("secret value")

    def __len__(self) -> int:
        return 3

    __setitem__ = __delitem__ = insert = None  # type: ignore[assignment]


class PubsubMessage:
    data = b"{}"


class DataFrame:
    columns = ("event",)


class Row(NamedTuple):
    event: str
    time: int
    distinct_id: str
    note: Any


@dataclasses.dataclass
class Slotted:
    event: str
    missing: str = dataclasses.field(init=False)


def ways() -> dict[str, EventPreparer | RowPreparer]:
    return {
        "event": EventPreparer(),
        "redacted": EventPreparer(Form(redact=frozenset({"email"}))),
        "columns": RowPreparer(EventMapping(event="Tested", time_column="time"), Form()),
        "redacted columns": RowPreparer(
            EventMapping(event="Tested", time_column="time", flatten=True), Form(redact=frozenset({"email"}))
        ),
    }


NO_EVENTS: dict[str, tuple[Any, str]] = {
    "int": (5, "int; map it to a dict"),
    "None": (None, "None first"),
    "float": (1.5, "float; map it to a dict"),
    "KV": ((1, FIELDS), "beam.Values"),
    "list": ([FIELDS], "FlatMap"),
    "set": ({1}, "FlatMap"),
    "generator": ((number for number in range(3)), "FlatMap"),
    "type": (dict, "type; map it"),
    "function": (len, "builtin_function_or_method; map it"),
    "PubsubMessage": (PubsubMessage(), "its `data`"),
    "DataFrame": (DataFrame(), "to_dict"),
    "protobuf": (wrappers_pb2.StringValue(value="x"), "MessageToDict"),
    "bytearray": (bytearray(b"{}"), "make it `bytes`"),
    "Arrow batch": (pa.RecordBatch.from_pydict({"a": [1]}), "RowBatch("),
    "Arrow table": (pa.table({"a": [1]}), "to_batches"),
    "numpy": (np.float64(1.5), "float64; map it"),
    "_asdict raises": (Broken(KeyError("secret value"), "_asdict"), "Broken, which raised KeyError"),
    "as_dict raises": (Broken(OSError("secret value"), "as_dict"), "Broken, which raised OSError"),
    "property raises": (RaisingProperty(), "RaisingProperty, which raised KeyError"),
    "mapping raises": (RaisingMapping(FIELDS), "RaisingMapping, which raised RuntimeError"),
    "field missing": (Slotted("Tested"), "Slotted, which raised AttributeError"),
}


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("name", NO_EVENTS)
def test_what_is_no_event_is_a_dead_letter_that_names_type_and_cure(name: str, way: str) -> None:
    """In every way, and without a value of it in the message."""
    element, cure = NO_EVENTS[name]
    done = ways()[way].prepare_object(element, NOW)
    [letter] = done.invalid
    assert not done.events
    assert cure in letter.message
    assert "secret value" not in letter.message
    assert letter.event
    assert b"secret value" not in letter.event


BROKEN_VALUES: dict[str, Any] = {
    "tolist": Broken(KeyError("secret value"), "tolist"),
    "tolist without Arrow": Broken(ValueError("secret value"), "tolist"),
    "as_py": Broken(RuntimeError("secret value"), "as_py"),
    "_asdict": Broken(ZeroDivisionError("secret value"), "_asdict"),
    "property": RaisingProperty(),
    "mapping": RaisingMapping({"a": 1}),
    "sequence": RaisingSequence(),
    "complex": 1j,
}


@pytest.mark.parametrize("key", ["note", "time", "distinct_id", "event", "properties"])
@pytest.mark.parametrize("name", BROKEN_VALUES)
@pytest.mark.parametrize("way", ways())
def test_a_value_that_cannot_be_read_is_a_dead_letter(way: str, name: str, key: str) -> None:
    """Wherever in the event it is, alone and in a list of rows; the message has its type, never the value."""
    event = FIELDS | {key: BROKEN_VALUES[name]}
    preparer = ways()[way]
    results: list[Preparation] = [preparer.prepare_object(event, NOW)]
    if isinstance(preparer, RowPreparer):
        results.append(preparer.prepare_rows(RowList([event] * 3, "rows", 0), NOW))
    for done in results:
        assert done.invalid
        for letter in done.invalid:
            assert "secret value" not in letter.message


@pytest.mark.parametrize("way", ["event", "columns"])
@pytest.mark.parametrize(
    "make", [Bare, struct, lambda fields: Bare({**fields, "inner": Bare({"a": struct({"b": 1})})})]
)
def test_mappings_without_the_methods_of_a_dict_are_events(make: Any, way: str) -> None:
    """Such as Protocol Buffers' `Struct`, at any depth."""
    done = ways()[way].prepare_object(make(FIELDS), NOW)
    assert [letter.message for letter in done.invalid] == []
    assert len(done.events) == 1


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary()
        | st.complex_numbers()
        | st.dates(),
        lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    )
)
def test_any_value_is_an_event_or_a_dead_letter(element: Any) -> None:
    """One of both, in every way."""
    for preparer in ways().values():
        done = preparer.prepare_object(element, NOW)
        assert done.read == 1
