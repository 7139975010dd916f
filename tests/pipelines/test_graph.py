"""How large the graph of a job is: a runner pays for each step, and Flink with network buffers for each shuffle."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_mixpanel.core.formats.byte_ranges import DEFAULT_RANGE_BYTES
from beam_mixpanel.launcher.command_line import read_settings
from beam_mixpanel.pipelines import files_to_mixpanel, replay_dead_letters

EVENT = '{"event":"A","properties":{"time":1700000000000,"distinct_id":"u"}}\n'
ROWS = "event,time,distinct_id\nA,1700000000000,u\n"


class Size(NamedTuple):
    """What a graph holds: steps that are no composites, shuffles, and stages after Beam fused what it can."""

    leaves: int
    groupings: int
    stages: int


def _size(pipeline: beam.Pipeline) -> Size:
    graph = pipeline.to_runner_api()
    leaves = [step for step in graph.components.transforms.values() if not step.subtransforms]
    groupings = sum(step.spec.urn == "beam:transform:group_by_key:v1" for step in leaves)
    _, stages = FnApiRunner().create_stages(graph)
    return Size(len(leaves), groupings, len(list(stages)))


def _graph_of(module: object, folder: Path, token_reference: str, *flags: str) -> Size:
    flags = (*flags, f"--mixpanel_project_token={token_reference}", f"--dead_letters={folder}/dead")
    settings = read_settings(flags, module.SOURCE.groups)  # type: ignore[attr-defined]
    pipeline = beam.Pipeline(options=settings.options)
    module.build(pipeline, module.SOURCE.open(settings))  # type: ignore[attr-defined]
    return _size(pipeline)


# The sizes that ARCHITECTURE.md states, and room for two steps.
SMALL = Size(leaves=27, groupings=3, stages=7)
WITH_SURVEY = Size(leaves=36, groupings=5, stages=10)


@pytest.mark.parametrize(
    ("name", "text", "large", "flags", "bound"),
    [
        ("a.ndjson", EVENT, False, (), SMALL),
        ("a.ndjson", EVENT, True, (), SMALL),
        ("a.json", EVENT, True, (), SMALL),
        ("a.csv", ROWS, False, (), SMALL),
        ("a.csv", ROWS, True, (), WITH_SURVEY),
        ("a.txt", ROWS, True, ("--input_format=csv",), WITH_SURVEY),
        ("a.csv", EVENT, True, ("--input_format=ndjson",), SMALL),
        ("a.ndjson", EVENT, False, ("--mixpanel_num_shards=4",), SMALL),
        ("a.csv", ROWS, True, ("--mixpanel_num_shards=4",), WITH_SURVEY),
    ],
)
def test_graph_of_an_import_from_files(
    tmp_path: Path, token_reference: str, name: str, text: str, large: bool, flags: tuple[str, ...], bound: Size
) -> None:
    """With dead letters, an import has a few steps; only a CSV file that is large enough to be cut adds a survey."""
    path = tmp_path / name
    path.write_text(text)
    if large:
        with path.open("r+b") as file:  # a hole, which takes no room; only the head of the file is read here
            file.truncate(DEFAULT_RANGE_BYTES + 1)
    found = _graph_of(files_to_mixpanel, tmp_path, token_reference, f"--input={path}", *flags)
    assert all(size <= most for size, most in zip(found, bound, strict=True)), found


def test_graph_of_a_replay(tmp_path: Path, token_reference: str) -> None:
    """A replay has one step more, which reads the letters."""
    (tmp_path / "dead-1.jsonl").write_text('{"event":"{}","stage":"parse","fate":"invalid","reason":"x"}\n')
    found = _graph_of(replay_dead_letters, tmp_path, token_reference, f"--input={tmp_path}/dead-*")
    bound = SMALL._replace(leaves=SMALL.leaves + 1)
    assert all(size <= most for size, most in zip(found, bound, strict=True)), found
