"""`MixpanelClient` end to end over a transport that is a function: what each answer makes of a batch."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_mixpanel.client.client import MixpanelClient
from beam_mixpanel.client.credentials import Credentials, ProjectToken, ServiceAccount
from beam_mixpanel.client.results import BatchResult
from beam_mixpanel.client.transport import Answer
from beam_mixpanel.core.sending.culprits import MAX_VAIN_REQUESTS
from beam_mixpanel.core.sending.lessons import HOPELESS_EVENTS
from beam_mixpanel.errors import ClosedError, CredentialsError, MixpanelError, NoAnswerError, RefusedError
from beam_mixpanel.version import VERSION

HOST = "http://localhost"
SECRET = "s3cret-of-the-account"
ACCOUNT = ServiceAccount("a-user", SECRET, project_id=123)
BASIC = base64.b64encode(f"a-user:{SECRET}".encode()).decode()
TOKEN = "t0ken-of-the-project"
LEAST_JITTER_SECS = 1.0

Events = list[dict[str, Any]]
Reply = Callable[[Events], Answer]


class Request(NamedTuple):
    at: float
    url: str
    headers: dict[str, str]
    compressed: bytes

    @property
    def body(self) -> bytes:
        return gzip.decompress(self.compressed)

    @property
    def numbers(self) -> list[int]:
        return [event["properties"]["number"] for event in json.loads(self.body)]


class Server:
    """Gives the replies in turn, then the last one for ever; each takes `latency_secs` of the clock."""

    def __init__(self, clock: Any, *replies: Reply, latency_secs: float = 0.0) -> None:
        self._clock = clock
        self._replies = list(replies)
        self._latency_secs = latency_secs
        self.requests: list[Request] = []
        self.drawn: list[tuple[float, float]] = []

    def __call__(self, url: str, headers: Any, body: bytes) -> Answer:
        request = Request(self._clock(), url, dict(headers), body)
        self.requests.append(request)
        reply = self._replies[min(len(self.requests), len(self._replies)) - 1]
        self._clock.now += self._latency_secs
        return reply(json.loads(request.body))

    def uniform(self, low: float, high: float) -> float:
        self.drawn.append((low, high))
        return low

    @property
    def waits(self) -> list[float]:
        times = [request.at for request in self.requests]
        return [round(later - earlier, 3) for earlier, later in itertools.pairwise(times)]

    def client(self, credentials: Credentials = ACCOUNT, **options: Any) -> MixpanelClient:
        return MixpanelClient(
            credentials,
            **{"host": HOST, "transport": self, "clock": self._clock, "sleep": self._clock.sleep} | options,
            uniform=self.uniform,
        )

    def import_batch(self, events: Sequence[bytes], **options: Any) -> BatchResult:
        return self.client(**options).import_batch(events)


def make_events(size: int, width: int = 0) -> list[bytes]:
    filler = "x" * width
    return [b'{"event":"e","properties":{"number":%d,"x":"%s"}}' % (n, filler.encode()) for n in range(size)]


def _json(status: int, content: Any, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, headers or {}, json.dumps(content).encode())


def ok(events: Events) -> Answer:
    return _json(200, {"code": 200, "num_records_imported": len(events), "status": "OK"})


def answering(status: int, body: bytes = b"", **headers: str) -> Reply:
    return lambda _: Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def silent(reason: str = "timeout") -> Reply:
    def reply(_: Events) -> Answer:
        raise NoAnswerError(reason, f"no answer: {reason}")

    return reply


def naming(*indices: int, imported: int | None = None, id_key: str = "insert_id") -> Reply:
    """Reject these places of the request, and say how many were imported: by default the true number."""

    def reply(events: Events) -> Answer:
        failed = [
            {"index": index, id_key: "an-id", "field": "properties.time", "message": f"bad {index}"}
            for index in indices
        ]
        count = len(events) - len(set(indices)) if imported is None else imported
        return _json(400, {"code": 400, "failed_records": failed, "num_records_imported": count})

    return reply


def refusing(culprits: set[int], body: bytes = b"no JSON at all") -> Reply:
    """Refuse a request that holds a culprit, without naming it."""

    def reply(events: Events) -> Answer:
        if culprits & {event["properties"]["number"] for event in events}:
            return Answer(400, {}, body)
        return ok(events)

    return reply


def no_larger_than(limit_bytes: int) -> Reply:
    def reply(events: Events) -> Answer:
        size = len(json.dumps(events, separators=(",", ":")))
        return ok(events) if size <= limit_bytes else _json(413, {"error": "request exceeds max limit"})

    return reply


def positions(result: BatchResult) -> list[int]:
    return sorted(failure.position for failure in result.failures)


class TestRequest:
    def test_body_is_the_gzipped_array_of_the_very_bytes(self, clock):
        """The body is `[`, the events as they came, separated by commas, and `]`."""
        server = Server(clock, ok)
        events = [b'{"event": "\\u00e9" ,"properties":{"number":1e2}}', b'{"event":"b","properties":{"number":2}}']
        server.import_batch(events)
        assert server.requests[0].body == b"[" + b",".join(events) + b"]"

    def test_headers_and_query_of_a_service_account(self, clock):
        """A request to /import is strict, names the project, and takes no place from our address."""
        server = Server(clock, ok)
        server.import_batch(make_events(1))
        request = server.requests[0]
        assert urlsplit(request.url).path == "/import"
        assert sorted(parse_qsl(urlsplit(request.url).query)) == [("ip", "0"), ("project_id", "123"), ("strict", "1")]
        assert request.headers == {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"beam-mixpanel/{VERSION}",
            "Authorization": f"Basic {BASIC}",
        }

    def test_a_project_token_is_the_user_name_and_names_no_project(self, clock):
        """A token authorises with an empty password and needs no project id."""
        server = Server(clock, ok)
        server.import_batch(make_events(1), credentials=ProjectToken(TOKEN))
        request = server.requests[0]
        assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == f"{TOKEN}:".encode()
        assert sorted(parse_qsl(urlsplit(request.url).query)) == [("ip", "0"), ("strict", "1")]

    def test_credentials_that_do_not_resolve_send_nothing(self, clock):
        """A reference without a secret behind it ends the batch before anything is sent."""
        server = Server(clock, ok)
        with pytest.raises(CredentialsError, match="NO_SUCH_VARIABLE is not set"):
            server.import_batch(make_events(1), credentials=ProjectToken.from_reference("env:NO_SUCH_VARIABLE"))
        assert not server.requests

    def test_a_secret_is_read_once_for_all_requests(self, clock, tmp_path):
        """Later requests use the secret that the first one read."""
        path = tmp_path / "secret"
        path.write_text("a:b")
        server = Server(clock, ok)
        client = server.client(ServiceAccount.from_reference(f"file:{path}", project_id=1))
        client.import_batch(make_events(1))
        path.unlink()
        assert client.import_batch(make_events(1)).imported == 1


class TestConfirmed:
    def test_exact_count_is_imported(self, clock):
        """200 with the exact count confirms every event with one request."""
        server = Server(clock, ok, latency_secs=0.25)
        result = server.import_batch(make_events(3))
        assert (result.imported, result.failures, result.retries, result.unanswered) == (3, [], 0, 0)
        (receipt,) = result.receipts
        request = server.requests[0]
        assert receipt[:8] == (200, 3, 3, 0, 1, len(request.body), len(request.compressed), 0.25)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>all is well</html>",
            b'{"code":200,"num_records_imported":3',
            b'{"code":200,"num_records_imported":"3"}',
            b'{"code":200,"num_records_imported":true}',
            b'{"code":200}',
            b"[3]",
            b"\xff\xfe",
        ],
    )
    def test_unconfirmed_success_is_sent_again_until_the_deadline(self, clock, body):
        """200 without a readable count confirms nothing: identical bytes again, and in the end undelivered."""
        server = Server(clock, answering(200, body))
        result = server.import_batch(make_events(3), retry_deadline_secs=60)
        assert len({request.compressed for request in server.requests}) == 1
        assert len(server.requests) == 5
        assert result.imported == 0
        assert {failure[1:] for failure in result.failures} == {
            ("undelivered", "not_confirmed", "", "the server answered 200", 200, 5)
        }
        assert positions(result) == [0, 1, 2]
        assert (len(result.receipts), result.retries) == (5, 4)
        assert sum(receipt.imported for receipt in result.receipts) == 0

    def test_a_batch_confirmed_later_counts_once(self, clock):
        """An answer that confirmed nothing, then one that does: imported once."""
        server = Server(clock, answering(200), ok)
        result = server.import_batch(make_events(3))
        assert (result.imported, len(result.receipts), result.retries) == (3, 2, 1)


def counting(count: int) -> Reply:
    """Succeed, and count so many events, whatever was sent."""
    return lambda _: _json(200, {"code": 200, "num_records_imported": count})


def dropping(dropped: set[int]) -> Reply:
    """Succeed, and leave some events out of the count."""
    return lambda events: counting(sum(event["properties"]["number"] not in dropped for event in events))(events)


class TestMiscounted:
    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_fewer_are_sent_once_more_and_then_dropped_by_mixpanel(self, clock, count):
        """200 with a smaller count, twice: two copies and no more; the difference is dropped, the rest imported."""
        server = Server(clock, counting(count))
        result = server.import_batch(make_events(3))
        assert len({request.compressed for request in server.requests}) == 1
        assert (len(server.requests), result.retries) == (2, 1)
        assert (result.imported, result.dropped, result.failures) == (count, 3 - count, [])
        assert [(r.imported, r.dropped) for r in result.receipts] == [(0, 0), (count, 3 - count)]
        assert clock.now < 1

    @pytest.mark.parametrize("first", [0, 2, 4])
    def test_a_right_second_count_imports_all(self, clock, first):
        """A wrong count, then the right one: nothing was dropped."""
        result = Server(clock, counting(first), ok).import_batch(make_events(3))
        assert (result.imported, result.dropped, result.failures) == (3, 0, [])

    def test_an_event_that_one_of_two_answers_counts_is_imported(self, clock):
        """Of two counts that are too small, the larger says how many were taken at least."""
        result = Server(clock, counting(2), counting(1)).import_batch(make_events(3))
        assert (result.imported, result.dropped) == (2, 1)

    def test_more_than_were_sent_is_sent_once_more_and_then_undelivered(self, clock):
        """A count that is too large confirms nothing, and makes no more than two copies."""
        server = Server(clock, counting(4))
        result = server.import_batch(make_events(3))
        assert {failure[1:] for failure in result.failures} == {
            ("undelivered", "not_confirmed", "", "the server answered 200", 200, 2)
        }
        assert (len(result.failures), len(server.requests), result.dropped) == (3, 2, 0)

    def test_a_project_that_drops_events_gets_no_copies_for_long(self, clock, caplog):
        """Three batches show that to send again is in vain; then each is sent once. One warning names causes."""
        server = Server(clock, dropping({1, 5}))
        client = server.client()
        results = [client.import_batch(make_events(8)) for _ in range(10)]
        assert [(result.imported, result.dropped) for result in results] == [(6, 2)] * 10
        assert [len(result.receipts) for result in results] == [2] * 3 + [1] * 7
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "$ignore" in caplog.text
        assert "drop filter" in caplog.text

    def test_a_second_count_that_differs_keeps_the_doubt_alive(self, clock):
        """As long as a second sending sometimes confirms more, it is tried."""
        server = Server(clock, *[counting(2), ok] * 5)
        client = server.client()
        for _ in range(5):
            assert client.import_batch(make_events(3)).imported == 3
        assert len(server.requests) == 10

    @pytest.mark.parametrize("imported", [0, 1, 2, 9, None])
    def test_named_events_beside_a_wrong_count_make_no_more_than_two_copies(self, clock, imported):
        """A 400 that names one event and miscounts the others, for ever: two requests, and each event has a fate."""

        def reply(events: Events) -> Answer:
            failed = [{"index": 0, "field": "f", "message": "m"}]
            return _json(400, {"failed_records": failed, "num_records_imported": imported})

        server = Server(clock, reply)
        result = server.import_batch(make_events(5))
        assert len(server.requests) == 2
        assert result.imported + result.dropped + len(result.failures) == 5
        rejected = [failure.position for failure in result.failures if failure.fate == "rejected"]
        assert rejected == [0, 1]
        assert result.imported == (imported if imported in (1, 2) else 0)


class TestNamedRejections:
    @pytest.mark.parametrize("id_key", ["insert_id", "$insert_id"])
    def test_named_events_are_rejected_by_index(self, clock, id_key):
        """Whatever the id's key, the index says who is rejected; field and message are kept, the rest is imported."""
        server = Server(clock, naming(4, 1, id_key=id_key))
        result = server.import_batch(make_events(6))
        assert sorted(result.failures) == [
            (1, "rejected", "rejected", "properties.time", "bad 1", 400, 1),
            (4, "rejected", "rejected", "properties.time", "bad 4", 400, 1),
        ]
        assert (result.imported, len(server.requests)) == (4, 1)
        assert (result.receipts[0].imported, result.receipts[0].rejected) == (4, 2)

    def test_an_event_named_twice_is_rejected_once(self, clock):
        """Two records of one index are one rejection."""
        result = Server(clock, naming(1, 1)).import_batch(make_events(3))
        assert (result.imported, positions(result)) == (2, [1])

    def test_only_the_remainder_is_sent_again_if_the_numbers_do_not_add_up(self, clock):
        """Named events are settled; the others are confirmed by a request of their own."""
        server = Server(clock, naming(0, 2, imported=1), naming(1))
        result = server.import_batch(make_events(5))
        assert [request.numbers for request in server.requests] == [[0, 1, 2, 3, 4], [1, 3, 4]]
        assert (result.imported, positions(result), result.retries) == (2, [0, 2, 3], 1)
        assert {failure.position: failure.attempts for failure in result.failures} == {0: 1, 2: 1, 3: 2}
        assert [(r.events, r.imported, r.rejected, r.attempt) for r in result.receipts] == [(5, 0, 2, 1), (3, 2, 1, 2)]

    def test_all_named_with_a_wrong_count_leaves_nothing_to_send(self, clock):
        """Where every event is named, a wrong count changes nothing."""
        server = Server(clock, naming(0, 1, imported=7))
        result = server.import_batch(make_events(2))
        assert (result.imported, positions(result), len(server.requests)) == (0, [0, 1], 1)


UNNAMED = [
    b'{"failed_records":[{"index":99,"message":"who?"}],"num_records_imported":0}',
    b'{"failed_records":[{"index":-1,"message":"who?"}],"num_records_imported":0}',
    b'{"failed_records":[{"index":true,"message":"who?"}],"num_records_imported":0}',
    b'{"failed_records":["identity events are not allowed"],"num_records_imported":0}',
    b'{"failed_records":[],"num_records_imported":0}',
    b'{"error":"malformed"}',
    b'{"failed_records":[{"index":0',
    b"",
    b"<html>Bad Request</html>",
]


class TestUnnamedRejections:
    @pytest.mark.parametrize("body", UNNAMED)
    def test_halving_finds_the_culprit(self, clock, body):
        """A 400 that names no event of the request is halved until the culprit stands alone."""
        server = Server(clock, refusing({5}, body))
        result = server.import_batch(make_events(16))
        (failure,) = result.failures
        assert (failure.position, failure.fate, failure.reason, failure.http_status) == (5, "rejected", "rejected", 400)
        assert (result.imported, result.dropped) == (15, 0)
        assert len(server.requests) <= 10
        assert failure.attempts == sum(5 in request.numbers for request in server.requests)

    def test_the_servers_words_are_kept(self, clock):
        """What the server said is in the failure."""
        body = b'{"failed_records":["identity events\\nare not allowed"]}'
        (failure,) = Server(clock, refusing({0}, body)).import_batch(make_events(1)).failures
        assert failure.message == "identity events are not allowed"

    def test_two_culprits_in_a_full_batch_are_found(self, clock):
        """Two culprits among 2000 are both found, within the budget."""
        server = Server(clock, refusing({0, 1999}))
        result = server.import_batch(make_events(2000))
        assert (result.imported, positions(result)) == (1998, [0, 1999])
        assert {failure.reason for failure in result.failures} == {"rejected"}
        assert len(server.requests) <= 1 + MAX_VAIN_REQUESTS

    @pytest.mark.parametrize("size", [1, 2, HOPELESS_EVENTS - 1])
    def test_where_all_of_a_few_are_culprits_all_are_rejected(self, clock, size):
        """Of an input too small to judge the server by, each event is refused alone, and rejected."""
        server = Server(clock, answering(400, b'{"error":"no"}'))
        result = server.import_batch(make_events(size))
        assert (result.imported, positions(result)) == (0, list(range(size)))
        assert {(failure.fate, failure.message) for failure in result.failures} == {("rejected", "no")}
        assert len(server.requests) == size + (size > 1)

    def test_many_culprits_cost_no_innocent_event(self, clock):
        """100 culprits that differ from the others in nothing else are found, and all the others are imported."""
        culprits = set(range(0, 2000, 20))
        server = Server(clock, refusing(culprits))
        result = server.import_batch(make_events(2000))
        assert (result.imported, positions(result)) == (1900, sorted(culprits))
        assert {failure.fate for failure in result.failures} == {"rejected"}
        assert len(server.requests) <= 1000

    def test_what_cannot_be_told_apart_is_undelivered(self, clock, caplog):
        """Where more events are at fault than the budget can find, no innocent one is rejected; one warning says so."""
        culprits = set(range(0, 2000, 3))
        server = Server(clock, refusing(culprits, b'{"error":"no reason"}'))
        result = server.import_batch(make_events(2000))
        assert len(server.requests) <= 1001
        rejected = {failure.position for failure in result.failures if failure.fate == "rejected"}
        left = [failure for failure in result.failures if failure.fate == "undelivered"]
        assert rejected < culprits
        assert {(f.reason, f.http_status, f.message) for f in left} == {("refused_in_company", 400, "no reason")}
        assert result.imported + len(result.failures) == 2000
        assert "no reason" in caplog.text

    def test_a_server_that_begins_to_refuse_everything_costs_no_request_an_event(self, clock):
        """When nothing of a batch is accepted, the search ends soon, and who was not refused alone is undelivered."""
        server = Server(clock, ok, answering(400))
        client = server.client()
        client.import_batch(make_events(2000))
        result = client.import_batch(make_events(2000))
        assert len(server.requests) <= 2 + MAX_VAIN_REQUESTS
        assert Counter(failure.fate for failure in result.failures)["undelivered"] > 1900

    def test_many_culprits_in_a_row_do_not_cost_the_rest_of_the_batch(self, clock):
        """32 culprits in a row are found, and nobody else is rejected."""
        culprits = {*range(32), 1999}
        result = Server(clock, refusing(culprits)).import_batch(make_events(2000))
        assert set(positions(result)) == culprits

    def test_the_search_ends_at_the_deadline(self, clock):
        """Requests that take long do not let the search go on past the deadline."""
        server = Server(clock, refusing(set(range(0, 2000, 20))), latency_secs=10)
        result = server.import_batch(make_events(2000), retry_deadline_secs=100)
        assert clock.now <= 110
        assert "refused_in_company" in {failure.reason for failure in result.failures}

    def test_a_retry_while_halving_is_a_retry(self, clock):
        """A 503 while searching is waited out, and the culprit still found."""
        server = Server(clock, answering(400), answering(503), refusing({3}))
        result = server.import_batch(make_events(4))
        assert (result.imported, positions(result)) == (3, [3])
        assert result.failures[0].attempts == sum(3 in request.numbers for request in server.requests)


class TestTooLarge:
    def test_halves_get_through(self, clock):
        """413: the halves are sent, and every event is imported."""
        events = make_events(8, width=100)
        server = Server(clock, no_larger_than(600))
        result = server.import_batch(events)
        assert (result.imported, result.failures) == (8, [])

    def test_one_event_that_is_too_large_alone_is_rejected(self, clock):
        """Only the event that no request can carry is rejected."""
        events = make_events(8, width=10)
        events[3] = make_events(4, width=1000)[3]
        result = Server(clock, no_larger_than(600)).import_batch(events)
        (failure,) = result.failures
        assert (failure.position, failure.fate, failure.reason, failure.http_status) == (
            3,
            "rejected",
            "too_large",
            413,
        )
        assert result.imported == 7

    def test_later_batches_are_split_before_they_are_sent(self, clock):
        """A size that was too large is not tried again."""
        server = Server(clock, no_larger_than(2500))
        client = server.client()
        client.import_batch(make_events(64, width=100))
        for width in (100, 99, 98, 97):
            result = client.import_batch(make_events(64, width=width))
            assert {receipt.http_status for receipt in result.receipts} == {200}
            assert (result.imported, result.retries) == (64, 0)

    def test_batches_that_shrink_slowly_do_not_each_find_out_anew(self, clock):
        """A bound is learned with a margin, so that few of many sizes above the limit are tried."""
        server = Server(clock, no_larger_than(2000))
        client = server.client()
        refused = 0
        for size in range(60, 30, -1):
            result = client.import_batch(make_events(size, width=100))
            refused += sum(receipt.http_status == 413 for receipt in result.receipts)
        assert refused <= 6

    def test_parts_that_shrink_slowly_do_not_use_up_the_budget(self, clock):
        """However sizes are spread over a batch, no event is rejected that alone would fit."""
        events = [make_events(512, width=2 * (512 - n) + 100)[n] for n in range(512)]
        result = Server(clock, no_larger_than(2000)).import_batch(events)
        assert (result.imported, result.failures) == (512, [])

    @settings(max_examples=60, deadline=None)
    @given(widths=st.lists(st.integers(0, 3000), min_size=1, max_size=60), limit=st.integers(60, 6000))
    def test_exactly_those_too_large_alone_are_rejected(self, new_clock, widths, limit):
        """Whatever the sizes and the server's limit: rejected is what is too large alone, or the job ends if all is."""
        events = [make_events(n + 1, width)[n] for n, width in enumerate(widths)]
        too_large = [n for n, event in enumerate(events) if len(event) + 2 > limit]
        server = Server(new_clock(), no_larger_than(limit))
        try:
            result = server.import_batch(events)
        except RefusedError:
            assert HOPELESS_EVENTS <= len(events) == len(too_large)
            return
        assert positions(result) == too_large
        assert result.imported + len(result.failures) == len(events)


class TestRefused:
    @pytest.mark.parametrize(
        ("status", "cure"),
        [
            (401, "service account"),
            (402, "plan"),
            (403, "role Owner or Admin"),
            (404, "region"),
            (405, "API host"),
            (411, "API host"),
            (415, "API host"),
            (422, "API host"),
            (301, "redirects are not followed"),
            (302, "redirects are not followed"),
            (308, "redirects are not followed"),
        ],
    )
    def test_the_job_ends_with_what_to_do(self, clock, status, cure):
        """An answer that no retry can mend ends the job after one request, names host, status and cure, no secret."""
        server = Server(clock, answering(status, b'{"error":"Not a valid service account username"}'))
        client = server.client()
        with pytest.raises(RefusedError, match=cure) as caught:
            client.import_batch(make_events(2))
        text = str(caught.value)
        assert f"{HOST}/import answered {status} (Not a valid service account username)" in text
        assert SECRET not in text
        assert BASIC not in text
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert client.closed
        assert len(server.requests) == 1

    def test_what_is_sent_afterwards_says_why_it_was_closed(self, clock):
        """A batch that comes later is not sent, and its error holds the same advice."""
        server = Server(clock, answering(401))
        client = server.client()
        with pytest.raises(RefusedError):
            client.import_batch(make_events(2))
        with pytest.raises(ClosedError, match="service account") as caught:
            client.import_batch(make_events(2))
        assert isinstance(caught.value, MixpanelError)
        assert len(server.requests) == 1

    def test_refused_while_halving_ends_too(self, clock):
        """A 403 to a half of a batch ends the job just so."""
        with pytest.raises(RefusedError):
            Server(clock, answering(413), answering(403)).import_batch(make_events(4))

    def test_waiting_batches_of_other_threads_end_at_once(self, clock):
        """One batch is refused while others wait for their turn and between attempts: all end, nothing more is sent."""
        napping, refused = threading.Event(), threading.Event()
        sent = []

        def transport(url: str, headers: Any, body: bytes) -> Answer:
            sent.append(body)
            if len(sent) == 1:
                return Answer(503, {}, b"")
            assert napping.wait(5)
            return Answer(401, {}, b"")

        def sleep(secs: float) -> None:
            clock.sleep(secs)
            if secs > 0.1:
                napping.set()
                assert refused.wait(5)

        def run(number: int) -> type[Exception] | None:
            try:
                client.import_batch([make_events(number + 1)[number]])
            except (RefusedError, ClosedError) as error:
                refused.set()
                return type(error)
            return None

        client = MixpanelClient(
            ACCOUNT, host=HOST, max_concurrent_requests=1, transport=transport, clock=clock, sleep=sleep
        )
        with ThreadPoolExecutor(5) as threads:
            first = threads.submit(run, 0)
            assert napping.wait(5)
            others = list(threads.map(run, range(1, 5), timeout=5))
        assert Counter([first.result(), *others]) == {RefusedError: 1, ClosedError: 4}
        assert len(sent) == 2

    def test_close_ends_batches_that_wait(self, clock):
        """After close(), a batch between two attempts ends with `ClosedError`, which says so."""
        server = Server(clock, answering(503))

        def sleep(secs: float) -> None:
            client.close()

        client = server.client(sleep=sleep)
        with pytest.raises(ClosedError, match="closed"):
            client.import_batch(make_events(1))
        assert client.closed

    def test_a_request_cut_off_by_close_is_no_news(self, clock, caplog):
        """What fails because the client was closed is neither logged as a failure of Mixpanel nor sent again."""

        def reply(events: Events) -> Answer:
            client.close()
            raise NoAnswerError("timeout", "cut off")

        server = Server(clock, reply)
        client = server.client()
        with pytest.raises(ClosedError):
            client.import_batch(make_events(1))
        assert (len(server.requests), caplog.records) == (1, [])


RETRIED = [
    *((answering(status), f"http_{status}", status) for status in (408, 500, 502, 503, 504, 524, 599)),
    (answering(503, b"upstream connect error or disconnect/reset before headers"), "http_503", 503),
    (silent("timeout"), "timeout", 0),
    (silent("connection_lost"), "connection_lost", 0),
    (silent("connection_failed"), "connection_failed", 0),
    (silent("tls_failed"), "tls_failed", 0),
]


class TestRetried:
    @pytest.mark.parametrize(("reply", "reason", "status"), RETRIED)
    def test_identical_bytes_after_the_documented_delays(self, clock, reply, reason, status):
        """2 s doubling to 60 s, plus jitter, until the deadline; then undelivered with reason, status and attempts."""
        server = Server(clock, reply)
        result = server.import_batch(make_events(2))
        assert server.waits == [delay + LEAST_JITTER_SECS for delay in (2, 4, 8, 16, 32, 60, 60, 60)]
        assert set(server.drawn) == {(1.0, 5.0)}
        assert len({request.compressed for request in server.requests}) == 1
        assert [f[:3] + f[5:] for f in result.failures] == [(n, "undelivered", reason, status, 9) for n in (0, 1)]
        answered = 9 if status else 0
        assert (len(result.receipts), result.unanswered, result.retries) == (answered, 9 - answered, 8)
        assert clock.now < 300

    @pytest.mark.parametrize(("reply", "reason", "status"), RETRIED)
    def test_one_failure_is_overcome(self, clock, reply, reason, status):
        """One failed attempt, then a good one: imported, with nothing to show but a retry."""
        server = Server(clock, reply, ok)
        result = server.import_batch(make_events(2))
        assert (result.imported, result.failures, result.retries) == (2, [], 1)
        assert result.receipts[-1].attempt == 2

    @pytest.mark.parametrize(("asked", "waited"), [("7", 8), ("0", 1), ("9999", 61), ("soon", 3), ("-5", 3)])
    def test_retry_after_is_honoured_and_capped(self, clock, asked, waited):
        """`Retry-After` replaces the doubling, up to 60 s; nonsense changes nothing."""
        server = Server(clock, answering(503, retry_after=asked), ok)
        server.import_batch(make_events(1))
        assert server.waits == [waited]

    def test_no_deadline_means_one_attempt(self, clock):
        """With a deadline of 0 nothing is sent twice."""
        server = Server(clock, answering(503))
        result = server.import_batch(make_events(1), retry_deadline_secs=0)
        assert (len(server.requests), result.failures[0].attempts, clock.now) == (1, 1, 0)

    def test_where_nothing_answers_the_parts_that_are_left_are_not_tried_one_by_one(self, clock):
        """A server that falls silent while a batch is in parts costs no time-out for each part past the deadline."""
        server = Server(clock, answering(413), answering(413), answering(413), silent(), latency_secs=60)
        result = server.import_batch(make_events(64, width=100))
        assert result.imported == 0
        assert positions(result) == list(range(64))
        assert clock.now <= 360
        for failure in result.failures:
            assert failure.attempts == sum(failure.position in request.numbers for request in server.requests)

    def test_where_the_server_answers_each_part_has_its_chance(self, clock):
        """Parts that come after one which was given up are still sent."""

        def reply(events: Events) -> Answer:
            if len(events) > 1:
                return Answer(413, {}, b"")
            return ok(events) if events[0]["properties"]["number"] else Answer(503, {}, b"")

        result = Server(clock, reply).import_batch(make_events(4))
        assert (result.imported, positions(result)) == (3, [0])

    def test_a_streak_of_failures_is_logged_twice(self, clock, caplog):
        """One line when answers begin to fail, one when they are good again, without a secret."""
        caplog.set_level(logging.DEBUG)
        Server(clock, answering(503), answering(503), answering(503), ok).import_batch(make_events(1))
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert "http_503" in caplog.text
        assert SECRET not in caplog.text


class TestRateLimited:
    def test_the_pacer_waits_instead_of_the_backoff(self, clock):
        """After a 429 no jitter is drawn; the next attempt comes as soon as the rate allows, within a second."""
        server = Server(clock, answering(429), ok)
        result = server.import_batch(make_events(100))
        assert (result.imported, result.retries, server.drawn) == (100, 1, [])
        assert 0 < server.waits[0] <= 1

    @pytest.mark.parametrize(("asked", "least", "most"), [("30", 30, 31), ("9999", 60, 61)])
    def test_retry_after_is_honoured_and_capped(self, clock, asked, least, most):
        """`Retry-After` of a 429 holds back the whole process, for 60 s at most."""
        server = Server(clock, answering(429, retry_after=asked), ok)
        client = server.client()
        client.import_batch(make_events(100))
        assert least <= server.waits[0] <= most

    def test_limited_until_the_deadline_is_undelivered(self, clock):
        """429 for ever: undelivered soon after the deadline, with the number of requests that were sent."""
        server = Server(clock, answering(429))
        result = server.import_batch(make_events(100), retry_deadline_secs=300)
        assert {failure[1:] for failure in result.failures} == {
            ("undelivered", "http_429", "", "the server answered 429", 429, len(server.requests))
        }
        assert result.retries == len(server.requests) - 1
        assert 240 <= clock.now <= 301

    def test_an_outage_ends_all_batches_near_the_deadline(self, clock):
        """Twenty batches that wait in line before a server that answers 429 all end by their deadline, not in turn."""
        server = Server(clock, answering(429))
        together = threading.Barrier(20)
        met = threading.local()

        def meeting_clock() -> float:
            now = clock()
            if threading.current_thread() is not threading.main_thread() and not hasattr(met, "once"):
                met.once = together.wait(5)
            return now

        client = server.client(clock=meeting_clock)
        events = make_events(2000)
        with ThreadPoolExecutor(20) as threads:
            results = list(threads.map(lambda _: client.import_batch(events), range(20), timeout=30))
        failures = [failure for result in results for failure in result.failures]
        assert len(failures) == 20 * 2000
        assert {(f.fate, f.reason, f.http_status) for f in failures} == {("undelivered", "http_429", 429)}
        for result in results:
            assert {failure.attempts for failure in result.failures} == {len(result.receipts)}
        assert sum(len(result.receipts) for result in results) == len(server.requests)
        assert clock.now <= 300

    def test_a_first_attempt_waits_for_its_turn_however_long(self, clock):
        """A low rate of one's own is no failure: batches that take longer than the deadline are still sent."""
        server = Server(clock, ok)
        client = server.client(max_events_per_sec=1, retry_deadline_secs=10)
        results = [client.import_batch(make_events(100)) for _ in range(3)]
        assert [result.imported for result in results] == [100, 100, 100]
        assert server.waits == pytest.approx([100, 100])


class TestSecrecy:
    @pytest.mark.parametrize("status", [400, 401, 413, 500])
    @pytest.mark.parametrize(
        ("credentials", "endpoint"),
        [(ACCOUNT, "import"), (ProjectToken(TOKEN), "import"), (ProjectToken(TOKEN), "track")],
    )
    def test_what_a_server_echoes_is_masked(self, clock, caplog, status, credentials, endpoint):
        """A proxy that repeats our header or token in its answer gets it into no error, dead letter or log."""
        caplog.set_level(logging.DEBUG)

        def echo(_: Events) -> Answer:
            words = f"who are a-user:{SECRET}, {SECRET} or {TOKEN}? {server.requests[-1].headers}"
            sent = server.requests[-1].headers.get("Authorization", "")
            return Answer(status, {}, f"{words} {sent!s} {server.requests[-1].body.decode()}".encode())

        server = Server(clock, echo)
        told = caplog.text
        try:
            client = server.client(credentials, endpoint=endpoint, retry_deadline_secs=0.0)
            told += str([failure.message for failure in client.import_batch(make_events(1)).failures])
        except RefusedError as error:
            told += str(error)
        secrets = (TOKEN, base64.b64encode(f"{TOKEN}:".encode()).decode())
        for secret in (SECRET, BASIC) if credentials is ACCOUNT else secrets:
            assert secret not in told
        assert "***" in told or status == 500

    @pytest.mark.parametrize(("credentials", "endpoint"), [(ACCOUNT, "import"), (ProjectToken(TOKEN), "track")])
    def test_no_secret_in_the_variables_of_a_traceback(self, clock, credentials, endpoint):
        """A traceback that shows all variables of the client, as error trackers send it, shows no secret."""
        client = Server(clock, answering(401)).client(credentials, endpoint=endpoint)
        for error in (RefusedError, ClosedError):
            with pytest.raises(error) as caught:
                client.import_batch(make_events(1))
            report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            of_ours = [frame for frame in report.stack if "beam_mixpanel/client" in frame.filename]
            shown = str([frame.locals for frame in of_ours])
            assert len(of_ours) >= 2
            for secret in (SECRET, BASIC, TOKEN):
                assert secret not in shown


class TestTrack:
    def track(self, server: Server, events: list[bytes], **options: Any) -> BatchResult:
        return server.import_batch(events, **{"credentials": ProjectToken(TOKEN), "endpoint": "track"} | options)

    def test_the_token_is_in_each_event_and_nowhere_else(self, clock):
        """/track takes the token from the event: no header, no query, and an event's own token gives way."""
        server = Server(clock, answering(200, b"1"))
        events = [b'{"event":"e","properties":{"number":0,"token":"another"}}', *make_events(2)]
        self.track(server, events)
        request = server.requests[0]
        assert request.url == f"{HOST}/track?verbose=1&ip=0"
        assert "Authorization" not in request.headers
        assert TOKEN not in request.url
        assert [event["properties"]["token"] for event in json.loads(request.body)] == [TOKEN] * 3

    @pytest.mark.parametrize(
        "number",
        ["9223372036854775808", "18446744073709551616", "-123456789012345678901234567890", "0.1234567890123456789"],
    )
    def test_digits_stay_exact(self, clock, number):
        """Adding the token changes no digit of any number."""
        server = Server(clock, answering(200, b"1"))
        self.track(server, [b'{"event":"e","properties":{"big":%s}}' % number.encode()])
        assert f'"big":{number}'.encode() in server.requests[0].body

    def test_a_number_past_all_doubles_is_sent(self, clock):
        """A number that no double holds is the server's to judge, not a crash."""
        server = Server(clock, answering(200, b"1"))
        assert self.track(server, [b'{"event":"e","properties":{"big":1e400}}']).imported == 1

    @pytest.mark.parametrize("body", [b"1", b"1\n", b'{"status":1,"error":null}', b'{"status":1,"error":""}'])
    def test_accepted(self, clock, body):
        """Plain and verbose success import the batch."""
        assert self.track(Server(clock, answering(200, body)), make_events(3)).imported == 3

    @pytest.mark.parametrize("body", [b"0", b'{"status":0,"error":"event, missing or empty"}'])
    @pytest.mark.parametrize("status", [200, 400])
    def test_refused_batches_are_halved(self, clock, status, body):
        """An answer that accepts nothing is halved, since /track names no event."""

        def reply(events: Events) -> Answer:
            bad = any(event["properties"]["number"] == 2 for event in events)
            return Answer(status, {}, body) if bad else Answer(200, {}, b"1")

        result = self.track(Server(clock, reply), make_events(8))
        assert (result.imported, positions(result)) == (7, [2])

    @pytest.mark.parametrize("body", [b"", b"<html/>", b'{"status":2}', b"10", b'{"status":true}'])
    def test_unreadable_success_is_sent_again(self, clock, body):
        """Neither 1 nor 0: not confirmed, the same bytes again."""
        server = Server(clock, answering(200, body), answering(200, b"1"))
        result = self.track(server, make_events(2))
        assert (result.imported, result.retries) == (2, 1)
        assert server.requests[0].compressed == server.requests[1].compressed

    def test_a_service_account_is_refused_before_anything_is_sent(self, clock):
        """Only a project token can use /track."""
        server = Server(clock, answering(200, b"1"))
        with pytest.raises(CredentialsError, match="project token"):
            self.track(server, make_events(1), credentials=ACCOUNT)
        assert not server.requests


@st.composite
def _replies(draw: st.DrawFn) -> Reply:
    """Draw what a server might answer, however mad."""
    status = draw(st.sampled_from([200, 200, 200, 204, 400, 400, 400, 408, 413, 429, 500, 503, 524, 0]))
    if not status:
        return silent(draw(st.sampled_from(["timeout", "connection_lost"])))
    bodies = [b"", b"<html/>", b"1", *UNNAMED, b'{"num_records_imported":3}']
    if status == 200 and draw(st.booleans()):
        return ok
    if status == 400 and draw(st.booleans()):
        indices = draw(st.lists(st.integers(0, 20), min_size=1, max_size=8))
        return naming(*indices, imported=draw(st.none() | st.integers(0, 20)))
    return answering(status, draw(st.sampled_from(bodies)), retry_after=draw(st.sampled_from(["", "3", "900", "x"])))


class TestLaw:
    @settings(max_examples=100, deadline=None)
    @given(size=st.integers(1, 24), replies=st.lists(_replies(), max_size=25), last=_replies())
    def test_every_event_has_one_fate_and_every_number_is_exact(self, new_clock, size, replies, last):
        """Whatever is answered: imported + dropped + failures = batch; receipts and attempts are what was sent."""
        confirmed: set[int] = set()
        doubtful: list[Answer] = []

        def watched(reply: Reply) -> Reply:
            def watch(events: Events) -> Answer:
                answer = reply(events)
                now_confirmed = _confirmed_by(answer, [event["properties"]["number"] for event in events])
                confirmed.update(now_confirmed)
                doubtful.extend([answer] if answer.status in (200, 400) and not now_confirmed else [])
                return answer

            return watch

        server = Server(new_clock(), *map(watched, [*replies, last]))
        events = make_events(size)
        try:
            result = server.import_batch(events)
        except RefusedError:
            assert size >= HOPELESS_EVENTS
            return
        failed = positions(result)
        assert len(failed) == len(set(failed))
        assert result.imported + result.dropped == size - len(failed)
        assert confirmed <= set(range(size)) - set(failed)
        if not doubtful:
            assert len(confirmed) == result.imported
        sent = [request.numbers for request in server.requests]
        assert [request.body for request in server.requests] == [
            b"[" + b",".join(events[number] for number in numbers) + b"]" for numbers in sent
        ]
        assert len(result.receipts) + result.unanswered == len(sent)
        seen: Counter[int] = Counter()
        retries = 0
        for numbers in sent:
            retries += any(seen[number] for number in numbers)
            seen.update(numbers)
        assert result.retries == retries
        assert {failure.position: failure.attempts for failure in result.failures} == {n: seen[n] for n in failed}
        assert sum(receipt.imported for receipt in result.receipts) == result.imported
        assert len({receipt.request_id for receipt in result.receipts}) == len(result.receipts)
        for receipt, (carried, rejected) in zip(result.receipts, result.carried, strict=True):
            assert (receipt.events, receipt.rejected) == (len(carried), len(rejected))
            assert set(rejected) <= set(carried)
        assert sum(receipt.dropped for receipt in result.receipts) == result.dropped
        assert sum(receipt.events for receipt in result.receipts) <= sum(map(len, sent))
        assert {failure.fate for failure in result.failures} <= {"rejected", "undelivered"}


def _confirmed_by(answer: Answer, numbers: list[int]) -> set[int]:
    """Read an answer anew, by the published rules alone."""
    try:
        content = json.loads(answer.body)
        count = content["num_records_imported"]
    except (ValueError, TypeError, KeyError):
        return set()
    if answer.status == 200:
        return set(numbers) if count == len(numbers) else set()
    if answer.status != 400:
        return set()
    records = content.get("failed_records", [])
    indices = {record["index"] for record in records if isinstance(record, dict)}
    trusted = records and all(isinstance(r, dict) and type(r["index"]) is int for r in records)
    if not trusted or not indices <= set(range(len(numbers))) or count != len(numbers) - len(indices):
        return set()
    return {number for place, number in enumerate(numbers) if place not in indices}


class TestThreads:
    def test_never_more_in_flight_than_allowed_and_nothing_lost(self, clock):
        """Eight threads through one client: three requests at a time, no more and no fewer, and each event once."""
        together = threading.Barrier(3)
        lock = threading.Lock()
        in_flight = most = 0
        received: Counter[int] = Counter()

        def transport(url: str, headers: Any, body: bytes) -> Answer:
            nonlocal in_flight, most
            events = json.loads(gzip.decompress(body))
            with lock:
                in_flight += 1
                most = max(most, in_flight)
                received.update(event["properties"]["number"] for event in events)
            together.wait(5)
            with lock:
                in_flight -= 1
            return ok(events)

        client = MixpanelClient(
            ACCOUNT, host=HOST, max_concurrent_requests=3, transport=transport, clock=clock, sleep=clock.sleep
        )
        events = make_events(240)
        batches = [events[start : start + 10] for start in range(0, 240, 10)]
        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(client.import_batch, batches, timeout=20))
        assert most == 3
        assert sum(result.imported for result in results) == 240
        assert received == Counter(range(240))
        assert client.gate.in_flight == 0

    def test_a_transport_that_breaks_frees_its_place(self, clock):
        """An unexpected error of one request is raised to its caller and blocks no other."""
        calls = []

        def transport(url: str, headers: Any, body: bytes) -> Answer:
            calls.append(body)
            if len(calls) == 1:
                raise RuntimeError("a bug")
            return ok(json.loads(gzip.decompress(body)))

        client = MixpanelClient(
            ACCOUNT, host=HOST, max_concurrent_requests=1, transport=transport, clock=clock, sleep=clock.sleep
        )
        with pytest.raises(RuntimeError, match="a bug"):
            client.import_batch(make_events(1))
        assert client.import_batch(make_events(1)).imported == 1


class TestCeiling:
    @pytest.mark.parametrize(
        ("host", "limited"),
        [("https://api-eu.mixpanel.com", True), ("https://evilmixpanel.com", False), (HOST, False)],
    )
    def test_the_documented_rate_holds_at_mixpanels_hosts_only(self, clock, host, limited):
        """Without a ceiling of the user's, 30,000 events/s hold at Mixpanel and nowhere else."""
        server = Server(clock, ok, latency_secs=0.001)
        client = server.client(host=host)
        events = make_events(2000)
        for _ in range(30):
            client.import_batch(events)
        rate = 29 * 2000 / (server.requests[-1].at - server.requests[0].at)
        assert (rate <= 30_001) == limited
