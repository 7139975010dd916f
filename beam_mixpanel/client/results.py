"""What became of a batch, and of each request that carried it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["BatchResult", "Failure", "ImportReceipt"]


class ImportReceipt(NamedTuple):
    """One request that was answered, or the part of it that concerns some windows.

    A request may carry events of many windows. In a pipeline there is one receipt for each of them: `events`,
    `imported` and `rejected` count the events of these windows, so sums over receipts are sums over events; the other
    fields are those of the request, the same in each receipt with its `request_id`.

    Attributes:
      http_status: of the answer.
      events: that it carried.
      imported: of these, confirmed as imported by this answer.
      rejected: of these, named as rejected by this answer.
      attempt: 1 for the first sending of these events.
      body_bytes: uncompressed.
      sent_bytes: gzipped.
      latency_secs: from sending to the whole answer.
      request_id: unlike that of any other request.
      dropped: of these, not counted by this answer nor by one before, and not sent again.
    """

    http_status: int
    events: int
    imported: int
    rejected: int
    attempt: int
    body_bytes: int
    sent_bytes: int
    latency_secs: float
    request_id: str = ""
    dropped: int = 0


class Failure(NamedTuple):
    """An event of a batch that was not imported.

    Attributes:
      position: its place in the batch.
      fate: `rejected` or `undelivered`.
      reason: short and stable; field, message and http_status as in a dead letter.
      attempts: requests that carried it.
    """

    position: int
    fate: str
    reason: str
    field: str
    message: str
    http_status: int
    attempts: int


class BatchResult:
    """What became of a batch: every event is imported, dropped by Mixpanel, or among the failures.

    Attributes:
      imported: events confirmed.
      dropped: events that Mixpanel left out of its count without saying which, or why.
      failures: the others, in no order.
      receipts: one for each request that was answered.
      carried: for each receipt, the positions in the batch of the events that the request carried, and of those among
        them that the answer rejected.
      unanswered: requests without a whole answer.
      retries: requests that carried events which had been sent before.
    """

    def __init__(self) -> None:
        self.imported = 0
        self.dropped = 0
        self.failures: list[Failure] = []
        self.receipts: list[ImportReceipt] = []
        self.carried: list[tuple[Sequence[int], list[int]]] = []
        self.unanswered = 0
        self.retries = 0
