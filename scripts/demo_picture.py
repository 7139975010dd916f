"""Makes the picture of `make demo` in docs/images from what it prints: `.venv/bin/python scripts/demo_picture.py`."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
WIDTH = 80
_FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
"""They name a host of fonts; a picture is to ask nobody, and the reader has a font of that kind."""


def main() -> None:
    """Run the demonstration and draw it."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.demo"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(WIDTH), "PYTHONPATH": str(ROOT)},
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo", style="bold"))
    for line in done.stderr.splitlines():
        console.print(_styled(line.rstrip()))
    svg = console.export_svg(title="make demo", code_format=_FONT_FACES.sub("", CONSOLE_SVG_FORMAT), unique_id="demo")
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def _styled(line: str) -> Text:
    """Colour a line as it is on a terminal: rules green, results bold."""
    text = Text(line)
    text.highlight_regex(r"─{3,}" if line.startswith("─") else r"$^", "bright_green")
    text.highlight_regex(r"\byes\b", "bold green")
    return text


if __name__ == "__main__":
    main()
