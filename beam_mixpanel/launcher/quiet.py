"""Beam without its warnings, in a process of our own: a module that is only imported changes nobody's logging."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


def quieten_beam() -> None:
    """Import Beam without its warnings of extras that our jobs do not need."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        import apache_beam  # noqa: F401 - for what it logs while it is imported
    finally:
        logging.disable(before)


@contextlib.contextmanager
def quiet_beam() -> Iterator[None]:
    """Keep Beam's own log to what is fatal while a job of ours runs: what it says of a failed job, we say in a line."""
    logger = logging.getLogger("apache_beam")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
