"""`python -m fuzz`: run so many cases, or so long, and say what was found."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple, TypeVar

from fuzz import laws
from fuzz.laws import Finding, check_answer, check_block, check_garbled_letter, check_object, check_text
from fuzz.mutate import Mutator

_HANG_SECS: Final = 120
_SECS_PER_WORD: Final = 30.0
_SLOW_SECS: Final = 10.0
_Result = TypeVar("_Result")
_ROUNDS_PER_WATCH: Final = 100
_MOST_FINDINGS: Final = 20
_OBJECTS_PER_ROUND: Final = 2
_LETTERS_PER_ROUND: Final = 1
_ANSWERS_PER_ROUND: Final = 2


class Report(NamedTuple):
    """What a run did.

    Attributes:
      cases: lines, objects, letters and answers that were tried.
      verdicts: how many kinds of verdicts on lines there were.
      outcomes: how often answers were read as what.
      findings: laws that did not hold, each told once.
    """

    cases: int
    verdicts: int
    outcomes: Counter[str]
    findings: list[str]


def run(*, seed: int, cases: float, seconds: float) -> Report:
    """Try cases until there are enough or the time is over."""
    mutator = Mutator(seed)
    tried = 0
    outcomes: Counter[str] = Counter()
    findings: dict[str, str] = {}
    told = time.monotonic()
    deadline = told + seconds
    rounds = 0
    while tried < cases and time.monotonic() < deadline and len(findings) < _MOST_FINDINGS:
        if rounds % _ROUNDS_PER_WATCH == 0:
            faulthandler.dump_traceback_later(_HANG_SECS, exit=True)
        if time.monotonic() > told + _SECS_PER_WORD:
            told = time.monotonic()
            print(f"seed {seed}: {tried:,} cases, {len(findings)} findings", file=sys.stderr, flush=True)
        rounds += 1
        for check in _round(mutator, outcomes):
            try:
                tried += check()
            except Finding as finding:
                tried += 1
                if finding.law not in findings:
                    findings[finding.law] = f"seed {seed}, case {tried}: {finding}"
                    print(f"FINDING {findings[finding.law]}\n", file=sys.stderr, flush=True)
    faulthandler.cancel_dump_traceback_later()
    return Report(tried, mutator.verdicts, outcomes, list(findings.values()))


def _round(mutator: Mutator, outcomes: Counter[str]) -> Iterable[Callable[[], int]]:
    """Give a block of lines and some of everything else, each as a check that tells how many cases it was."""
    yield lambda: _try_block(mutator)
    yield lambda: _try(check_text, mutator.line().replace(b" ", mutator.pick((b" ", b"\n", b"\r\n"))))
    for _ in range(_OBJECTS_PER_ROUND):
        yield lambda: _try(check_object, mutator.value(), mutator.pick(laws.PREPARERS))
    for _ in range(_LETTERS_PER_ROUND):
        yield lambda: _try(check_garbled_letter, mutator.letter())
    for _ in range(_ANSWERS_PER_ROUND):
        yield lambda: _try_answer(mutator, outcomes)


def _try_block(mutator: Mutator) -> int:
    data = mutator.block()
    offset, endings = mutator.pick((0, 1, 10**12)), mutator.pick(_ENDINGS)
    preparer = mutator.pick(laws.PREPARERS)
    try:
        verdicts = _watched(check_block, data, offset, endings, preparer)
    except Finding:
        for line in data.split(b"\n"):
            _watched(check_block, line, offset, endings, preparer)
        raise
    for line, verdict in verdicts:
        mutator.learn(line, verdict)
    return data.count(b"\n") + (not data.endswith(b"\n"))


_ENDINGS: Final = ([b"\n", b"\n\n", b""], [b"\n\n", b"\n"])


def _try(check: Callable[..., None], *arguments: object) -> int:
    _watched(check, *arguments)
    return 1


def _try_answer(mutator: Mutator, outcomes: Counter[str]) -> int:
    outcomes[_watched(check_answer, *mutator.answer())] += 1
    return 1


def _watched(check: Callable[..., _Result], *arguments: object) -> _Result:
    """Make a finding of whatever is raised, and of what takes long on the processor: the machine may be busy."""
    started = time.process_time()
    try:
        result = check(*arguments)
    except Finding:
        raise
    except Exception as error:  # whatever it is, it is a finding
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise Finding(f"no crash: {type(error).__name__} in {place.name}", str(error), arguments) from error
    if time.process_time() - started > _SLOW_SECS:
        raise Finding("no case takes long", time.process_time() - started, arguments)
    return result


def main() -> int:
    """Run as the arguments say; 0 if every law held."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=float, default=float("inf"), help="stop after so many cases in all")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--seed", type=int, default=1, help="of the first process; the others take those after it")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.processes) as pool:
        share = arguments.cases / arguments.processes
        seeds = range(arguments.seed, arguments.seed + arguments.processes)
        runs = [pool.submit(run, seed=seed, cases=share, seconds=arguments.seconds) for seed in seeds]
        reports = [each.result() for each in runs]
    _tell(reports, time.monotonic() - started, arguments.seed)
    return 1 if any(report.findings for report in reports) else 0


def _tell(reports: list[Report], seconds: float, seed: int) -> None:
    cases = sum(report.cases for report in reports)
    outcomes = sum((report.outcomes for report in reports), Counter[str]())
    print(
        f"{cases:,} cases in {seconds:.0f} s ({cases / seconds:,.0f}/s), seed {seed}, {len(reports)} processes; "
        f"{max(report.verdicts for report in reports)} kinds of verdicts; answers: {dict(sorted(outcomes.items()))}; "
        f"{sum(len(report.findings) for report in reports)} findings"
    )


if __name__ == "__main__":
    sys.exit(main())
