"""Where a report goes: the page, and beside it the same as JSON; on any file system of Beam's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems


def json_beside(page: str) -> str:
    """Name the JSON that goes with a page."""
    return os.path.splitext(page)[0] + ".json"


def write_files(page: str, html: str, report: Mapping[str, Any]) -> None:
    """Write a page and its JSON, and say where they are.

    Args:
      page: the page's file.
      html: the page.
      report: what the JSON holds.

    Raises:
      OSError: a file cannot be written.
    """
    _write(json_beside(page), json.dumps(report, indent=1, ensure_ascii=False), "application/json")
    _write(page, html, "text/html")
    sys.stderr.write(f"report: {page}, and as JSON: {json_beside(page)}\n")


def _write(path: str, text: str, media_type: str) -> None:
    with FileSystems.create(path, media_type) as file:
        # A name of a file may hold bytes that are no UTF-8.
        file.write(text.encode(errors="backslashreplace"))
