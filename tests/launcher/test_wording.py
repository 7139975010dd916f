"""The library speaks of arguments, and the command line of its flags."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_mixpanel.launcher.options import SOME_TAKE
from beam_mixpanel.launcher.parse import COMMON_OPTIONS
from beam_mixpanel.launcher.plain_flags import actions_of
from beam_mixpanel.launcher.wording import FLAG_OF, in_flags
from beam_mixpanel.transforms.guard import TAKE_THEM_OVER

LIBRARY = Path(__file__).parents[2] / "beam_mixpanel"
OF_THE_COMMAND_LINE = {
    "core/check/advice.py",
    "core/rows/mapping_settings.py",
    "transforms/flags.py",
    "transforms/options.py",
    "transforms/packaging_check.py",
}
"""What advises and reads flags: the report of a check, the flags of mappings, the help of options, and what says which
of Beam's own options bring the package to workers."""


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("raise `retry_deadline_secs` to go on", "raise --mixpanel_retry_deadline_secs to go on"),
        ("`mixpanel_project_id`: wrong", "--mixpanel_project_id: wrong"),
        ("give `event` NAME, or `tags`", "give --event NAME, or --tag"),
        ("need `csv.delimiter` ';'", "need --csv_delimiter ';'"),
        ("name it as `format`", "name it as --input_format"),
        (f"To go on, {TAKE_THEM_OVER}", "To go on, give --dead_letters PREFIX"),
        (
            "`of the user`, and region, event, query, stay",
            "`of the user`, and region, event, query, stay",
        ),
        ("`auto_magic` is unknown", "`auto_magic` is unknown"),
    ],
)
def test_arguments_become_flags(said: str, shown: str) -> None:
    """What is between backticks and has a flag is shown as that flag; nothing else is touched."""
    assert in_flags(said) == shown


def test_every_flag_that_is_shown_exists() -> None:
    """All flags of the table are options of a pipeline, or Beam's."""
    groups = (*COMMON_OPTIONS, *SOME_TAKE)
    ours = {name for group in groups for action in actions_of(group) for name in action.option_strings}
    assert set(FLAG_OF.values()) - ours == {"--project", "--temp_location"}


def _messages(path: Path) -> Iterator[str]:
    """Give the texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_docstring:
            node.value = ast.Constant("")  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_message_of_the_library_names_a_flag() -> None:
    """Whoever calls the library has no flags."""
    named = {}
    for package in ("core", "client", "databases", "transforms"):
        for path in sorted((LIBRARY / package).rglob("*.py")):
            flags = [each for text in _messages(path) for each in re.findall(r"(?<![\w-])--[a-z][a-z_]{2,}", text)]
            if flags and str(path.relative_to(LIBRARY)) not in OF_THE_COMMAND_LINE:
                named[path.name] = flags
    assert named == {}
