"""What the arguments of the transforms may be."""

from __future__ import annotations

from typing import Final

ENDPOINTS: Final = ("import", "track")
ON_UNDELIVERED: Final = ("fail", "dead_letter")
MAX_BUFFERING_SECS: Final = 5.0
