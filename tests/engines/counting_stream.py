"""A stream of numbered events into Mixpanel, a pipeline of its own.

`python counting_stream.py URL REFERENCE FIRST_MS SECS`: FIRST_MS is when the first event is due, in ms since 1970.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from beam_mixpanel import ProjectToken, WriteToMixpanel

EVERY_MS = 20
REST_SECS = 1
"""Beam's runner for Flink cuts a rest to whole seconds: a shorter one is none, and the task spins."""

BUFFERING_SECS = 2.0


class _Numbers(RestrictionProvider):  # type: ignore[misc]
    """From 0 to the element, to be counted by one and from the front."""

    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return int(restriction.size())


class Count(beam.DoFn):  # type: ignore[misc]
    """Give the numbers that are due, one every 20 ms from a moment on, and rest until more are.

    Beam's `PeriodicImpulse` rests after each element, and each rest leaves a state of its own in Flink's checkpoints
    (https://github.com/apache/beam/issues/27648).
    """

    def __init__(self, first_ms: int) -> None:
        self._first_ms = first_ms

    def _at(self, number: int) -> Timestamp:
        return Timestamp(micros=(self._first_ms + number * EVERY_MS) * 1000)

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: int,
        tracker: Any = beam.DoFn.RestrictionParam(_Numbers()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue]:
        number = tracker.current_restriction().start
        while self._at(number) <= Timestamp.now():
            if not tracker.try_claim(number):
                return
            yield TimestampedValue(number, self._at(number))
            number += 1
        watermark.set_watermark(self._at(number))
        tracker.defer_remainder(Duration(REST_SECS))


def event_of(number: int, first_ms: int) -> dict[str, Any]:
    """Make the event of a number; the same number makes the same event again."""
    return {
        "event": "Ticked",
        "properties": {"time": first_ms + number * EVERY_MS, "distinct_id": "u", "number": number},
    }


def run(url: str, reference: str, first_ms: int, secs: float, flags: list[str]) -> None:
    """Send an event every 20 ms for so many seconds, and wait for the end."""
    options = PipelineOptions(flags)
    options.view_as(StandardOptions).streaming = True
    pipeline = beam.Pipeline(options=options)
    _ = (
        pipeline
        | beam.Create([round(secs * 1000) // EVERY_MS], reshuffle=False)
        | beam.ParDo(Count(first_ms))
        | beam.Map(event_of, first_ms)
        | WriteToMixpanel(
            ProjectToken.from_reference(reference), api_host=url, max_buffering_secs=BUFFERING_SECS, num_shards=2
        )
    )
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
