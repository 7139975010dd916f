"""The live page, one self-contained file."""

from __future__ import annotations

from importlib.resources import files

PAGE = files(__package__).joinpath("page.html").read_bytes()
