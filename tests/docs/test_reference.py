"""The pages of the reference that the build makes of the code, and the contents of the site."""

from __future__ import annotations

import importlib
import importlib.util
import re
from types import ModuleType

import pytest

import beam_mixpanel
from beam_mixpanel.client.circuit_breaker import CircuitBreaker
from beam_mixpanel.core import limits
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.rules import RULES
from beam_mixpanel.core.sending.books import Books
from beam_mixpanel.launcher.source import Source
from beam_mixpanel.launcher.sources import all_sources, check_of
from beam_mixpanel.launcher.summary import Summary
from beam_mixpanel.metrics import COUNTERS, DISTRIBUTIONS
from tests.docs.blocks import PAGES, ROOT

DOCS = ROOT / "docs"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", DOCS / "generate_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _load()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages by name, as they were just made."""
    folder = tmp_path_factory.mktemp("reference")
    GENERATOR.write_pages(folder)
    return {path.stem: path.read_text() for path in folder.iterdir()}


def test_every_public_name_has_its_docstring_shown(reference: dict[str, str]) -> None:
    """Each name of `__all__` is documented from its docstring, and has one."""
    shown = set(re.findall(r"^\.\. auto\w+:: beam_mixpanel\.(\w+)$", reference["python"], re.MULTILINE))
    assert shown == set(beam_mixpanel.__all__) - {"__version__"}
    assert all(getattr(beam_mixpanel, name).__doc__ for name in shown)


@pytest.mark.parametrize("source", [*all_sources(), check_of("files")], ids=lambda source: source.command)
def test_every_option_of_a_command_is_listed(source: Source, reference: dict[str, str]) -> None:
    """All its options are rows of the groups that its section names."""
    section = reference["options"].partition(f"## beam-mixpanel {source.command}\n")[2].partition("\n## ")[0]
    groups = re.findall(r"\[([^]]+)\]\(#", section)
    tables = [reference["options"].partition(f"\n## {group}\n")[2].partition("\n## ")[0] for group in groups]
    listed = re.findall(r"^\| `(--\w+)`", "\n".join(tables), re.MULTILINE)
    assert listed == [flag.option for group in source.all_flags for flag in group]


def test_defaults_are_those_of_the_code(reference: dict[str, str]) -> None:
    """An option's default stands in its row."""
    row = next(line for line in reference["options"].splitlines() if line.startswith("| `--mixpanel_retention_days`"))
    assert f"`{limits.DEFAULT_RETENTION_DAYS}`" in row


def test_commands_are_listed_with_their_options(reference: dict[str, str]) -> None:
    """Each command has a heading, and options of its own or a link to those of its pipeline."""
    text = reference["commands"]
    for name in ("check", "dead-letters summary", "doctor", "emulator", "import bigquery", "insert-id", "replay"):
        assert f"## beam-mixpanel {name}\n" in text
    assert "`--strategy`" in text
    assert "`--rate-limit` `EVENTS_PER_SEC`" in text


def test_all_counters_are_explained(reference: dict[str, str]) -> None:
    """What the code counts or observes by name has a meaning, and what has a meaning is counted."""
    source = "\n".join(
        path.read_text() for room in ("transforms", "files") for path in (ROOT / "beam_mixpanel" / room).glob("*.py")
    )
    counted = set(re.findall(r'edger(?:\(\))?\.count\("(\w+)"', source))
    databases = (ROOT / "beam_mixpanel" / "databases" / "reading.py").read_text()
    counted |= set(re.findall(r'\bcount\("(\w+)"\)', databases)) | set(Books._fields)
    counted |= set(re.findall(r"`(circuit_\w+)`", CircuitBreaker.take_counts.__doc__ or ""))
    assert counted | {"cumulativeThrottlingSeconds"} == set(COUNTERS)
    assert set(re.findall(r'\.observe\("(\w+)"', source)) == set(DISTRIBUTIONS)
    summary = Summary({}, seconds=1.0, complete=True).as_json()
    assert all(f"- `{name}`" in reference["metrics"] for name in [*COUNTERS, *DISTRIBUTIONS, *summary])


def test_dead_letters_limits_and_exit_codes_are_those_of_the_code(reference: dict[str, str]) -> None:
    """Each field with its type and meaning, each rule, each number with its source, each code."""
    for name in DeadLetter._fields:
        assert re.search(rf"^\| `{name}` \| (bytes|str|int) \| \S+", reference["dead-letters"], re.MULTILINE), name
    assert all(f"- `{rule}`: " in reference["dead-letters"] for rule in RULES)
    numbers = [name for name in vars(limits) if name.isupper() and not name.endswith("_DOCS")]
    for name in numbers:
        assert re.search(rf"^\| `{name}` \| `[^`]+` \| \S+", reference["limits"], re.MULTILINE), name
    assert re.findall(r"^\| (\d) \|", reference["exit-codes"], re.MULTILINE) == ["0", "3", "1", "2"]


def test_every_page_is_in_the_contents() -> None:
    """docs/index.md, of whose lists the site's contents are made, names each page."""
    index = (DOCS / "index.md").read_text()
    listed = {(DOCS / target).resolve() for target in re.findall(r"^- \[[^]]+\]\(([^)]+)\)", index, re.MULTILINE)}
    pages = {(ROOT / page).resolve() for page in PAGES if page.parts[0] != "examples"}
    assert pages - {(DOCS / "index.md").resolve()} == listed


def test_sources_of_the_site_stay_out_of_the_repository() -> None:
    """What the build makes is not committed, so that it cannot differ from the code."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/site/", "/docs/_generated/"} <= set(ignored)
