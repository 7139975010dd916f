"""`beam-mixpanel doctor`: whether this machine can run imports, and reach Mixpanel with these credentials."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.table import Table

from beam_mixpanel.client.credentials import Credentials, credentials_of, resolve_host
from beam_mixpanel.client.transport import Answer, PooledTransport
from beam_mixpanel.errors import MixpanelError, NoAnswerError
from beam_mixpanel.version import VERSION

GOOD, NOTE, BAD = "ok", "note", "BAD"
_COLOURS = {GOOD: "green", NOTE: "yellow", BAD: "bold red"}
_EXTRAS = {
    "emulator": ("starlette", "uvicorn"),
    "gcp": ("google.cloud.storage", "google.cloud.secretmanager"),
    "sql": ("adbc_driver_postgresql", "duckdb", "sqlalchemy"),
    "yaml": ("jinja2", "docstring_parser"),
}
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "REQUESTS_CA_BUNDLE")
_MOST_SKEW_SECS = 120
_TIMEOUT_SECS = 15.0


class Finding(NamedTuple):
    """One thing that was looked at: what, how it is (`ok`, `note` or `BAD`), and what was found."""

    what: str
    verdict: str
    found: str


@click.command()
@click.option("--mixpanel_project_id", "project_id", metavar="ID", help="The project's number.")
@click.option("--mixpanel_service_account", "service_account", metavar="REF", help="As for an import.")
@click.option("--mixpanel_project_token", "project_token", metavar="REF", help="As for an import, instead.")
@click.option("--mixpanel_region", "region", default="us", show_default=True, metavar="us|eu|in")
@click.option("--mixpanel_api_host", "api_host", metavar="URL", help="A base URL instead of the region's.")
def doctor(
    project_id: str | None, service_account: str | None, project_token: str | None, region: str, api_host: str | None
) -> None:
    """Look at what an import needs: versions, extras, runners, proxy, and the server with these credentials.

    The server is asked to import no events at all, which changes nothing. Exit code 1 if something is BAD.

    \b
    beam-mixpanel doctor --mixpanel_project_id 123 --mixpanel_service_account env:MIXPANEL_SERVICE_ACCOUNT \\
      --mixpanel_region eu
    """
    findings = [*_machine(), *_runners(), *_environment()]
    try:
        given = service_account or project_token or project_id
        credentials = None
        if given:
            credentials = credentials_of(service_account, project_token, project_id, written="--mixpanel_{}")
        host = resolve_host(region, api_host)
    except (ValueError, MixpanelError) as error:
        raise click.UsageError(str(error)) from None
    if credentials:
        findings += ask(credentials, host)
    else:
        findings.append(Finding("server", NOTE, "not asked: no credentials given"))
    table = Table(show_header=False, box=None)
    for what, verdict, found in findings:
        table.add_row(what, f"[{_COLOURS[verdict]}]{verdict}[/]", found.replace("[", "\\["))
    Console(highlight=False, emoji=False).print(table)
    sys.exit(any(finding.verdict == BAD for finding in findings))


def _machine() -> Iterator[Finding]:
    supported = (3, 10) <= sys.version_info[:2] <= (3, 13)
    verdict = {True: GOOD, False: BAD}[supported]
    yield Finding("Python", verdict, f"{platform.python_version()} (3.10 to 3.13 are supported)")
    yield Finding("beam-mixpanel", GOOD, VERSION)
    yield Finding("apache-beam", GOOD, importlib.metadata.version("apache-beam"))
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if not _is_there(name)]
        if missing:
            cure = f"without {', '.join(missing)}: pip install 'beam-mixpanel[{extra}]'"
            yield Finding(f"extra {extra}", NOTE, cure)
        else:
            yield Finding(f"extra {extra}", GOOD, "installed")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _runners() -> Iterator[Finding]:
    yield Finding("FnApiRunner", GOOD, "in this process; always there")
    for program, runner in (("java", "Flink's job server"), ("prism", "Prism")):
        found = shutil.which(program)
        if found:
            yield Finding(runner, GOOD, found)
        else:
            yield Finding(runner, NOTE, f"no {program} on the PATH; docs/runners.md says how")


def _environment() -> Iterator[Finding]:
    for name in _PROXIES:
        if name in os.environ:
            yield Finding(name, NOTE, f"set, and used ({len(os.environ[name])} characters)")


def ask(
    credentials: Credentials,
    host: str,
    post: Callable[..., Answer] | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Finding]:
    """Ask a server to import nothing.

    Args:
      credentials: as whom.
      host: its base URL.
      post: sends a request, as `PooledTransport`; None for that.
      clock: seconds since the epoch.
    """
    try:
        authorization = credentials.authorization()
    except MixpanelError as error:
        yield Finding("credentials", BAD, str(error))
        return
    yield Finding("credentials", GOOD, f"{credentials!r} can be read")
    url = f"{host}/import?{urlencode({'strict': '1', **credentials.query})}"
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    began = clock()
    try:
        answer = (post or PooledTransport(total_timeout_secs=_TIMEOUT_SECS))(url, headers, b"[]")
    except NoAnswerError as error:
        yield Finding("server", BAD, f"no answer of {host} ({error.reason}): {error}")
        return
    yield Finding("server", GOOD, f"{host} answered {answer.status} after {clock() - began:.2f} s")
    yield _of_status(answer.status)
    yield from _skew(answer, clock())


def _of_status(status: int) -> Finding:
    if status in (401, 403):
        cure = "wrong user name, secret or project, no role Owner or Admin, or another region: see --mixpanel_region"
        return Finding("authentication", BAD, f"refused with {status}: {cure}")
    if status in (200, 400):
        return Finding("authentication", GOOD, "not refused (Mixpanel documents 401 for credentials that are wrong)")
    return Finding("authentication", NOTE, f"unknown: {status} says nothing of it")


def _skew(answer: Answer, now: float) -> Iterator[Finding]:
    stated = answer.headers.get("date")
    if stated is None:
        return
    try:
        skew = now - parsedate_to_datetime(stated).timestamp()
    except ValueError:
        return
    found = f"{skew:+.0f} s from the server's"
    if abs(skew) > _MOST_SKEW_SECS:
        yield Finding("clock", BAD, f"{found}; set it: events that seem to come from the future are refused")
    else:
        yield Finding("clock", GOOD, found)
