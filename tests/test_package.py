"""The package as a whole: what can be imported, and what the docs promise."""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

import beam_mixpanel
from beam_mixpanel.core.rows.mapping_settings import FLAGS
from beam_mixpanel.core.rows.presets import PRESETS
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.launcher.options import (
    BigQueryOptions,
    ConnectionOptions,
    FileOptions,
    IncrementalOptions,
    JobOptions,
    MappingOptions,
    PubSubOptions,
    RedactionOptions,
    ReplayOptions,
    SqlOptions,
    TableOptions,
    options_of,
)
from beam_mixpanel.launcher.sources import files, mongodb
from beam_mixpanel.transforms.options import MixpanelOptions
from tests.docs.blocks import block_tested_by

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FIX_PAGE = Path("docs", "dead-letters.md")
OPTION_DOCS = (ROOT / "docs" / "options.md").read_text()
MAPPING_DOCS = (ROOT / "docs" / "mapping.md").read_text()


def _run(*arguments: str, folder: Path = ROOT) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_public_name_can_be_imported() -> None:
    """`__all__` is what can be imported, and no more is promised."""
    for name in beam_mixpanel.__all__:
        assert getattr(beam_mixpanel, name) is not None
    with pytest.raises(AttributeError, match="Nothing"):
        _ = beam_mixpanel.Nothing
    assert set(beam_mixpanel._HOMES) == set(beam_mixpanel.__all__) - {"__version__"}
    assert dir(beam_mixpanel) == sorted(beam_mixpanel.__all__)


@pytest.mark.parametrize(
    "module",
    [
        "beam_mixpanel",
        "beam_mixpanel.core.events.prepare",
        "beam_mixpanel.client.client",
        "beam_mixpanel.databases.reading",
        "beam_mixpanel.emulator",
    ],
)
def test_beam_is_loaded_only_where_it_is_needed(module: str) -> None:
    """Core, client and emulator load without Beam."""
    assert _run("-c", f"import sys, {module}; print('apache_beam' in sys.modules)").strip() == "False"


def test_docs_list_every_option_and_no_other() -> None:
    """The table of options in docs/options.md is that of the code."""
    parser = argparse.ArgumentParser(add_help=False)
    for group in (FileOptions, options_of(files.JSON), MixpanelOptions, RedactionOptions, ReplayOptions, JobOptions):
        group._add_argparse_args(parser)
    in_code = {action.option_strings[0] for action in parser._actions}
    table = OPTION_DOCS.partition("<!-- options:")[2].partition("\n\nHow rows")[0]
    assert set(re.findall(r"^\| `(--[\w-]+)", table, re.MULTILINE)) == in_code


@pytest.mark.parametrize(
    ("page", "groups"),
    [
        ("databases", (ConnectionOptions, TableOptions, SqlOptions, IncrementalOptions)),
        ("mongodb", (ConnectionOptions, options_of(mongodb.MONGODB), IncrementalOptions)),
        ("bigquery", (TableOptions, BigQueryOptions, IncrementalOptions)),
        ("streaming", (PubSubOptions,)),
    ],
)
def test_docs_list_every_option_of_a_source(page: str, groups: tuple[type[PipelineOptions], ...]) -> None:
    """The table of options on a source's page is that of the code."""
    parser = argparse.ArgumentParser(add_help=False)
    for group in groups:
        group._add_argparse_args(parser)
    in_code = {action.option_strings[0] for action in parser._actions}
    docs = (ROOT / "docs" / f"{page}.md").read_text()
    table = docs.partition("<!-- options:")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(--\w+)", table, re.MULTILINE)) == in_code


def test_readme_example_is_valid(tmp_path: Path) -> None:
    """The first example of the README runs against an emulator."""
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    (tmp_path / "events").mkdir()
    script = f"""
from beam_mixpanel.emulator import Emulator
import gzip, os, time
os.environ["MIXPANEL_SERVICE_ACCOUNT"] = "user:secret"
line = '{{"event": "A", "properties": {{"time": %d, "distinct_id": "u"}}}}' % (time.time() - 100)
with gzip.open("events/a.ndjson.gz", "wt") as file:
    file.write(line)
with Emulator() as emulator:
    code = {code[1]!r}.replace('region="eu"', f'api_host="{{emulator.url}}"')
    exec(code)
    print(emulator.stats()["events_accepted"])
"""
    assert _run("-c", script, folder=tmp_path).strip() == "1"


def test_docs_list_every_key_of_a_mapping() -> None:
    """The table of keys is that of the code: keys, flags and the options of the command line."""
    parser = argparse.ArgumentParser(add_help=False)
    MappingOptions._add_argparse_args(parser)
    in_code = {action.option_strings[0] for action in parser._actions} - {"--mapping"}
    rows = re.findall(r"^\| `(\w+)` \| `--(\w+)", MAPPING_DOCS, re.MULTILINE)
    assert dict(rows) == FLAGS
    assert {f"--{flag}" for _, flag in rows} == in_code
    presets = MAPPING_DOCS.partition("<!-- presets")[2]
    assert re.findall(r"^\| `(\w+)` \| ([^|]+) \|", presets, re.MULTILINE) == [
        (name, preset.title) for name, preset in PRESETS.items()
    ]


def test_mapping_of_the_readme_runs(tmp_path: Path) -> None:
    """The README's command imports orders as events."""
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "a.ndjson").write_text(
        '{"ordered_at": "2026-01-02T03:04:05Z", "customer": 7, "order_id": "o-1", "total": 5, "internal_note": "x"}\n'
    )
    command = block_tested_by(Path("README.md"), "tests/test_package.py::test_mapping_of_the_readme_runs").text
    done = subprocess.run(
        [sys.executable, "-m", "beam_mixpanel", *shlex.split(command.replace("\\\n", " "))[1:]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "shows 1 events, each once" in done.stderr
    assert "properties: Revenue (from total), source (tag)" in done.stderr


def test_fix_of_the_docs_runs(tmp_path: Path) -> None:
    """The function and the command of the docs repair events that came without a time."""
    code = re.search(r"```python\n# fixes.py\n(.*?)```", (ROOT / FIX_PAGE).read_text(), re.DOTALL)
    assert code
    (tmp_path / "fixes.py").write_text(code[1])
    letter = {"event": '{"event":"A","properties":{"created_at":"2026-01-02"}}', "stage": "validate"}
    (tmp_path / "out").mkdir()
    with gzip.open(tmp_path / "out" / "dead-1.jsonl.gz", "wt") as file:
        for reason in ("time_missing", "event_missing"):
            file.write(json.dumps({**letter, "reason": reason}) + "\n")
    command = block_tested_by(FIX_PAGE, "tests/test_package.py::test_fix_of_the_docs_runs").text
    arguments = shlex.split(re.sub(r" --mixpanel_region \w+", "", command.replace("\\\n", " ")))[1:]
    with Emulator() as emulator:
        done = subprocess.run(
            [sys.executable, "-m", "beam_mixpanel", *arguments, f"--mixpanel_api_host={emulator.url}"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
            env={**os.environ, "MIXPANEL_SERVICE_ACCOUNT": "user:secret"},
        )
        assert done.returncode == 0, done.stderr
        assert [event["properties"]["time"] for event in emulator.events()] == [1_767_312_000_000]
    assert re.search(r"filtered\W+1\W", done.stderr)


def test_every_test_that_the_threat_model_names_exists() -> None:
    """THREATS.md names tests as `path::[class::]name`; each is there."""
    named = set(re.findall(r"(tests/[\w/]+\.py)::([\w:]+)", (ROOT / "THREATS.md").read_text()))
    assert len(named) > 40
    missing = [f"{path}::{name}" for path, name in sorted(named) if name not in _tests_of(ROOT / path)]
    assert missing == []


def _tests_of(path: Path) -> set[str]:
    """Give the tests of a file as pytest names them."""
    if not path.exists():
        return set()
    body = ast.parse(path.read_text()).body
    found = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    for group in body:
        if isinstance(group, ast.ClassDef):
            found |= {f"{group.name}::{node.name}" for node in group.body if isinstance(node, ast.FunctionDef)}
    return found
