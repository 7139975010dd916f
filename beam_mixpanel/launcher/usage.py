"""What a user is told of the arguments: an error that names its cure, or a note on what was chosen."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


class UsageError(Exception):
    """The arguments are wrong; the message says what to do."""


@contextlib.contextmanager
def as_usage(*kinds: type[Exception], but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn errors of these kinds into a `UsageError` with their words.

    Args:
      kinds: of errors that mean that the arguments are wrong.
      but: kinds among them that mean something else, and pass as they are.

    Raises:
      UsageError: one of them was raised.
    """
    try:
        yield
    except but:
        raise
    except kinds as error:
        raise UsageError(str(error)) from None


def notice(topic: str, text: str) -> None:
    """Print a line about what was chosen before a job, where its output does not go."""
    print(f"{topic}: {text}", file=sys.stderr)
