"""`ReadFromMongoDBBatched`: documents of MongoDB, in batches of rows.

It is Beam's own source (`apache_beam.io.mongodbio`), with what that lacks for data that must not be lost or shown:

* The URL is read from its reference on each worker. Beam's source pickles the URL, with its password, into the graph.
* Documents whose `_id`s are not all of one kind are read in one part. MongoDB compares values within their type only,
  so a range from the first to the last `_id` of a mixed collection leaves out documents, or all.
* Ranges are cut evenly between the first and the last `_id`, which takes two look-ups of an index. Beam's asks for
  `splitVector`, which Atlas and users without the role `clusterManager` are refused, or `$bucketAuto`, which reads the
  collection once more; neither is there in MongoDB's look-alikes.
* An empty collection is read as one that has no documents; Beam's fails.
* A connection that is lost in the middle is made anew, and reading goes on behind the last document.

One module, since the source, its ranges and its readers are one contract of Beam's.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.io import iobase
from apache_beam.io.mongodbio import _BoundedMongoSource, _ObjectIdHelper, _ObjectIdRangeTracker
from apache_beam.io.range_trackers import (
    OffsetRangeTracker,
    OrderedPositionRangeTracker,
    UnsplittableRangeTracker,
)
from apache_beam.pvalue import PBegin, PCollection

from beam_mixpanel.core.arguments import check_names, check_whole_number, optional
from beam_mixpanel.core.events.dead_letter import PARSE, DeadLetter
from beam_mixpanel.core.rows.batches import RefusedRows, RowList
from beam_mixpanel.core.sending.backoff import delay_secs
from beam_mixpanel.databases.mongodb import (
    Decimal128,
    MongoCollection,
    ObjectId,
    OperationFailure,
    Unreadable,
    documents_in,
    filter_of,
    projection_of,
    row_of,
)
from beam_mixpanel.databases.reading import MOST_ATTEMPTS, MOST_PARTITIONS
from beam_mixpanel.errors import LostConnectionError
from beam_mixpanel.metrics import LIVE, Ledger

DEFAULT_PARTITIONS: Final = 8
"""More than the cores of most workers; a larger collection has one more each `_BYTES_OF_A_PART`."""
_BYTES_OF_A_PART: Final = 64 * 2**20
"""As Beam's runners want bundles of a source to be, at least."""
_MOST_BY_SIZE: Final = 1_000
_BATCH_ROWS: Final = 1_000
_BATCH_BYTES: Final = 2**20
"""Of BSON; a document larger than that travels alone."""
_CODE_POINTS: Final = 0x110000
_SURROGATES: Final = range(0xD800, 0xE000)
_CHARACTERS: Final = 6
"""Behind what two texts share, so many tell positions between them apart."""
_ENDLESS: Final = OffsetRangeTracker.OFFSET_INFINITY

_log = logging.getLogger(__name__)


class ReadFromMongoDBBatched(beam.PTransform):
    """Reads the documents of a collection, in parts that workers read in parallel.

    Bounded. Each document that is there from beginning to end is read once, as it is when its turn comes; MongoDB shows
    no common state of a collection to several readers. The job graph holds the reference to the connection, never the
    connection. Nothing is asked of the server before the pipeline runs.

    Gives `RowList`s and `RefusedRows` (documents that are no BSON), which `WriteToMixpanel` and `PrepareEvents` take.

    Args:
      connection: reference to the URL: `env:NAME`, `file:PATH` or `gcp-secret:…`.
      database: the database's name.
      collection: the collection's name.
      filter: which documents; as for `find`, or MongoDB's extended JSON as text. None for all.
      columns: the fields that are needed, of which the server sends no others; None for all.
      exclude: fields that are not needed, where `columns` is None.
      partitions: how many ranges of `_id` are read in parallel; None for 8, and more for large collections.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument has a wrong value.
    """

    def __init__(
        self,
        connection: str,
        *,
        database: str,
        collection: str,
        filter: Mapping[str, Any] | str | None = None,
        columns: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        partitions: int | None = None,
    ) -> None:
        super().__init__()
        if columns is not None and exclude:
            raise ValueError("exclude has no effect beside columns; leave one of them out")
        self._source = _MongoSource(
            MongoCollection.named(connection, database, collection),
            filter_of("filter", filter),
            optional(check_names, "columns", columns, "columns"),
            check_names("exclude", exclude, "columns"),
            optional(check_whole_number, "partitions", partitions, 1, MOST_PARTITIONS),
        )

    def display_data(self) -> dict[str, Any]:
        """Say what is read, and from where by its reference; a filter may hold values of people."""
        return dict(self._source.display_data())

    def expand(self, begin: PBegin) -> PCollection[RowList | RefusedRows]:
        """Read it by Beam's transform for sources, which shares the parts out."""
        return begin | "ReadDocuments" >> iobase.Read(self._source).with_output_types(Any)


class _WholeNumberTracker(OrderedPositionRangeTracker):
    """Ranges of integers; Beam's own for them takes none below 0, and none twice."""

    def position_to_fraction(self, position: int, start: int, end: int) -> float:
        return (position - start) / (end - start)

    def fraction_to_position(self, fraction: float, start: int, end: int) -> int:
        return _between(fraction, start, end)


class _IdTracker(_ObjectIdRangeTracker):
    """Ranges of ObjectIds; Beam's computes with doubles, which cannot tell the ids of one second apart."""

    def fraction_to_position(self, fraction: float, start: ObjectId, end: ObjectId) -> ObjectId:
        low, high = map(_ObjectIdHelper.id_to_int, (start, end))
        position: ObjectId = _ObjectIdHelper.int_to_id(_between(fraction, low, high))
        return position


class _TextTracker(OrderedPositionRangeTracker):
    """Ranges of text in the order of code points, which is MongoDB's; Beam's reads bounds as if they held escapes."""

    def position_to_fraction(self, position: str, start: str, end: str) -> float:
        shared = _shared(start, end)
        low, at, high = (_as_number(text[shared:]) for text in (start, position, end))
        return (at - low) / max(high - low, 1)

    def fraction_to_position(self, fraction: float, start: str, end: str) -> str:
        shared = _shared(start, end)
        return start[:shared] + _as_text(_between(fraction, _as_number(start[shared:]), _as_number(end[shared:])))


def _shared(first: str, second: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(first, second, strict=False)
    return next((place for place, pair in enumerate(pairs) if pair[0] != pair[1]), min(len(first), len(second)))


def _as_number(text: str) -> int:
    """Read the first characters as the digits of a number."""
    number = 0
    for character in text[:_CHARACTERS].ljust(_CHARACTERS, "\0"):
        number = number * _CODE_POINTS + ord(character)
    return number


def _as_text(number: int) -> str:
    """Write a number in characters; surrogates, which cannot be sent, become the one before them."""
    digits = [number // _CODE_POINTS**place % _CODE_POINTS for place in reversed(range(_CHARACTERS))]
    return "".join(chr(digit if digit not in _SURROGATES else _SURROGATES.start - 1) for digit in digits).rstrip("\0")


def _between(fraction: float, start: int, end: int) -> int:
    """Return a fraction of a range, exactly: a double has fewer digits than a key."""
    return start + (end - start) * int(fraction * 2**53) // 2**53


class _MongoSource(_BoundedMongoSource):
    """Beam's source, with the URL left to the workers, and batches of rows instead of documents."""

    def __init__(
        self,
        place: MongoCollection,
        condition: Mapping[str, Any],
        columns: tuple[str, ...] | None,
        exclude: tuple[str, ...],
        partitions: int | None,
    ) -> None:
        super().__init__(
            db=place.database,
            coll=place.collection,
            filter=condition,
            projection=projection_of(columns, exclude),
        )
        self._place = place
        self._columns = None if columns is None else frozenset(columns)
        self._partitions = partitions

    @property
    def uri(self) -> str:
        """The URL, which Beam's source asks for on a worker."""
        return self._place.url().text

    @uri.setter
    def uri(self, value: None) -> None:
        """Accept what Beam's constructor sets: nothing."""

    def display_data(self) -> dict[str, Any]:
        """Say what is read; Beam's would show the filter, which may hold values of people."""
        return {"connection": self._place.reference.text, "collection": self._place.name}

    def estimate_size(self) -> int:
        """Return the bytes of the collection; 0 where it is a view, or the user's role does not let us ask."""
        with self._place.connected() as collection:
            try:
                stats = collection.database.command("collStats", self._place.collection)
            except OperationFailure:
                return 0
            return int(stats.get("size", 0))

    def get_range_tracker(self, start_position: Any = None, stop_position: Any = None) -> iobase.RangeTracker:
        """Track a range of `_id`s, or the whole."""
        if start_position is None or stop_position is None:
            start_position, stop_position = self._replace_none_positions(start_position, stop_position)
        if stop_position == _ENDLESS:
            return UnsplittableRangeTracker(OffsetRangeTracker(0, _ENDLESS))
        return _TRACKERS[type(start_position)](start_position, stop_position)

    def _replace_none_positions(self, start_position: Any, stop_position: Any) -> tuple[Any, Any]:
        """Return the first `_id` and one behind the last; 0 and infinity where the whole must be one part."""
        keys = self._place.keys()
        behind = None if keys is None else _behind(keys[1])
        if keys is None or behind is None:
            return 0, _ENDLESS
        start = keys[0] if start_position is None else start_position
        return start, behind if stop_position is None else stop_position

    def split(
        self, desired_bundle_size: int, start_position: Any = None, stop_position: Any = None
    ) -> Iterator[iobase.SourceBundle]:
        """Cut the range into parts of equal width."""
        start, stop = self._replace_none_positions(start_position, stop_position)
        if stop == _ENDLESS:
            _log.info("%s: its `_id`s cannot be cut into ranges; it is read in one part", self._place.name)
            yield iobase.SourceBundle(1, self, start, stop)
            return
        tracker = _TRACKERS[type(start)](start, stop)
        count = self._count_of_parts()
        bounds = [start]
        for number in range(1, count):
            bound = tracker.fraction_to_position(number / count, start, stop)
            # A narrow range has fewer bounds.
            if bounds[-1] < bound < stop:
                bounds.append(bound)
        for low, high in itertools.pairwise([*bounds, stop]):
            yield iobase.SourceBundle(1, self, low, high)

    def _count_of_parts(self) -> int:
        if self._partitions is not None:
            return self._partitions
        by_size = math.ceil(self.estimate_size() / _BYTES_OF_A_PART)
        return max(DEFAULT_PARTITIONS, min(by_size, _MOST_BY_SIZE))

    def read(self, range_tracker: iobase.RangeTracker) -> Iterator[RowList | RefusedRows]:
        """Read a part, a batch at a time, however often the connection is lost.

        Raises:
          LostConnectionError: the server was not there for long.
          DatabaseError: it refuses.
        """
        part = _Part(range_tracker)
        ledger = Ledger()
        attempt = 0
        while True:
            seen = part.documents
            try:
                yield from self._read_on(part)
            except LostConnectionError as error:
                attempt = 1 if part.documents > seen else attempt + 1
                if attempt >= MOST_ATTEMPTS:
                    raise
                ledger.count("lost_connections", 1)
                delay = delay_secs(attempt, retry_after_secs=None, uniform=random.uniform)
                _log.warning("%s: %s; reading on in %.0f s", self._place.name, error, delay)
                time.sleep(delay)
            else:
                return

    def _read_on(self, part: _Part) -> Iterator[RowList | RefusedRows]:
        """Read what is left of a part; a part that has no order begins anew."""
        with self._place.connected() as collection:
            batches = collection.find_raw_batches(part.condition(self.filter), self.projection)
            if part.in_order:
                batches = batches.sort([("_id", 1)])
            else:
                part.forget()
            for raw in itertools.chain.from_iterable(map(documents_in, batches)):
                document_id, row = row_of(raw)
                if not part.claim(document_id):
                    break
                LIVE.add("input_bytes", len(raw))
                if isinstance(row, Unreadable):
                    yield self._refused(raw, row)
                    continue
                part.hold(self._narrowed(row), len(raw))
                if part.is_full:
                    yield self._batch(part.take())
        if rows := part.take():
            yield self._batch(rows)

    def _batch(self, rows: list[Mapping[str, Any]]) -> RowList:
        return RowList(rows, f"mongodb:{self._place.name}", -1)

    def _refused(self, raw: bytes, why: Unreadable) -> RefusedRows:
        letter = DeadLetter(raw, PARSE, "invalid_bson", message=why.message, source=f"mongodb:{self._place.name}")
        return RefusedRows([letter])

    def _narrowed(self, row: dict[str, Any]) -> dict[str, Any]:
        """Leave out what was not asked for: `_id`, which is always read, and all that could not be projected."""
        if self._columns is None:
            return row
        return {name: value for name, value in row.items() if name in self._columns}


class _Part:
    """How far a part has been read, and what was read of it and is in no batch yet.

    What is held outlives the connection: its documents are claimed, and will not be read again.

    Attributes:
      in_order: its documents come in the order of their `_id`s, so that reading can go on behind the last.
      documents: how many were read, for a wait that begins anew when there was progress.
    """

    def __init__(self, tracker: iobase.RangeTracker) -> None:
        self._tracker = tracker
        self.in_order = not isinstance(tracker, UnsplittableRangeTracker)
        self.documents = 0
        self._last_id: Any = None
        self.forget()

    def forget(self) -> None:
        """Let go of what is held, where it will be read again."""
        self._rows: list[Mapping[str, Any]] = []
        self._bytes = 0

    def hold(self, row: Mapping[str, Any], size: int) -> None:
        """Keep a row for the next batch."""
        self._rows.append(row)
        self._bytes += size

    @property
    def is_full(self) -> bool:
        """Whether what is held makes a batch."""
        return len(self._rows) >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES

    def take(self) -> list[Mapping[str, Any]]:
        """Return what is held, which is a batch's from now on."""
        rows = self._rows
        self.forget()
        return rows

    def condition(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the filter of what has not been read."""
        if not self.in_order:
            return dict(given)
        bounds = {"$gte": self._tracker.start_position()} if self._last_id is None else {"$gt": self._last_id}
        left = {"_id": {**bounds, "$lt": self._tracker.stop_position()}}
        if given:
            return {"$and": [given, left]}
        return left

    def claim(self, document_id: Any) -> bool:
        """Return whether a document belongs to the part, which a runner may cut shorter meanwhile."""
        position = _position_of(document_id) if self.in_order else self.documents
        if position is not None:  # one whose `_id` cannot be read is within the bounds all the same
            if not self._tracker.try_claim(position):
                return False
            self._last_id = document_id
        self.documents += 1
        return True


def _position_of(document_id: Any) -> Any:
    """Return where a document is; fractions among integers are at the integer below, as the bounds of ranges are."""
    if document_id is None or isinstance(document_id, (ObjectId, str)):
        return document_id
    return math.floor(document_id.to_decimal() if isinstance(document_id, Decimal128) else document_id)


def _behind(position: Any) -> Any:
    """Return the next position; None where there is none."""
    if isinstance(position, str):
        return position + "\0"
    if isinstance(position, int):
        return position + 1
    try:
        return _ObjectIdHelper.increment_id(position, 1)
    except ValueError:
        return None


_TRACKERS: Final[dict[type, type[iobase.RangeTracker]]] = {
    ObjectId: _IdTracker,
    int: _WholeNumberTracker,
    str: _TextTracker,
}
"""What tracks a range, by the type of its `_id`s."""
