"""Builds and runs a pipeline, watches it, draws up its books, and says by the exit code how it ended."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NoReturn

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    TestOptions,
)
from apache_beam.pipeline import PipelineVisitor
from apache_beam.runners.portability.portable_runner import PipelineResult as PortableResult
from rich.console import Console

from beam_mixpanel.errors import MixpanelError, UsageError
from beam_mixpanel.launcher.arguments import IN_PROCESS_RUNNERS, OptionGroups, Settings, parse
from beam_mixpanel.launcher.epilogue import Epilogue
from beam_mixpanel.launcher.options import FileOptions
from beam_mixpanel.launcher.progress import ProgressDisplay
from beam_mixpanel.launcher.reports.check_report import write_report
from beam_mixpanel.launcher.reports.course import Course
from beam_mixpanel.launcher.reports.run_report import Run, write_run_report
from beam_mixpanel.launcher.summary import Summary
from beam_mixpanel.launcher.wording import in_flags
from beam_mixpanel.metrics import LIVE, NAMESPACE
from beam_mixpanel.transforms.dead_letters import WriteDeadLetters, remove_unfinished
from beam_mixpanel.transforms.send import abandon_sending

Build = Callable[[beam.Pipeline, Settings], Epilogue | None]
"""Connects the transforms of a pipeline."""

EXIT_IMPORTED: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_DEAD_LETTERS: Final = 3

_OUR_ERROR: Final = re.compile(r"^(?:beam_mixpanel\.[\w.]+Error): (?P<message>.*)$", re.MULTILINE)
_WHERE: Final = re.compile(r" \[while running .*?\]$", re.MULTILINE)
"""What Beam adds to an error's words."""
_DEAD_LETTERS_UNWRITTEN: Final = re.compile(r"(?P<why>.*) \[while running '(?:[^']*/)?WriteDeadLetters\b.*?\]")
"""An error in a step that `import_events` has named so."""

_log = logging.getLogger(__name__)


def run_job(
    program: str,
    description: str,
    build: Build,
    argv: Sequence[str] | None = None,
    *,
    also: OptionGroups = (FileOptions,),
    checks: bool = False,
) -> int:
    """Run a pipeline from the command line.

    Args:
      program: the module's name, for the help.
      description: what it does, for the help.
      build: connects the transforms; may give what is to be done when the job has ended.
      argv: the arguments; None for the process's.
      also: the options that it takes besides those of every pipeline.
      checks: whether it sends nothing, and its report tells what an import would do.

    Returns:
      0 where every event was imported or filtered and the books balance, or where a job that is not waited for was
      handed over; 3 where the job ended with more dead letters
      than allowed; 1 where it failed or imported nothing; 2 where the arguments are wrong.
    """
    console = Console(stderr=True)
    try:
        settings = parse(program, description, argv, also, checks=checks)
        with _emulator(settings, console):
            return _run(build, settings, console)
    except UsageError as error:
        console.print(f"[bold red]error:[/] {_plain(in_flags(error))}", highlight=False, soft_wrap=True)
        return EXIT_USAGE
    except (KeyboardInterrupt, MixpanelError) as error:
        console.print(f"[bold red]failed:[/] {_plain(explain(error))}", highlight=False, soft_wrap=True)
        return EXIT_FAILED


def _run(build: Build, settings: Settings, console: Console) -> int:
    LIVE.clear()
    pipeline = _pipeline(settings.options)
    try:
        return _build_and_run(pipeline, build, settings, console)
    finally:
        # Beam removes this folder only where the pipeline came to run.
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)


def _build_and_run(pipeline: beam.Pipeline, build: Build, settings: Settings, console: Console) -> int:
    epilogue = build(pipeline, settings) or Epilogue()
    try:
        if settings.submits_only:
            return _submit(pipeline, settings, console)
        return _run_pipeline(pipeline, epilogue, settings, console)
    finally:
        epilogue.close()


def _pipeline(options: PipelineOptions) -> beam.Pipeline:
    """Begin a pipeline; Beam looks then whether its own options go together."""
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _submit(pipeline: beam.Pipeline, settings: Settings, console: Console) -> int:
    """Hand the job over and leave it to its runner."""
    try:
        with _told_once():
            result = pipeline.run()
    except Exception as error:  # noqa: BLE001 - whatever the service or its client raises, there is no job
        console.print(f"[bold red]failed:[/] {_plain(explain(error))}", highlight=False, soft_wrap=True)
        return EXIT_FAILED
    console.print(_plain(_told_of(result, settings.options)), highlight=False, soft_wrap=True)
    return EXIT_IMPORTED


def _told_of(result: Any, options: PipelineOptions) -> str:
    """Say what became of a job that is not waited for."""
    cloud = options.view_as(GoogleCloudOptions)
    if options.view_as(TestOptions).dry_run:
        return f"dry run: the job {cloud.job_name} was built, and not submitted"
    if not result.has_job:
        return f"the job is written to {cloud.template_location}, for Dataflow to start"
    return (
        f"job {result.job_id()} is submitted; its books are the counters of {NAMESPACE} at "
        f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{result.job_id()}?project={cloud.project}"
    )


def _run_pipeline(pipeline: beam.Pipeline, epilogue: Epilogue, settings: Settings, console: Console) -> int:
    started = time.monotonic()
    failure = ""
    counts: dict[str, int] = {}
    result = None
    course = Course()
    try:
        with (
            course,
            _ended_by_sigterm(),
            _told_once(),
            _calm_collector(),
            ProgressDisplay(console, sum(file.size_bytes for file in settings.files)),
        ):
            result = pipeline.run()
            result.wait_until_finish()
            counts = _counters(result)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever a runner raises, the job has failed
        failure = explain(error)
        counts = _known_counts(result)
        abandon_sending()
        if _interrupt_in(error) and isinstance(result, PortableResult):
            result.cancel()
    # A job that went well may have tried bundles again.
    _remove_unfinished(pipeline)
    summary = Summary(
        counts,
        seconds=time.monotonic() - started,
        complete=not failure,
        validate_only=settings.validate_only,
    )
    summary.print_to(console)
    if failure and not counts and not _runs_here(settings.options):
        console.print("the workers are other processes; what they had counted is not known here", soft_wrap=True)
    if settings.summary:
        try:
            summary.write(settings.summary)
        except OSError as error:
            failure = failure or f"cannot write --summary {settings.summary}: {error.strerror}"
    if settings.check_report and not failure:
        failure = _write_check(settings.check_report, settings, counts, epilogue)
    failure = failure or _judged(summary, settings, epilogue)
    code = _verdict(summary, settings, failure, console)
    if not settings.run_report:
        return code
    run = Run(settings, summary, course.moments, epilogue.source, _dead_letter_prefixes(pipeline), code, failure)
    return code if _write_run(settings.run_report, run, console) else EXIT_FAILED


def _write_run(page: str, run: Run, console: Console) -> bool:
    try:
        write_run_report(page, run)
    except OSError as error:
        console.print(f"[bold red]failed:[/] cannot write --report {page}: {error}", highlight=False, soft_wrap=True)
        return False
    return True


def _write_check(page: str, settings: Settings, counts: dict[str, int], epilogue: Epilogue) -> str:
    """Write the report of a check; say why, if that fails."""
    try:
        write_report(page, settings, counts, epilogue.source)
    except OSError as error:
        return f"cannot write the report {page}: {error}"
    return ""


def end_process(code: int) -> NoReturn:
    """End this process with an exit code, as `sys.exit` does, but wait for no job that was given up.

    Beam's embedded job server cannot cancel a job: its thread would hold an interrupted process until the job ends.
    """
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    if code == EXIT_FAILED and not all(thread.daemon for thread in others):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


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


def _judged(summary: Summary, settings: Settings, epilogue: Epilogue) -> str:
    """Let the source remember where all is well; say why it is not."""
    books = summary.books
    permitted = settings.allowed_dead_letters.permit(books.not_imported, books.read)
    failure = _failure_by_books(summary, settings, epilogue, permitted)
    if permitted and not failure and not settings.validate_only:
        failure = _confirm(epilogue)
    return failure


def _verdict(summary: Summary, settings: Settings, failure: str, console: Console) -> int:
    if failure:
        console.print(f"[bold red]failed:[/] {_plain(failure)}", highlight=False, soft_wrap=True)
        return EXIT_FAILED
    _tell_unmatched_reasons(summary, settings, console)
    books = summary.books
    if settings.allowed_dead_letters.permit(books.not_imported, books.read) or settings.check_report:
        return EXIT_IMPORTED
    _say_what_next(summary, settings, console)
    return EXIT_DEAD_LETTERS


def _failure_by_books(summary: Summary, settings: Settings, epilogue: Epilogue, permitted: bool) -> str:
    books = summary.books
    if not summary.balanced:
        return "the books do not balance; please report this, and run the job again: duplicates do no harm"
    if epilogue.may_be_empty and books.read == books.filtered:
        return ""
    if books.read == 0:
        return f"no events were read from {epilogue.source or ', '.join(settings.inputs)}"
    useful = books.imported or (settings.validate_only and books.filtered < books.read)
    return _why_nothing(summary, settings) if permitted and not useful else ""


def _confirm(epilogue: Epilogue) -> str:
    """Let the source remember that everything was imported; say why, if that fails."""
    try:
        epilogue.confirm()
    except OSError as error:
        return f"everything was imported, but that cannot be remembered: {error}"
    return ""


def _why_nothing(summary: Summary, settings: Settings) -> str:
    books = summary.books
    if settings.only_reasons and not summary.chosen and summary.left_out:
        there = ", ".join(f"{reason} ({count:,})" for reason, count in summary.left_out.items())
        return f"no dead letter has the reason {' or '.join(settings.only_reasons)}; the reasons there are: {there}"
    if books.filtered:
        return f"nothing was imported: {books.filtered:,} of {books.read:,} events were filtered"
    return "nothing was imported"


def _tell_unmatched_reasons(summary: Summary, settings: Settings, console: Console) -> None:
    unmatched = [reason for reason in settings.only_reasons if reason not in summary.chosen]
    if unmatched:
        console.print(
            f"no dead letter has the reason {_plain(' or '.join(unmatched))}", highlight=False, soft_wrap=True
        )


def _say_what_next(summary: Summary, settings: Settings, console: Console) -> None:
    _tell_dropped(summary, console)
    dead = summary.books.dead_letters
    if not dead:
        return
    where = (
        f"they are in {settings.dead_letters}-*.jsonl; after the cause is gone: "
        f"python -m beam_mixpanel.pipelines.replay_dead_letters --input {shlex.quote(f'{settings.dead_letters}-*')} "
        "and the options of this run"
        if settings.dead_letters
        else "add --dead_letters PREFIX to keep them"
    )
    word = "would not be" if settings.validate_only else "were not"
    console.print(f"{dead:,} events {word} imported; {where}", highlight=False, soft_wrap=True)


def _tell_dropped(summary: Summary, console: Console) -> None:
    dropped = summary.books.dropped
    if dropped:
        console.print(
            f"{dropped:,} events were dropped by Mixpanel: it confirmed fewer events than it was sent, and named none. "
            "Look for events with the property $ignore, drop filters of the project, and blocked events in its "
            "Lexicon; if that is meant, allow so many by --allow_dead_letters",
            highlight=False,
            soft_wrap=True,
        )


def explain(error: BaseException) -> str:
    """Say in one paragraph why a job failed; our own errors without the runner's trace around them."""
    interrupt = _interrupt_in(error)
    if interrupt is not None:
        signal_name = _WHERE.sub("", str(interrupt))
        by = f" by {signal_name}" if signal_name else ""
        return f"interrupted{by}; run the job again to import the rest, duplicates do no harm"
    unwritten = _DEAD_LETTERS_UNWRITTEN.search(str(error))
    text = _WHERE.sub("", str(error)).strip()
    if isinstance(error, MixpanelError):
        return in_flags(text)
    ours = list(_OUR_ERROR.finditer(text))
    if ours:
        return in_flags(ours[-1]["message"])
    if unwritten:
        return (
            f"the dead letters cannot be written ({unwritten['why']}): make room, or give --dead_letters a place that "
            "can be written to, and run the job again; duplicates do no harm"
        )
    _log.error("the job failed", exc_info=error)
    return (text.splitlines() or [type(error).__name__])[-1]


@contextlib.contextmanager
def _told_once() -> Iterator[None]:
    """Keep our own errors out of the log, where portable runners write them with their trace: `explain` tells them."""
    root = logging.getLogger()
    root.addFilter(_tells_other_than_our_error)
    try:
        yield
    finally:
        root.removeFilter(_tells_other_than_our_error)


def _tells_other_than_our_error(record: logging.LogRecord) -> bool:
    return not _OUR_ERROR.search(record.getMessage())


def _interrupt_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """Find the interrupt in what a runner wrapped around it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that a job that is asked to end tells what it did, and by what it was ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _counters(result: Any) -> dict[str, int]:
    """Read our counters from the runner; the same counter may come from several steps."""
    counts: dict[str, int] = {}
    metrics = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    for counter in metrics["counters"]:
        value = counter.committed if counter.committed is not None else counter.attempted
        counts[counter.key.metric.name] = counts.get(counter.key.metric.name, 0) + int(value or 0)
    return counts


def _remove_unfinished(pipeline: beam.Pipeline) -> None:
    """Remove the files of dead letters that were never committed, of a job that is over."""
    for prefix in _dead_letter_prefixes(pipeline):
        remove_unfinished(prefix)


def _dead_letter_prefixes(pipeline: beam.Pipeline) -> list[str]:
    """Find how the names of this run's files of dead letters begin."""
    found = []

    class Visitor(PipelineVisitor):
        def enter_composite_transform(self, node: Any) -> None:
            if isinstance(node.transform, WriteDeadLetters):
                found.append(node.transform.prefix)

    pipeline.visit(Visitor())
    return found


def _runs_here(options: PipelineOptions) -> bool:
    """Tell whether this process does the work, too, so that what it has not counted was not done."""
    in_process = options.view_as(DirectOptions).direct_running_mode != "multi_processing"
    return options.view_as(StandardOptions).runner in IN_PROCESS_RUNNERS and in_process


def _known_counts(result: Any) -> dict[str, int]:
    """Give what is known of a job that failed: the counts of this process, else what the runner tells."""
    counts = dict(LIVE.read())
    if counts or result is None:
        return counts
    try:
        return _counters(result)
    except Exception:  # noqa: BLE001 - a job service that is gone as well must not hide why the job failed
        return {}


@contextlib.contextmanager
def _emulator(settings: Settings, console: Console) -> Iterator[None]:
    """Run an emulator for the length of the block, if the settings ask for one."""
    if not settings.use_emulator:
        yield
        return
    from beam_mixpanel.emulator import EmulatorProcess

    try:
        emulator = EmulatorProcess()
    except ImportError as error:
        raise UsageError(str(error)) from None
    with emulator:
        settings.send_to_emulator(emulator.url)
        console.print(f"emulator at {emulator.url}", highlight=False)
        yield
        unique = emulator.stats().get("unique_events", emulator.stats().get("unique"))
        console.print(f"the emulator shows {unique:,} events, each once", highlight=False)


def _plain(message: object) -> str:
    """Keep brackets in a message from being taken for markup."""
    return str(message).replace("[", "\\[")
