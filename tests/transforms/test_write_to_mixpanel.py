"""`WriteToMixpanel` on the in-process runner, over real sockets, with the emulator judging what arrives."""

from __future__ import annotations

import json
import pickle
import time
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.display import DisplayData

from beam_mixpanel import ProjectToken, ServiceAccount, WriteToMixpanel, WriteToMixpanelResult
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.errors import EventNotImportedError, RefusedError, UndeliveredError

NOW_MS = int(time.time() * 1000)
REFERENCE = "env:TEST_MIXPANEL_TOKEN"


def _event(number: int, **properties: Any) -> dict[str, Any]:
    defaults = {
        "time": NOW_MS - 86_400_000 - number,
        "distinct_id": f"user-{number}",
        "$insert_id": f"id-{number:08d}",
        "number": number,
    }
    return {"event": "Tested", "properties": defaults | properties}


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))


def _sink(emulator: Emulator, **options: Any) -> WriteToMixpanel:
    return WriteToMixpanel(ProjectToken.from_reference(REFERENCE), api_host=emulator.url, **options)


def _counters(pipeline: beam.Pipeline) -> dict[str, int]:
    counters = pipeline.result.metrics().query(MetricsFilter().with_namespace("beam_mixpanel"))["counters"]
    counts: dict[str, int] = {}
    for counter in counters:
        counts[counter.key.metric.name] = counts.get(counter.key.metric.name, 0) + counter.committed
    return counts


@pytest.fixture(autouse=True)
def _token(token_reference: str) -> str:
    return token_reference


def test_every_event_arrives_once_and_unchanged(emulator: Emulator) -> None:
    """What goes in is what the server stores, and the receipts and counters say so."""
    events = [_event(number) for number in range(4_321)]
    with _pipeline() as pipeline:
        result = pipeline | beam.Create(events) | _sink(emulator)
        assert_that(
            result.receipts | beam.Map(lambda receipt: (receipt.http_status, receipt.imported)),
            equal_to([(200, 2000), (200, 2000), (200, 321)]),
        )
    assert sorted(emulator.events(), key=lambda e: e["properties"]["number"]) == events
    counts = _counters(pipeline)
    assert counts["read"] == counts["imported"] == 4_321
    assert counts["requests"] == 3
    assert "retries" not in counts


def test_two_sinks_of_a_pipeline_give_their_dead_letters_apart(emulator: Emulator) -> None:
    """One input into two projects: the dead letters of both can be asked for, and no step takes another's name."""
    with _pipeline() as pipeline:
        events = pipeline | beam.Create([_event(1), {"event": "no time"}])
        for name in ("First", "Second"):
            result = events | name >> _sink(emulator)
            reasons = result.dead_letters | f"{name}Reasons" >> beam.Map(lambda letter: letter.reason)
            assert_that(reasons, equal_to(["time_missing"]), label=f"{name}Check")
    assert len(emulator.events()) == 2


def test_requests_are_as_mixpanel_documents_them(emulator: Emulator) -> None:
    """One gzipped JSON array to `/import?strict=1`, with Basic credentials."""
    with _pipeline() as pipeline:
        _ = pipeline | beam.Create([_event(1)]) | _sink(emulator)
    (request,) = emulator.requests()
    assert (request["method"], request["path"], request["status"]) == ("POST", "/import", 200)
    assert request["query"] == {"strict": "1", "ip": "0"}
    headers = request["headers"]
    assert headers["content-encoding"] == "gzip"
    assert headers["content-type"] == "application/json"
    assert "a-token" not in json.dumps(request)


@pytest.mark.parametrize(("option", "value", "sizes"), [
    ("max_batch_events", 7, [7, 7, 7, 4]),
    ("max_batch_bytes", 1_000_001, [25]),
    ("num_shards", 1, [25]),
    ("max_concurrent_requests", 1, [25]),
])  # fmt: skip
def test_batches_are_as_large_as_the_options_say(emulator: Emulator, option: str, value: int, sizes: list[int]) -> None:
    """Batches are full up to the limits, whichever way they are packed."""
    with _pipeline() as pipeline:
        _ = pipeline | beam.Create([_event(number) for number in range(25)]) | _sink(emulator, **{option: value})
    assert sorted((request["event_count"] for request in emulator.requests()), reverse=True) == sizes
    assert len(emulator.events(deduplicated=True)) == 25


def test_batches_keep_the_limit_on_bytes(emulator: Emulator) -> None:
    """No body is longer than the limit, brackets and commas included."""
    events = [_event(number, note="x" * 300_000) for number in range(10)]
    with _pipeline() as pipeline:
        result = pipeline | beam.Create(events) | _sink(emulator, max_batch_bytes=1_000_001)
        assert_that(
            result.receipts | beam.Map(lambda receipt: (receipt.events, receipt.body_bytes <= 1_000_001)),
            equal_to([(3, True)] * 3 + [(1, True)]),
        )
    assert len(emulator.events()) == 10


@pytest.mark.parametrize("num_shards", [1, 3])
def test_at_most_num_shards_requests_are_in_flight(emulator: Emulator, num_shards: int) -> None:
    """With `num_shards`, each key's sender waits for its own request."""
    emulator.add_fault(kind="latency", secs=0.02)
    with _pipeline() as pipeline:
        events = beam.Create([_event(number) for number in range(200)])
        _ = pipeline | events | _sink(emulator, num_shards=num_shards, max_batch_events=10)
    assert emulator.stats()["max_in_flight"] <= num_shards
    assert len(emulator.events(deduplicated=True)) == 200


def test_job_fails_at_the_first_event_that_cannot_be_imported(emulator: Emulator) -> None:
    """Unless somebody takes dead letters over, the first one ends the job, with its reason and not its content."""
    bad = {"event": "A", "properties": {"secret": "not to be shown"}}
    with pytest.raises(EventNotImportedError, match="time_missing") as failure, _pipeline() as pipeline:
        _ = pipeline | beam.Create([bad]) | _sink(emulator)
    assert "not to be shown" not in str(failure.value)


def test_rejected_events_fail_the_job_too(emulator: Emulator) -> None:
    """An event that Mixpanel rejects is treated as one that we refuse."""
    emulator.add_fault(kind="failed_records", variant="strings")
    with pytest.raises(EventNotImportedError, match="rejected"), _pipeline() as pipeline:
        _ = pipeline | beam.Create([_event(1)]) | _sink(emulator)


def test_consuming_dead_letters_takes_them_over(emulator: Emulator) -> None:
    """With a step behind `result.dead_letters` the job goes on; each letter holds the original event and the reason."""
    good, bad = _event(1), {"event": "A", "properties": {"x": 1}}
    with _pipeline() as pipeline:
        result = pipeline | beam.Create([good, bad]) | _sink(emulator)
        assert_that(
            result.dead_letters | beam.Map(lambda letter: (letter.event, letter.fate, letter.reason)),
            equal_to([(_line(bad), "invalid", "time_missing")]),
        )
    assert emulator.events() == [good]


def test_beams_error_handlers_take_dead_letters(emulator: Emulator) -> None:
    """`with_error_handler` gives the same letters to a handler."""
    with _pipeline() as pipeline:
        with beam.transforms.error_handling.CollectingErrorHandler() as handler:
            _ = pipeline | beam.Create([_event(1), {"event": ""}]) | _sink(emulator).with_error_handler(handler)
        assert_that(handler.output() | beam.Map(lambda letter: letter.reason), equal_to(["event_missing"]))
    assert len(emulator.events()) == 1


def test_an_error_handler_left_open_is_refused(emulator: Emulator) -> None:
    """Beam does not run a pipeline whose error handler was forgotten."""
    pipeline = _pipeline()
    handler = beam.transforms.error_handling.CollectingErrorHandler()
    handler.__enter__()
    _ = pipeline | beam.Create([_event(1)]) | _sink(emulator).with_error_handler(handler)
    with pytest.raises(RuntimeError):
        pipeline.run()


def test_an_empty_input_sends_nothing(emulator: Emulator) -> None:
    """No events, no requests."""
    with _pipeline() as pipeline:
        result = pipeline | beam.Create([]) | _sink(emulator)
        assert_that(result.receipts, equal_to([]))
    assert emulator.requests() == []


def test_refused_credentials_fail_at_once_with_what_to_do() -> None:
    """401 ends the job; nothing is drained into dead letters, and no secret is shown."""
    with Emulator(project_token="another") as emulator:
        started = time.monotonic()
        pipeline = _pipeline()
        result = pipeline | beam.Create([_event(number) for number in range(10)]) | _sink(emulator)
        _ = result.dead_letters
        with pytest.raises(RefusedError, match="service account") as failure:
            pipeline.run()
        assert time.monotonic() - started < 5
        assert "a-token" not in str(failure.value)
        assert len(emulator.requests()) == 1


@pytest.mark.parametrize("on_undelivered", ["fail", "dead_letter"])
def test_what_mixpanel_never_confirms_fails_or_is_undelivered(emulator: Emulator, on_undelivered: str) -> None:
    """At the deadline the bundle fails, or the events become dead letters: the user chooses."""
    emulator.add_fault(kind="status", status=503, body="upstream connect error")
    sink = _sink(emulator, on_undelivered=on_undelivered, retry_deadline_secs=0)
    if on_undelivered == "fail":
        pipeline = _pipeline()
        _ = (pipeline | beam.Create([_event(1)]) | sink).dead_letters | beam.Map(lambda letter: letter.reason)
        with pytest.raises(UndeliveredError, match="run the job again"):
            pipeline.run()
        return
    with _pipeline() as pipeline:
        letters = (pipeline | beam.Create([_event(1)]) | sink).dead_letters
        assert_that(
            letters | beam.Map(lambda letter: (letter.fate, letter.reason, letter.http_status, letter.attempts)),
            equal_to([("undelivered", "http_503", 503, 1)]),
        )
    counts = _counters(pipeline)
    assert (counts["read"], counts["undelivered"]) == (1, 1)


def test_track_carries_the_token_in_each_event(emulator: Emulator) -> None:
    """`endpoint="track"` sends to `/track`; events older than 5 days are refused by us."""
    fresh = _event(1)
    old = _event(2, time=NOW_MS - 6 * 86_400_000)
    with _pipeline() as pipeline:
        result = pipeline | beam.Create([fresh, old]) | _sink(emulator, endpoint="track")
        assert_that(result.dead_letters | beam.Map(lambda letter: letter.reason), equal_to(["time_too_old_for_track"]))
    (request,) = emulator.requests()
    assert request["path"] == "/track"
    assert [event["properties"]["number"] for event in emulator.events()] == [1]


def test_a_bundle_that_the_runner_retries_sends_identical_bytes(emulator: Emulator) -> None:
    """Where a bundle fails after its events were stored, the runner's next attempts send the same bytes again.

    The runner is one that really retries: it takes four attempts at each bundle.
    """
    events = [_event(number) for number in range(30)]
    for event in events[::2]:
        del event["properties"]["$insert_id"]
    emulator.add_fault(kind="status", status=503, commit=True, times=3)
    with beam.Pipeline(runner="BundleBasedDirectRunner") as pipeline:
        _ = pipeline | beam.Create(events, reshuffle=False) | _sink(emulator, retry_deadline_secs=0)
    requests = emulator.requests(bodies=True)
    assert [request["status"] for request in requests] == [503, 503, 503, 200]
    assert len({request["body_sha256"] for request in requests}) == 1
    assert len(emulator.events()) == 4 * len(events)
    assert len(emulator.events(deduplicated=True)) == len(events)


def test_a_job_that_is_run_again_sends_identical_bytes(emulator: Emulator) -> None:
    """An event without `$insert_id` gets the same one each time, so that sending it again changes nothing."""
    event = _event(1)
    del event["properties"]["$insert_id"]
    for _ in range(2):
        with _pipeline() as pipeline:
            _ = pipeline | beam.Create([event]) | _sink(emulator)
    first, second = emulator.requests()
    assert first["body_sha256"] == second["body_sha256"]
    assert len(emulator.events()) == 2
    assert len(emulator.events(deduplicated=True)) == 1


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"region": "fr"}, "us, eu, in"),
        ({"api_host": "http://example.com"}, "https://"),
        ({"endpoint": "engage"}, "import, track"),
        ({"on_undelivered": "ignore"}, "fail, dead_letter"),
        ({"max_batch_events": 2001}, "between 1 and 2000"),
        ({"max_batch_bytes": 10_000_001}, "10000000"),
        ({"max_concurrent_requests": 0}, "between 1"),
        ({"num_shards": 0}, "between 1"),
        ({"retry_deadline_secs": -1}, "between 0"),
        ({"request_timeout_secs": 0}, "between 0.1"),
        ({"max_events_per_sec": 0}, "between 1"),
        ({"insert_id": "uuid"}, "must be content"),
        ({"time_zone": "X/Y"}, "IANA"),
    ],
)
def test_misuse_is_refused_where_the_transform_is_made(options: dict[str, Any], cure: str) -> None:
    """Wrong arguments raise ValueError with the cure."""
    with pytest.raises(ValueError, match=cure):
        WriteToMixpanel(ProjectToken.from_reference(REFERENCE), **options)


def test_a_service_account_cannot_track() -> None:
    """`/track` needs a project token."""
    with pytest.raises(ValueError, match="ProjectToken"):
        WriteToMixpanel(ServiceAccount.from_reference(REFERENCE, project_id=1), endpoint="track")


def test_no_secret_is_in_the_graph_or_the_display_data(emulator: Emulator) -> None:
    """What a reference names is not in the pipeline as it is submitted, nor shown."""
    pipeline = _pipeline()
    _ = pipeline | beam.Create([_event(1)]) | _sink(emulator)
    proto = pipeline.to_runner_api(return_context=False).SerializeToString()
    assert b"a-token" not in proto
    shown = DisplayData.create_from(_sink(emulator)).items
    assert "a-token" not in repr(shown)
    assert REFERENCE in repr(shown)


def test_the_result_is_as_documented(emulator: Emulator) -> None:
    """The result is a `WriteToMixpanelResult`; asking twice gives the same PCollection."""
    pipeline = _pipeline()
    result = pipeline | beam.Create([_event(1)]) | _sink(emulator)
    assert isinstance(result, WriteToMixpanelResult)
    assert result.dead_letters is result.dead_letters


def test_the_transform_can_be_pickled(emulator: Emulator) -> None:
    """Sinks travel to workers; nothing in them holds a lock or a socket before it is set up."""
    sink = _sink(emulator)
    assert pickle.loads(pickle.dumps(sink._sending)) is not None


def test_unbounded_input_goes_through_keyed_batches(emulator: Emulator) -> None:
    """An unbounded PCollection is batched in state, under a few keys."""
    pipeline = _pipeline()
    events = pipeline | beam.Create([_event(1)])
    events.is_bounded = False
    _ = events | _sink(emulator)
    names = {transform.unique_name for transform in pipeline.to_runner_api().components.transforms.values()}
    assert any(name.endswith("Pack/Buffer") for name in names)
    assert not any("GroupRemainders" in name for name in names)
    pipeline.run().wait_until_finish()
    assert len(emulator.events()) == 1
