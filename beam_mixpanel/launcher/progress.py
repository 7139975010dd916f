"""Shows what the job is doing while it runs: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from beam_mixpanel.core.sending.books import FATES, Books
from beam_mixpanel.metrics import LIVE

_TERMINAL_EVERY_SECS = 0.2
_LINE_EVERY_SECS = 5.0
_BAR_CHARS = 10
"""With the words beside it, a line of 80 characters."""


def secs_left(elapsed_secs: float, share: float) -> float:
    """Guess how long the rest takes, if it goes on as so far; 0 where that is not known yet, or nothing is left."""
    if 0.01 <= share < 1:
        return elapsed_secs * (1 - share) / share
    return 0.0


def share_done(counts: Counter[str], input_bytes: int) -> float:
    """Return the share of the input that is done: what was read but waits to be sent is not."""
    if not input_bytes:
        return 0.0
    settled = sum(counts[fate] for fate in FATES)
    sent = settled / counts["read"] if counts["in_flight"] and counts["read"] else 1.0
    return min(counts["input_bytes"] / input_bytes, 1.0) * min(sent, 1.0)


class ProgressDisplay:
    """Shows the counts of this process while its block runs.

    Where workers are other processes or machines there is nothing to see here but the time; the runner's own page
    shows the metrics then.

    Args:
      console: where to show it.
      input_bytes: bytes of input in all; 0 where unknown.
    """

    def __init__(self, console: Console, input_bytes: int) -> None:
        self._console = console
        self._input_bytes = input_bytes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._started = time.monotonic()
        self._last = (self._started, 0)

    def __enter__(self) -> ProgressDisplay:
        """Begin to show."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the last state and end."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        if self._console.is_terminal:
            self._run_bar()
        else:
            while not self._ended.wait(_LINE_EVERY_SECS):
                self._console.print(self._line(), highlight=False, soft_wrap=True)

    def _run_bar(self) -> None:
        columns = (
            BarColumn(_BAR_CHARS),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task("starting", total=self._input_bytes or None)
            while True:
                ended = self._ended.wait(_TERMINAL_EVERY_SECS)
                done = share_done(LIVE.read(), self._input_bytes)
                bar.update(task, completed=done * self._input_bytes, description=self._describe())
                if ended:
                    return

    def _line(self) -> str:
        elapsed = time.monotonic() - self._started
        share = share_done(LIVE.read(), self._input_bytes)
        done = f"{share:4.0%} " if self._input_bytes else ""
        left = secs_left(elapsed, share)
        return f"{elapsed:6.0f} s {done} {self._describe()}{f', {left:,.0f} s left' if left else ''}"

    def _describe(self) -> str:
        counts = LIVE.read()
        dead = Books.from_counts(counts).not_imported
        return (
            f"{counts['read']:,} read, {self._rate(counts):,}/s, {counts['imported']:,} imported, "
            f"{dead:,} not, {counts['in_flight']} in flight"
        )

    def _rate(self, counts: Counter[str]) -> int:
        """Return the events/s since the last call, which was at least a moment ago."""
        now = time.monotonic()
        at, read = self._last
        if now - at >= 1.0 or not read:
            self._last = (now, counts["read"])
        return round((counts["read"] - read) / max(now - at, 0.001))
