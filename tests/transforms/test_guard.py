"""What fails a job at its first dead letter: that nothing consumes dead letters, whoever looks at the result."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.error_handling import CollectingErrorHandler, ErrorHandler

from beam_mixpanel import ProjectToken, WriteToMixpanel, WriteToMixpanelResult
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.errors import EventNotImportedError

REFERENCE = "env:TEST_MIXPANEL_TOKEN"
BAD = {"event": "A", "properties": {}}


@pytest.fixture(autouse=True)
def _token(token_reference: str) -> str:
    return token_reference


def _sink(emulator: Emulator) -> WriteToMixpanel:
    return WriteToMixpanel(ProjectToken.from_reference(REFERENCE), api_host=emulator.url)


def _pipeline(runner: str = "FnApiRunner") -> beam.Pipeline:
    return beam.Pipeline(runner, options=PipelineOptions([]))


class _Ignore(beam.DoFn):
    def process(self, _: Any, side_input: Any = None) -> Iterator[Any]:
        yield from ()


LOOKS: dict[str, Callable[[WriteToMixpanelResult], object]] = {
    "nothing": lambda _: None,
    "read": lambda result: result.dead_letters,
    "read twice": lambda result: (result.dead_letters, result.dead_letters),
    "parts read": lambda result: result.dead_letter_parts,
    "hasattr": lambda result: hasattr(result, "dead_letters"),
    "members": inspect.getmembers,
    "copied": copy.copy,
    "printed": lambda result: (repr(result), repr(result.dead_letters)),
    "receipts consumed": lambda result: result.receipts | beam.ParDo(_Ignore()),
}
CONSUMERS: dict[str, Callable[[WriteToMixpanelResult], object]] = {
    "all": lambda result: result.dead_letters | beam.ParDo(_Ignore()),
    "parts": lambda result: [
        part | f"{number}" >> beam.ParDo(_Ignore()) for number, part in enumerate(result.dead_letter_parts)
    ],
    "one part": lambda result: result.dead_letter_parts[0] | beam.ParDo(_Ignore()),
    "flattened": lambda result: (result.dead_letters, result.dead_letters) | beam.Flatten(),
    "side input": lambda result: (
        result.receipts.pipeline
        | beam.Create([1])
        | "Beside" >> beam.ParDo(_Ignore(), beam.pvalue.AsList(result.dead_letters))
    ),
    "grouped": lambda result: result.dead_letters | beam.Map(lambda letter: (letter.reason, 1)) | beam.GroupByKey(),
}


@pytest.mark.parametrize("runner", ["FnApiRunner", "BundleBasedDirectRunner"])
@pytest.mark.parametrize("look", LOOKS)
def test_looking_at_a_result_does_not_switch_the_guard_off(emulator: Emulator, look: str, runner: str) -> None:
    """A property, a debugger or `hasattr` consumes nothing."""
    pipeline = _pipeline(runner)
    LOOKS[look](pipeline | beam.Create([BAD]) | _sink(emulator))
    with pytest.raises(EventNotImportedError, match="time_missing"):
        pipeline.run().wait_until_finish()


@pytest.mark.parametrize("runner", ["FnApiRunner", "BundleBasedDirectRunner"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_step_that_consumes_dead_letters_takes_them_over(emulator: Emulator, consumer: str, runner: str) -> None:
    """In whatever way it reads them; also where somebody looked before."""
    pipeline = _pipeline(runner)
    result = pipeline | "Events" >> beam.Create([BAD]) | _sink(emulator)
    inspect.getmembers(result)
    CONSUMERS[consumer](result)
    pipeline.run().wait_until_finish()


def test_each_sink_has_a_guard_of_its_own(emulator: Emulator) -> None:
    """Dead letters of one are consumed, those of the other are not."""
    pipeline = _pipeline()
    events = pipeline | beam.Create([BAD])
    _ = (events | "First" >> _sink(emulator)).dead_letters | beam.ParDo(_Ignore())
    _ = events | "Second" >> _sink(emulator)
    with pytest.raises(EventNotImportedError):
        pipeline.run().wait_until_finish()


def test_the_graph_that_is_submitted_holds_the_decision(emulator: Emulator) -> None:
    """A pipeline that is written before it is complete, and again after, decides each time."""
    pipeline = _pipeline()
    result = pipeline | beam.Create([BAD]) | _sink(emulator)
    pipeline.to_runner_api()
    _ = result.dead_letters | beam.ParDo(_Ignore())
    pipeline.run().wait_until_finish()


@pytest.mark.parametrize("handler", [CollectingErrorHandler, lambda: ErrorHandler(beam.ParDo(_Ignore()))])
def test_an_error_handler_is_not_used_for_a_second_pipeline(
    emulator: Emulator, handler: Callable[[], ErrorHandler]
) -> None:
    """Its output belongs to the first, so the second one's dead letters would be lost."""
    used = handler()
    with used:
        _ = _pipeline() | beam.Create([BAD]) | _sink(emulator).with_error_handler(used)
    with pytest.raises(ValueError, match="used in another pipeline"), used:
        _ = _pipeline() | beam.Create([BAD]) | _sink(emulator).with_error_handler(used)


def test_what_is_no_error_handler_is_refused(emulator: Emulator) -> None:
    """Such as the transform that one would be made of."""
    with pytest.raises(TypeError, match="ErrorHandler"):
        _sink(emulator).with_error_handler(beam.ParDo(_Ignore()))  # type: ignore[arg-type]


def test_an_error_handler_that_is_closed_is_refused(emulator: Emulator) -> None:
    """What comes after its output was made would be lost."""
    with _pipeline() as pipeline:
        events = pipeline | beam.Create([])
        with ErrorHandler(beam.ParDo(_Ignore())) as handler:
            _ = events | "First" >> _sink(emulator).with_error_handler(handler)
        with pytest.raises(ValueError, match="already closed"):
            _ = events | "Second" >> _sink(emulator).with_error_handler(handler)
