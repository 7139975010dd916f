"""The emulator on the command line: `beam-mixpanel emulator --port N`."""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from beam_mixpanel.emulator.options import SECRET_VARIABLES, EmulatorOptions, secrets_from

MISUSE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = _parser()
    chosen, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(_unknown(unknown[0], list(parser._option_string_actions)))
    given = vars(chosen)
    stop_with_stdin = given.pop("stop_when_stdin_closes")
    try:
        options = EmulatorOptions(**{**secrets_from(os.environ), **given})
    except ValueError as error:
        parser.error(str(error))
    try:
        from beam_mixpanel.emulator.server import EmulatorServer
    except ModuleNotFoundError as error:
        return _explain_missing(error)
    try:
        server = EmulatorServer(options, _announce)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    _stop_on_signals(server)
    if stop_with_stdin:
        threading.Thread(target=_stop_when_stdin_closes, args=(server,), daemon=True).start()
    server.run_until_stopped()
    return 0


class _BriefParser(argparse.ArgumentParser):
    """Says what is wrong in a line, without the twenty lines of usage before it; reads `--rate_limit`, too."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read options, of which hyphens and underscores are the same."""
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args([self._as_documented(word) for word in given], namespace)

    def _as_documented(self, word: str) -> str:
        name, equals, value = word.partition("=")
        documented = name.replace("_", "-")
        return f"{documented}{equals}{value}" if documented in self._option_string_actions else word

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(MISUSE, f"error: {message}; --help lists the options\n")


def _unknown(argument: str, options: list[str]) -> str:
    name = argument.partition("=")[0]
    if not name.startswith("-"):
        return "an argument belongs to no option"  # not repeated: it may be a secret
    near = difflib.get_close_matches(name.replace("_", "-"), options, 1)
    if near:
        return f"unknown option {name}; did you mean {near[0]}?"
    return f"unknown option {name}"


def _parser() -> argparse.ArgumentParser:
    """Build the command line; its result holds only what is given, so that defaults stand in one place."""
    parser = _BriefParser(
        prog="beam-mixpanel emulator",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A local server that answers as Mixpanel's ingestion API does.",
        epilog="Examples:\n"
        "  beam-mixpanel emulator --port 8080\n"
        "  beam-mixpanel emulator --port 8080 --storage events --rate-limit 30000\n\n"
        "Credentials may also come from the environment:\n  " + "\n  ".join(SECRET_VARIABLES.values()),
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--host", help="127.0.0.1 (default) or ::1")
    add("--port", type=int, help="0 (default) takes any free port")
    add(
        "--service-account",
        metavar="USER:SECRET",
        help="with any credential set, only those set are accepted",
    )
    add("--project-id", metavar="ID", help="the only project_id that the service account may import into")
    add("--project-token", metavar="TOKEN")
    add("--project-secret", metavar="SECRET", help="the legacy project secret")
    add("--bearer-token", metavar="TOKEN", help="an OAuth token")
    add("--id-merge", choices=["simplified", "original"], help="the project's ID merge (default: simplified)")
    add(
        "--as-sent",
        action="store_true",
        help="keep events as they were sent, rather than as Mixpanel would show them",
    )
    add("--max-body-bytes", type=int, metavar="N", help="bound on the uncompressed body (default: 10000000)")
    add("--latency-ms", type=float, metavar="MS", help="added to every answer")
    add("--rate-limit", type=float, metavar="EVENTS_PER_SEC", help="token bucket (default: off)")
    add(
        "--rate-limit-burst",
        type=float,
        metavar="EVENTS",
        help="what the bucket holds (default: one second's worth)",
    )
    add("--rolling-limit", type=int, metavar="EVENTS", help="events in any rolling window (default: off)")
    add("--rolling-window-secs", type=float, metavar="SECS", help="length of that window (default: 60)")
    add("--storage", metavar="DIR", help="an empty or missing directory that keeps the events after the end")
    add("--record-bodies", action="store_true", help="keep the bodies of recent requests, for tests")
    add(
        "--stop-when-stdin-closes",
        action="store_true",
        default=False,
        help="end with whoever holds standard input",
    )
    return parser


def _explain_missing(error: ModuleNotFoundError) -> int:
    print(
        f"The emulator needs {error.name}, which is not installed. Install the extra:"
        " pip install 'beam-mixpanel[emulator]'",
        file=sys.stderr,
    )
    return MISUSE


def _announce(url: str) -> None:
    print(f"Mixpanel emulator listening on {url}", flush=True)


def _stop_on_signals(server: Any) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _stop_when_stdin_closes(server: Any) -> None:
    while sys.stdin.buffer.read(1):
        pass
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
