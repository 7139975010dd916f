"""Whatever windows, triggers and accumulation are set upstream: each element that reaches the sink is sent once."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import trigger, window
from apache_beam.transforms.window import TimestampedValue, WindowedValue
from apache_beam.utils.timestamp import Timestamp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from beam_mixpanel import DeadLetter, ImportReceipt, ProjectToken, WriteToMixpanel
from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.transforms.windows import Places
from tests.windowings import ACCUMULATING, DISCARDING, WINDOWINGS, windows_of

REFERENCE = "env:TEST_MIXPANEL_TOKEN"
NOW_MS = int(time.time() * 1000)


@pytest.fixture(autouse=True)
def _token(token_reference: str) -> str:
    return token_reference


class _Note(beam.DoFn):
    """Notes values with their windows: the runner works in this process."""

    seen: list[tuple[Any, tuple[Any, ...], int]] = []  # noqa: RUF012 - shared with the tests on purpose

    def process(self, value: Any, element: Any = beam.DoFn.WindowedValueParam) -> None:
        self.seen.append((value, tuple(sorted(element.windows)), element.timestamp.micros // 1_000_000))


def _event(number: int, second: int) -> tuple[int, dict[str, Any]]:
    properties = {"time": NOW_MS - 1_000, "distinct_id": "u", "$insert_id": f"id-{number:04}", "number": number}
    if number % 5 == 4:
        del properties["time"]  # invalid
    return second, {"event": "Tested", "properties": properties}


def _timed(pair: tuple[int, Any]) -> TimestampedValue:
    return TimestampedValue(pair[1], pair[0])


def _run(
    emulator: Emulator,
    seconds: list[int],
    windowed: beam.WindowInto,
    *,
    bounded: bool = True,
    runner: str = "FnApiRunner",
    **options: Any,
) -> None:
    """Send an event for each second, every fifth of them invalid, and compare what came of them with a plain count."""
    emulator.reset()
    _Note.seen.clear()
    pipeline = beam.Pipeline(runner, options=PipelineOptions([]))
    timed = [_event(number, second) for number, second in enumerate(seconds)]
    events = pipeline | beam.Create(timed, reshuffle=False) | beam.Map(_timed) | windowed
    events.is_bounded = bounded
    sink = WriteToMixpanel(ProjectToken.from_reference(REFERENCE), api_host=emulator.url, **options)
    result = events | sink
    for name, output in (("receipts", result.receipts), ("letters", result.dead_letters)):
        assert output.windowing == events.windowing
        _ = output | name >> beam.ParDo(_Note())
    pipeline.run().wait_until_finish()

    windowfn = windowed.windowing.windowfn
    good = {number: second for number, second in enumerate(seconds) if number % 5 != 4}
    arrived = Counter(event["properties"]["number"] for event in emulator.events())
    assert arrived == Counter(list(good))
    letters = Counter(
        (json.loads(letter.event)["properties"]["number"], windows, second)
        for letter, windows, second in _Note.seen
        if isinstance(letter, DeadLetter)
    )
    assert letters == Counter(
        (number, windows_of(windowfn, second), second) for number, second in enumerate(seconds) if number % 5 == 4
    )
    imported: Counter[Any] = Counter()
    for receipt, windows, _ in _Note.seen:
        if isinstance(receipt, ImportReceipt):
            imported[windows] += receipt.imported
    assert imported == Counter(windows_of(windowfn, second) for second in good.values())


windowfns = st.one_of(
    st.just(window.GlobalWindows()),
    st.integers(1, 120).map(window.FixedWindows),
    st.builds(window.SlidingWindows, st.integers(20, 60), st.integers(5, 20)),
    st.integers(1, 60).map(window.Sessions),
)
simple_triggers = st.one_of(
    st.just(trigger.DefaultTrigger()),
    st.integers(1, 30).map(trigger.AfterCount),
    st.integers(0, 60).map(trigger.AfterProcessingTime),
    st.just(trigger.Always()),
    st.builds(
        trigger.AfterWatermark,
        early=st.none() | st.integers(1, 9).map(trigger.AfterCount),
        late=st.none() | st.integers(1, 9).map(trigger.AfterCount),
    ),
)
triggers = st.recursive(
    simple_triggers,
    lambda inner: st.one_of(
        inner.map(trigger.Repeatedly),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: trigger.AfterAny(*some)),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: trigger.AfterAll(*some)),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: trigger.AfterEach(*some)),
    ),
    max_leaves=3,
)
windowings = st.builds(
    lambda windowfn, fired, mode, lateness: beam.WindowInto(
        windowfn, trigger=fired, accumulation_mode=mode, allowed_lateness=lateness
    ),
    windowfns,
    triggers,
    st.sampled_from([DISCARDING, ACCUMULATING]),
    st.sampled_from([0, 10, 10_000]),
)


_WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""An example runs a pipeline: to shrink one takes minutes."""


@settings(
    max_examples=40,
    deadline=None,
    phases=_WITHOUT_SHRINKING,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seconds=st.lists(st.integers(0, 300), min_size=1, max_size=60),
    windowed=windowings,
    bounded=st.booleans(),
    num_shards=st.sampled_from([None, 1, 3]),
    max_batch_events=st.sampled_from([7, 2000]),
)
def test_each_event_is_sent_once_and_its_results_keep_its_windows(
    emulator: Emulator, seconds: list[int], windowed: beam.WindowInto, bounded: bool, **options: Any
) -> None:
    """A law over drawn windowings, triggers and accumulation modes."""
    _run(emulator, seconds, windowed, bounded=bounded, **options)


@pytest.mark.parametrize("num_shards", [None, 2])
@pytest.mark.parametrize("name", WINDOWINGS)
def test_the_bundle_based_runner_loses_nothing_either(emulator: Emulator, name: str, num_shards: int | None) -> None:
    """Beam's `DirectRunner` falls back to it."""
    seconds = list(range(0, 240, 4))
    _run(emulator, seconds, WINDOWINGS[name](), runner="BundleBasedDirectRunner", num_shards=num_shards)


@pytest.mark.parametrize(
    "windowed",
    [beam.WindowInto(window.FixedWindows(3_600)), beam.WindowInto(window.Sessions(60))],
    ids=["hours", "sessions"],
)
def test_events_of_different_windows_share_requests(emulator: Emulator, windowed: beam.WindowInto) -> None:
    """2,000 events over two years are one request, not one for each window."""
    two_years = 2 * 365 * 86_400
    _run(emulator, list(range(0, two_years, two_years // 2_000)), windowed)
    assert len(emulator.requests()) == 1


def test_an_element_in_several_windows_is_sent_once(emulator: Emulator) -> None:
    """Its dead letter is one element, in all of its windows."""
    _run(emulator, [1, 2, 3, 4, 5], beam.WindowInto(window.SlidingWindows(60, 10)))
    [letter] = [(value, windows) for value, windows, _ in _Note.seen if isinstance(value, DeadLetter)]
    assert len(letter[1]) == 6


def test_a_place_gives_back_windows_and_timestamp() -> None:
    """Of any window that its coder can write, more of them than are remembered, too."""
    places = Places(window.FixedWindows(10))
    chunk = EventChunk([b"a", b"b"], [None, None], ["", ""], [-1, -1])
    for second in [*range(0, 15_000, 10), 0]:
        windows = (window.IntervalWindow(second, second + 10),)
        element = WindowedValue(chunk, Timestamp(second + 3), windows)
        placed = places.place(chunk, element)
        assert placed.bodies == chunk.bodies
        for place in placed.places:
            assert places.put_back("value", place) == element.with_value("value")
