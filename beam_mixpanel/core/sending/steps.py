"""The steps of a delivery, and what is answered to one: the words that a plan and whoever sends have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

IDENTITY_REFUSED: Final = "identity_event_refused"
NOT_TOLD_APART: Final = "refused_in_company"


class Ask(NamedTuple):
    """Send these events in one request, and say what came of it."""

    places: Sequence[int]


class Blame(NamedTuple):
    """These events are rejected: it is proven that Mixpanel does not take them."""

    places: Sequence[int]
    reason: str
    message: str
    too_large: bool = False


class Leave(NamedTuple):
    """These events are undelivered: some of them are refused, and it is not known which."""

    places: Sequence[int]
    reason: str
    message: str


class End(NamedTuple):
    """The job can never succeed."""

    message: str
    cure: str
    too_large: bool = False


Step = Ask | Blame | Leave | End


class Verdict(NamedTuple):
    """What came of an `Ask`.

    Attributes:
      open: the events that are not settled: all that were asked, or those left where an answer named some.
      refused: whether the last answer refused these without naming one; if not, none is open.
      too_large: it was a 413.
      message: the server's words.
      body_bytes: of the last request.
      accepted: whether an answer confirmed an event, or named one.
    """

    open: Sequence[int] = ()
    refused: bool = False
    too_large: bool = False
    message: str = ""
    body_bytes: int = 0
    accepted: bool = False
