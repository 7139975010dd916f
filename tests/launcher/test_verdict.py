"""How a job ended follows from its accounts and from what was asked for, and from nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import product

import pytest

from beam_mixpanel.core.sending.books import Books
from beam_mixpanel.errors import UsageError
from beam_mixpanel.launcher.verdict import (
    EXIT_DEAD_LETTERS,
    EXIT_FAILED,
    EXIT_IMPORTED,
    Accounts,
    AllowedDeadLetters,
    Asked,
    Verdict,
    judge,
)

IMPORTED = Verdict(EXIT_IMPORTED, settled=True)
REPORTED = Verdict(EXIT_IMPORTED)
DEAD_LETTERS = Verdict(EXIT_DEAD_LETTERS)
ALLOWANCES = (None, *map(AllowedDeadLetters.parse, ("0", "1", "2", "25%", "100%")))
COMBINATIONS = tuple(product(range(3), repeat=6))
"""Of the fates filtered, invalid, imported, rejected, undelivered, dropped: none, one or two events of each."""


def books(**fates: int) -> Books:
    return Books(read=sum(fates.values()), **fates)


def failed(why: str) -> Verdict:
    return Verdict(EXIT_FAILED, why)


def allowing(text: str, *, checks: bool = False) -> Asked:
    return Asked(allowed=AllowedDeadLetters.parse(text), checks=checks, source="here")


IMPORT = Asked(source="here")
CHECK = Asked(checks=True, source="here")
RECURRING = Asked(may_be_empty=True, source="here")
REPLAY = Asked(source="here", only_reasons=("c", "d"))


@pytest.mark.parametrize(
    ("counted", "asked", "verdict"),
    [
        (books(imported=5), IMPORT, IMPORTED),
        (books(imported=5, filtered=5), IMPORT, IMPORTED),
        (books(), IMPORT, failed("no events were read from here")),
        (books(filtered=1_000), IMPORT, failed("nothing was imported: 1,000 of 1,000 events were filtered")),
        (books(imported=5, invalid=1), IMPORT, DEAD_LETTERS),
        (books(imported=5, rejected=1), IMPORT, DEAD_LETTERS),
        (books(imported=5, undelivered=1), IMPORT, DEAD_LETTERS),
        (books(imported=5, dropped=1), IMPORT, DEAD_LETTERS),
        (books(invalid=5), IMPORT, DEAD_LETTERS),
        (books(imported=5, invalid=1), allowing("1"), IMPORTED),
        (books(imported=5, invalid=1, dropped=1), allowing("1"), DEAD_LETTERS),
        (books(imported=5, invalid=1), allowing("16%"), DEAD_LETTERS),
        (books(imported=5, invalid=1), allowing("17%"), IMPORTED),
        (books(invalid=5), allowing("100%"), failed("nothing was imported")),
        (books(dropped=5), allowing("100%"), failed("nothing was imported")),
        (
            books(invalid=5, filtered=1),
            allowing("100%"),
            failed("nothing was imported: 1 of 6 events were filtered"),
        ),
        (books(), RECURRING, IMPORTED),
        (books(filtered=3), RECURRING, IMPORTED),
        (books(filtered=3, invalid=1), RECURRING, DEAD_LETTERS),
        (books(), CHECK, failed("no events were read from here")),
        (books(filtered=3), CHECK, failed("nothing would be imported: 3 of 3 events were filtered")),
        (books(invalid=5), CHECK, REPORTED),
        (books(invalid=5), allowing("4", checks=True), DEAD_LETTERS),
        (books(invalid=5), allowing("5", checks=True), REPORTED),
        (books(invalid=5), allowing("100%", checks=True), REPORTED),
    ],
)
def test_a_job_that_came_to_its_end(counted: Books, asked: Asked, verdict: Verdict) -> None:
    """Each kind of end, with its exit code and its reason."""
    assert judge(Accounts(counted, balanced=True), asked) == verdict


@pytest.mark.parametrize("asked", [IMPORT, CHECK, RECURRING, allowing("100%")])
def test_a_failure_stays_one(asked: Asked) -> None:
    """What failed, was cancelled, or could not be written is never good, whatever was counted."""
    assert judge(Accounts(books(imported=5), balanced=True), asked, "interrupted") == failed("interrupted")
    assert judge(Accounts(books(), balanced=False), asked, "cancelled") == failed("cancelled")


@pytest.mark.parametrize("asked", [IMPORT, CHECK, RECURRING, allowing("100%")])
def test_books_that_do_not_balance_are_a_failure(asked: Asked) -> None:
    """An event without a fate may be lost."""
    verdict = judge(Accounts(Books(read=6, imported=5), balanced=False), asked)
    assert (verdict.exit_code, verdict.settled) == (EXIT_FAILED, False)
    assert "do not balance" in verdict.failure


def test_a_replay_of_reasons_that_are_not_there_names_those_that_are() -> None:
    """Dead letters that were left out are filtered."""
    accounts = Accounts(books(filtered=3), balanced=True, left_out={"a": 2, "b": 1})
    assert judge(accounts, REPLAY) == failed(
        "no dead letter has the reason c or d; the reasons there are: a (2), b (1)"
    )


def _all_ends() -> Iterator[tuple[Books, Asked, Verdict]]:
    fates = Books._fields[1:]
    for numbers in COMBINATIONS:
        counted = books(**dict(zip(fates, numbers, strict=True)))
        for allowed, checks, may_be_empty in product(ALLOWANCES, (False, True), (False, True)):
            asked = Asked(checks=checks, allowed=allowed, may_be_empty=may_be_empty, source="here")
            yield counted, asked, judge(Accounts(counted, balanced=True), asked)


def test_laws_of_all_small_books() -> None:
    """No fear comes true, whatever the accounts.

    A green import imported something or had nothing to import, left no more behind than was allowed, and only then does
    its source remember it; red has a reason; the rest ends with dead letters.
    """
    for counted, asked, verdict in _all_ends():
        case = (counted, asked, verdict)
        assert (verdict.exit_code == EXIT_FAILED) == bool(verdict.failure), case
        assert verdict.settled == (verdict.exit_code == EXIT_IMPORTED and not asked.checks), case
        left = counted.invalid + counted.rejected + counted.undelivered + counted.dropped
        most = _most_allowed(asked, counted.read)
        if verdict.exit_code == EXIT_IMPORTED:
            assert left <= most, case
            nothing_new = asked.may_be_empty and counted.read == counted.filtered
            found = left + counted.imported > 0 if asked.checks else counted.imported > 0
            assert found or nothing_new, case
        if left > most:
            assert verdict.exit_code == EXIT_DEAD_LETTERS, case


def _most_allowed(asked: Asked, read: int) -> float:
    if asked.allowed is None:
        return float("inf") if asked.checks else 0
    return max(asked.allowed.number, asked.allowed.share * read)


def test_to_allow_more_never_makes_a_good_job_bad() -> None:
    """Exit code 0 stays 0 with a larger allowance."""
    for counted, asked, verdict in _all_ends():
        if verdict.exit_code == EXIT_IMPORTED:
            more = asked._replace(allowed=AllowedDeadLetters.parse("100%"))
            assert judge(Accounts(counted, balanced=True), more) == verdict


@pytest.mark.parametrize("text", ["", "some", "-1", "1.5", "101%", "-1%", "nan%", "%"])
def test_an_allowance_is_a_number_or_a_share(text: str) -> None:
    """Anything else is refused, with both forms."""
    with pytest.raises(UsageError, match=r"such as 10 or a share such as 0\.5%"):
        AllowedDeadLetters.parse(text)


def test_it_needs_no_beam() -> None:
    """A verdict is arithmetic: nothing of Beam is loaded for it."""
    code = "import sys, beam_mixpanel.launcher.verdict; print('apache_beam' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
