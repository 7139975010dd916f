"""Beam without its warnings, in a process of our own: a module that is only imported changes nobody's logging."""

from __future__ import annotations

import logging


def quieten_beam() -> None:
    """Import Beam without its warnings of extras that our jobs do not need, and keep its own log to what is fatal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        import apache_beam  # noqa: F401 - for what it logs while it is imported
    finally:
        logging.disable(before)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
