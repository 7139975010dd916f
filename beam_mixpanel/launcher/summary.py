"""The books of a run, as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from beam_mixpanel.core.sending.books import Books
from beam_mixpanel.launcher.verdict import Accounts
from beam_mixpanel.metrics import CHOSEN_PREFIX, LEFT_OUT_PREFIX, REASON_PREFIX, THROTTLED


class Summary:
    """What a run did.

    Args:
      counts: the run's counters by name.
      seconds: how long it took.
      complete: whether the job ended by itself; the books of one that failed cannot balance.
      checks: nothing was to be sent.
    """

    def __init__(self, counts: Mapping[str, int], *, seconds: float, complete: bool, checks: bool = False) -> None:
        self._counts = counts
        self.seconds = seconds
        self.checks = checks
        self.books = Books.from_counts(counts)
        self.valid = counts.get("prepared", 0) if checks else 0
        self.balanced = complete and self.books._replace(read=self.books.read - self.valid).balanced
        self.reasons = _by_reason(counts, REASON_PREFIX)
        self.chosen = _by_reason(counts, CHOSEN_PREFIX)
        self.left_out = _by_reason(counts, LEFT_OUT_PREFIX)

    @property
    def accounts(self) -> Accounts:
        """What a verdict is based on."""
        return Accounts(self.books, balanced=self.balanced, left_out=self.left_out, chosen=self.chosen)

    def as_json(self) -> dict[str, Any]:
        """Return the summary as `--summary` writes it."""
        counts = self._counts
        return {
            **self.books._asdict(),
            **({"valid": self.valid} if self.checks else {}),
            "requests": counts.get("requests", 0),
            "retries": counts.get("retries", 0),
            "throttled_secs": counts.get(THROTTLED, 0),
            "circuit_opened": counts.get("circuit_opened", 0),
            "bytes_uncompressed": counts.get("bytes_uncompressed", 0),
            "bytes_sent": counts.get("bytes_sent", 0),
            "repaired_insert_ids": counts.get("repaired_insert_ids", 0),
            "past_retention": counts.get("past_retention", 0),
            "grown_files": counts.get("grown_files", 0),
            "lost_connections": counts.get("lost_connections", 0),
            "lost_snapshots": counts.get("lost_snapshots", 0),
            "seconds": round(self.seconds, 3),
            "events_per_sec": round(self.books.read / self.seconds) if self.seconds else 0,
            "reasons": self.reasons,
            "balanced": self.balanced,
        }

    def write(self, path: str) -> None:
        """Write the JSON to a file.

        Raises:
          OSError: it cannot be written.
        """
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.as_json(), file, indent=2)
            file.write("\n")

    def print_to(self, console: Console) -> None:
        """Print the books and the reasons as short tables."""
        table = Table(title="Books", title_justify="left", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        fates = [("valid", self.valid)] if self.checks else []
        for name, count in [*self.books._asdict().items(), *fates]:
            if count or name in ("read", "imported", "valid"):
                table.add_row(name, f"{count:,}")
        table.add_row("balanced", "yes" if self.balanced else "[bold red]NO[/]", end_section=True)
        self._add_traffic(table)
        console.print(table)
        if self.reasons:
            self._print_reasons(console)

    def _add_traffic(self, table: Table) -> None:
        facts = self.as_json()
        for name in (
            "requests",
            "retries",
            "throttled_secs",
            "circuit_opened",
            "repaired_insert_ids",
            "past_retention",
            "grown_files",
            "lost_connections",
            "lost_snapshots",
        ):
            if facts[name]:
                table.add_row(name.replace("_", " "), f"{facts[name]:,}")
        if facts["bytes_sent"]:
            table.add_row("sent", f"{facts['bytes_sent'] / 1e6:,.1f} of {facts['bytes_uncompressed'] / 1e6:,.1f} MB")
        table.add_row("seconds", f"{self.seconds:.1f}")
        table.add_row("events/s", f"{facts['events_per_sec']:,}")

    def _print_reasons(self, console: Console) -> None:
        table = Table(title="Not imported, by reason", title_justify="left")
        table.add_column("reason")
        table.add_column("events", justify="right")
        for reason, count in self.reasons.items():
            table.add_row(reason, f"{count:,}")
        console.print(table)


def _by_reason(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Take the counters of reasons out of a run's, the largest first."""
    return {
        name.removeprefix(prefix): count
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
        if name.startswith(prefix)
    }
