"""How a job ended: the exit code and the reason, from its accounts and what was asked for. No Beam, no I/O.

Every way to call a job good is in `judge`; a test goes through all combinations of small accounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from beam_mixpanel.core.sending.books import Books
from beam_mixpanel.errors import UsageError

EXIT_IMPORTED: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_DEAD_LETTERS: Final = 3


class AllowedDeadLetters(NamedTuple):
    """How many dead letters still count as success: a number, or a share of the events read."""

    number: int = 0
    share: float = 0.0

    @classmethod
    def parse(cls, text: str) -> AllowedDeadLetters:
        """Read `N` or `P%`.

        Raises:
          UsageError: it is neither.
        """
        try:
            if text.endswith("%"):
                share = float(text[:-1]) / 100
                if 0 <= share <= 1:
                    return cls(0, share)
            elif int(text) >= 0:
                return cls(int(text), 0.0)
        except ValueError:
            pass
        raise UsageError(f"--allow_dead_letters must be a number such as 10 or a share such as 0.5%, got {text!r}")

    def permit(self, dead_letters: int, read: int) -> bool:
        """Return whether so many are accepted."""
        return dead_letters <= max(self.number, self.share * read)


class Asked(NamedTuple):
    """What a run was asked for, as far as that decides how it ended.

    Attributes:
      checks: nothing was to be sent.
      allowed: how many dead letters are accepted; None where the user did not say: no dead letter in an import, and
        any number in a check, which reports them.
      may_be_empty: to find nothing new is no failure.
      source: what was read, for people.
      only_reasons: of the dead letters that were to be replayed; empty for all.
    """

    checks: bool = False
    allowed: AllowedDeadLetters | None = None
    may_be_empty: bool = False
    source: str = ""
    only_reasons: tuple[str, ...] = ()

    def permit(self, not_imported: int, read: int) -> bool:
        """Return whether so many events may be left behind."""
        if self.allowed is None:
            return self.checks or not_imported == 0
        return self.allowed.permit(not_imported, read)


class Accounts(NamedTuple):
    """What a run counted.

    Attributes:
      books: every event by its fate.
      balanced: each event that was read has one fate.
      left_out: of a replay, the dead letters that `only_reasons` left out, by reason.
      chosen: those that it took.
    """

    books: Books
    balanced: bool
    left_out: Mapping[str, int] = {}
    chosen: Mapping[str, int] = {}


class Verdict(NamedTuple):
    """How a run ended.

    Attributes:
      exit_code: of the command.
      failure: why it failed; empty where it did not.
      settled: everything that was read is imported or meant to be left behind, so that the source may remember it.
    """

    exit_code: int
    failure: str = ""
    settled: bool = False


def judge(accounts: Accounts, asked: Asked, failure: str = "") -> Verdict:
    """Decide how a run ended.

    Args:
      accounts: what it counted; of a job that failed, what is known.
      asked: what it was asked for.
      failure: why the job, or what had to be written after it, failed; empty where nothing did.
    """
    failure = failure or _failure_in(accounts, asked)
    if failure:
        return Verdict(EXIT_FAILED, failure)
    books = accounts.books
    if not asked.permit(books.not_imported, books.read):
        return Verdict(EXIT_DEAD_LETTERS)
    return Verdict(EXIT_IMPORTED, settled=not asked.checks)


def _failure_in(accounts: Accounts, asked: Asked) -> str:
    """Find what makes a job a failure that came to its end; empty where nothing does."""
    books = accounts.books
    if not accounts.balanced:
        return "the books do not balance; please report this, and run the job again: Mixpanel ignores duplicates"
    if asked.may_be_empty and books.read == books.filtered:
        return ""
    if books.read == 0:
        return f"no events were read from {asked.source}"
    if asked.checks:
        # That every event would be refused is a finding; that none is left to judge is not.
        if books.read == books.filtered:
            return _why_nothing(accounts, asked)
        return ""
    if books.imported == 0 and asked.permit(books.not_imported, books.read):
        return _why_nothing(accounts, asked)
    return ""


def _why_nothing(accounts: Accounts, asked: Asked) -> str:
    books = accounts.books
    if asked.only_reasons and not accounts.chosen and accounts.left_out:
        there = ", ".join(f"{reason} ({count:,})" for reason, count in accounts.left_out.items())
        return f"no dead letter has the reason {' or '.join(asked.only_reasons)}; the reasons there are: {there}"
    verb = "would be" if asked.checks else "was"
    if not books.filtered:
        return f"nothing {verb} imported"
    return f"nothing {verb} imported: {books.filtered:,} of {books.read:,} events were filtered"
