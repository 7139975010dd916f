"""Runs a job from the command line: builds the pipeline, waits for it, and reports how it ended."""

from __future__ import annotations

import contextlib
import gc
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.pipeline import PipelineVisitor
from apache_beam.runners.portability.portable_runner import PipelineResult as PortableResult
from apache_beam.runners.runner import PipelineState
from rich.console import Console

from beam_mixpanel.errors import MixpanelError, UsageError
from beam_mixpanel.launcher import messages
from beam_mixpanel.launcher.command_line import read_settings
from beam_mixpanel.launcher.emulated import emulator_of
from beam_mixpanel.launcher.help import ASKED, print_help
from beam_mixpanel.launcher.opened import Epilogue, Opened
from beam_mixpanel.launcher.progress import ProgressDisplay
from beam_mixpanel.launcher.quiet import quiet_beam
from beam_mixpanel.launcher.reports.check_report import write_report
from beam_mixpanel.launcher.reports.course import Course, Moment
from beam_mixpanel.launcher.reports.run_report import Run, write_run_report
from beam_mixpanel.launcher.runners import runs_in_this_process
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.source import Source
from beam_mixpanel.launcher.summary import Summary
from beam_mixpanel.launcher.usage import as_usage
from beam_mixpanel.launcher.verdict import (
    EXIT_DEAD_LETTERS,
    EXIT_FAILED,
    EXIT_IMPORTED,
    EXIT_USAGE,
    Asked,
    Verdict,
    judge,
)
from beam_mixpanel.launcher.wording import in_flags
from beam_mixpanel.metrics import LIVE, NAMESPACE
from beam_mixpanel.transforms.dead_letters import WriteDeadLetters, remove_unfinished
from beam_mixpanel.transforms.send import abandon_sending

Build = Callable[[beam.Pipeline, Opened], None]
"""Connects the transforms of a pipeline to its source."""


class Ended(NamedTuple):
    """A job that is over.

    Attributes:
      counts: by the names of its counters; of a job that failed, what is known.
      moments: what this process saw of its course.
      seconds: how long it took.
      failure: why it failed; empty where it came to its end.
    """

    counts: dict[str, int]
    moments: Sequence[Moment]
    seconds: float
    failure: str


def run_job(source: Source, build: Build, argv: Sequence[str] | None = None, *, checks: bool = False) -> int:
    """Run a pipeline from the command line.

    Args:
      source: what it reads, with the options that it takes besides those of every pipeline.
      build: connects the transforms.
      argv: the arguments; None for the process's.
      checks: nothing is sent, and the report is what an import would do.

    Returns:
      0 where every event was imported or filtered and the books balance, or where a job that is not waited for was
      submitted; 3 where the job ended with more dead letters than allowed; 1 where it failed or imported nothing;
      2 where the arguments are wrong.

    Raises:
      SystemExit: help was asked for.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if ASKED & set(arguments):
        print_help(source, arguments)
    console = Console(stderr=True, emoji=False)  # a column may be called :key:
    try:
        settings = read_settings(arguments, source.groups, checks=checks)
        with quiet_beam(), emulator_of(settings, console):
            return _open_and_run(source, build, settings, console)
    except UsageError as error:
        _print_error(console, "error", in_flags(error))
        return EXIT_USAGE
    except (KeyboardInterrupt, MixpanelError) as error:
        _print_error(console, "failed", messages.explain(error))
        return EXIT_FAILED


def _open_and_run(source: Source, build: Build, settings: Settings, console: Console) -> int:
    LIVE.clear()
    opened = source.open(settings)
    try:
        with _pipeline(opened.settings) as pipeline:
            build(pipeline, opened)
            if settings.submits_only:
                return _submit(pipeline, settings, console)
            return _run_and_report(pipeline, opened.epilogue, opened.settings, console)
    finally:
        opened.epilogue.close()


@contextlib.contextmanager
def _pipeline(settings: Settings) -> Iterator[beam.Pipeline]:
    """Make a pipeline, and remove what it leaves on this machine."""
    with as_usage(ValueError):
        # Beam looks here whether its own options go together.
        pipeline = beam.Pipeline(options=settings.options)
    try:
        yield pipeline
    finally:
        # Beam removes this folder only where the pipeline came to run.
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)


def _submit(pipeline: beam.Pipeline, settings: Settings, console: Console) -> int:
    """Hand the job over and leave it to its runner."""
    try:
        with messages.reported_once():
            result = pipeline.run()
    except Exception as error:  # noqa: BLE001 - whatever the service or its client raises, there is no job
        _print_error(console, "failed", messages.explain(error))
        return EXIT_FAILED
    _print(console, messages.submitted(result, settings.options))
    return EXIT_IMPORTED


def _run_and_report(pipeline: beam.Pipeline, epilogue: Epilogue, settings: Settings, console: Console) -> int:
    """Wait for the job, write what was asked for, and let the source remember where all is well."""
    ended = _wait_for(pipeline, settings, console)
    dead_letter_prefixes = _dead_letter_prefixes(pipeline)
    for prefix in dead_letter_prefixes:
        # Also after a job that went well: it may have tried bundles again.
        remove_unfinished(prefix)
    complete = not ended.failure
    summary = Summary(ended.counts, seconds=ended.seconds, complete=complete, checks=settings.checks)
    summary.print_to(console)
    if ended.failure and not ended.counts and not runs_in_this_process(settings.options):
        _print(console, "the workers are other processes; what they had counted is not known here")

    unwritten = _write_summary(summary, settings)
    failure = ended.failure or unwritten
    if settings.checks and not failure:
        failure = _write_check(settings, ended.counts, epilogue)
    verdict = judge(summary.accounts, _asked(settings, epilogue), failure)
    if verdict.settled:
        verdict = _confirm(verdict, epilogue)
    _print_verdict(verdict, summary, settings, console)
    if verdict.exit_code == EXIT_DEAD_LETTERS and epilogue.unconfirmed:
        _print(console, epilogue.unconfirmed)
    if settings.checks or not settings.report:
        return verdict.exit_code

    run = Run(
        settings=settings,
        summary=summary,
        moments=ended.moments,
        source=epilogue.source,
        dead_letter_prefixes=dead_letter_prefixes,
        exit_code=verdict.exit_code,
        failure=verdict.failure,
    )
    try:
        write_run_report(settings.report, run)
    except OSError as error:
        _print_error(console, "failed", f"cannot write --report {settings.report}: {error}")
        return EXIT_FAILED
    return verdict.exit_code


def _wait_for(pipeline: beam.Pipeline, settings: Settings, console: Console) -> Ended:
    """Run a pipeline to its end, or until it fails or is interrupted."""
    started = time.monotonic()
    failure = ""
    result = None
    course = Course()
    input_bytes = sum(file.size_bytes for file in settings.files)
    try:
        with (
            course,
            _interrupted_by_sigterm(),
            messages.reported_once(),
            _calm_collector(),
            ProgressDisplay(console, input_bytes),
        ):
            result = pipeline.run()
            state = result.wait_until_finish()
            counts = _counters(result)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever a runner raises, the job has failed
        failure = messages.explain(error)
        counts = _known_counts(result)
        abandon_sending()
        if messages.interrupt_in(error) and isinstance(result, PortableResult):
            result.cancel()
    else:
        if state != PipelineState.DONE:
            # A runner may return, and not raise, where somebody cancelled or drained the job.
            failure = f"the job ended as {state}; run it again to import the rest: Mixpanel ignores duplicates"
    return Ended(counts, course.moments, time.monotonic() - started, failure)


def _asked(settings: Settings, epilogue: Epilogue) -> Asked:
    return Asked(
        checks=settings.checks,
        allowed=settings.allowed_dead_letters,
        may_be_empty=epilogue.may_be_empty,
        source=epilogue.source or ", ".join(settings.inputs),
        only_reasons=settings.only_reasons,
    )


def _write_summary(summary: Summary, settings: Settings) -> str:
    """Write the books; return why, if that fails."""
    if not settings.summary:
        return ""
    try:
        summary.write(settings.summary)
    except OSError as error:
        return f"cannot write --summary {settings.summary}: {error.strerror}"
    return ""


def _write_check(settings: Settings, counts: dict[str, int], epilogue: Epilogue) -> str:
    """Write the report of a check; return why, if that fails."""
    page = str(settings.report)
    try:
        write_report(page, settings, counts, epilogue.source)
    except OSError as error:
        return f"cannot write the report {page}: {error}"
    return ""


def _confirm(verdict: Verdict, epilogue: Epilogue) -> Verdict:
    """Let the source remember that everything was imported; a failure to do so fails the run."""
    try:
        epilogue.confirm()
    except OSError as error:
        return Verdict(EXIT_FAILED, f"everything was imported, but that cannot be remembered: {error}")
    return verdict


def _print_verdict(verdict: Verdict, summary: Summary, settings: Settings, console: Console) -> None:
    if verdict.failure:
        _print_error(console, "failed", verdict.failure)
        return
    for text in messages.unmatched_reasons(summary, settings):
        _print(console, text)
    if verdict.exit_code != EXIT_IMPORTED:
        for text in messages.left_behind(summary, settings):
            _print(console, text)


def _print_error(console: Console, kind: str, message: object) -> None:
    console.print(f"[bold red]{kind}:[/] {_escaped(message)}", highlight=False, soft_wrap=True)


def _print(console: Console, message: object) -> None:
    console.print(_escaped(message), highlight=False, soft_wrap=True)


def _escaped(message: object) -> str:
    """Keep brackets in a message from being taken for markup."""
    return str(message).replace("[", "\\[")


@contextlib.contextmanager
def _calm_collector() -> Iterator[None]:
    """Keep Python's collector from searching all of Beam for garbage again and again: events hold no cycles.

    Measured by `make bench`: 14 % less CPU.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a job that is asked to end reports what it did, and what ended it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _counters(result: Any) -> dict[str, int]:
    """Read our counters from the runner; the same counter may come from several steps."""
    counts: dict[str, int] = {}
    metrics = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    for counter in metrics["counters"]:
        value = counter.committed if counter.committed is not None else counter.attempted
        counts[counter.key.metric.name] = counts.get(counter.key.metric.name, 0) + int(value or 0)
    return counts


def _known_counts(result: Any) -> dict[str, int]:
    """Return what is known of a job that failed: the counts of this process, else those of the runner."""
    counts = dict(LIVE.read())
    if counts or result is None:
        return counts
    try:
        return _counters(result)
    except Exception:  # noqa: BLE001 - a job service that is gone as well must not hide why the job failed
        return {}


def _dead_letter_prefixes(pipeline: beam.Pipeline) -> list[str]:
    """Find how the names of this run's files of dead letters begin."""
    found = []

    class Visitor(PipelineVisitor):
        def enter_composite_transform(self, node: Any) -> None:
            if isinstance(node.transform, WriteDeadLetters):
                found.append(node.transform.prefix)

    pipeline.visit(Visitor())
    return found
