"""The formats of files as objects, each loaded when a file of it is there."""

from __future__ import annotations

import importlib
from functools import cache

from beam_mixpanel.core.formats.kinds import BY_NAME
from beam_mixpanel.files.row_file import Format


@cache
def format_named(name: str) -> Format:
    """Return a format by its name; loads the module that reads it.

    Raises:
      KeyError: there is none of this name.
    """
    module = importlib.import_module(f"beam_mixpanel.files.{BY_NAME[name].reader}")
    found: dict[str, Format] = {each.kind.name: each for each in module.FORMATS}
    return found[name]
