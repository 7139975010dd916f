"""What `beam_mixpanel` offers: all that users can meet, loaded without what they did not install."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

import beam_mixpanel
from beam_mixpanel import errors

ROOT = Path(__file__).parent.parent
INTERNAL = {
    "DamagedJsonError": "becomes an UnreadableFileError",
    "NoAnswerError": "is retried, then an UndeliveredError",
    "TurnMissedError": "never leaves the client",
    "UnknownFormatError": "becomes an UnreadableFileError",
    "UnsupportedValueError": "becomes a dead letter",
    "UsageError": "becomes a line of the command and exit code 2",
}
"""Exceptions that no user meets, and why."""
BRANCHES = {
    "ConfigurationError",
    "InputError",
    "RefusedError",
    "TransientError",
    "ClosedError",
}
"""What the caller does next; each exception is in exactly one."""
LEAN = """
import importlib.abc, inspect, json, pydoc, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("duckdb", "sqlalchemy", "adbc_driver_postgresql", "adbc_driver_manager") or (
            name.startswith(("google.cloud", "google.api_core", "google.auth", "apitools"))
        ):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
import beam_mixpanel
from beam_mixpanel import *
names = [name for name, _ in inspect.getmembers(beam_mixpanel)]
help_text = pydoc.render_doc(beam_mixpanel)
try:
    beam_mixpanel.ReadFromBigQueryBatched(table="p.d.t")
    said = ""
except ImportError as error:
    said = str(error)
print(json.dumps([sorted(set(beam_mixpanel.__all__) - set(names)), "WriteToMixpanel" in help_text, said]))
"""


def test_everything_public_loads_without_the_extras() -> None:
    """`import *`, `help` and `inspect.getmembers` work; what lacks its extra says so when it is made."""
    done = subprocess.run([sys.executable, "-c", LEAN], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    missing, helps, said = json.loads(done.stdout)
    assert missing == []
    assert helps
    assert "beam-mixpanel[gcp]" in said


def _modules() -> Iterator[ModuleType]:
    """Give every module of the package but the emulator, which imports nothing of ours."""
    for found in pkgutil.walk_packages(beam_mixpanel.__path__, "beam_mixpanel."):
        if not found.name.startswith("beam_mixpanel.emulator") and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def _exceptions() -> Iterator[type[BaseException]]:
    for module in _modules():
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == module.__name__:
                yield value


def test_every_exception_is_in_one_branch_of_the_tree() -> None:
    """All our exceptions are in errors.py, each in one branch, but for private ones that steer a module's own way."""
    found = {each for each in _exceptions() if not each.__name__.startswith("_")}
    assert {each.__module__ for each in found} == {"beam_mixpanel.errors"}
    for each in found - {beam_mixpanel.MixpanelError}:
        branches = {base.__name__ for base in each.__mro__} & BRANCHES
        assert len(branches) == 1, f"{each.__name__} is in {sorted(branches)}"


def test_every_exception_that_a_user_can_catch_is_public() -> None:
    """Each exception of the library is a public name, but for those that end inside."""
    found = {each.__name__ for each in _exceptions() if not each.__name__.startswith("_")}
    assert found - set(INTERNAL) == set(errors.__all__)
    assert set(errors.__all__) <= set(beam_mixpanel.__all__)
    assert set(INTERNAL) <= found


def test_every_public_exception_is_documented_with_what_to_do() -> None:
    """docs/errors.md has one row for each branch and each leaf, with a cure, and none for others."""
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if line.startswith("| `")]
    cures = {row[0].strip("`"): row[-1] for row in rows if row[0].strip("`") not in BRANCHES}
    leaves = {name for name in errors.__all__ if not getattr(errors, name).__subclasses__()}
    assert {row[0].strip("`") for row in rows} == leaves | BRANCHES
    assert all(cures.values())


PUBLIC_MODULES = ("beam_mixpanel", "beam_mixpanel.errors", "beam_mixpanel.yaml", "beam_mixpanel.emulator")


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_a_public_module_says_what_is_public(name: str) -> None:
    """`__all__` is sorted, holds what can be imported and is documented, and leaves out nothing of its own."""
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(module.__all__)
    for each in module.__all__:
        value = getattr(module, each)
        assert not callable(value) or inspect.getdoc(value), f"{each} has no docstring"
    own = {
        each
        for each, value in vars(module).items()
        if getattr(value, "__module__", None) == name and callable(value) and not each.startswith("_")
    }
    internal = set(INTERNAL) if name == "beam_mixpanel.errors" else set()
    assert own - internal <= set(module.__all__)


def test_the_documentation_imports_public_names_alone() -> None:
    """What a reader copies from the docs, the README or an example is public."""
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.py")]
    for document in documents:
        for module in re.findall(r"^\s*(?:from|import) (beam_mixpanel[\w.]*)", document.read_text(), re.MULTILINE):
            is_public = module in PUBLIC_MODULES or module.startswith("beam_mixpanel.pipelines")
            assert is_public, f"{document.relative_to(ROOT)} imports {module}"


def _named_in(hint: Any) -> Iterator[type]:
    if inspect.isclass(hint) and hint.__module__.startswith("beam_mixpanel"):
        yield hint
    for part in get_args(hint):
        yield from _named_in(part)


def _signatures(value: Any) -> Iterator[Any]:
    """Give what has annotations in a public object: itself, its constructor, `expand`, and its public methods."""
    if not inspect.isclass(value):
        yield value
        return
    yield value
    for name, member in inspect.getmembers(value):
        is_ours = str(getattr(member, "__module__", "")).startswith("beam_mixpanel")
        if (not name.startswith("_") or name == "__init__") and inspect.isroutine(member) and is_ours:
            yield member
        if isinstance(member, property) and member.fget is not None and not name.startswith("_"):
            yield member.fget


@pytest.mark.parametrize("name", sorted(set(beam_mixpanel.__all__) - {"__version__"}))
def test_every_type_in_a_public_signature_is_public(name: str) -> None:
    """Whoever annotates what they pass or get can import the type from the package."""
    missing = set()
    for signature in _signatures(getattr(beam_mixpanel, name)):
        try:
            hints = get_type_hints(signature)
        except (NameError, TypeError):  # a name that only type checkers load
            continue
        named = {each.__name__ for hint in hints.values() for each in _named_in(hint)}
        missing |= named - set(beam_mixpanel.__all__)
    assert {each for each in missing if not each.startswith("_")} == set()


LOGGING = """
import importlib, logging, pkgutil
import apache_beam

def state():
    loggers = {name: (each.level, each.disabled, each.propagate, [str(handler) for handler in each.handlers])
        for name, each in logging.root.manager.loggerDict.items() if isinstance(each, logging.Logger)
        and name.partition(".")[0] in ("apache_beam", "root")}
    return logging.root.level, logging.root.handlers[:], logging.root.manager.disable, loggers

before = state()
import beam_mixpanel
for module in pkgutil.walk_packages(beam_mixpanel.__path__, "beam_mixpanel."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import beam_mixpanel.cli.__main__
after = state()
assert before[:3] == after[:3], (before[:3], after[:3])
fresh = (0, False, True, [])
changed = {name: now for name, now in after[3].items() if before[3].get(name, fresh) != now}
assert not changed, changed
"""


def test_importing_ours_changes_nobodys_logging() -> None:
    """Levels, handlers and what is disabled are after the import of every module what they were."""
    done = subprocess.run([sys.executable, "-c", LOGGING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
