"""Says in the log when something begins or ends, once and not for each request; the counts are in the books."""

from __future__ import annotations

import logging
import math
import threading

_log = logging.getLogger(__name__)


class Streak:
    """Logs when answers begin to fail and when they are good again, not each of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason = ""

    def began(self, reason: str, message: str) -> None:
        """Note an answer that confirms nothing."""
        with self._lock:
            new = reason != self._reason
            self._reason = reason
        if new:
            _log.warning("Mixpanel does not confirm requests (%s: %s); sending again", reason, message)

    def ended(self) -> None:
        """Note a good answer."""
        with self._lock:
            was, self._reason = self._reason, ""
        if was:
            _log.info("Mixpanel confirms requests again (was: %s)", was)


class Warnings:
    """Warns once for a process of what the server does with events; the counts are in the books."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: set[str] = set()

    def of_size(self, max_body_bytes: float) -> None:
        """Warn that requests are kept smaller, if they are."""
        if max_body_bytes != math.inf:
            text = "Mixpanel refuses requests as too large; sending none of more than %d bytes at first"
            self._once("size", text, max_body_bytes)

    def of_identity_events(self, words: str) -> None:
        """Warn that the project takes no identity events."""
        self._once(
            "identity",
            "Mixpanel refuses $identify, $create_alias or $merge in this project (%s); they are rejected, and no "
            "longer sent; the other events of their batches are imported. Projects with Simplified ID Merge need none: "
            "an event with both $user_id and $device_id links them",
            words,
        )

    def of_company(self, events: int, words: str) -> None:
        """Warn that events at fault could not be told from others."""
        self._once(
            "company",
            "Mixpanel refused events together without naming which (%s); the search for those at fault was given up, "
            "and %d events of a batch are undelivered",
            words,
            events,
        )

    def of_drops(self, dropped: int, events: int) -> None:
        """Warn that the server counted fewer events than were sent."""
        self._once(
            "drops",
            "Mixpanel confirmed only %d of %d events, and named none as rejected; the others count as dropped by "
            "Mixpanel. Likely causes: the property $ignore, a drop filter of the project, or events that are blocked "
            "in its Lexicon",
            events - dropped,
            events,
        )

    def _once(self, about: str, text: str, *values: object) -> None:
        with self._lock:
            new = about not in self._given
            self._given.add(about)
        if new:
            _log.warning(text, *values)
