"""Writes the pages of the reference from the code: docstrings, options, commands, metrics and limits."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import click

import beam_mixpanel
from beam_mixpanel import metrics
from beam_mixpanel.cli.__main__ import JobCommand, ModuleCommand
from beam_mixpanel.cli.__main__ import main as command_line
from beam_mixpanel.core import limits
from beam_mixpanel.core.events import dead_letter
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.core.events.rules import RULES
from beam_mixpanel.emulator.__main__ import _parser as emulator_parser
from beam_mixpanel.launcher import run, verdict
from beam_mixpanel.launcher.plain_flags import is_list
from beam_mixpanel.launcher.sources import all_sources, check_of
from beam_mixpanel.launcher.summary import Summary
from beam_mixpanel.transforms.flags import FlagGroup

PAGES = {
    "python": "Python",
    "options": "Options of the pipelines",
    "commands": "The command beam-mixpanel",
    "metrics": "Metrics and the summary",
    "dead-letters": "Dead letters",
    "exit-codes": "Exit codes",
    "limits": "Limits and their sources",
}
"""File names and titles, in their order."""


def write_pages(folder: Path) -> None:
    """Write all pages; those that have not changed are left alone, so that a build is quick."""
    folder.mkdir(exist_ok=True)
    makers = (_python, _options, _commands, _metrics, _dead_letters, _exit_codes, _limits)
    for (name, title), make in zip(PAGES.items(), makers, strict=True):
        text = f"# {title}\n\n{make()}"
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _python() -> str:
    """Name each public object; Sphinx reads its docstring."""
    lines = ["All of `beam_mixpanel.__all__`; nothing else is promised.", ""]
    for name in sorted(set(beam_mixpanel.__all__) - {"__version__"}, key=str.lower):
        value = getattr(beam_mixpanel, name)
        kind, members = ("autoclass", "   :members:\n") if inspect.isclass(value) else ("autofunction", "")
        if inspect.isclass(value) and issubclass(value, tuple):
            members = "   :members:\n   :exclude-members: " + ", ".join(value._fields) + "\n"
        hidden = "   :exclude-members: expand, display_data, default_label, from_runner_api_parameter\n"
        if inspect.isclass(value) and hasattr(value, "expand"):
            members = "   :members:\n" + hidden
        lines += [f"## {name}", "", f"```{{eval-rst}}\n.. {kind}:: beam_mixpanel.{name}\n{members}```", ""]
    return "\n".join(lines)


def _options() -> str:
    """List the options of each command by group; groups that several share stand once."""
    groups: dict[FlagGroup, None] = {}
    parts = [
        "Hyphens and underscores are the same in the names of these options. Every option of Beam and of the chosen "
        "runner works, too.\n"
    ]
    for source in (*all_sources(), check_of("files")):
        groups |= dict.fromkeys(source.all_flags)
        links = ", ".join(f"[{group.title}](#{_anchor(group.title)})" for group in source.all_flags)
        parts.append(f"## beam-mixpanel {source.command}\n\n{source.summary}\n\nOptions: {links}.\n")
    tables = (f"## {group.title}\n\n{_table_of_flags(group)}\n" for group in groups)
    return "\n".join([*parts, *tables])


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", title.lower()).replace(" ", "-")


def _table_of_flags(group: FlagGroup) -> str:
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for flag in group:
        choices = ", ".join(f"`{choice}`" for choice in flag.choices)
        value = choices or (f"`{_escaped(flag.value)}`" if flag.value else "")
        default = "" if flag.default is None else f"`{flag.default}`"
        rows.append(f"| `{flag.option}` {value} | {default} | {_cell(flag.full_meaning)} |")
    return "\n".join(rows) + "\n"


def _table_of(actions: Iterable[argparse.Action]) -> str:
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for action in actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(f"`{name}`" for name in action.option_strings)
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        choices = ", ".join(f"`{choice}`" for choice in action.choices or ())
        value = choices or (f"`{_escaped(metavar)}`" if metavar else "")
        said = action.help or ""
        repeats = "; may be given several times" if is_list(action) and "several times" not in said else ""
        rows.append(f"| {names} {value} | {_default(action)} | {_cell(said)}{repeats} |")
    return "\n".join(rows) + "\n"


def _default(action: argparse.Action) -> str:
    return "" if action.default in (None, False, argparse.SUPPRESS) else f"`{action.default}`"


def _cell(text: str) -> str:
    """Make text safe inside a table of Markdown; names with stars stay as they are."""
    plain = text % {} if "%%" in text else text
    return re.sub(r"([*_<$|\[\]])", r"\\\1", plain)


def _commands() -> str:
    return "\n".join(_command(command_line, "beam-mixpanel"))


def _command(command: click.Command, name: str) -> Iterator[str]:
    """Give a command's help and options, and those of the commands under it."""
    yield f"## {name}\n"
    context = click.Context(command, info_name=name)
    yield f"{_paragraphs(command.help or command.get_short_help_str(200))}\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _command(command.commands[child], f"{name} {child}")
    elif isinstance(command, ModuleCommand):
        if isinstance(command, JobCommand):
            anchor = _anchor(f"beam-mixpanel {command.source(()).command}".replace("-", " "))
            yield f"Its options: [beam-mixpanel {command.source(()).command}](options.md#{anchor}).\n"
        else:
            yield _table_of(emulator_parser()._actions)
    else:
        yield _click_table(command)


def _click_table(command: click.Command) -> str:
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for parameter in command.params:
        is_option = isinstance(parameter, click.Option)
        names = (
            ", ".join(f"`{name}`" for name in parameter.opts)
            if is_option
            else f"`{parameter.make_metavar(click.Context(command))}`"
        )
        default = f"`{parameter.default}`" if isinstance(parameter.default, str | int) and not parameter.is_flag else ""
        meaning = (parameter.help or "") if isinstance(parameter, click.Option) else ""
        rows.append(f"| {_names_of(parameter, names)} | {default} | {_cell(meaning)} |")
    return "\n".join(rows) + "\n"


def _names_of(parameter: click.Parameter, names: str) -> str:
    metavar = parameter.metavar if isinstance(parameter, click.Option) else None
    return f"{names} `{metavar}`".replace("|", "\\|") if metavar else names.replace("|", "\\|")


def _paragraphs(text: str) -> str:
    """Make blocks that click is not to wrap code."""
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        f"```text\n{part.removeprefix(chr(8)).strip(chr(10))}\n```" if part.startswith("\b") else _cell(part)
        for part in parts
    )


def _metrics() -> str:
    """List counters and distributions, and the keys of the summary."""
    summary = Summary({}, seconds=1.0, complete=True).as_json()
    return (
        f"Beam's metrics of the namespace `{metrics.NAMESPACE}`; a runner shows them while a job runs.\n\n"
        f"## Counters\n\n{_meanings(metrics.COUNTERS)}\n"
        f"- `{metrics.REASON_PREFIX}REASON`: dead letters by their reason\n"
        f"- `{metrics.CHOSEN_PREFIX}REASON`, `{metrics.LEFT_OUT_PREFIX}REASON`: those that a replay took, or left out\n"
        "\n"
        f"## Distributions\n\n{_meanings(metrics.DISTRIBUTIONS)}\n\n"
        f"## Keys of the summary\n\nWhat `--summary FILE` writes:\n\n{_bullets(summary)}\n"
    )


def _meanings(names: Mapping[str, str]) -> str:
    return "\n".join(f"- `{name}`: {meaning}" for name, meaning in names.items())


def _bullets(names: Iterable[str]) -> str:
    return "\n".join(f"- `{name}`" for name in sorted(names))


def _dead_letters() -> str:
    """Give the fields of a dead letter by its docstring, and the reasons that are rules."""
    meanings = _attributes(inspect.getdoc(DeadLetter) or "")
    rows = [
        f"| `{name}` | {kind.__name__} | {_escaped(meanings[name])} |"
        for name, kind in get_type_hints(DeadLetter).items()
    ]
    table = "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])
    rules = "\n".join(f"- `{name}`: {_cell(rule.message)} ([source]({rule.source}))" for name, rule in RULES.items())
    return (
        f"{inspect.getdoc(dead_letter.to_json_line)}\n\n{table}\n\n"
        f"## Reasons that are rules\n\nWhat each means: [what is checked](../validation.md).\n\n{rules}\n"
    )


def _attributes(docstring: str) -> dict[str, str]:
    """Read the section `Attributes` of a docstring."""
    section = docstring.partition("Attributes:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {2}(\w+): (.*(?:\n {4}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning) for name, meaning in found}


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _exit_codes() -> str:
    """Give the constants, and what `run_job` says of them."""
    names = {value: name for name, value in vars(verdict).items() if name.startswith("EXIT_")}
    returns = (inspect.getdoc(run.run_job) or "").partition("Returns:\n")[2]
    said = re.sub(r"\s+", " ", returns).strip()
    rows = []
    for part in said.rstrip(".").split("; "):
        code, _, meaning = part.partition(" ")
        rows.append(f"| {int(code)} | {meaning.removeprefix('where ')} | `{names[int(code)]}` |")
    return "\n".join(["| code | meaning | in `beam_mixpanel.launcher.verdict` |", "|---|---|---|", *rows]) + "\n"


def _limits() -> str:
    """Give each number of `limits.py` with what stands under it, and its sources as links."""
    body = ast.parse(inspect.getsource(limits)).body
    rows, names = [], []
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        is_apart = following is None or following.lineno > (node.end_lineno or 0) + 1
        if names and (is_apart or isinstance(following, ast.Expr)):
            said = ast.literal_eval(following.value) if isinstance(following, ast.Expr) else ""
            rows += [_limit(name, said) for name in names if not name.endswith("_DOCS")]
            names = []
    sources = [f"- `{name}`: <{value}>" for name, value in vars(limits).items() if name.endswith("_DOCS")]
    table = "\n".join(["| name | value | why, and where it is written |", "|---|---|---|", *rows])
    return f"{inspect.getdoc(limits)}\n\n{table}\n\n## Sources\n\n" + "\n".join(sources) + "\n"


def _limit(name: str, said: str) -> str:
    value: Any = getattr(limits, name)
    shown = value
    if isinstance(value, frozenset):
        shown = ", ".join(sorted(value))
    elif isinstance(value, int):
        shown = f"{value:,}"
    elif isinstance(value, float):
        shown = f"{value:,.10g}"
    meaning = re.sub(r"\s+", " ", said)
    for source in re.findall(r"\b\w+_DOCS\b", meaning):
        meaning = meaning.replace(source, f"[{source}]({getattr(limits, source)})")
    return f"| `{name}` | `{shown}` | {_escaped(meaning)} |"
