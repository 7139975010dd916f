"""Elements that cannot be events: refused where type hints say so, else dead letters; never an endless retry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.testing.util import assert_that, equal_to
from google.protobuf import struct_pb2

from beam_mixpanel import DeadLetter, EventMapping, PrepareEvents, ProjectToken, RowBatch, RowList, WriteToMixpanel
from beam_mixpanel.core.events.prepare import EventBlock

EVENT = {"event": "A", "time": 1_700_000_000, "distinct_id": "u"}


class Row(NamedTuple):
    event: str
    time: int


class DataFrame:
    """As pandas' type is called."""


def _typed(hint: Any) -> PCollection[Any]:
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    return pipeline | beam.Create([]) | beam.Map(lambda element: element).with_output_types(hint)


REFUSED: dict[str, tuple[Any, str]] = {
    "KV": (tuple[str, dict[str, Any]], "beam.Values"),
    "tuple": (tuple[int, ...], "beam.Values"),
    "plain tuple": (tuple, "beam.Values"),
    "list": (list[dict[str, Any]], "FlatMap"),
    "set": (set[str], "FlatMap"),
    "frozenset": (frozenset[str], "FlatMap"),
    "iterable": (Iterable[dict[str, Any]], "FlatMap"),
    "iterator": (Iterator[dict[str, Any]], "FlatMap"),
    "int": (int, "map it to a dict"),
    "bool": (bool, "map it to a dict"),
    "float": (float, "map it to a dict"),
    "None": (type(None), "filter out"),
    "PubsubMessage": (PubsubMessage, "with_attributes=False"),
    "DataFrame": (DataFrame, "to_dict"),
    "no member": (int | tuple[int, str], "map it to a dict"),
}
TAKEN: dict[str, Any] = {
    "Any": Any,
    "object": object,
    "dict": dict,
    "typed dict": dict[str, Any],
    "bytes": bytes,
    "str": str,
    "row": Row,
    "Beam row": beam.Row,
    "Struct": struct_pb2.Struct,
    "block": EventBlock,
    "batch": RowBatch,
    "one member": dict[str, Any] | None,
    "one of several": int | bytes,
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("mapping", [None, EventMapping(event="A")], ids=["events", "rows"])
def test_hints_that_no_element_is_an_event_are_refused_at_construction(
    name: str, mapping: EventMapping | None, token_reference: str
) -> None:
    """With the type and the cure, before anything runs."""
    hint, cure = REFUSED[name]
    for sink in (
        PrepareEvents(mapping=mapping),
        WriteToMixpanel(ProjectToken.from_reference(token_reference), mapping=mapping),
    ):
        with pytest.raises(TypeError, match="cannot be events") as refusal:
            _ = _typed(hint) | sink
        assert cure in str(refusal.value)


@pytest.mark.parametrize("name", TAKEN)
def test_other_hints_are_taken(name: str) -> None:
    """Also those of which some elements may be events."""
    _ = _typed(TAKEN[name]) | PrepareEvents()


@pytest.mark.parametrize("mapping", [None, EventMapping(event="A", time_column="time")], ids=["events", "rows"])
def test_elements_that_are_no_events_are_dead_letters(mapping: EventMapping | None) -> None:
    """Of a PCollection without hints: each names its type, and good ones beside it are prepared."""
    elements = [5, None, 1.5, ("key", EVENT), [EVENT], PubsubMessage(b"{}", {}), EVENT]
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        events = pipeline | beam.Create(range(len(elements))) | beam.Map(elements.__getitem__).with_output_types(Any)
        prepared, invalid = events | PrepareEvents(mapping=mapping)
        types = invalid | beam.Map(lambda letter: (letter.reason, letter.message.split(": ")[1].split(";")[0]))
        expected = ["int", "NoneType", "float", "tuple", "list", "PubsubMessage"]
        assert_that(types, equal_to([("not_an_object", name) for name in expected]), "invalid")
        assert_that(prepared | beam.Map(len), equal_to([1]), "prepared")


@pytest.mark.parametrize("mapping", [None, EventMapping(event="A", time_column="time")], ids=["events", "rows"])
def test_elements_of_ours_that_hold_something_else_are_dead_letters(mapping: EventMapping | None) -> None:
    """Such as a table in place of a batch, or a text in place of bytes: each names what it holds."""
    odd = {
        "Table": RowBatch(pa.table({"a": [1]}), "source", 0),  # type: ignore[arg-type]
        "int": RowList(5, "source", 0),  # type: ignore[arg-type]
        "NoneType": RowList([None], "source", 0),  # type: ignore[list-item]
        "str": EventBlock("text", "source", 0),  # type: ignore[arg-type]
        "list": DeadLetter([1], "parse", "invalid_json"),  # type: ignore[arg-type]
    }
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        names = list(odd)
        events = pipeline | beam.Create(names) | beam.Map(odd.__getitem__).with_output_types(Any)
        prepared, invalid = events | PrepareEvents(mapping=mapping)
        types = invalid | beam.Map(lambda letter: letter.message.split(": ")[1].split(";")[0])
        assert_that(types, equal_to(names), "invalid")
        assert_that(prepared, equal_to([]), "prepared")
