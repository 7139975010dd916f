"""`WriteDeadLetters`: each letter once, in files that have their names when they are committed, and not before."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import apache_beam as beam
import pytest
from apache_beam.io.filesystem import BeamIOError, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.transforms import trigger
from apache_beam.transforms.window import FixedWindows, GlobalWindows, Sessions, SlidingWindows, TimestampedValue
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from beam_mixpanel import DeadLetter, WriteDeadLetters
from beam_mixpanel.transforms import dead_letters
from beam_mixpanel.transforms.dead_letters import _rename, _temporary, remove_unfinished

RUNNERS = ("FnApiRunner", "BundleBasedDirectRunner")
DISCARDING = trigger.AccumulationMode.DISCARDING
ACCUMULATING = trigger.AccumulationMode.ACCUMULATING
EAGER = trigger.Repeatedly(trigger.AfterCount(10))
WINDOWINGS = {
    "global": beam.WindowInto(GlobalWindows()),
    "fixed": beam.WindowInto(FixedWindows(60)),
    "sliding": beam.WindowInto(SlidingWindows(60, 10)),
    "sessions": beam.WindowInto(Sessions(30)),
    "global, every ten": beam.WindowInto(GlobalWindows(), trigger=EAGER, accumulation_mode=DISCARDING),
    "global, every ten again": beam.WindowInto(GlobalWindows(), trigger=EAGER, accumulation_mode=ACCUMULATING),
    "fixed, by the clock": beam.WindowInto(
        FixedWindows(60),
        trigger=trigger.AfterWatermark(early=trigger.AfterProcessingTime(5), late=trigger.AfterCount(3)),
        accumulation_mode=ACCUMULATING,
        allowed_lateness=30,
    ),
    "sliding, every ten": beam.WindowInto(SlidingWindows(60, 20), trigger=EAGER, accumulation_mode=ACCUMULATING),
    "sessions, every ten": beam.WindowInto(Sessions(30), trigger=EAGER, accumulation_mode=DISCARDING),
}


def _letter(number: int) -> DeadLetter:
    return DeadLetter(f"event {number}".encode(), "validate", "time_missing")


def _numbers(folder: Path) -> Counter[int]:
    """Count the letters in the files that a replay would read."""
    lines = [line for path in folder.glob("dead-*.jsonl") for line in path.read_text().splitlines()]
    return Counter(int(json.loads(line)["event"].split()[1]) for line in lines)


def _assert_each_once(folder: Path, count: int, told: list[str]) -> None:
    assert _numbers(folder) == Counter(range(count))
    assert sorted(told) == sorted(str(path) for path in folder.iterdir())


class _Note(beam.DoFn):
    """Notes the names that are given: the runners of these tests work in this process."""

    told: ClassVar[list[str]] = []

    def process(self, name: str) -> None:
        self.told.append(name)


@pytest.fixture
def told() -> list[str]:
    _Note.told.clear()
    return _Note.told


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("windowing", WINDOWINGS.values(), ids=WINDOWINGS)
def test_each_letter_is_written_once_in_any_windows(
    tmp_path: Path, told: list[str], windowing: beam.PTransform, runner: str
) -> None:
    """Neither windows nor triggers act on the letters or on the names; a letter in six windows is one letter."""
    with beam.Pipeline(runner, options=PipelineOptions([])) as pipeline:
        letters = (
            pipeline
            | beam.Create(range(57))
            | beam.Map(lambda number: TimestampedValue(_letter(number), number * 7))
            | windowing
        )
        _ = letters | WriteDeadLetters(f"{tmp_path}/dead") | beam.ParDo(_Note())
    _assert_each_once(tmp_path, 57, told)


@pytest.mark.parametrize("windowing", WINDOWINGS.values(), ids=WINDOWINGS)
def test_each_letter_of_a_stream_is_written_once(tmp_path: Path, told: list[str], windowing: beam.PTransform) -> None:
    """Early and late ones, too, which Beam's own sinks would drop."""
    stream = Stream()
    for number in range(40):
        stream = stream.add_elements([TimestampedValue(_letter(number), number * 5)])
        if number % 8 == 7:
            stream = stream.advance_watermark_to(number * 50).advance_processing_time(3)
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline("BundleBasedDirectRunner", options=options) as pipeline:
        letters = pipeline | stream.advance_watermark_to_infinity() | windowing
        _ = letters | WriteDeadLetters(f"{tmp_path}/dead") | beam.ParDo(_Note())
    _assert_each_once(tmp_path, 40, told)


def test_a_stream_commits_letters_before_it_ends(tmp_path: Path) -> None:
    """Files have their names as soon as their bundle is committed; no window needs to end for that."""
    seen: list[Counter[int]] = []
    _Look.seen, _Look.folder = seen, tmp_path
    stream = Stream().add_elements([_letter(0)]).advance_processing_time(1).add_elements([_letter(1)])
    stream = stream.advance_processing_time(1).add_elements(["look"]).advance_watermark_to_infinity()
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline("BundleBasedDirectRunner", options=options) as pipeline:
        elements = pipeline | stream
        letters = elements | beam.Filter(lambda element: isinstance(element, DeadLetter))
        _ = letters | WriteDeadLetters(f"{tmp_path}/dead")
        _ = elements | beam.ParDo(_Look())
    assert seen[0] >= Counter([0])


class _Look(beam.DoFn):
    seen: ClassVar[list[Counter[int]]]
    folder: ClassVar[Path]

    def process(self, element: Any) -> None:
        if element == "look":
            self.seen.append(_numbers(self.folder))


@pytest.mark.parametrize("runner", RUNNERS)
def test_several_parts_are_written_apart_and_named_together(tmp_path: Path, told: list[str], runner: str) -> None:
    """Parts in windows of their own, and one that is empty: all names, once; an empty part has no file."""
    with beam.Pipeline(runner, options=PipelineOptions([])) as pipeline:
        first = pipeline | "First" >> beam.Create([_letter(number) for number in range(10)])
        second = (
            pipeline
            | "Second" >> beam.Create([_letter(number) for number in range(10, 30)])
            | beam.Map(lambda letter: TimestampedValue(letter, 100))
            | beam.WindowInto(SlidingWindows(60, 10), trigger=EAGER, accumulation_mode=ACCUMULATING)
        )
        third = first | beam.Filter(lambda _: False)
        _ = (first, second, third) | WriteDeadLetters(f"{tmp_path}/dead") | beam.ParDo(_Note())
    _assert_each_once(tmp_path, 30, told)
    parts = {re.fullmatch(r"dead-\d{8}T\d{12}-(\d)-[0-9a-f]{32}\.jsonl", path.name) for path in tmp_path.iterdir()}
    assert {part and part[1] for part in parts} == {"0", "1"}


def test_a_bundle_that_is_tried_again_leaves_no_letter_twice(tmp_path: Path, told: list[str]) -> None:
    """What the first try wrote keeps its temporary name, and is removed when the job is over."""
    tries = []
    write = dead_letters._WriteBundleFn._write

    def fail_after_writing(step: Any) -> None:
        write(step)
        tries.append(step)
        if len(tries) <= 2:
            raise OSError("the network is gone")

    transform = WriteDeadLetters(f"{tmp_path}/dead")
    with (
        patch.object(dead_letters._WriteBundleFn, "_write", fail_after_writing),
        beam.Pipeline("BundleBasedDirectRunner", options=PipelineOptions([])) as pipeline,
    ):
        _ = pipeline | beam.Create([_letter(number) for number in range(9)]) | transform | beam.ParDo(_Note())
    assert len(tries) == 3
    assert len(list(tmp_path.iterdir())) == 3
    assert _numbers(tmp_path) == Counter(range(9))
    remove_unfinished(transform.prefix)
    _assert_each_once(tmp_path, 9, told)


def test_a_large_bundle_is_written_in_several_files(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters are held up to a bound on their bytes, whatever the bundle holds; and a bundle makes no more files."""
    monkeypatch.setattr(dead_letters, "MAX_FILE_BYTES", 10_000)
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        letters = pipeline | beam.Create([_letter(number) for number in range(2_000)], reshuffle=False)
        _ = letters | WriteDeadLetters(f"{tmp_path}/dead") | beam.ParDo(_Note())
    _assert_each_once(tmp_path, 2_000, told)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert max(sizes) < 10_200
    assert len(sizes) == -(-sum(sizes) // max(sizes))


def test_letters_of_a_bundle_are_in_one_file(tmp_path: Path) -> None:
    """A thousand letters are not a thousand files."""
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        letters = pipeline | beam.Create([_letter(number) for number in range(1_000)], reshuffle=False)
        _ = letters | WriteDeadLetters(f"{tmp_path}/dead")
    assert len(list(tmp_path.iterdir())) == 1


def test_names_can_be_counted(tmp_path: Path) -> None:
    """The names of a bounded input are in the global window with Beam's default trigger, whatever the letters had."""
    counted = f"{tmp_path}/counted"
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        letters = pipeline | beam.Create([_letter(number) for number in range(40)])
        letters |= beam.WindowInto(GlobalWindows(), trigger=EAGER, accumulation_mode=ACCUMULATING)
        names = letters | WriteDeadLetters(f"{tmp_path}/dead")
        _ = names | beam.combiners.Count.Globally() | beam.io.WriteToText(counted, num_shards=1)
    assert Path(f"{counted}-00000-of-00001").read_text().split() == [str(len(list(tmp_path.glob("dead-*"))))]


@pytest.mark.parametrize("flag", ["--runtime_type_check", "--performance_runtime_type_check"])
def test_beams_checks_of_types_pass(tmp_path: Path, flag: str) -> None:
    """What the steps give is what they say."""
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([flag])) as pipeline:
        letters = tuple(pipeline | f"{part}" >> beam.Create([_letter(part)]) for part in range(2))
        _ = letters | WriteDeadLetters(f"{tmp_path}/dead")
    assert _numbers(tmp_path) == Counter(range(2))


# --- renaming


def _written(folder: Path, *names: str) -> list[str]:
    for name in names:
        Path(_temporary(f"{folder}/{name}")).write_text("{}\n")
    return [f"{folder}/{name}" for name in names]


def test_renaming_again_changes_nothing(tmp_path: Path) -> None:
    """A bundle that is tried again after it renamed all or some of its files gives the same names."""
    names = _written(tmp_path, "dead-1.jsonl", "dead-2.jsonl")
    FileSystems.rename([_temporary(names[1])], [names[1]])
    for _ in range(2):
        assert _rename((0, names)) == names
        assert sorted(path.name for path in tmp_path.iterdir()) == ["dead-1.jsonl", "dead-2.jsonl"]


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """Neither the temporary file nor the final one is there: letters would be lost unseen."""
    names = _written(tmp_path, "dead-1.jsonl", "dead-2.jsonl")
    Path(_temporary(names[0])).unlink()
    with pytest.raises(OSError, match=r"\.dead-1\.jsonl\.unfinished was written, and is gone"):
        _rename((0, names))


def test_a_file_that_cannot_be_renamed_is_an_error(tmp_path: Path) -> None:
    """Another thing of that name is there."""
    names = _written(tmp_path, "dead-1.jsonl")
    Path(names[0]).mkdir()
    with pytest.raises(OSError, match=r"cannot rename .*\.dead-1\.jsonl\.unfinished"):
        _rename((0, names))


class _Bucket(FileSystem):  # type: ignore[misc]
    """A store like those in which renaming is copying and deleting, and in which either may fail half-way."""

    objects: ClassVar[dict[str, bytes]] = {}
    failures: ClassVar[list[str]] = []

    @classmethod
    def scheme(cls) -> str:
        return "test-bucket"

    def create(self, path: str, *_: Any, **__: Any) -> Any:
        class Upload(io.BytesIO):
            def close(self) -> None:
                _Bucket.objects[path] = self.getvalue()
                super().close()

        return Upload()

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        wrong = {}
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            failure = self.failures.pop() if self.failures else ""
            if failure == "copy" or source not in self.objects:
                wrong[source, target] = OSError("503 or 404")
                continue
            self.objects[target] = self.objects[source]
            if failure == "delete":
                wrong[source, target] = OSError("503")
                continue
            del self.objects[source]
        if wrong:
            raise BeamIOError("Rename operation failed", wrong)

    def exists(self, path: str) -> bool:
        return path in self.objects

    def _unused(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    join = split = mkdirs = has_dirs = _list = open = copy = _unused
    size = last_updated = checksum = metadata = delete = _unused


@pytest.fixture
def bucket() -> Iterator[type[_Bucket]]:
    _Bucket.objects.clear()
    _Bucket.failures.clear()
    yield _Bucket
    assert not _Bucket.failures


@pytest.mark.parametrize("failure", ["copy", "delete"])
def test_where_renaming_is_copying_and_deleting(bucket: type[_Bucket], failure: str, told: list[str]) -> None:
    """A bundle in which copying or deleting fails is tried again; then each letter is there once, under one name."""
    bucket.failures.append(failure)
    with beam.Pipeline("BundleBasedDirectRunner", options=PipelineOptions([])) as pipeline:
        letters = pipeline | beam.Create([_letter(number) for number in range(9)])
        _ = letters | WriteDeadLetters("test-bucket://letters/dead") | beam.ParDo(_Note())
    assert sorted(bucket.objects) == sorted(told)
    lines = [line for data in bucket.objects.values() for line in data.splitlines()]
    assert Counter(json.loads(line)["event"] for line in lines) == Counter(f"event {number}" for number in range(9))
    remove_unfinished("test-bucket://letters/dead")


# --- names


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    folder=st.sampled_from(["", "out/", "/a/b-/", "gs://bucket/", "gs://bucket/a/"]),
    base=st.one_of(
        st.text(alphabet=".-ab1", max_size=6), st.sampled_from(["beam", "beam-temp", ".", "..", ".-", "a.jsonl"])
    ),
)
def test_no_pattern_of_a_prefix_matches_temporary_names(folder: str, base: str) -> None:
    """Whatever the prefix is, `PREFIX-*` and `PREFIX-*.jsonl` find the files that are committed, and no others."""
    assume(folder + base)  # an empty prefix is refused
    prefix = folder + base
    name = f"{WriteDeadLetters(prefix).prefix}-0-{'0' * 32}.jsonl"
    for pattern in (f"{prefix}-*", f"{prefix}-*.jsonl"):
        matches = re.compile(FileSystem.translate_pattern(pattern)).match
        assert matches(name)
        assert not matches(_temporary(name))
    assert _temporary(name).rpartition("/")[0] == name.rpartition("/")[0]


@pytest.mark.parametrize("make_prefix", [str, lambda folder: f"{folder}/deep/er/"], ids=["a folder", "a new folder"])
def test_odd_prefixes(tmp_path: Path, make_prefix: Callable[[Path], str]) -> None:
    """A folder that is not there is made; a prefix may end in a slash."""
    prefix = make_prefix(tmp_path / "letters")
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        _ = pipeline | beam.Create([_letter(0)]) | WriteDeadLetters(prefix)
    (name,) = [str(path) for path in tmp_path.rglob("*") if path.is_file()]
    assert name.startswith(f"{prefix}-")


def test_labels_say_each_thing_once(tmp_path: Path) -> None:
    """No step of a composite repeats its name."""
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    letters = tuple(pipeline | f"{part}" >> beam.Create([_letter(part)]) for part in range(2))
    _ = letters | "WriteDeadLetters" >> WriteDeadLetters(f"{tmp_path}/dead")
    steps = pipeline.to_runner_api().components.transforms.values()
    names = {step.unique_name for step in steps if step.unique_name.startswith("WriteDeadLetters/")}
    own = {name.split("/")[1] for name in names}
    assert own == {"Write0", "Write1", "FlattenNames", "GroupNames", "Rename"}
