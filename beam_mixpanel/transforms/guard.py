"""Fails a job at its first dead letter, unless the pipeline consumes dead letters."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import Any, Final

import apache_beam as beam
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.pvalue import PCollection
from apache_beam.transforms.error_handling import ErrorHandler

from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.errors import EventNotImportedError

TAKE_THEM_OVER: Final = "use the result's dead_letters or with_error_handler (in Beam YAML: error_handling)"
"""How to go on past dead letters; the command line has another way."""


class DeadLetterGuard:
    """Knows the dead letters of one sink, and whether anything in the pipeline consumes them.

    Beam drops an output that nobody reads, silently. Whether somebody does is known only when the pipeline is complete,
    so a guard looks at the graph when its steps are pickled, which every runner does after that.

    Args:
      parts: the PCollections of dead letters.
    """

    def __init__(self, parts: tuple[PCollection[DeadLetter], ...]) -> None:
        self._watched = list(parts)
        self._own: list[beam.PTransform] = []
        for number, part in enumerate(parts):
            step = beam.ParDo(_FailAtFirstFn())
            # Only now: constructing a ParDo pickles its DoFn.
            step.fn.guard = self
            self._own.append(step)
            _ = part | f"FailUnlessConsumed{number}" >> step

    def flatten(self, label: str) -> PCollection[DeadLetter]:
        """Return all dead letters as one PCollection. That nothing consumes it changes nothing."""
        flatten = beam.Flatten()
        self._own.append(flatten)
        flattened = tuple(self._watched) | label >> flatten
        self._watched.append(flattened)
        return flattened

    def is_consumed(self) -> bool:
        """Tell whether a step other than those of this sink reads the dead letters."""
        visitor = _ConsumerVisitor(self._watched, self._own)
        self._watched[0].pipeline.visit(visitor)
        return visitor.found


class _ConsumerVisitor(PipelineVisitor):
    def __init__(self, watched: Collection[PCollection[Any]], own: Collection[beam.PTransform]) -> None:
        self._watched = set(watched)
        self._own = own
        self.found = False

    def visit_transform(self, node: AppliedPTransform) -> None:
        if any(node.transform is step for step in self._own):
            return
        read = [*node.inputs, *(side_input.pvalue for side_input in node.side_inputs)]
        self.found = self.found or not self._watched.isdisjoint(read)


class _FailAtFirstFn(beam.DoFn):
    """Fails the job at the first dead letter, unless something else consumes them."""

    guard: DeadLetterGuard | None = None
    enabled = True

    def __getstate__(self) -> dict[str, bool]:
        return {"enabled": self._is_enabled()}

    def setup(self) -> None:
        # A runner in this process may not have pickled it.
        self.enabled = self._is_enabled()

    def process(self, letter: DeadLetter) -> None:
        if self.enabled:
            raise EventNotImportedError(
                f"an event cannot be imported ({letter.fate}: {letter.reason}): {letter.message}"
                f"{f' [{letter.source}]' if letter.source else ''}. To go on past such events, {TAKE_THEM_OVER}"
            )

    def _is_enabled(self) -> bool:
        if self.guard is None:
            return self.enabled
        return not self.guard.is_consumed()


_PIPELINE_OF: Final[weakref.WeakKeyDictionary[ErrorHandler, weakref.ref[beam.Pipeline]]] = weakref.WeakKeyDictionary()
"""The pipeline that an error handler was used in first."""


def check_error_handler(handler: ErrorHandler, pipeline: beam.Pipeline) -> None:
    """Refuse a handler whose output is done with: it would drop dead letters silently.

    Raises:
      ValueError: the handler is closed, or was used in another pipeline.
    """
    used_in = _PIPELINE_OF.setdefault(handler, weakref.ref(pipeline))()
    if used_in is not pipeline or getattr(handler, "_closed", False):
        raise ValueError(
            "the error handler given to with_error_handler was already "
            + ("closed" if used_in is pipeline else "used in another pipeline")
            + ", so it would drop dead letters; create a new one for each pipeline and apply WriteToMixpanel before it "
            "is closed"
        )
