"""The command `beam-mixpanel`."""

from __future__ import annotations

import difflib
import errno
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from beam_mixpanel.cli.completion import complete, emulator_flags
from beam_mixpanel.cli.dead_letters import dead_letters
from beam_mixpanel.cli.doctor import doctor
from beam_mixpanel.cli.insert_id import insert_id
from beam_mixpanel.launcher.help import ASKED, print_help
from beam_mixpanel.launcher.quiet import quieten_beam
from beam_mixpanel.launcher.source import Source
from beam_mixpanel.launcher.sources import CHECKABLE, all_sources, check_of, names_no_source, source_named
from beam_mixpanel.transforms.flags import Flag
from beam_mixpanel.version import VERSION


class NearestGroup(click.Group):
    """Names the command that was probably meant, or is missing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Part the command from its arguments.

        Raises:
          click.UsageError: an option stands where a command belongs.
        """
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            commands = "|".join(self.list_commands(ctx))
            message = (
                f"{error.option_name} belongs behind a command: {ctx.command_path} {commands} {error.option_name} …"
            )
            raise click.UsageError(message, ctx) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command.

        Raises:
          click.UsageError: there is none of that name.
        """
        names = self.list_commands(ctx)
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], names, 1)
            meant = f"there are {', '.join(names)}"
            if near:
                meant = f"did you mean {near[0]}?"
            raise click.UsageError(f"no such command: {args[0]}; {meant}", ctx)
        return super().resolve_command(ctx, args)


class RootGroup(NearestGroup):
    """The command itself: says in a line what a terminal or a full disk does not take."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command as click does."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal of Latin-1 cannot show the … of a help text; that is no reason to show nothing.
            sys.stdout.reconfigure(errors="replace")
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            click.echo(f"Error: cannot write the output: {error.strerror}", err=True)
            sys.exit(1)


def _with_hyphens(name: str) -> str:
    """Return the name of an option or a command as click knows it, whichever way it is typed."""
    return name.replace("_", "-")


@click.group(
    cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _with_hyphens}
)
@click.version_option(VERSION, "-V", "--version", prog_name="beam-mixpanel", message="%(prog)s %(version)s")
def main() -> None:
    """Import events into Mixpanel: none lost, none shown twice, every one accounted for.

    \b
    Try it without an account:
      beam-mixpanel check --input 'events/*.csv' --report report.html
      beam-mixpanel import files --input 'events/*.csv' --mixpanel_emulator

    \b
    Shell completion:
      eval "$(_BEAM_MIXPANEL_COMPLETE=bash_source beam-mixpanel)"   # in ~/.bashrc; zsh_source, fish_source

    Options may be typed with hyphens or underscores.
    """


@main.group("import", cls=NearestGroup)
def import_() -> None:
    """Import events from files, BigQuery, a SQL database, MongoDB or Pub/Sub.

    \b
    beam-mixpanel import files --input 'events/*.ndjson.gz' --mixpanel_emulator
    beam-mixpanel import sql --connection env:DATABASE_URL --table orders --event 'Order Placed' \\
      --time_column ordered_at --mixpanel_project_id 123 --mixpanel_service_account env:MIXPANEL_SERVICE_ACCOUNT
    """


class ModuleCommand(click.Command):
    """Hands all its arguments, and the exit code, to a module that has options of its own.

    Args:
      name: as typed.
      module: the module.
      meaning: one line for the list of commands.
      run: the module's function of a list of arguments, which returns an exit code.
    """

    def __init__(self, name: str, module: str, meaning: str, run: str = "run") -> None:
        super().__init__(
            name,
            callback=self._call,
            params=[
                click.Argument(
                    ["arguments"],
                    nargs=-1,
                    type=click.UNPROCESSED,
                    shell_complete=lambda ctx, _, word: self.shell_complete(ctx, word),
                )
            ],
            short_help=meaning,
            context_settings={"ignore_unknown_options": True, "help_option_names": []},
        )
        self.module = module
        self._run = run

    def _call(self, arguments: Sequence[str]) -> None:
        sys.exit(getattr(importlib.import_module(self.module), self._run)(list(arguments)))

    def flags_for(self, arguments: Sequence[str]) -> list[Flag]:
        """Return the options that can be typed, as data."""
        return emulator_flags()

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete options, their choices, and names of files."""
        arguments = ctx.params.get("arguments") or ()
        return complete(self.flags_for(arguments), arguments, incomplete)


class JobCommand(ModuleCommand):
    """Runs the job of a source; its help does not load Beam.

    Args:
      name: as typed.
      source: of the words that follow: what the job reads.
    """

    def __init__(self, name: str, source: Callable[[Sequence[str]], Source]) -> None:
        described = source(())
        super().__init__(name, described.pipeline, described.reads)
        self.source = source

    def _call(self, arguments: Sequence[str]) -> None:
        if ASKED & set(arguments):
            print_help(self.source(arguments), arguments)
        # Beam starts worker processes by `python -m`, which looks into the current folder first: a json.py there would
        # hide that of Python, and the job would wait forever for workers that cannot start. Python 3.10 ignores this.
        os.environ.setdefault("PYTHONSAFEPATH", "1")
        quieten_beam()
        code = importlib.import_module(self.module).run(list(arguments))
        importlib.import_module("beam_mixpanel.launcher.end_process").end_process(code)

    def flags_for(self, arguments: Sequence[str]) -> list[Flag]:
        """Return the options of the source."""
        return [flag for group in self.source(arguments).all_flags for flag in group]


class CheckCommand(JobCommand):
    """Checks a source; the job itself refuses one that has no end, whose help would be that of files."""

    def _call(self, arguments: Sequence[str]) -> None:
        if names_no_source(arguments):
            arguments = [argument for argument in arguments if argument not in ASKED]
        super()._call(arguments)


def _of_import(name: str) -> Callable[[Sequence[str]], Source]:
    return lambda _: source_named(name)


def _of_check(words: Sequence[str]) -> Source:
    if words and words[0] in CHECKABLE:
        return check_of(words[0])
    return check_of(CHECKABLE[0])


for _source in all_sources():
    _group = import_ if _source.command.startswith("import ") else main
    _group.add_command(JobCommand(_source.name, _of_import(_source.name)))
main.add_command(CheckCommand("check", _of_check))
main.add_command(
    ModuleCommand("emulator", "beam_mixpanel.emulator.__main__", "Run a server that answers as Mixpanel does.", "main")
)
main.add_command(dead_letters)
main.add_command(doctor)
main.add_command(insert_id)


if __name__ == "__main__":
    main(prog_name="beam-mixpanel")
