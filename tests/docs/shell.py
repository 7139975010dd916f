"""Rules for the commands of the docs' shell blocks: what can be run is run; the rest is read as its program would."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import click
import pytest
import tomllib
import yaml
from apache_beam.options.pipeline_options import PipelineOptions
from click.testing import CliRunner

from beam_mixpanel.cli.__main__ import JobCommand, ModuleCommand
from beam_mixpanel.cli.__main__ import main as cli
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.mapping_settings import FLAGS, mapping_of, settings_from_flags, settings_from_yaml
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.emulator.__main__ import _parser as emulator_parser
from beam_mixpanel.errors import UsageError
from beam_mixpanel.launcher.command_line import read_settings
from beam_mixpanel.launcher.help import ASKED
from beam_mixpanel.launcher.options import (
    ConnectionOptions,
    FileOptions,
    JobOptions,
    MappingOptions,
    PubSubOptions,
    ReplayOptions,
    SqlOptions,
    TableOptions,
)
from beam_mixpanel.launcher.parse import OptionGroups, all_options, check_runner, parse_options
from beam_mixpanel.launcher.runners import LOCAL_RUNNERS as ALL_LOCAL_RUNNERS
from beam_mixpanel.launcher.sources import CHECKABLE, source_named
from beam_mixpanel.pipelines import check_events
from beam_mixpanel.transforms import write
from beam_mixpanel.transforms.options import MixpanelOptions
from tests.docs.blocks import ELISION, ROOT, Block, Command, commands, statements
from tests.docs.checker import BlockError, Checker
from tests.docs.samples import make_database, row_for, write_input

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
LOCAL_RUNNERS = ALL_LOCAL_RUNNERS - {"PrismRunner"}
CLOUD_PIPELINES = tuple(f"beam_mixpanel.pipelines.{name}_to_mixpanel" for name in ("bigquery", "mongodb", "pubsub"))
"""Those whose sources are not on this machine: their options are parsed and checked, and that is all."""
ENGINE_FLAGS = ("runner", "prism_location", "job_endpoint", "environment_type", "environment_config", "parallelism")
"""What names another engine; the same command is run in this process."""
CHECK = check_events.__name__
_DESTINATIONS = ("--mixpanel_service_account", "--mixpanel_project_token", "--mixpanel_emulator")
HARMLESS = frozenset(
    {"cd", "cat", "head", "tail", "ls", "mkdir", "echo", "printf", "jq", "eval", "true", "open", "wc", "rm", "date"}
    | {"sort", "grep", "unzip", "xdg-open", "zcat", "gunzip", "crontab", "time", "tee", "kill", "source", "."}
)
"""What says nothing of this project; its syntax is checked with the block's."""


class Shell(Checker):
    """Runs the commands of a page, and keeps the variables that they set."""

    def __init__(self, folder: Path, emulator: Emulator, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, emulator, patch)
        self._variables: dict[str, str] = {}

    def check(self, block: Block, *, run: bool = True) -> None:
        """Check a block.

        Raises:
          BlockError: one of its commands would fail.
        """
        syntax = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        if syntax.returncode:
            raise BlockError(f"bash: {syntax.stderr.strip()}")
        for statement in statements(block.text):
            if isinstance(statement, tuple):
                name, content = statement
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / name).write_text(content)
                continue
            for command in commands(self._expanded(statement)):
                try:
                    self._check(command, run)
                except BlockError as error:
                    raise BlockError(f"{statement.strip().splitlines()[0][:100]}\n    {error}") from None

    def _expanded(self, statement: str) -> str:
        return re.sub(
            r"\$(?:\{(\w+)\}|(\w+))", lambda found: self._variables.get(found[1] or found[2], found[0]), statement
        )

    def _check(self, command: Command, run: bool) -> None:
        words = command.words
        if not words or words[0] == "export":
            assigned = {**command.variables, **dict(word.partition("=")[::2] for word in words[1:])}
            for name, value in assigned.items():
                self._variables[name] = self._expanded(value)
            return
        program = words[0].removeprefix(".venv/bin/")
        rule = _RULES.get(program)
        if program.startswith("-"):
            self._pipeline("beam_mixpanel.pipelines.files_to_mixpanel", [*words], run=False)
        elif program.startswith("scripts/"):
            _expect(os.access(ROOT / program, os.X_OK), f"{program} is not there or cannot be executed")
        elif program in HARMLESS or program.startswith("./"):
            return
        elif rule:
            rule(self, words[1:], run)
        else:
            raise BlockError(f"no rule says how to check {program!r}; add one to {Path(__file__).name}")

    def _python(self, words: list[str], run: bool) -> None:
        if words[:1] != ["-m"]:
            _expect(bool(words), "what is Python to run?")
            if not words[0].startswith("-"):
                _expect((self._folder / words[0]).exists() or (ROOT / words[0]).exists(), f"there is no {words[0]}")
            return
        self._module(words[1], words[2:], run)

    def _module(self, module: str, rest: list[str], run: bool) -> None:
        if module == "pip":
            self._pip(rest, run)
        elif module.startswith("beam_mixpanel.pipelines."):
            self._pipeline(module, rest, run)
        elif module == "beam_mixpanel":
            self._beam_mixpanel(rest, run)
        elif module == "beam_mixpanel.emulator":
            _parsed(emulator_parser(), rest)
        elif module == "apache_beam.yaml.main":
            self._beam_yaml(rest, run)
        else:
            spec = _spec(module)
            if spec is None or spec.origin is None:
                raise BlockError(f"there is no module {module}")
            if module.startswith("apache_beam."):
                _knows_flags(Path(spec.origin).read_text(), rest)

    def _beam_yaml(self, words: list[str], run: bool) -> None:
        """Run Beam YAML on this machine, with the emulator in Mixpanel's place."""
        from apache_beam.yaml import main

        [name] = [word.partition("=")[2] for word in words if word.startswith("--yaml_pipeline_file=")]
        path = self._folder / name if (self._folder / name).exists() else ROOT / name
        _knows_flags(inspect.getsource(main), words)
        _expect(path.exists(), f"there is no {name}: put <!-- file: {name} --> before the block that is it")
        if not run or ROOT in path.parents:
            return
        text = path.read_text().replace(
            "beam_mixpanel/yaml/providers.yaml", str(ROOT / "beam_mixpanel/yaml/providers.yaml")
        )
        path.write_text(text)
        self._credentials(re.findall(r"\b(env:\w+|file:[^\s'\"]+)", text))
        for pattern in re.findall(r"path: (\S+\.(?:csv|json|ndjson|parquet|avro))", text):
            write_input(self._folder, pattern, row_for(_mapping_in(text)), None, ())
        self._patch.chdir(self._folder)
        self._patch.setattr(write, "resolve_host", lambda *_: self._emulator.url)
        before = self._emulator.stats()["events_accepted"]
        main.run([f"--yaml_pipeline_file={path}", "--runner=FnApiRunner"])
        _expect(self._emulator.stats()["events_accepted"] > before, "no event was imported")

    def _beam_mixpanel(self, words: list[str], run: bool) -> None:
        command, rest = _command_of(words)
        if isinstance(command, JobCommand):
            self._pipeline(command.module, rest, run)
        elif isinstance(command, ModuleCommand):
            _parsed(emulator_parser(), rest)
        elif words[:1] == ["doctor"]:
            self._credentials(words)
            self._click([*words, *(["--mixpanel_api_host", self._emulator.url] if len(words) > 1 else [])])
        elif words:
            for pattern in words[2:] if words[0] == "dead-letters" else ():
                if not pattern.startswith("-"):
                    write_input(self._folder, pattern, {}, None, ("time_missing",))
            self._click(words)

    def _click(self, words: list[str]) -> None:
        self._patch.chdir(self._folder)
        line = '{"event":"A","properties":{"time":1760000000,"distinct_id":"u"}}\n'
        done = CliRunner().invoke(cli, words, input=line)
        _expect(done.exit_code == 0, f"exit code {done.exit_code}: {done.output}")

    def _pipeline(self, module: str, words: list[str], run: bool) -> None:
        """Run a pipeline, or check its arguments where its source is out of reach."""
        _expect(_spec(module) is not None, f"there is no module {module}")
        if ASKED & set(words):
            return
        pipeline = importlib.import_module(module)
        elided = ELISION in words or any(word.endswith("...") for word in words)
        words = [word for word in words if word not in (ELISION, "...")]
        self._credentials(words)
        checks = module == CHECK
        groups = pipeline.SOURCE.groups
        checked = words[0] if checks and words[:1] and words[0] in CHECKABLE else None
        if checked:
            groups = source_named(checked).groups
            module = source_named(checked).pipeline
            words = words[1:]
        if module in CLOUD_PIPELINES:
            self._parse_only(groups, words, elided, checks=checks)
            return
        try:
            words = self._brought_here(words)
            options = parse_options(words, groups)
            mapping = self._mapping(options)
        except UsageError as error:
            raise BlockError(str(error)) from None
        words = [word for word in words if word != "--mixpanel_emulator"]
        words += self._destination(options, elided, checks=checks)
        words += self._source(options, mapping, groups, elided)
        if run:
            self._run(pipeline.run, [checked, *words] if checked else words)

    def _run(self, pipeline: Callable[[list[str]], int], words: list[str]) -> None:
        self._patch.chdir(self._folder)
        self._patch.syspath_prepend(self._folder)
        before = set(sys.modules)
        try:
            code = pipeline(words)
        finally:
            for name in set(sys.modules) - before:
                if (self._folder / f"{name}.py").exists():
                    del sys.modules[name]
        _expect(code == 0, f"exit code {code}; what it said is in the captured output")

    def _parse_only(self, groups: OptionGroups, words: list[str], elided: bool, *, checks: bool) -> None:
        self._patch.chdir(self._folder)
        given = {word.partition("=")[0] for word in words}
        extra = [] if not elided or given & set(_DESTINATIONS) else ["--mixpanel_project_token=env:DOCS_TOKEN"]
        if elided and PubSubOptions in groups:
            extra += [] if "--subscription" in given else ["--subscription=projects/p/subscriptions/s"]
            extra += [] if "--dead_letters" in given else ["--dead_letters=dead"]
        if elided and TableOptions in groups and not given & {"--table", "--query"}:
            extra.append("--table=a.b.c")
        try:
            read_settings([*words, *extra], groups, checks=checks)
        except UsageError as error:
            raise BlockError(str(error)) from None

    def _mapping(self, options: PipelineOptions) -> EventMapping | None:
        chosen = options.view_as(MappingOptions)
        settings = settings_from_flags({flag: getattr(chosen, flag) for flag in FLAGS.values()})
        if chosen.mapping:
            path = self._folder / chosen.mapping
            _expect(
                path.exists(), f"there is no {chosen.mapping}: put <!-- file: {chosen.mapping} --> before its block"
            )
            settings = settings_from_yaml(path.read_bytes(), chosen.mapping) | settings
        settings.pop("map", None)
        return mapping_of(settings) if settings else None

    def _brought_here(self, words: list[str]) -> list[str]:
        """Let buckets be folders, and other engines this process."""
        words = [re.sub(r"\b(gs|s3|hdfs)://", r"\1/", word) for word in words]
        words = [re.sub(r"gcp-secret:[^\s]+", "env:DOCS_SECRET", word) for word in words]
        kept: list[str] = []
        rest = iter(words)
        for word in rest:
            name, equals, value = word.removeprefix("--").partition("=")
            if name in ENGINE_FLAGS:
                value = value if equals else next(rest)
                if name == "runner":
                    check_runner(value)
            else:
                kept.append(word)
        return kept

    def _destination(self, options: PipelineOptions, elided: bool, *, checks: bool) -> list[str]:
        """Point at the shared emulator; a command that names no destination is as wrong as it was."""
        if checks:
            return []
        mixpanel = options.view_as(MixpanelOptions)
        host = [f"--mixpanel_api_host={self._emulator.url}", "--mixpanel_region=us"]
        has_credentials = mixpanel.mixpanel_service_account or mixpanel.mixpanel_project_token
        if options.view_as(JobOptions).mixpanel_emulator or (elided and not has_credentials):
            return [*host, "--mixpanel_project_token=env:DOCS_TOKEN"]
        return host

    def _source(
        self, options: PipelineOptions, mapping: EventMapping | None, groups: OptionGroups, elided: bool
    ) -> list[str]:
        """Make what the command is to read; give the flags that an elision stands for."""
        row = row_for(mapping)
        if SqlOptions in groups:
            partition = options.view_as(SqlOptions).partition_column
            self._database(options, row | ({partition: 1} if partition else {}))
            return []
        patterns = options.view_as(FileOptions).input or []
        replays = ReplayOptions in groups
        given = []
        if not patterns and elided:
            patterns = ["events.ndjson"]
            given = ["--input=events.ndjson"]
        reasons = tuple(options.view_as(ReplayOptions).only_reason or ("time_missing",)) if replays else ()
        for pattern in patterns:
            write_input(self._folder, pattern, row, options.view_as(MappingOptions).preset, reasons)
        return given

    def _database(self, options: PipelineOptions, row: dict[str, Any]) -> None:
        connection = str(options.view_as(ConnectionOptions).connection)
        table = options.view_as(TableOptions)
        url = "sqlite:///docs.db"
        if connection.startswith("env:"):
            self._patch.setenv(connection.removeprefix("env:"), url)
        elif connection.startswith("file:"):
            (self._folder / connection.removeprefix("file:")).write_text(url)
        else:
            url = connection
        name = table.table or re.findall(r"\bFROM\s+([\w.]+)", table.query or "", re.IGNORECASE)[0]
        make_database(self._folder, url, name.rpartition(".")[2], row)

    def _credentials(self, words: list[str]) -> None:
        """Let every reference lead to something: a service account's name and secret, or a token."""
        self._patch.setenv("DOCS_SECRET", "user:secret")
        self._patch.setenv("DOCS_TOKEN", "a-token")
        for token, kind, name in re.findall(r"(project_token[= ])?\b(env|file):([^\s'\"]+)", " ".join(words)):
            secret = "a-token" if token else "user:secret"
            if kind == "env":
                self._patch.setenv(name, os.environ.get(name) or secret)
            elif not (self._folder / name).exists():
                path = self._folder / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(secret)
                path.chmod(0o600)

    def _pip(self, words: list[str], run: bool) -> None:
        for word in words:
            if found := re.fullmatch(r"(?:beam-mixpanel|\.)(?:\[(?P<extras>[\w,-]+)\])?(?:[=<>~].*)?", word):
                for extra in (found["extras"] or "").split(","):
                    _expect(not extra or extra in PROJECT["optional-dependencies"], f"there is no extra {extra}")

    def _make(self, words: list[str], run: bool) -> None:
        targets = [word for word in words if "=" not in word and not word.startswith("-")]
        _expect(set(targets) <= MAKE_TARGETS, f"no such target: {set(targets) - MAKE_TARGETS}")

    def _files_named(self, words: list[str], run: bool) -> None:
        """See that the files of this project that a command names are there, and the build arguments."""
        for word in words:
            path = word.rpartition("=")[2]
            if re.fullmatch(r"(?:templates|scripts|examples|tests|pipelines|docs)/[\w./-]+", path):
                _expect((ROOT / path).exists(), f"there is no {path}")
        text = " ".join(words)
        dockerfile = (ROOT / "templates" / "Dockerfile").read_text()
        for argument in re.findall(r"--build-arg[ =](\w+)=", text):
            _expect(f"ARG {argument}" in dockerfile, f"the Dockerfile has no argument {argument}")
        self._parameters(text)

    def _parameters(self, text: str) -> None:
        """See that a template takes the parameters that it is given."""
        if "flex-template run" not in text:
            return
        found = re.search(r"templates/(\w+)-", text)
        if found is None:
            raise BlockError("which template is it?")
        metadata = json.loads((ROOT / "templates" / f"{found[1]}.json").read_text())
        known = {parameter["name"] for parameter in metadata["parameters"]} | {"sdk_container_image"}  # Dataflow's own
        given = set(re.findall(r"--parameters[ =](\w+)=", text))
        _expect(given <= known, f"{found[1]} has no parameter {given - known}")


def _mapping_in(text: str) -> EventMapping | None:
    """Find the mapping in a pipeline of Beam YAML."""
    steps = yaml.safe_load(text)["pipeline"]["transforms"]
    settings = next((step["config"]["mapping"] for step in steps if "mapping" in step.get("config", {})), None)
    return mapping_of(settings) if settings else None


def _command_of(words: list[str]) -> tuple[click.Command | None, list[str]]:
    """Find the command of `beam-mixpanel` that words name, and the words that are left for it."""
    command: click.Command | None = cli
    while isinstance(command, click.Group) and words:
        command, words = command.commands.get(words[0]), words[1:]
    return command, words


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BlockError(otherwise)


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> None:
    try:
        parser.parse_args(words)
    except SystemExit as error:
        _expect(error.code == 0, f"{parser.prog} refuses {' '.join(words)}")


def _knows_flags(source: str, words: list[str]) -> None:
    """See that each flag is one of a module of Beam, or of Beam's beam_mixpanel.pipelines."""
    parser = all_options(())
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--"):
            _expect(name in parser._option_string_actions or name.removeprefix("--") in source, f"no flag {name}")


_RULES: dict[str, Callable[[Shell, list[str], bool], None]] = {
    "python": Shell._python,
    "python3": Shell._python,
    "beam-mixpanel": Shell._beam_mixpanel,
    "pip": Shell._pip,
    "pytest": Shell._files_named,
    "make": Shell._make,
    **dict.fromkeys(
        ("gcloud", "docker", "bq", "gsutil", "git", "mvn", "go", "java", "curl", "npm", "npx"), Shell._files_named
    ),
}
