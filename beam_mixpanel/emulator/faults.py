"""The faults that can be set while the emulator runs, and which request each of them meets.

A fault is a JSON object: `kind`, the options of that kind, and the selectors that all kinds share.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Secs = Annotated[float, msgspec.Meta(ge=0)]
Delta = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]

# What may stand in a header: https://www.rfc-editor.org/rfc/rfc9110#section-5. A line break would begin another one.
HeaderName = Annotated[str, msgspec.Meta(pattern=r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")]
HeaderValue = Annotated[str, msgspec.Meta(pattern=r"\A[\t\x20-\x7e\x80-\xff]*\Z")]
FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})
BODYLESS_STATUSES = frozenset({204, 304})


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind", frozen=True):
    """What selects the requests that a fault meets.

    Attributes:
      times: meet so many requests, then end; None is until removed.
      skip: leave so many matching requests alone first.
      probability: of meeting a matching request, drawn from `seed`.
      path: only requests to this path; None is all ingestion endpoints.
    """

    times: Positive | None = None
    skip: Natural = 0
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    seed: int | None = None
    path: Literal["/import", "/track"] | None = None


class Status(Fault, tag="status", frozen=True):
    """Another status; without `body`, what is known of it. `commit`: store the events first."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 503
    body: str | dict[str, Any] | list[Any] | None = None
    content_type: HeaderValue | None = None
    headers: dict[HeaderName, HeaderValue] = {}
    commit: bool = False

    def __post_init__(self) -> None:
        """Refuse what would make the answer unreadable, which is for `truncated` to do."""
        framing = sorted(FRAMING_HEADERS.intersection(map(str.lower, self.headers)))
        if framing:
            raise ValueError(f"headers must not hold {', '.join(framing)}: it is made from the body")
        if self.status in BODYLESS_STATUSES and self.body is not None:
            raise ValueError(f"an answer with status {self.status} has no body")


class ResetBefore(Fault, tag="reset_before", frozen=True):
    """TCP reset before the body is read."""


class ResetDuring(Fault, tag="reset_during", frozen=True):
    """TCP reset when a part of the body has been read."""


class ResetAfterCommit(Fault, tag="reset_after_commit", frozen=True):
    """The events are stored, then a TCP reset instead of an answer."""


class Truncated(Fault, tag="truncated", frozen=True):
    """The events are stored; the answer ends after `sent_bytes` (default: half) of its Content-Length."""

    sent_bytes: Natural | None = None


class Drip(Fault, tag="drip", frozen=True):
    """The events are stored; the answer's body comes one byte at a time."""

    interval_secs: Secs = 1.0


class Hang(Fault, tag="hang", frozen=True):
    """No answer for `secs` (None: for ever), then the connection is closed."""

    secs: Secs | None = None
    commit: bool = False


class Latency(Fault, tag="latency", frozen=True):
    """A normal answer, `secs` late."""

    secs: Secs = 1.0


class WrongCount(Fault, tag="wrong_count", frozen=True):
    """The events are stored; a 200 names `delta` more imported than there were."""

    delta: Delta = -1


class HTML200(Fault, tag="html_200", frozen=True):
    """A 200 with a web page, as a captive portal answers."""

    commit: bool = False


class Empty200(Fault, tag="empty_200", frozen=True):
    """A 200 without a body."""

    commit: bool = False


class FailedRecords(Fault, tag="failed_records", frozen=True):
    """A 400 whose `failed_records` are unusual.

    With most variants the first `count` events are refused and the others processed.
    `strings` and `none` name no record and store nothing.
    """

    variant: Literal[
        "standard",
        "dollar_insert_id",
        "strings",
        "none",
        "index_out_of_range",
        "miscount",
        "duplicate_id",
        "duplicate_index",
    ] = "standard"
    count: Positive = 1


class TooManyEvents(Fault, tag="too_many_events", frozen=True):
    """A 413 for requests of more than `max_events`; with 0 for a single event also."""

    max_events: Natural = 1000


class Redirect(Fault, tag="redirect", frozen=True):
    """A redirect to `location`."""

    status: Literal[301, 302, 303, 307, 308] = 307
    location: HeaderValue = "/_emulator/redirected"


class CloseKeepalive(Fault, tag="close_keepalive", frozen=True):
    """A normal answer that promises to keep the connection, which is then closed."""


AnyFault = (
    Status
    | ResetBefore
    | ResetDuring
    | ResetAfterCommit
    | Truncated
    | Drip
    | Hang
    | Latency
    | WrongCount
    | HTML200
    | Empty200
    | FailedRecords
    | TooManyEvents
    | Redirect
    | CloseKeepalive
)
KINDS: dict[str, type[Fault]] = {str(kind.__struct_config__.tag): kind for kind in AnyFault.__args__}


def parse_fault(rule: object) -> Fault:
    """Read a fault from JSON values.

    Raises:
      ValueError: unknown kind, unknown key or bad value; the message names what is valid.
    """
    try:
        fault: Fault = msgspec.convert(rule, AnyFault)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{error}. {_what_is_valid(rule)}") from error
    return fault


def _what_is_valid(rule: object) -> str:
    kind = None
    if isinstance(rule, Mapping):
        kind = KINDS.get(str(rule.get("kind")))
    if kind is None:
        return f"Valid kinds: {', '.join(KINDS)}"
    return f"Valid keys: kind, {', '.join(kind.__struct_fields__)}"


class ActiveFault:
    """A fault and what it has met so far."""

    def __init__(self, number: int, fault: Fault) -> None:
        """Begin with nothing met."""
        self.number, self.fault = number, fault
        self._seen = self.applied = 0
        self._random = random.Random(fault.seed)  # noqa: S311 (repeatable chance, no secret)

    @property
    def exhausted(self) -> bool:
        """Whether it will meet nothing more."""
        return self.fault.times is not None and self.applied >= self.fault.times

    def meets(self, path: str, events: int | None) -> bool:
        """Decide about one request, and count it."""
        fault = self.fault
        if self.exhausted or fault.path not in (None, path) or not _concerns(fault, events):
            return False
        self._seen += 1
        if self._seen <= fault.skip or self._random.random() >= fault.probability:
            return False
        self.applied += 1
        return True

    def describe(self) -> dict[str, Any]:
        """Return it as JSON values."""
        options: dict[str, Any] = msgspec.to_builtins(self.fault)
        return {"id": self.number, **options, "applied": self.applied, "exhausted": self.exhausted}


def _concerns(fault: Fault, events: int | None) -> bool:
    """A request is offered twice: when it arrives, and once its events are counted."""
    if isinstance(fault, TooManyEvents):
        return events is not None and events > fault.max_events
    return events is None


class FaultBook:
    """The faults that are set, in the order in which they were."""

    def __init__(self) -> None:
        """Begin with none."""
        self._faults: list[ActiveFault] = []
        self._next_number = 1

    def add(self, fault: Fault) -> dict[str, Any]:
        """Set a fault and return its description."""
        active = ActiveFault(self._next_number, fault)
        self._next_number += 1
        self._faults.append(active)
        return active.describe()

    def clear(self) -> None:
        """Remove all."""
        self._faults.clear()

    def remove(self, number: int) -> bool:
        """Remove one; return whether it was there."""
        before = len(self._faults)
        self._faults = [active for active in self._faults if active.number != number]
        return len(self._faults) < before

    def describe(self) -> list[dict[str, Any]]:
        """Return all, those that ended too."""
        return [active.describe() for active in self._faults]

    @property
    def counts_events(self) -> bool:
        """Whether a fault wants to know how many events a request holds."""
        return any(isinstance(active.fault, TooManyEvents) and not active.exhausted for active in self._faults)

    def take(self, path: str, events: int | None = None) -> Fault | None:
        """Return the first fault that meets a request; `events` is None until they are counted."""
        return next((active.fault for active in self._faults if active.meets(path, events)), None)
