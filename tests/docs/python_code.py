"""Rules for the docs' blocks of Python: they are run, or where they need a cloud, read against the real signatures."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import inspect
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

import beam_mixpanel
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.transforms import write
from tests.docs.blocks import Block
from tests.docs.checker import BlockError, Checker
from tests.docs.samples import row_for, write_input

CLOUD = ("ReadFromPubSub", "ReadFromBigQueryBatched", "GcpSecret", "secretmanager", "DataflowRunner", "bigquery.")
"""What names a service that is not on this machine."""


class PythonPage(Checker):
    """Checks the blocks of a page, each of which knows the names of those before it."""

    def __init__(self, folder: Path, emulator: Emulator, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, emulator, patch)
        self._known: dict[str, Any] = {}
        self._printed = ""

    def check(self, block: Block, *, run: bool = True) -> None:
        """Check a block.

        Raises:
          BlockError: it does not fit the code, or fails.
        """
        try:
            tree = ast.parse(block.text)
        except SyntaxError as error:
            raise BlockError(f"line {error.lineno} of the block: {error.msg}") from None
        self._known |= self._imported(tree)
        names = {**_stand_ins(), **self._known}
        _check_calls(tree, names)
        free = _free_names(tree) - set(names)
        if free:
            raise BlockError(f"no line defines {', '.join(sorted(free))}")
        if run and not any(word in block.text for word in CLOUD):
            self._run(block, names)
        else:
            self._known = dict.fromkeys(_defined(tree)) | self._known

    def check_printed(self, block: Block) -> None:
        """Check a block of text that shows what the last block of Python that was run printed.

        Raises:
          BlockError: it printed something else.
        """
        if block.text != self._printed:
            raise BlockError(f"the block before it prints {self._printed!r}")

    def _run(self, block: Block, names: dict[str, Any]) -> None:
        accepted = self._emulator.stats()["events_accepted"]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            failure = self._failure(block, names)
        self._printed = printed.getvalue()
        self._check_failure(block, failure)
        self._check_imported(block, self._emulator.stats()["events_accepted"] - accepted)
        written = block.comment("writes: ")
        if written and not list(self._folder.glob(written)):
            raise BlockError(f"no file matches {written}")

    def _check_failure(self, block: Block, failure: BaseException | None) -> None:
        expected = block.comment("fails: ")
        if failure is not None and expected is None:
            raise failure
        if expected is not None:
            kind, _, text = expected.partition(": ")
            if type(failure).__name__ != kind or text not in str(failure):
                raise BlockError(f"it should fail with {expected}, not {failure!r}")

    def _check_imported(self, block: Block, imported: int) -> None:
        expected = block.comment("imports: ")
        if expected is not None and imported != int(expected):
            raise BlockError(f"{imported} events were imported, not {expected}")
        runs = "WriteToMixpanel" in block.text and "Pipeline(" in block.text and block.comment("fails: ") is None
        if runs and not imported:
            raise BlockError("it ends well, and no event was imported")

    def _failure(self, block: Block, names: dict[str, Any]) -> BaseException | None:
        """Run a block; return what it raises, and keep the names that it binds."""
        self._patch.chdir(self._folder)
        self._patch.setattr(write, "resolve_host", lambda *_: self._emulator.url)
        for name in ("MIXPANEL_SERVICE_ACCOUNT", "MIXPANEL_SERVICE_ACCOUNT_US"):
            self._patch.setenv(name, "user:secret")
        self._patch.setenv("MIXPANEL_PROJECT_TOKEN", "a-token")
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "*." in node.value:
                write_input(self._folder, node.value, row_for(None), None, ())
        module = ModuleType("__main__")
        vars(module).update(names)
        failure = None
        with self._patch.context() as patch:
            patch.setitem(sys.modules, "docs_block", module)
            patch.setattr(sys, "argv", ["docs_block"])  # Beam reads options from there
            module.__name__ = "docs_block"
            try:
                exec(compile(block.text, block.place, "exec"), vars(module))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the block has to say so
                failure = error
        self._known |= {name: value for name, value in vars(module).items() if not name.startswith("__")}
        return failure

    def _imported(self, tree: ast.AST) -> dict[str, Any]:
        """Give what a block imports; modules may be files of the page."""
        before = set(sys.modules)
        with self._patch.context() as patch:
            patch.syspath_prepend(self._folder)
            found = _imported(tree)
        for name in set(sys.modules) - before:
            if (self._folder / f"{name}.py").exists():
                del sys.modules[name]
        return found


def _stand_ins() -> dict[str, Any]:
    """Give what a page may take as known: the public names, Beam, and values that any reader has."""
    public = {name: getattr(beam_mixpanel, name) for name in beam_mixpanel.__all__}
    credentials = beam_mixpanel.ProjectToken.from_reference("env:MIXPANEL_PROJECT_TOKEN")
    return {
        **public,
        "beam": beam,
        "PipelineOptions": PipelineOptions,
        "credentials": credentials,
        "REFERENCE": "env:MIXPANEL_SERVICE_ACCOUNT",
    }


def _imported(tree: ast.AST) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = _module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    raise BlockError(f"{node.module} has no {alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                module = _module(alias.name)
                found[alias.asname or alias.name.partition(".")[0]] = (
                    module if alias.asname else _module(alias.name.partition(".")[0])
                )
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BlockError(f"import {name}: {error}") from None


def _check_calls(tree: ast.AST, names: dict[str, Any]) -> None:
    """See that what is called of ours takes these arguments."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = _value(node.func, names)
        if not getattr(called, "__module__", "") or not str(called.__module__).startswith("beam_mixpanel"):
            continue
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            continue
        keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg}
        try:
            inspect.signature(called).bind(*node.args, **keywords)
        except TypeError as error:
            raise BlockError(f"{ast.unparse(node.func)}: {error}") from None


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """Give what a name, or an attribute of one, stands for; None where that is not known."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, names)
        if not isinstance(owner, type | ModuleType):
            return None
        if not hasattr(owner, node.attr):
            raise BlockError(f"{owner.__name__} has no {node.attr}")
        return getattr(owner, node.attr)
    return None


def _defined(tree: ast.AST) -> set[str]:
    """Give the names that a block binds, at any depth."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return names | {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}


def _free_names(tree: ast.AST) -> set[str]:
    """Give the names that a block reads and never binds."""
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return read - _defined(tree) - set(dir(builtins))
