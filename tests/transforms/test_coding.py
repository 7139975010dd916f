"""How elements are written down between workers: types that other languages and SQL know, and that come back."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import registry
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import schema_pb2

from beam_mixpanel import DeadLetter, ImportReceipt, ProjectToken, ReadFromNdjsonBatched, WriteToMixpanel
from beam_mixpanel.core.events.prepare import EventBlock
from beam_mixpanel.emulator import Emulator

PORTABLE = {bytes: schema_pb2.BYTES, str: schema_pb2.STRING, int: schema_pb2.INT64, float: schema_pb2.DOUBLE}
TWO_PROCESSES = ("--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing")
ELEMENTS = (
    DeadLetter(b'{"a":"\xff"}', "import", "rejected", "f", "m", 400, 2, "id", "file@7", "rejected", 2**53),
    EventBlock(b"{}\n\xff", "file", 2**40, 7, "0" * 64),
    ImportReceipt(200, 2000, 1999, 1, 3, 10_000_000, 900_000, 0.25),
)


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda element: type(element).__name__)
def test_rows_have_types_that_every_language_knows(element: Any) -> None:
    """No field is Python's alone, none may be null, and what is written reads as it was."""
    coder = registry.get_coder(type(element))
    types = {field.name: (field.type.atomic_type, field.type.nullable) for field in coder.schema.fields}
    assert types == {name: (PORTABLE[type(value)], False) for name, value in element._asdict().items()}
    back = coder.decode(coder.encode(element))
    assert (type(back), back) == (type(element), element)


def test_a_schema_has_the_same_id_in_every_process() -> None:
    """Ids are made from the fields, not by chance: they differ from one another, and never from run to run."""
    ids = [registry.get_coder(type(element)).schema.id for element in ELEMENTS]
    assert all(one != other for one, other in itertools.combinations(ids, 2))
    assert ids[0] == "62b486e3-903a-5c2a-88f1-ac222552d135"


def test_blocks_and_dead_letters_are_themselves_behind_a_shuffle(
    tmp_path: Path, emulator: Emulator, token_reference: str
) -> None:
    """On workers in other processes a block is a block and a dead letter one, not rows that are taken for events."""
    good = '{"event":"A","properties":{"time":1790000000,"distinct_id":"u"}}'
    (tmp_path / "events.ndjson").write_text(f'{good}\n{{"event":"B"}}\n')
    sink = ProjectToken.from_reference(token_reference)
    with beam.Pipeline(options=PipelineOptions(TWO_PROCESSES)) as pipeline:
        blocks = pipeline | ReadFromNdjsonBatched(str(tmp_path / "events.ndjson")) | "Far" >> beam.Reshuffle()
        first = blocks | "First" >> WriteToMixpanel(sink, api_host=emulator.url)
        letters = first.dead_letters | "Farther" >> beam.Reshuffle()
        again = letters | "Again" >> WriteToMixpanel(sink, api_host=emulator.url)
        texts = again.dead_letters | beam.Map(lambda letter: f"{type(letter).__name__} {letter.event.decode()}")
        _ = texts | beam.io.WriteToText(str(tmp_path / "texts"))
    assert [event["event"] for event in emulator.events()] == ["A"]
    written = "".join(file.read_text() for file in tmp_path.glob("texts*"))
    assert written == 'DeadLetter {"event":"B"}\n'
