"""Every code block of the docs is checked: run where it can be, and else read as its program would read it.

What a block may say of itself in a comment before it: see `tests/docs/blocks.py`.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import tomllib
import yaml
from dockerfile_parse import DockerfileParser

from beam_mixpanel.core.rows.mapping_settings import mapping_of, settings_from_yaml
from beam_mixpanel.emulator import Emulator
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of
from tests.docs.checker import BlockError
from tests.docs.python_code import PythonPage
from tests.docs.shell import Shell

SHELL = ("sh", "bash", "console")
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
_FILE_NAME = re.compile(r"# (?:--mapping )?([\w./-]+\.(?:py|ya?ml|json|csv|toml|sql))$", re.MULTILINE)


def _check_yaml(block: Block) -> None:
    """Settings of Flink are those of the tested cluster; a pipeline is Beam YAML's; the rest is a mapping of ours."""
    settings = yaml.safe_load(block.text)
    if block.comment("settings of Flink") is not None:
        tested = yaml.safe_load((ROOT / "tests" / "engines" / "flink-conf.yaml").read_text())
        assert settings.items() <= tested.items(), "not what tests/engines/flink-conf.yaml has"
    elif "pipeline" in settings:
        assert set(settings) <= {"pipeline", "providers", "options"}
        assert all("type" in step for step in settings["pipeline"]["transforms"])
    else:
        mapping_of(settings_from_yaml(block.text.encode(), block.place))


def _check_json(block: Block) -> None:
    for text in block.text.splitlines() if block.language != "json" else [block.text]:
        json.loads(text)


def _check_toml(block: Block) -> None:
    tomllib.loads(block.text)


def _check_csv(block: Block) -> None:
    separator = "\t" if block.language == "tsv" else ","
    widths = {line.count(separator) for line in block.text.splitlines()} if '"' not in block.text else {1}
    assert len(widths) == 1, "its lines have different numbers of fields"


def _check_sql(block: Block) -> None:
    assert duckdb.extract_statements(block.text)


def _check_dockerfile(block: Block) -> None:
    parser = DockerfileParser(fileobj=io.BytesIO(block.text.encode()))
    assert parser.structure


def _check_excerpt(block: Block) -> None:
    """An excerpt in another language: its strings and what it calls are those of the example, which a test runs."""
    folder = ROOT / "examples" / block.language
    source = "\n".join(path.read_text() for path in folder.rglob(f"*.{block.language}"))
    code = re.sub(r"//.*", "", block.text)
    names = set(re.findall(r"\b(?:[A-Z]\w+|\w+(?=\())", re.sub(r'"[^"\n]*"', "", code)))
    strings = {string for string in re.findall(r'"[^"\n]*"', code) if "localhost" not in string}
    missing = sorted(word for word in names | strings if word not in source)
    assert missing == [], f"not in examples/{block.language}: {', '.join(missing)}"


def _check_text(block: Block) -> None:
    """Output and drawings; nothing reads them but people."""
    assert block.text.strip()


CHECKS: dict[str, Callable[[Block], None]] = {
    **dict.fromkeys(("yaml", "yml"), _check_yaml),
    **dict.fromkeys(("json", "jsonl", "ndjson"), _check_json),
    **dict.fromkeys(("csv", "tsv"), _check_csv),
    **dict.fromkeys(("java", "go"), _check_excerpt),
    "toml": _check_toml,
    "sql": _check_sql,
    "dockerfile": _check_dockerfile,
    "text": _check_text,
}
"""How the blocks of a language are checked that are neither Python nor shell."""


@pytest.mark.parametrize("block", BLOCKS, ids=[block.place for block in BLOCKS])
def test_every_block_has_a_rule(block: Block) -> None:
    """No block is left unchecked: each has a language, and each language a rule."""
    assert block.language in {*SHELL, "python", *CHECKS}, f"{block.place}: no rule checks {block.language or 'this'!r}"


@pytest.mark.parametrize("block", BLOCKS, ids=[block.place for block in BLOCKS])
def test_tests_that_comments_name_exist(block: Block) -> None:
    """A block that says which test runs it names a test that is there."""
    named = block.comment("tested by ")
    if named:
        path, _, name = named.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, block.place


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=str)
def test_blocks_of_a_page(page: Path, tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of a page holds what it says, from top to bottom, in one folder."""
    shell = Shell(tmp_path, emulator, monkeypatch)
    python = PythonPage(tmp_path, emulator, monkeypatch)
    blocks = blocks_of(page)
    for block in blocks:
        _write_file(block, tmp_path)
    problems = []
    for block in blocks:
        try:
            elsewhere = block.comment("tested by ") is not None
            if block.language in SHELL:
                shell.check(block, run=not elsewhere)
            elif block.language == "python":
                python.check(block, run=not elsewhere)
            elif block.comment("printed") is not None:
                python.check_printed(block)
            elif block.language in CHECKS:
                CHECKS[block.language](block)
        except (BlockError, AssertionError, ValueError, yaml.YAMLError, duckdb.Error) as error:
            problems.append(f"{block.place}: {type(error).__name__}: {error}")
    assert not problems, "\n".join(problems)


def _write_file(block: Block, folder: Path) -> None:
    """Write a block that is a file: by the comment before it, or by its first line."""
    name = block.comment("file: ")
    if name is None and (found := _FILE_NAME.match(block.text)):
        name = found[1]
    if name:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)


@pytest.mark.parametrize(
    ("language", "text", "complaint"),
    [
        (
            "sh",
            "beam-mixpanel import files --input 'a/*.csv' --mixpanel_emulater",
            "did you mean",
        ),
        ("sh", "python -m beam_mixpanel.pipelines.pubsub_to_mixpanel --subscribtion x …", "unknown option"),
        ("sh", "python -m beam_mixpanel.pipelines.nothing --input a.csv", "no module"),
        ("sh", "beam-mixpanel imports files", "exit code 2"),
        ("sh", "beam-mixpanel doctor --region eu", "exit code 2"),
        ("sh", "python -m beam_mixpanel.emulator --ports 8080", "refuses"),
        ("sh", "python -m apache_beam.yaml.main --no_such_flag=1 --yaml_pipeline_file=README.md", "no flag"),
        ("sh", "pip install 'beam-mixpanel[nothing]'", "no extra nothing"),
        ("sh", "make nothing", "no such target"),
        ("sh", "docker build --file templates/Dockerfil .", "there is no templates/Dockerfil"),
        ("sh", "scripts/nothing", "cannot be executed"),
        ("sh", "frobnicate --all", "no rule says"),
        ("sh", "echo 'open", "bash"),
        ("python", "from beam_mixpanel import Nothing", "has no Nothing"),
        ("python", "WriteToMixpanel(credentials, no_such=1)", "unexpected keyword"),
        ("python", "WriteToMixpanel(nowhere)", "no line defines nowhere"),
        ("python", "def :", "invalid syntax"),
    ],
)
def test_what_is_wrong_is_found(
    language: str, text: str, complaint: str, tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag, a module, a target, a file, a name or a keyword that does not exist fails the block that uses it."""
    block = Block(Path("README.md"), 1, language, text + "\n", ())
    checker = (PythonPage if language == "python" else Shell)(tmp_path, emulator, monkeypatch)
    with pytest.raises(BlockError, match=complaint):
        checker.check(block)


PIPELINE = """
with beam.Pipeline() as pipeline:
    _ = pipeline | beam.Create([{"event": "A", %s}]) | WriteToMixpanel(credentials)
print("done")
"""


@pytest.mark.parametrize(
    ("text", "comments", "complaint"),
    [
        (PIPELINE % '"time": 1790848800', ("imports: 1",), None),
        (PIPELINE % '"time": 1790848800', ("imports: 2",), "1 events were imported, not 2"),
        (PIPELINE % '"time": 1790848800', ("fails: EventNotImportedError: x",), "should fail"),
        (PIPELINE % '"time": 1790848800', ("writes: out/*",), "no file matches"),
        (PIPELINE % '"at": 1', ("fails: EventNotImportedError: time_missing",), None),
        (PIPELINE % '"at": 1', ("fails: EventNotImportedError: other",), "should fail"),
        (PIPELINE.replace("[{", "[][:0] and [{") % '"at": 1', (), "no event was imported"),
    ],
)
def test_what_a_pipeline_of_the_docs_does_is_looked_at(
    text: str,
    comments: tuple[str, ...],
    complaint: str | None,
    tmp_path: Path,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """How many events a block imports, what it raises and writes: a comment that is wrong is found."""
    page = PythonPage(tmp_path, emulator, monkeypatch)
    block = Block(Path("README.md"), 1, "python", text, comments)
    if complaint is None:
        page.check(block)
    else:
        with pytest.raises(BlockError, match=complaint):
            page.check(block)


def test_what_a_block_prints_is_compared(tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output that a page shows is that of the block before it."""
    page = PythonPage(tmp_path, emulator, monkeypatch)
    page.check(Block(Path("README.md"), 1, "python", "print(1 + 1)\n", ()))
    page.check_printed(Block(Path("README.md"), 2, "text", "2\n", ("printed",)))
    with pytest.raises(BlockError, match="prints"):
        page.check_printed(Block(Path("README.md"), 2, "text", "3\n", ("printed",)))


def test_all_languages_of_the_docs_are_met() -> None:
    """The collector finds what is there: shell, Python, YAML, and blocks of most pages."""
    found = Counter(block.language for block in BLOCKS)
    assert found["sh"] > 25
    assert found["python"] > 5
    assert len({block.page for block in BLOCKS}) > 10
