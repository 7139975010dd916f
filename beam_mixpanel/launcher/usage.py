"""What a command prints about its arguments: an error that names its cure, or a note on what was chosen."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from beam_mixpanel.errors import UsageError


@contextlib.contextmanager
def as_usage(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of these kinds, which mean that the arguments are wrong, into a `UsageError` with their words.

    Raises:
      UsageError: one of them was raised.
    """
    try:
        yield
    except kinds as error:
        raise UsageError(str(error)) from None


def notice(topic: str, text: str) -> None:
    """Print a line about what was chosen before a job, where its output does not go."""
    print(f"{topic}: {text}", file=sys.stderr)
