"""Elements that cannot be events: refused where type hints say so, else dead letters; never an endless retry."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.typehints.decorators import TypeCheckError
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type
from google.protobuf import struct_pb2

import beam_mixpanel
from beam_mixpanel import (
    DeadLetter,
    EventBlock,
    EventChunk,
    EventMapping,
    ImportReceipt,
    PrepareEvents,
    ProjectToken,
    ReadDeadLetters,
    ReadFromFilesBatched,
    RefusedLetter,
    RowBatch,
    RowList,
    UnbatchRows,
    WriteDeadLetters,
    WriteToMixpanel,
)
from beam_mixpanel.core.check.profile import Profile, ProfileSettings
from beam_mixpanel.transforms.dead_letters import FixDeadLetters, SelectDeadLetters
from beam_mixpanel.transforms.profile import ProfileEvents, WriteProfile

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


def _letters(pipeline: beam.Pipeline) -> PCollection[Any]:
    return pipeline | beam.Create([DeadLetter(b"{}", "parse", "invalid_json")])


def _profile(pipeline: beam.Pipeline) -> PCollection[Any]:
    prepared = pipeline | beam.Create([EVENT]) | PrepareEvents()
    return prepared | ProfileEvents(ProfileSettings(now_ms=0))


LETTER = DeadLetter | RefusedLetter
DECLARED: dict[type[beam.PTransform], tuple[Callable[[beam.Pipeline], Any], dict[str, Any]]] = {
    PrepareEvents: (
        lambda pipeline: (pipeline | beam.Create([EVENT]) | PrepareEvents())._asdict(),
        {"prepared": EventChunk, "invalid": DeadLetter},
    ),
    WriteToMixpanel: (
        lambda pipeline: vars(pipeline | beam.Create([EVENT]) | WriteToMixpanel(ProjectToken("token"))),
        {"receipts": ImportReceipt, "dead_letter_parts": DeadLetter},
    ),
    ReadDeadLetters: (lambda pipeline: {"": pipeline | ReadDeadLetters("none-*")}, {"": LETTER}),
    SelectDeadLetters: (lambda pipeline: {"": _letters(pipeline) | SelectDeadLetters(["a"])}, {"": LETTER}),
    FixDeadLetters: (lambda pipeline: {"": _letters(pipeline) | FixDeadLetters("json:loads")}, {"": LETTER}),
    WriteDeadLetters: (lambda pipeline: {"": _letters(pipeline) | WriteDeadLetters("out/dead")}, {"": str}),
    UnbatchRows: (
        lambda pipeline: (pipeline | ReadFromFilesBatched("none-*") | UnbatchRows())._asdict(),
        {"rows": dict[str, Any], "dead_letters": DeadLetter},
    ),
    ProfileEvents: (lambda pipeline: {"": _profile(pipeline)}, {"": Profile}),
    WriteProfile: (lambda pipeline: {"": _profile(pipeline) | WriteProfile("out/page.json")}, {"": type(None)}),
}
"""For each transform that a pipeline can use, how it is applied, and the types of its outputs."""


@pytest.mark.parametrize("transform", DECLARED, ids=lambda transform: transform.__name__)
def test_a_transform_declares_the_types_of_its_outputs(transform: type[beam.PTransform]) -> None:
    """So that steps behind it are checked when the pipeline is built, and elements travel by their own coders."""
    apply, expected = DECLARED[transform]
    outputs = apply(beam.Pipeline("FnApiRunner", options=PipelineOptions([])))
    for name, hint in expected.items():
        found = outputs[name] if name in outputs else outputs[f"_{name.removeprefix('dead_letter_')}"]
        for each in found if isinstance(found, tuple) else (found,):
            assert convert_to_beam_type(each.element_type) == convert_to_beam_type(hint)


def test_every_transform_that_writes_is_in_the_table() -> None:
    """Of the public names, and of the modules that pipelines connect; readers have a table of their own."""
    modules = [importlib.import_module(f"beam_mixpanel.transforms.{name}") for name in ("dead_letters", "profile")]
    public = [getattr(beam_mixpanel, name) for name in beam_mixpanel.__all__ if not name.startswith("Read")]
    own = [
        each
        for module in modules
        for each in vars(module).values()
        if getattr(each, "__module__", "") == module.__name__
    ]
    found = {each for each in [*public, *own] if isinstance(each, type) and issubclass(each, beam.PTransform)}
    assert found - set(DECLARED) == set()


@pytest.mark.parametrize(
    "transform",
    [SelectDeadLetters(["a"]), FixDeadLetters("json:loads"), WriteDeadLetters("out/dead")],
    ids=lambda step: type(step).__name__,
)
def test_a_step_of_dead_letters_refuses_other_elements(transform: beam.PTransform) -> None:
    """When the pipeline is built, not when its first element comes."""
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    with pytest.raises(TypeCheckError, match="DeadLetter"):
        _ = pipeline | beam.Create(["text"]) | transform
