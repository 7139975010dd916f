"""Windows of one's own, on engines that keep them in their own way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue

from beam_mixpanel import ImportReceipt, ProjectToken, WriteToMixpanel
from beam_mixpanel.emulator import Emulator
from tests.windowings import HOUR_SECS, WINDOWINGS, windows_of

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


class Form(NamedTuple):
    """How batches are made.

    Attributes:
      bounded: whether the sink takes its input for bounded.
      options: of the sink.
    """

    bounded: bool
    options: dict[str, Any]


FORMS = {
    "bundles": Form(True, {}),
    "shards": Form(True, {"num_shards": 2}),
    "stream": Form(False, {}),
    "stream by shards": Form(False, {"num_shards": 2}),
    "stream sharded by the runner": Form(False, {"auto_sharding": True, "num_shards": 2}),
}
HOURS = "many hours"
SECONDS = range(0, 240, 4)
TWO_YEARS = range(0, 2 * 365 * 86_400, 365 * 86_400 // 150)
MOST_REQUESTS = 8
"""Bundles leave remainders on so many keys, and a stream has so many shards."""


def _test_event(number: int, case: str) -> dict[str, Any]:
    properties = {"distinct_id": "u", "number": number, "time": 1_700_000_000}
    if number % 5 == 4:
        del properties["time"]  # invalid
    return {"event": case, "properties": properties}


def _at_second(numbered: tuple[int, int], case: str) -> TimestampedValue:
    number, second = numbered
    return TimestampedValue(_test_event(number, case), second)


class _Note(beam.DoFn):
    """Appends what came out, once for each of its windows, to a file: whole lines, from any process of this machine.

    Prism makes an element of several windows several elements between its stages; other engines do not.
    """

    def __init__(self, file: Path) -> None:
        self._file = str(file)

    def process(self, value: Any, element: Any = beam.DoFn.WindowedValueParam) -> None:
        second = element.timestamp.micros // 1_000_000
        with open(self._file, "ab", buffering=0) as file:
            for window in map(repr, element.windows):
                if isinstance(value, ImportReceipt):
                    noted: list[Any] = [value.imported, window]
                else:
                    noted = [json.loads(value.event)["properties"]["number"], window, second]
                file.write(json.dumps(noted).encode() + b"\n")


def _noted(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _windows(windowed: beam.WindowInto, second: int) -> tuple[str, ...]:
    return tuple(map(repr, windows_of(windowed.windowing.windowfn, second)))


@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "unbounded"])
def test_each_event_is_sent_once_whatever_is_set_upstream(
    engine: Any, bounded: bool, emulator: Emulator, token_reference: str, tmp_path: Path
) -> None:
    """By windows, triggers and accumulation modes of the table, each with its own sink in one pipeline.

    Dead letters keep their windows, receipts count by them, and events of all windows share requests.
    """
    windowings = {**WINDOWINGS, HOURS: lambda: beam.WindowInto(FixedWindows(HOUR_SECS))}
    forms = {name: form for name, form in FORMS.items() if form.bounded is bounded}
    cases = {f"{name}, {form}": (name, forms[form]) for name in windowings for form in forms}
    options = PipelineOptions([*engine.flags, *([] if bounded else ["--streaming"])])
    with beam.Pipeline(options=options) as pipeline:
        few = pipeline | "Few" >> beam.Create(list(enumerate(SECONDS)))
        many = pipeline | "Many" >> beam.Create(list(enumerate(TWO_YEARS)))
        for number, (case, (name, form)) in enumerate(cases.items()):
            timed = (many if name == HOURS else few) | f"{case}: timed" >> beam.Map(_at_second, case)
            events = timed | f"{case}: windows" >> windowings[name]()
            events.is_bounded = bounded
            sink = WriteToMixpanel(ProjectToken.from_reference(token_reference), api_host=emulator.url, **form.options)
            result = events | f"{case}: sink" >> sink
            _ = result.receipts | f"{case}: receipts" >> beam.ParDo(_Note(tmp_path / f"receipts-{number}"))
            _ = result.dead_letters | f"{case}: letters" >> beam.ParDo(_Note(tmp_path / f"letters-{number}"))

    arrived: dict[str, Counter[int]] = {case: Counter() for case in cases}
    for event in emulator.events():
        arrived[event["event"]][event["properties"]["number"]] += 1
    requests = Counter(request["events"][0]["event"] for request in emulator.requests(bodies=True))
    for number, (case, (name, _)) in enumerate(cases.items()):
        numbered = list(enumerate(TWO_YEARS if name == HOURS else SECONDS))
        windowed = windowings[name]()
        good = {index: _windows(windowed, second) for index, second in numbered if index % 5 != 4}
        assert arrived[case] == Counter(list(good)), case
        letters = Counter((index, window, at) for index, window, at in _noted(tmp_path / f"letters-{number}"))
        invalid = [(index, second) for index, second in numbered if index % 5 == 4]
        assert letters == Counter((i, window, second) for i, second in invalid for window in _windows(windowed, second))
        imported: Counter[str] = Counter()
        for count, window in _noted(tmp_path / f"receipts-{number}"):
            imported[window] += count
        assert imported == Counter(window for windows in good.values() for window in windows), case
        assert requests[case] <= MOST_REQUESTS, case
