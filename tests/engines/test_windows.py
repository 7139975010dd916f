"""Windows of one's own, on engines that keep them in their own way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue

from beam_mixpanel import ProjectToken, WriteToMixpanel
from beam_mixpanel.emulator import Emulator

pytestmark = pytest.mark.engines

WINDOW_SECS = 60
TIMED = [
    (second, {"event": "A", "properties": {"time": 1_700_000_000, "distinct_id": "u"}}) for second in range(0, 180, 5)
]
INVALID = [(second, {"event": "A", "properties": {"number": second}}) for second in (1, 61, 62)]


@pytest.fixture(params=["prism", "portable_runner", "flink"])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def _timed(pair: tuple[int, Any]) -> TimestampedValue:
    return TimestampedValue(pair[1], pair[0])


def _imported(receipt: Any, window: Any = beam.DoFn.WindowParam) -> str:
    return json.dumps([int(window.start), receipt.imported])


def _reason(letter: Any, window: Any = beam.DoFn.WindowParam) -> str:
    return json.dumps([int(window.start), letter.reason])


def _lines(folder: Path, name: str) -> list[Any]:
    return sorted(json.loads(line) for file in folder.glob(f"{name}-*") for line in file.read_text().splitlines())


def _imported_by_window(folder: Path, name: str) -> dict[int, int]:
    imported: Counter[int] = Counter()
    for start, count in _lines(folder, f"{name}-receipts"):
        imported[start] += count
    return dict(imported)


def test_receipts_and_dead_letters_stay_in_their_windows(
    engine: Any, emulator: Emulator, token_reference: str, tmp_path: Path
) -> None:
    """Each comes out in the window that its events came in with, with batches made in bundles and by shards."""
    forms = {"bundles": None, "shards": 2}
    with beam.Pipeline(options=PipelineOptions(engine.flags)) as pipeline:
        events = pipeline | beam.Create(TIMED + INVALID) | beam.Map(_timed) | beam.WindowInto(FixedWindows(WINDOW_SECS))
        for form, num_shards in forms.items():
            sink = WriteToMixpanel(
                ProjectToken.from_reference(token_reference), api_host=emulator.url, num_shards=num_shards
            )
            result = events | form >> sink
            _write(result.receipts | f"{form}: receipts" >> beam.Map(_imported), tmp_path / f"{form}-receipts")
            _write(result.dead_letters | f"{form}: letters" >> beam.Map(_reason), tmp_path / f"{form}-letters")
    for form in forms:
        assert _imported_by_window(tmp_path, form) == {0: 12, 60: 12, 120: 12}
        reasons = [[0, "time_missing"], [60, "time_missing"], [60, "time_missing"]]
        assert _lines(tmp_path, f"{form}-letters") == reasons


def _write(lines: Any, path: Path) -> None:
    together = lines | f"{path.name}: together" >> beam.WindowInto(GlobalWindows())
    _ = together | f"{path.name}: to files" >> beam.io.WriteToText(str(path), num_shards=1)
