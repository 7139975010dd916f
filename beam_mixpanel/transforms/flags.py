"""Options as data: what the command, its help, completion, the templates and the documentation say of each.

Nothing here needs Beam, which takes seconds to load. Beam's classes of options are made from the groups below
(`options.py` here and in the launcher).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from beam_mixpanel.client.client import DEFAULT_RETRY_DEADLINE_SECS
from beam_mixpanel.client.credentials import REGION_HOSTS
from beam_mixpanel.client.transport import TOTAL_TIMEOUT_SECS
from beam_mixpanel.core import limits
from beam_mixpanel.transforms.arguments import ENDPOINTS, MAX_BUFFERING_SECS, ON_UNDELIVERED


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One option of a command line.

    Attributes:
      name: with underscores, without dashes; the same with hyphens is accepted, too.
      meaning: what it does; what the short help shows ends at the first semicolon.
      value: what stands for its value in help; empty for a switch.
      default: its value where it is not given; the meaning names it.
      choices: the only values; none for any.
      suggestions: what a shell proposes where any value is accepted.
      kind: what its text is read as.
      repeated: it may be given several times.
      rare: shown by `--help-all` only.
    """

    name: str
    meaning: str
    value: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    kind: type = str
    repeated: bool = False
    rare: bool = False

    @property
    def option(self) -> str:
        """Return it as it is typed, and as documentation shows it."""
        return f"--{self.name}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return every way to type it, the documented one first."""
        return tuple(dict.fromkeys((self.option, f"--{self.name.replace('_', '-')}")))

    @property
    def is_switch(self) -> bool:
        """Tell whether it takes no value."""
        return not self.value and not self.choices

    @property
    def completions(self) -> tuple[str, ...]:
        """Return what a shell proposes for its value; none where that is a file, or cannot be known."""
        return self.choices or self.suggestions

    @property
    def full_meaning(self) -> str:
        """Return the meaning, with a word on repetition."""
        return f"{self.meaning}; may be given several times" if self.repeated else self.meaning


@dataclass(frozen=True, kw_only=True)
class FlagGroup:
    """Options that serve one purpose.

    Attributes:
      title: the purpose, as a heading.
      flags: in the order of help.
    """

    title: str
    flags: tuple[Flag, ...]

    def __iter__(self) -> Iterator[Flag]:
        """Give the flags in their order."""
        return iter(self.flags)


def add_flags(parser: argparse.ArgumentParser, *groups: FlagGroup) -> None:
    """Add options to a parser, as Beam's classes of options do."""
    for group in groups:
        for flag in group:
            meaning = flag.full_meaning.replace("%", "%%")
            if flag.is_switch:
                parser.add_argument(*flag.spellings, action="store_true", help=meaning)
                continue
            parser.add_argument(
                *flag.spellings,
                action="append" if flag.repeated else "store",
                default=flag.default,
                choices=flag.choices or None,
                type=flag.kind,
                metavar=None if flag.choices else flag.value,
                help=meaning,
            )


DESTINATION: Final = FlagGroup(
    title="Destination",
    flags=(
        Flag(name="mixpanel_project_id", value="ID", meaning="the project's number; required with a service account"),
        Flag(
            name="mixpanel_service_account",
            value="REF",
            meaning="reference to username:secret (env:NAME, file:PATH, gcp-secret:...); "
            "gcp-secret:projects/P/secrets/S/versions/V names one in Secret Manager",
        ),
        Flag(
            name="mixpanel_project_token",
            value="REF",
            meaning="reference to a project token, instead of a service account",
        ),
        Flag(
            name="mixpanel_region",
            value="us|eu|in",
            default="us",
            suggestions=tuple(REGION_HOSTS),
            meaning=f"one of {', '.join(REGION_HOSTS)} (default us)",
        ),
        Flag(name="mixpanel_api_host", value="URL", meaning="a base URL instead of the region's"),
        Flag(
            name="mixpanel_endpoint",
            choices=ENDPOINTS,
            default="import",
            meaning="API endpoint (default import); track is for project tokens only, and confirms less",
            rare=True,
        ),
    ),
)
SENDING: Final = FlagGroup(
    title="Sending",
    flags=(
        Flag(
            name="mixpanel_max_concurrent_requests",
            value="N",
            kind=int,
            default=limits.RECOMMENDED_REQUESTS_IN_FLIGHT,
            meaning=f"maximum requests in flight in a worker process (default {limits.RECOMMENDED_REQUESTS_IN_FLIGHT})",
            rare=True,
        ),
        Flag(
            name="mixpanel_max_events_per_sec",
            value="N",
            kind=float,
            rare=True,
            meaning="maximum events/s of a worker process; default 30000 at Mixpanel's hosts, no bound elsewhere",
        ),
        Flag(
            name="mixpanel_max_batch_events",
            value="N",
            kind=int,
            default=limits.MAX_BATCH_EVENTS,
            meaning=f"maximum events per request (default {limits.MAX_BATCH_EVENTS})",
            rare=True,
        ),
        Flag(
            name="mixpanel_max_batch_bytes",
            value="N",
            kind=int,
            default=limits.MAX_BATCH_BYTES,
            meaning=f"maximum bytes of uncompressed JSON per request (default {limits.MAX_BATCH_BYTES})",
            rare=True,
        ),
        Flag(
            name="mixpanel_retry_deadline_secs",
            value="S",
            kind=float,
            default=DEFAULT_RETRY_DEADLINE_SECS,
            meaning=f"how long a batch is retried (default {DEFAULT_RETRY_DEADLINE_SECS})",
            rare=True,
        ),
        Flag(
            name="mixpanel_request_timeout_secs",
            value="S",
            kind=float,
            default=TOTAL_TIMEOUT_SECS,
            meaning=f"how long one request may take before it counts as lost (default {TOTAL_TIMEOUT_SECS})",
            rare=True,
        ),
        Flag(
            name="mixpanel_ca_bundle",
            value="FILE",
            meaning="certificates (PEM) to trust instead of the usual authorities; must be there on every worker",
            rare=True,
        ),
        Flag(
            name="mixpanel_on_undelivered",
            choices=ON_UNDELIVERED,
            default="fail",
            meaning="what to do with a batch that was never confirmed (default fail)",
        ),
        Flag(
            name="mixpanel_num_shards",
            value="N",
            kind=int,
            meaning="at most N requests in flight in the whole job (default: no such cap)",
            rare=True,
        ),
        Flag(
            name="mixpanel_max_buffering_secs",
            value="S",
            kind=float,
            default=MAX_BUFFERING_SECS,
            meaning=f"longest time that an event of a stream waits in a batch (default {MAX_BUFFERING_SECS})",
            rare=True,
        ),
        Flag(
            name="mixpanel_auto_sharding",
            meaning="let Dataflow choose how many requests a stream has in flight; instead of --mixpanel_num_shards",
            rare=True,
        ),
    ),
)
FORM: Final = FlagGroup(
    title="Ids and times",
    flags=(
        Flag(
            name="mixpanel_insert_id",
            value="content|mixpanel-import",
            default="content",
            suggestions=("content", "mixpanel-import"),
            meaning="how an absent $insert_id is made (default content); --insert_id_columns has precedence",
        ),
        Flag(
            name="mixpanel_time_zone",
            value="ZONE",
            default="UTC",
            meaning="time zone of times without one, such as Europe/Paris (default UTC)",
        ),
        Flag(
            name="mixpanel_retention_days",
            value="N",
            kind=int,
            default=limits.DEFAULT_RETENTION_DAYS,
            meaning="how long the project keeps events; older ones are counted "
            f"(default {limits.DEFAULT_RETENTION_DAYS})",
            rare=True,
        ),
    ),
)
MIXPANEL: Final = (DESTINATION, SENDING, FORM)
"""The options of the sink, which any job can have beside its own."""
