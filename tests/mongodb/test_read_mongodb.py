"""`ReadFromMongoDBBatched` against a server: each document once, whatever its `_id`, and no secret in the graph."""

from __future__ import annotations

import base64
import contextlib
import itertools
import logging
import pickle
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import apache_beam as beam
import bson
import pytest
from apache_beam.io import iobase
from apache_beam.io.range_trackers import UnsplittableRangeTracker
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.display import DisplayData
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from pymongo.database import Database

from beam_mixpanel import RefusedRows, RowList
from beam_mixpanel.errors import CredentialsError, DatabaseError, LostConnectionError
from beam_mixpanel.transforms import read_mongodb
from beam_mixpanel.transforms.read_mongodb import (
    _BATCH_ROWS,
    _TRACKERS,
    ReadFromMongoDBBatched,
    _behind,
    _MongoSource,
)

Rows = list[dict[str, Any]]


def _source(reference: str, database: Database[Any], **arguments: Any) -> _MongoSource:
    return ReadFromMongoDBBatched(reference, database=database.name, collection="orders", **arguments)._source


def _bundles(source: _MongoSource) -> list[iobase.SourceBundle]:
    return list(source.split(64 * 2**20))


def _read(source: _MongoSource, start: Any = None, stop: Any = None) -> Rows:
    elements = list(source.read(source.get_range_tracker(start, stop)))
    assert all(isinstance(element, RowList) for element in elements)
    assert all(0 < len(element.rows) <= _BATCH_ROWS for element in elements)
    return [row for element in elements for row in element.rows]


def _read_all(source: _MongoSource) -> tuple[Rows, int]:
    """Read all bundles, and count them."""
    bundles = _bundles(source)
    rows = [_read(bundle.source, bundle.start_position, bundle.stop_position) for bundle in bundles]
    return list(itertools.chain.from_iterable(rows)), len(bundles)


SPLITTABLE = {
    "ObjectId": [ObjectId() for _ in range(300)],
    "int": [*range(-150, 150)],
    "long": [2**62 - n * 2**55 for n in range(250)],
    "text": [f"order-{n:05}" for n in range(300)],
    "text with signs": ["", *(chr(n) * 2 for n in range(32, 0x2FFF, 97)), "\\u0041", "\U0001f680"],
    "int and fractions": [*range(-50, 50), *(n + 0.5 for n in range(-50, 49))],
}
IN_ONE_PART = {
    "mixed": [*range(50), *(ObjectId() for _ in range(50)), *(f"s{n}" for n in range(50)), None],
    "fraction last": [*range(50), 49.5],
    "double": [n / 7 for n in range(50)],
    "UUID": [Binary(UUID(int=n).bytes, 4) for n in range(50)],
    "moment": [datetime(2024, 1, 1, 0, n, tzinfo=timezone.utc) for n in range(50)],
    "object": [{"shop": 1, "n": n} for n in range(50)],
    "bool": [False, True],
    "greatest ObjectId": [ObjectId("f" * 24), ObjectId("0" * 24)],
}


@pytest.mark.parametrize("kind", SPLITTABLE)
def test_each_document_is_in_one_range(kind: str, reference: str, database: Database[Any]) -> None:
    """Kinds of `_id` that can be cut are cut, and the parts have every document once."""
    ids = SPLITTABLE[kind]
    database.orders.insert_many([{"_id": each, "n": n} for n, each in enumerate(ids)])
    rows, parts = _read_all(_source(reference, database, partitions=7))
    assert sorted(row["n"] for row in rows) == list(range(len(ids)))
    assert 1 < parts <= 7


@pytest.mark.parametrize("kind", IN_ONE_PART)
def test_other_ids_are_read_in_one_part(
    kind: str, reference: str, database: Database[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What MongoDB does not compare, or Python cannot count between, is never cut, and the log says so."""
    caplog.set_level(logging.INFO)
    ids = IN_ONE_PART[kind]
    database.orders.insert_many([{"_id": each, "n": n} for n, each in enumerate(ids)])
    rows, parts = _read_all(_source(reference, database, partitions=7))
    assert sorted(row["n"] for row in rows) == list(range(len(ids)))
    assert parts == 1
    assert "is read in one part" in caplog.text


def test_beams_own_source_would_lose_documents(reference: str, server_url: str, database: Database[Any]) -> None:
    """The reason for the above: from its range over two kinds of `_id`, MongoDB's comparison leaves out all."""
    from apache_beam.io.mongodbio import _BoundedMongoSource

    database.orders.insert_many([{"_id": 1}, {"_id": "a"}])
    beams = _BoundedMongoSource(uri=server_url, db=database.name, coll="orders")
    with pytest.raises(Exception):  # noqa: B017, PT011 - Beam's ends with whatever comes up
        assert len(list(beams.read(beams.get_range_tracker(1, "a\0")))) == 2
    assert len(_read_all(_source(reference, database))[0]) == 2


def test_a_hundred_thousand_in_parts(reference: str, database: Database[Any]) -> None:
    """100,000 documents through a pipeline with several workers: each once, in batches."""
    count = 100_000
    database.orders.insert_many([{"n": n, "s": "x" * 40} for n in range(count)])
    assert len(_bundles(_source(reference, database, partitions=8))) == 8
    options = beam.options.pipeline_options.PipelineOptions(direct_num_workers=2, direct_running_mode="multi_threading")
    with beam.Pipeline("FnApiRunner", options=options) as pipeline:
        batches = pipeline | ReadFromMongoDBBatched(
            reference, database=database.name, collection="orders", partitions=8
        )
        numbers = batches | beam.FlatMap(lambda rows: [row["n"] for row in rows.rows])
        assert_that(numbers | beam.combiners.Count.Globally(), equal_to([count]), label="count")
        distinct = numbers | beam.Distinct() | "CountDistinct" >> beam.combiners.Count.Globally()
        assert_that(distinct, equal_to([count]), label="distinct")


def test_a_part_that_a_runner_cuts(reference: str, database: Database[Any]) -> None:
    """A runner that takes the rest of a part away while it is read gets each document once, too."""
    for kind, ids in SPLITTABLE.items():
        database.orders.drop()
        database.orders.insert_many([{"_id": each, "n": n} for n, each in enumerate(ids)])
        source = _source(reference, database)
        tracker = source.get_range_tracker(None, None)
        end = tracker.stop_position()
        with mock.patch.object(read_mongodb, "_BATCH_ROWS", 20):
            reading = source.read(tracker)
            first = next(reading).rows
            split = tracker.try_split(tracker.position_at_fraction(0.9))
            assert split is not None, kind
            assert 0 < tracker.fraction_consumed() < 1
            primary = [*first, *(row for rows in reading for row in rows.rows)]
            residual = _read(source, split[0], end)
        assert sorted(row["n"] for row in (*primary, *residual)) == list(range(len(ids))), kind
        assert residual, kind


@settings(deadline=None, max_examples=300)
@given(st.data(), st.floats(0.001, 0.999))
def test_positions_between(data: st.DataObject, fraction: float) -> None:
    """A position between two bounds is between them, or one of them where there is none; a fraction finds it back."""
    kind, values = data.draw(
        st.sampled_from(
            [
                (ObjectId, st.binary(min_size=12, max_size=12).map(ObjectId)),
                (int, st.integers(-(2**63), 2**63 - 1)),
                (str, st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
            ]
        )
    )
    low, high = sorted((data.draw(values), data.draw(values)))
    high = _behind(high)
    if high is None:
        return
    tracker = _TRACKERS[kind](low, high)
    position = tracker.fraction_to_position(fraction, low, high)
    assert isinstance(position, kind)
    assert low[:1] <= position if kind is str else low <= position
    assert position < high
    assert tracker.position_to_fraction(position, low, high) <= fraction + 1e-9
    bson.encode({"_id": position})


def test_batches_are_bounded_in_bytes(reference: str, database: Database[Any]) -> None:
    """Documents of 300 kB travel a few at a time."""
    database.orders.insert_many([{"_id": n, "s": "x" * 300_000} for n in range(20)])
    source = _source(reference, database, partitions=1)
    sizes = [len(rows.rows) for rows in source.read(source.get_range_tracker())]
    assert sizes == [4, 4, 4, 4, 4]


def test_filter_and_columns(reference: str, database: Database[Any]) -> None:
    """The server sends the documents that the filter means, and of these the columns that are asked for."""
    at = datetime(2024, 1, 1, tzinfo=timezone.utc)
    database.orders.insert_many(
        [{"_id": n, "status": ("paid", "open")[n % 2], "at": at.replace(day=1 + n), "x": n} for n in range(20)]
    )
    bounds = '{"$gte": {"$date": "2024-01-05T00:00:00Z"}, "$lt": {"$date": "2024-01-09T00:00:00Z"}}'
    text = f'{{"status": "paid", "at": {bounds}}}'
    for given_filter in (
        text,
        bson.json_util.loads(text),
        {"status": "paid", "_id": {"$gte": 4, "$lte": 7}},
        {"status": "paid", "at": {"$gte": {"$date": "2024-01-05T00:00:00Z"}, "$lt": at.replace(day=9)}},
    ):
        rows, _ = _read_all(_source(reference, database, filter=given_filter, columns=["x", "absent"]))
        assert sorted(rows, key=lambda row: row["x"]) == [{"x": 4}, {"x": 6}]
    rows, _ = _read_all(_source(reference, database, filter={"_id": 3}, exclude=["at", "a.b"]))
    assert rows == [{"_id": 3, "status": "open", "x": 3}]


def test_a_name_that_a_projection_misreads(reference: str, database: Database[Any]) -> None:
    """`a.b` would be read as the field `b` of `a`: all is read, and narrowed here."""
    database.orders.insert_one({"_id": 1, "a": {"b": 1, "c": 2}, "z": 0})
    rows, _ = _read_all(_source(reference, database, columns=["a.b", "a"]))
    assert rows == [{"a": {"b": 1, "c": 2}}]


def test_an_empty_collection(reference: str, database: Database[Any]) -> None:
    """It gives nothing, and is no error here; a job that imports nothing is one elsewhere."""
    with TestPipeline(runner="FnApiRunner") as pipeline:
        rows = pipeline | ReadFromMongoDBBatched(reference, database=database.name, collection="orders")
        assert_that(rows, equal_to([]))


def test_damaged_documents(reference: str, database: Database[Any]) -> None:
    """One that the driver cannot decode is refused with its bytes; the others are read."""
    database.orders.insert_many([{"_id": n, "s": "fine"} for n in range(5)])
    cut = read_mongodb.documents_in

    def damaged(batch: bytes) -> Iterator[bytes]:
        for number, raw in enumerate(cut(batch)):
            yield raw.replace(b"\x02s\0", b"\x99s\0") if number == 2 else raw

    source = _source(reference, database, partitions=1)
    with mock.patch.object(read_mongodb, "documents_in", damaged):
        elements = list(source.read(source.get_range_tracker()))
    [letter] = [letter for each in elements if isinstance(each, RefusedRows) for letter in each.letters]
    assert (letter.stage, letter.reason, letter.source) == ("parse", "invalid_bson", f"mongodb:{database.name}.orders")
    assert b"fine" in letter.event
    assert "fine" not in letter.message
    assert [row["_id"] for each in elements if isinstance(each, RowList) for row in each.rows] == [0, 1, 3, 4]


class _Proxy:
    """Passes bytes on to a server, and cuts connections."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self._spawn(self._accept)

    def _spawn(self, run: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=run, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            self._spawn(self._pass_on, client, server)
            self._spawn(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            each.close()

    def cut(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


@pytest.fixture
def proxy(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Proxy]:
    host, port = server_url.partition("://")[2].partition("/")[0].split(":")
    passing = _Proxy((host, int(port)))
    monkeypatch.setenv(
        "PROXIED", f"mongodb://127.0.0.1:{passing.port}/?directConnection=true&serverSelectionTimeoutMS=500"
    )
    yield passing
    passing.close()


@pytest.mark.parametrize("kind", ["ObjectId", "int and fractions", "text", "mixed"])
def test_a_connection_that_is_lost(
    kind: str, proxy: _Proxy, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading goes on behind the last document: none is lost, and none read twice but where there is no order."""
    ids = (SPLITTABLE | IN_ONE_PART)[kind]
    database.orders.insert_many([{"_id": each, "n": n} for n, each in enumerate(ids[:150])])
    find = Collection.find_raw_batches
    monkeypatch.setattr(Collection, "find_raw_batches", lambda *arguments: find(*arguments).batch_size(10))
    monkeypatch.setattr(read_mongodb.time, "sleep", lambda _: None)
    monkeypatch.setattr(read_mongodb, "_BATCH_ROWS", 7)
    source = _source("env:PROXIED", database)
    tracker = source.get_range_tracker(None, None)
    counts: Counter[int] = Counter()
    with mock.patch.object(read_mongodb.Ledger, "count") as counted:
        for number, rows in enumerate(source.read(tracker)):
            counts.update(row["n"] for row in rows.rows)
            if number in (1, 9):
                proxy.cut()
    assert set(counts) == set(range(150))
    assert counted.call_args_list
    assert {call.args for call in counted.call_args_list} == {("lost_connections", 1)}
    if not isinstance(tracker, UnsplittableRangeTracker):
        assert set(counts.values()) == {1}


def test_a_server_that_is_gone(
    proxy: _Proxy, database: Database[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After some attempts the job fails, in words that name the server and neither user nor password."""
    database.orders.insert_many([{"_id": n} for n in range(10)])
    monkeypatch.setattr(read_mongodb.time, "sleep", lambda _: None)
    source = _source("env:PROXIED", database)
    tracker = source.get_range_tracker(None, None)
    proxy.close()
    monkeypatch.setenv("PROXIED", f"mongodb://reader:pa%2Fss@127.0.0.1:{proxy.port}/?serverSelectionTimeoutMS=100")
    with pytest.raises(LostConnectionError) as raised:
        list(source.read(tracker))
    words = f"{raised.value} {caplog.text}"
    assert f"mongodb://127.0.0.1:{proxy.port}" in words
    assert not any(secret in words for secret in ("pa/ss", "pa%2Fss", "reader"))


def test_no_secret_in_the_graph(reference: str, database: Database[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the graph, however it is encoded, nor display data holds the URL; both name the reference."""
    secret = "s3cr3t-in-the-url"
    monkeypatch.setenv("MONGODB_URL", f"mongodb://reader:{secret}@db.example.com/?authSource=admin")
    reading = ReadFromMongoDBBatched("env:MONGODB_URL", database="shop", collection="orders", filter={"mail": "a@b.c"})
    pipeline = beam.Pipeline()
    _ = pipeline | reading
    proto = pipeline.to_runner_api()
    searched = [proto.SerializeToString(), pickle.dumps(reading), repr(vars(reading._source)).encode()]
    for transform in proto.components.transforms.values():
        payload = transform.spec.payload
        searched += [payload, *_decoded_parts(payload)]
    assert len(searched) > 5
    for data in searched:
        for part in (secret, "db.example.com", base64.b64encode(secret.encode()).decode()[:-2]):
            assert part.encode() not in data
    assert any(b"env:MONGODB_URL" in data for data in searched)
    shown = str(DisplayData.create_from(reading).items)
    assert "env:MONGODB_URL" in shown
    assert "a@b.c" not in shown


def _decoded_parts(payload: bytes) -> Iterator[bytes]:
    """Undo what Beam's pickler does to a function: base64 of compressed pickles."""
    import bz2
    import re
    import zlib

    for found in re.findall(rb"[A-Za-z0-9+/=]{40,}", payload):
        try:
            data = base64.b64decode(found)
        except ValueError:
            continue
        yield data
        for decompress in (bz2.decompress, zlib.decompress):
            try:
                yield decompress(data)
            except (OSError, ValueError, zlib.error):
                continue


def test_workers_read_the_reference(database: Database[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickled source reads the URL where it is used."""
    monkeypatch.delenv("NOT_HERE", raising=False)
    source = pickle.loads(pickle.dumps(_source("env:NOT_HERE", database)))
    with pytest.raises(CredentialsError, match="NOT_HERE is not set"):
        source.get_range_tracker(None, None)
    monkeypatch.setenv("NOT_HERE", "postgresql://a:hidden@b/c")
    with pytest.raises(DatabaseError, match=r"mongodb://USER:PASSWORD@HOST:27017.*mongodb\+srv://") as raised:
        source.get_range_tracker(None, None)
    assert "hidden" not in str(raised.value)


def test_a_filter_that_the_server_refuses(reference: str, database: Database[Any]) -> None:
    """An operator that does not exist fails with the server's words."""
    database.orders.insert_one({"_id": 1})
    source = _source(reference, database, filter={"$bad": 1})
    with pytest.raises(DatabaseError, match=r"refuses: .*\$bad"):
        _read(source)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"connection": "mongodb://a:secret@b"}, "expected a reference to a secret"),
        ({"connection": 5}, "a reference to a URL"),
        ({"database": ""}, "`database` must be the name of a database"),
        ({"collection": None}, "`collection` must be the name of a collection"),
        ({"filter": "{status: paid}"}, "extended JSON"),
        ({"filter": "[1]"}, "extended JSON"),
        ({"filter": {"a": object()}}, "extended JSON"),
        ({"filter": 5}, "`filter` must be a mapping"),
        ({"columns": "a"}, "a list of names of columns"),
        ({"columns": ["a"], "exclude": ["b"]}, "exclude has no effect"),
        ({"partitions": 0}, "`partitions` must be between 1 and 10000"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], words: str) -> None:
    """Each is refused at construction, by its name; no value of the connection or the filter is repeated."""
    given_arguments = {"connection": "env:X", "database": "shop", "collection": "orders", **arguments}
    with pytest.raises((TypeError, ValueError), match=words) as raised:
        ReadFromMongoDBBatched(given_arguments.pop("connection"), **given_arguments)
    assert "paid" not in str(raised.value).partition(", such as")[0]
    assert "a:secret" not in str(raised.value)


def test_tls(
    server_url: str, database: Database[Any], certificate: Path, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options of the URL reach the driver: a server behind TLS is read with its authority, and refused without."""
    database.orders.insert_many([{"_id": n} for n in range(10)])
    host, port = server_url.partition("://")[2].partition("/")[0].split(":")
    listener = tls.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
    proxy = _Proxy((host, int(port)))
    plain_listener, proxy._listener = proxy._listener, listener
    plain_listener.close()
    proxy._spawn(_accept_tls, proxy)
    url = (
        f"mongodb://127.0.0.1:{listener.getsockname()[1]}/?directConnection=true&tls=true&serverSelectionTimeoutMS=2000"
    )
    monkeypatch.setenv("TLS_URL", f"{url}&tlsCAFile={certificate}")
    assert len(_read_all(_source("env:TLS_URL", database))[0]) == 10
    monkeypatch.setenv("TLS_URL", url)
    with pytest.raises(LostConnectionError, match="certificate"):
        _read_all(_source("env:TLS_URL", database))
    proxy.close()


def _accept_tls(proxy: _Proxy) -> None:
    while proxy._listener.fileno() >= 0:
        try:
            proxy._accept()
        except OSError:
            continue


def test_decimal_ids(reference: str, database: Database[Any]) -> None:
    """Decimals among integers stand where their integer part does."""
    ids = [*range(10), *(Decimal128(f"{n}.25") for n in range(9))]
    database.orders.insert_many([{"_id": each, "n": n} for n, each in enumerate(ids)])
    rows, parts = _read_all(_source(reference, database, partitions=4))
    assert sorted(row["n"] for row in rows) == list(range(len(ids)))
    assert parts == 4
