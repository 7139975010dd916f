"""MongoDB: where a collection is, what its documents hold, and their values as any other source's rows have them.

One module, since all of it knows pymongo and BSON, which nothing else of ours does.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from beam_mixpanel.core.arguments import check_text, wrong_type
from beam_mixpanel.core.json import extended
from beam_mixpanel.errors import DatabaseError, LostConnectionError
from beam_mixpanel.secrets import SecretReference, SecretText

try:
    import bson
    from bson import json_util
    from bson.binary import UuidRepresentation
    from bson.codec_options import CodecOptions
    from bson.datetime_ms import DatetimeMS
    from bson.decimal128 import Decimal128 as Decimal128
    from bson.errors import BSONError
    from bson.objectid import ObjectId as ObjectId
    from pymongo import MongoClient
    from pymongo.errors import (
        AutoReconnect,
        ConfigurationError,
        CursorNotFound,
        ExecutionTimeout,
        InvalidURI,
        PyMongoError,
    )
    from pymongo.errors import (
        OperationFailure as OperationFailure,
    )
except ImportError as error:
    raise ImportError(
        "MongoDB needs its driver, pymongo 4.4 or newer, and no other package named bson beside it: "
        "pip install 'beam-mixpanel[mongodb]'"
    ) from error

if TYPE_CHECKING:
    from pymongo.collection import Collection

SAMPLE_DOCUMENTS: Final = 1_000
"""So many are looked at for the names of columns, as of JSON files."""
_SAMPLE_BYTES: Final = 16 * 2**20
_LOOK_MS: Final = 20_000
"""A filter that no index serves can take a scan of the whole collection to find its first documents."""
_FIND_SERVER_MS: Final = 15_000
"""Shorter than the driver's 30 s, since we try again; a URL that says otherwise is followed."""
_MASKED: Final = "***"
_SECRET_OPTIONS: Final = re.compile("pass|secret|token|key|credential|properties", re.IGNORECASE)
_URL: Final = re.compile(
    r"(?P<scheme>mongodb(?:\+srv)?)://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^:@/?#\s]*))?@)?"
    r"(?P<hosts>[^@/?#\s]+)"
    r"(?:/(?P<database>[^@/?#\s]*))?"
    r"(?:\?(?P<options>[^#\s]*))?"
)
_ESCAPES: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DEFAULT_PORT: Final = ":27017"
_CODE_OF_WRONG_PASSWORD: Final = frozenset((18, 8000))
"""AuthenticationFailed, and Atlas's own: https://www.mongodb.com/docs/manual/reference/error-codes/"""

_KEYS: Final[tuple[type, ...]] = (ObjectId, int, str)
"""The types of `_id`s between which positions can be counted."""

_CODECS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    tz_aware=True,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    # What is not UTF-8 keeps its bytes as lone surrogates, so that its row alone is refused.
    unicode_decode_error_handler="surrogateescape",
    datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_AUTO,
)
_WRITE_FILTER: Final = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, uuid_representation=UuidRepresentation.STANDARD, tz_aware=True
)
_READ_FILTER: Final = json_util.JSONOptions(uuid_representation=UuidRepresentation.UNSPECIFIED, tz_aware=True)


class MongoUrl:
    """A connection string of MongoDB: `mongodb://user:password@host:27017/?option=value`, or `mongodb+srv://…`.

    Raises:
      DatabaseError: it has another form. That is checked here, since the driver repeats what it cannot read.
    """

    def __init__(self, text: SecretText) -> None:
        self.text = text
        found = None if _ESCAPES.search(text) else _URL.fullmatch(text)
        if found is None:
            raise DatabaseError(
                "the connection must have the form mongodb://USER:PASSWORD@HOST:27017/?tls=true or "
                "mongodb+srv://USER:PASSWORD@CLUSTER.mongodb.net/; write signs such as @ : / # % and spaces in user "
                "name and password as %40 %3A %2F %23 %25 %20"
            )
        self.place = f"{found['scheme']}://{found['hosts']}"
        options = parse_qsl(found["options"] or "", keep_blank_values=True)
        self.options = frozenset(name.lower() for name, _ in options)
        secrets = [found["password"] or "", *(value for name, value in options if _SECRET_OPTIONS.search(name))]
        self._secrets = sorted({form for secret in secrets for form in (secret, unquote(secret)) if form}, key=len)
        self._hosts = found["hosts"]
        self._scheme = found["scheme"]

    def __repr__(self) -> str:
        """Show the place, never user name or password."""
        return f"MongoUrl({self.place!r})"

    @property
    def address(self) -> str:
        """Where the data is, the same in whatever order the hosts are written; without user name or password."""
        hosts = self._hosts.lower().split(",")
        if self._scheme == "mongodb":
            hosts = [host.removesuffix(_DEFAULT_PORT) for host in hosts]
        return f"{self._scheme}://{','.join(sorted(hosts))}"

    def scrub(self, message: object) -> str:
        """Write a driver's message in one line, without the URL and its secrets."""
        text = str(message).replace(self.text, self.place)
        for secret in reversed(self._secrets):
            text = text.replace(secret, _MASKED)
        return " ".join(text.split())


class MongoCollection(NamedTuple):
    """Names a collection without holding a password; pickled, it holds the reference.

    Attributes:
      reference: of the URL.
      database: its database.
      collection: its name.
    """

    reference: SecretReference
    database: str
    collection: str

    @classmethod
    def named(cls, connection: str, database: str, collection: str) -> MongoCollection:
        """Check the names.

        Raises:
          TypeError: one is no text.
          ValueError: one is empty, or the connection is no reference.
        """
        if not isinstance(connection, str):
            raise wrong_type("connection", "a reference to a URL, such as env:MONGODB_URL", connection)
        check_text("database", database, "the name of a database")
        check_text("collection", collection, "the name of a collection")
        return cls(SecretReference(connection), database, collection)

    @property
    def name(self) -> str:
        """What is read, for people."""
        return f"{self.database}.{self.collection}"

    def url(self) -> MongoUrl:
        """Read the URL, on the machine that connects.

        Raises:
          CredentialsError: there is no such variable, file or secret.
          DatabaseError: it holds no URL of MongoDB.
        """
        return MongoUrl(self.reference.resolve())

    @contextlib.contextmanager
    def connected(self) -> Iterator[Collection[Any]]:
        """Connect for the length of a block, and explain the driver's errors there.

        Raises:
          LostConnectionError: no server answers, or no longer.
          DatabaseError: it refuses.
        """
        url = self.url()
        with _explained(url):
            options: dict[str, Any] = {}
            if "serverselectiontimeoutms" not in url.options:
                options["serverSelectionTimeoutMS"] = _FIND_SERVER_MS
            client: MongoClient[Any]
            with MongoClient(url.text, **options) as client:
                yield client[self.database].get_collection(self.collection, _CODECS)

    def look(self, condition: Mapping[str, Any]) -> list[str]:
        """Return the names that the first documents hold, in the order in which they come up.

        Raises:
          LostConnectionError: no server answers.
          DatabaseError: it refuses, or there is no such collection.
        """
        with self.connected() as collection:
            try:
                documents = _first(collection, condition)
            except ExecutionTimeout:
                documents = _first(collection, {})
            if not documents:
                self._check_exists(collection)
        return list(dict.fromkeys(name for document in documents for name in document))

    def keys(self) -> tuple[Any, Any] | None:
        """Return the least and the greatest `_id` of all documents, if ranges between these have every document.

        MongoDB compares values within their type only, so all must be ObjectIds, numbers whose bounds are integers, or
        text that it orders by code points, without a collation.

        Returns:
          None where there are no documents, or others.
        """
        with self.connected() as collection:
            low, high = (_end(collection, direction) for direction in (1, -1))
            kind = next((kind for kind in _KEYS if isinstance(low, kind)), None)
            if kind is None or not isinstance(high, kind) or isinstance(low, bool):
                return None
            if kind is str and _has_collation(collection):
                return None
        return kind(low), kind(high)

    def highest(self, column: str, condition: Mapping[str, Any]) -> Any:
        """Return the greatest value of a field, as BSON has it; None where there is none."""
        with self.connected() as collection:
            return _end(collection, -1, column, condition)

    def _check_exists(self, collection: Collection[Any]) -> None:
        """Tell a collection that is empty from a name that is mistyped, where the user may list names."""
        try:
            names = collection.database.list_collection_names()
        except OperationFailure:
            return
        if self.collection not in names:
            there = ", ".join(sorted(names)[:20]) or "no collections"
            raise DatabaseError(f"there is no collection {self.collection!r} in {self.database!r}; there are {there}")


def _end(
    collection: Collection[Any], direction: int, field: str = "_id", condition: Mapping[str, Any] | None = None
) -> Any:
    found = list(collection.find(condition or {}, {field: 1}).sort([(field, direction)]).limit(1))
    if found:
        return found[0].get(field)
    return None


def _has_collation(collection: Collection[Any]) -> bool:
    try:
        found = list(collection.database.list_collections(filter={"name": collection.name}))
    except OperationFailure:
        return True  # it is not to be known, and might have one
    return any("collation" in each.get("options", {}) for each in found)


def _first(collection: Collection[Any], condition: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    size = 0
    batches = collection.find_raw_batches(condition).limit(SAMPLE_DOCUMENTS).max_time_ms(_LOOK_MS)
    for batch in batches:
        for raw in documents_in(batch):
            # What cannot be decoded is reported when it is read.
            with contextlib.suppress(BSONError):
                found.append(bson.decode(raw, _CODECS))
            size += len(raw)
            if size >= _SAMPLE_BYTES:
                return found
    return found


@contextlib.contextmanager
def _explained(url: MongoUrl) -> Iterator[None]:
    try:
        yield
    except (AutoReconnect, CursorNotFound) as error:
        raise LostConnectionError(f"the connection to {url.place} was lost: {_reason(url, error)}") from None
    except OperationFailure as error:
        if error.code in _CODE_OF_WRONG_PASSWORD:
            raise DatabaseError(
                f"{url.place} refuses user name or password ({_reason(url, error)}); if the user is not of the "
                "database admin, the URL needs ?authSource=DATABASE"
            ) from None
        raise DatabaseError(f"{url.place} refuses: {_reason(url, error)}") from None
    except (ConfigurationError, InvalidURI) as error:
        raise DatabaseError(f"the URL of {url.place} cannot be used: {_reason(url, error)}") from None
    except (PyMongoError, BSONError) as error:
        raise DatabaseError(f"{url.place}: {_reason(url, error)}") from None


def _reason(url: MongoUrl, error: Exception) -> str:
    """Return the driver's words without what it lists of each server and of the whole answer."""
    return url.scrub(str(error).partition(", Timeout:")[0].partition(", full error:")[0])


def filter_of(name: str, value: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Read a filter: a mapping, of values of Python, BSON or extended JSON; or extended JSON as text.

    Raises:
      TypeError: it is neither.
      ValueError: the text is not JSON of an object, or a value has no form in BSON; it is not repeated.
    """
    if value is None:
        return {}
    if not isinstance(value, (str, Mapping)):
        raise wrong_type(name, "a mapping, or extended JSON of an object as text", value)
    example = """{"status": "paid", "at": {"$gte": {"$date": "2024-01-01T00:00:00Z"}}}"""
    try:
        text = value if isinstance(value, str) else json_util.dumps(value, json_options=_WRITE_FILTER)
        read = json_util.loads(text, json_options=_READ_FILTER)
        if isinstance(read, dict):
            bson.encode(read)
            return read
    except (ValueError, TypeError, OverflowError, ArithmeticError, RecursionError, BSONError):
        pass  # raised below, without the driver's error, which holds the text
    raise ValueError(f"`{name}` must be an object in MongoDB's extended JSON, such as {example}")


def documents_in(batch: bytes) -> Iterator[bytes]:
    """Cut a batch of a cursor into its documents; each begins with its length."""
    start = 0
    while start < len(batch):
        size = int.from_bytes(batch[start : start + 4], "little")
        yield batch[start : start + size]
        start += size


class Unreadable(NamedTuple):
    """A document that is no BSON, or that the driver cannot decode.

    Attributes:
      message: why, without its values.
    """

    message: str


def row_of(raw: bytes) -> tuple[Any, dict[str, Any] | Unreadable]:
    """Decode a document.

    Returns:
      Its `_id` as BSON has it, None where it has none or it cannot be read; and its row.
    """
    try:
        document = bson.decode(raw, _CODECS)
        return document.get("_id"), {name: plain_value(value) for name, value in document.items()}
    except (BSONError, TypeError, ValueError, OverflowError, RecursionError) as error:
        return _id_alone(raw), Unreadable(f"the document cannot be decoded ({type(error).__name__})")


_ID_NAME: Final = b"_id\0"
_ID_SIZES: Final = {b"\x01": 8, b"\x07": 12, b"\x10": 4, b"\x12": 8}
"""Doubles, ObjectIds and integers: https://bsonspec.org/spec.html"""
_STRING: Final = b"\x02"


def _id_alone(raw: bytes) -> Any:
    """Read the `_id` of a document that cannot be decoded as a whole; servers store it first."""
    kind, name, value = raw[4:5], raw[5:9], raw[9:]
    if name != _ID_NAME:
        return None
    size = _ID_SIZES.get(kind, 0)
    if kind == _STRING:
        size = 4 + int.from_bytes(value[:4], "little")
    element = raw[4:9] + value[:size]
    alone = (4 + len(element) + 1).to_bytes(4, "little") + element + b"\0"
    with contextlib.suppress(BSONError):
        if size:
            return bson.decode(alone).get("_id")
    return None


def plain_value(value: Any) -> Any:
    """Return a value of the driver as the value that extended JSON of it stands for.

    Raises:
      RecursionError: it nests too deep.
    """
    convert = _PLAIN.get(type(value))
    if convert is None:
        return value
    return convert(value)


def _of_object(value: Mapping[str, Any]) -> Any:
    return extended.plain_object({name: plain_value(each) for name, each in value.items()})


def _of_code(value: Any) -> Any:
    return extended.code(str.__str__(value), None if value.scope is None else _of_object(value.scope))


def _of_regex(value: Any) -> str:
    # The driver holds options as flags of Python's `re`; the letters are theirs.
    letters = (("i", re.I), ("l", re.L), ("m", re.M), ("s", re.S), ("u", re.U), ("x", re.X))
    pattern = value.pattern if isinstance(value.pattern, str) else value.pattern.decode(errors="surrogateescape")
    return extended.regex(pattern, "".join(letter for letter, flag in letters if value.flags & flag))


def _of_datetime(value: datetime) -> datetime:
    return value.astimezone(timezone.utc)


_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {
    dict: _of_object,
    list: lambda values: [plain_value(each) for each in values],
    datetime: _of_datetime,
    DatetimeMS: lambda value: extended.moment(int(value)),
    ObjectId: str,
    bson.int64.Int64: int,
    Decimal128: lambda value: value.to_decimal(),
    bson.binary.Binary: lambda value: extended.binary(bytes(value), value.subtype),
    bson.regex.Regex: _of_regex,
    bson.timestamp.Timestamp: lambda value: extended.timestamp(value.time, value.inc),
    bson.dbref.DBRef: lambda value: _of_object(value.as_doc()),
    bson.son.SON: _of_object,
    bson.code.Code: _of_code,
    bson.min_key.MinKey: lambda _: extended.MIN_KEY,
    bson.max_key.MaxKey: lambda _: extended.MAX_KEY,
}
"""By the driver's types; others mean in BSON what they mean in Python."""


def projection_of(columns: Sequence[str] | None, exclude: Sequence[str]) -> dict[str, int] | None:
    """Return what of each document the server is to send, always with `_id`, by which documents are read in order.

    A name that a projection would read as something else (`a.b`, `$a`) is not narrowed by.
    """
    if columns is not None:
        if all(map(_can_project, columns)):
            return {"_id": 1, **dict.fromkeys(columns, 1)}
        return None
    left_out = [name for name in exclude if name != "_id" and _can_project(name)]
    return dict.fromkeys(left_out, 0) or None


def _can_project(name: str) -> bool:
    return bool(name) and "." not in name and not name.startswith("$") and "\0" not in name
