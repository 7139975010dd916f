"""What `scripts/measure-code` counts, on sources whose figures can be seen, and the bounds that it holds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "measure-code"


def _load() -> ModuleType:
    loader = SourceFileLoader("measure_code", str(SCRIPT))
    spec = importlib.util.spec_from_loader("measure_code", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_code"] = module
    loader.exec_module(module)
    return module


measure_code = _load()

SOURCE = '''"""A module."""

# Says why.
import os  # noqa: F401


def public(a, b):
    """Do something.

    At length.
    """
    x = """a text,
    no docstring"""  # says more
    return _twice(a) if b else _twice(x)


def _twice(value):
    return _once(1, 2, 3, 4, value)


def _once(*values, sep=None):
    return [value if value else sep for value in values]


class _Class:
    """A class."""

    def _never(self):
        """Only a docstring."""
'''


def test_a_module_is_counted() -> None:
    """Lines, lengths of functions, ternaries, comments, callers and arguments are those that one can see."""
    counts = measure_code.count_source(SOURCE)
    assert counts.files == 1
    assert counts.lines == 29
    assert counts.code_lines == 11
    assert sorted(counts.function_lines) == [1, 2, 2, 4]
    assert counts.ternaries == 2
    assert counts.ternaries_per_100 == pytest.approx(200 / 11)
    assert counts.comments == 2
    assert sorted(counts.private) == [0, 1, 2]
    assert counts.called_once_percent == pytest.approx(100 / 3)
    assert counts.many_arguments == 1
    assert counts.long == []


@pytest.mark.parametrize(
    ("docstring", "is_too_long"),
    [
        ("A module.", True),
        ("A module. One module, since the rules are read together.", False),
        ("Kept in one\nfile because it is one table.", False),
        ("That makes a long module: they are read together.", False),
        ("It is one file. Something else is so since 2020.", True),
    ],
)
def test_a_long_module_says_why(docstring: str, is_too_long: bool) -> None:
    """More than 400 lines need a sentence in the docstring that says why they are one module."""
    source = f'"""{docstring}"""\n'
    rest = "x = 1\n" * (400 - source.count("\n"))
    assert measure_code.count_source(source + rest, "m.py").long == []
    assert measure_code.count_source(source + rest + "x = 2\n", "m.py").long == (["m.py"] if is_too_long else [])


def test_counts_are_added() -> None:
    """Two modules count as much as both."""
    one = measure_code.count_source(SOURCE)
    both = measure_code.count_source(SOURCE)
    both.add(one)
    assert both.files == 2
    assert both.ternaries == 2 * one.ternaries
    assert sorted(both.private) == [0, 0, 1, 1, 2, 2]


def test_a_call_is_followed(tmp_path: Path) -> None:
    """Each function that is entered counts once, each change of the file between two entries is a switch."""
    (tmp_path / "inside").mkdir()
    files = {
        "inside/a.py": "def begin(b):\n    one(), one()\n    b.two([x for x in 'ab'], one)\n\ndef one():\n    pass\n",
        "inside/b.py": "def two(_, back):\n    three()\n    back()\n    three()\n\n"
        "def three():\n    list(v for v in 'ab')\n",
        "outside.py": "def entered(call):\n    call()\n",
    }
    modules = {}
    for name, text in files.items():
        modules[name] = {}
        exec(compile(text, str(tmp_path / name), "exec"), modules[name])
    b = ModuleType("b")
    vars(b).update(modules["inside/b.py"])

    def call() -> None:
        modules["outside.py"]["entered"](lambda: modules["inside/a.py"]["begin"](b))

    # begin one one | two three | one | three
    assert measure_code.follow(call, tmp_path / "inside") == measure_code.Way(functions=4, files=2, switches=3)


def test_a_function_that_nobody_names_is_found() -> None:
    """What only tests name, or nobody, is unused; what a base or a decorator may call is not."""
    module = (
        "import registry\n\n"
        "def used(): ...\n\n"
        "def tested(): ...\n\n"
        "def _dead(): ...\n\n"
        "@registry.add\ndef registered(): ...\n\n"
        "class Based(registry.Base):\n    def called(self): ...\n    def _own(self): ...\n\n"
        "class Alone:\n    def __init__(self): ...\n    def method(self): ...\n"
        "    @property\n    def value(self): ...\n\n"
        "NAMES = {'ByText': 'home'}\n\n"
        "class ByText: ...\n"
    )
    found = measure_code.find_unused(
        {"m.py": module}, [module, "from m import used\nused()\nBased, Alone"], ["tested()\ntested()"]
    )
    assert {(unused.name, unused.tests) for unused in found} == {
        ("tested", 2),
        ("_dead", 0),
        ("_own", 0),
        ("method", 0),
        ("value", 0),
    }


def test_a_function_that_is_only_imported_is_unused() -> None:
    """An import is no use: what imports a name and does nothing with it does not keep it."""
    module = "def imported(): ..."
    [unused] = measure_code.find_unused({"m.py": module}, [module, "from m import imported"], [])
    assert unused == measure_code.Unused("m.py", 1, "imported", 0)


def test_the_places_of_a_commit_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files of a commit are told apart as code, tests, documents and the rest, new ones by a plus."""

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init")
    files = ["beam_mixpanel/a.py", "tests/test_a.py", "docs/a.md", "README.md", "Makefile", "tests/data/a.md"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("1\n")
    git("add", ".")
    git("commit", "-m", "One")
    (tmp_path / "README.md").write_text("2\n")
    (tmp_path / "b.py").write_text("1\n")
    git("add", ".")
    git("commit", "-m", "Two")
    monkeypatch.setattr(measure_code, "ROOT", tmp_path)
    assert measure_code.places("HEAD") == {"code": ["+ b.py"], "tests": [], "documents": ["  README.md"], "rest": []}
    assert measure_code.places("HEAD~1") == {
        "code": ["+ beam_mixpanel/a.py"],
        "tests": ["+ tests/data/a.md", "+ tests/test_a.py"],
        "documents": ["+ README.md", "+ docs/a.md"],
        "rest": ["+ Makefile"],
    }


def test_each_way_is_what_its_name_says() -> None:
    """The calls that are followed prepare as many events, and refuse as many, as the names of the ways say."""
    done = {name: call() for name, call in measure_code.core_calls().items()}
    counts = {name: (len(prepared.events), len(prepared.invalid)) for name, prepared in done.items()}
    assert counts == {
        "line in form": (1, 0),
        "line rewritten": (1, 0),
        "dict": (1, 0),
        "line explained": (1, 0),
        "invalid line": (0, 1),
        "Arrow batch of 3": (3, 0),
        "Arrow batch, 2 of 3 bad": (1, 2),
        "CSV by columns": (3, 0),
        "row with a mapping": (1, 0),
    }


def test_broken_bounds_are_named() -> None:
    """A call over its bound, ternaries past theirs and a long module without a reason are named; others are not."""
    ways = {"Arrow batch of 3": measure_code.Way(9, 9, 26), "line explained": measure_code.Way(99, 99, 15)}
    counts = measure_code.count_source(SOURCE)
    counts.long = ["m.py"]
    broken = measure_code.broken_bounds(ways, counts)
    assert broken.keys() == {"Arrow batch of 3", "ternaries", "long modules"}
    assert "26 switches" in broken["Arrow batch of 3"]
    assert "18.18 in" in broken["ternaries"]
    assert "m.py: over 400 lines" in broken["long modules"]
    ways["Arrow batch of 3"] = measure_code.Way(9, 9, 25)
    assert measure_code.broken_bounds(ways, measure_code.count_source("x = 1")) == {}


@pytest.mark.parametrize("bound", ["Arrow batch of 3", "line explained", "ternaries", "long modules"])
def test_a_bound_is_held(bound: str) -> None:
    """The code is within what `scripts/measure-code --check` allows."""
    broken = measure_code.all_broken_bounds(measure_code.measure_ways(), measure_code.count_packages())
    assert bound not in broken, broken[bound]
