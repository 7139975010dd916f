"""Sends one file with the documented backoff alone: `python -m benchmarks.limits_backoff FILE URL`."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.limits import send_with_backoff_alone

if __name__ == "__main__":
    send_with_backoff_alone(Path(sys.argv[1]), sys.argv[2])
