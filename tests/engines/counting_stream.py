"""A stream of numbered events into Mixpanel, a pipeline of its own: `python counting_stream.py URL REFERENCE SECS`."""

from __future__ import annotations

import sys
import time
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.utils.timestamp import Timestamp

from beam_mixpanel import ProjectToken, WriteToMixpanel

EVERY_MS = 20
BUFFERING_SECS = 2.0


def event_at(moment: Any, first_ms: int) -> dict[str, Any]:
    """Make the event of a moment; the same moment makes the same event again."""
    ms = Timestamp.of(moment).micros / 1000  # the source adds up fractions of a second
    number = round((ms - first_ms) / EVERY_MS)
    return {"event": "Ticked", "properties": {"time": round(ms), "distinct_id": "u", "number": number}}


def run(url: str, reference: str, secs: float, flags: list[str]) -> None:
    """Send an event every 20 ms for so many seconds, and wait for the end."""
    options = PipelineOptions(flags)
    options.view_as(StandardOptions).streaming = True
    first_ms = int(time.time() * 1000) // EVERY_MS * EVERY_MS
    first = Timestamp(micros=first_ms * 1000)
    pipeline = beam.Pipeline(options=options)
    _ = (
        pipeline
        | PeriodicImpulse(start_timestamp=first, stop_timestamp=first + secs, fire_interval=EVERY_MS / 1000)
        | beam.Map(event_at, first_ms)
        | WriteToMixpanel(
            ProjectToken.from_reference(reference), api_host=url, max_buffering_secs=BUFFERING_SECS, num_shards=2
        )
    )
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:])
