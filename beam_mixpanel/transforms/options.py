"""The options `--mixpanel_*`, as Beam pipeline options that a job of anybody's can have beside its own.

Beam finds every subclass of `PipelineOptions` that was imported, and refuses two options of one name. So this module
has one class, and imports no other.
"""

from __future__ import annotations

import argparse
import difflib
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.client.client import DEFAULT_RETRY_DEADLINE_SECS
from beam_mixpanel.client.credentials import REGION_HOSTS, Credentials, credentials_of
from beam_mixpanel.client.transport import TOTAL_TIMEOUT_SECS
from beam_mixpanel.core import limits
from beam_mixpanel.transforms.arguments import ENDPOINTS, MAX_BUFFERING_SECS, ON_UNDELIVERED

_PREFIX: Final = "mixpanel_"
_OF_CREDENTIALS: Final = ("service_account", "project_token", "project_id")


class MixpanelOptions(PipelineOptions):
    """Where to send, as whom, and how: options of the command line for `WriteToMixpanel.from_options`.

    Each is named `--mixpanel_` and an argument of `WriteToMixpanel`, so that they clash with no option of a job's own.
    The credentials are `--mixpanel_service_account` with `--mixpanel_project_id`, or `--mixpanel_project_token`, as
    references to secrets.
    """

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        _add_destination(parser)
        _add_sending(parser)
        _add_form(parser)

    def credentials(self) -> Credentials:
        """Make the credentials that the options refer to.

        Raises:
          ValueError: they refer to none or to two, a project id is missing or has no effect, or what they hold is no
            reference; it is not repeated.
        """
        # A template gives a parameter that was left empty as an empty text.
        given = {name: getattr(self, _PREFIX + name) or None for name in _OF_CREDENTIALS}
        return credentials_of(**given, written=f"`{_PREFIX}{{}}`")

    def arguments(self) -> dict[str, Any]:
        """Give the arguments of `WriteToMixpanel` that the options hold, but for the credentials."""
        names = (action.dest.removeprefix(_PREFIX) for action in _actions())
        return {name: getattr(self, _PREFIX + name) for name in names if name not in _OF_CREDENTIALS}


def check_names_of_options(options: PipelineOptions) -> None:
    """Refuse options `--mixpanel_*` that do not exist: Beam only logs that it drops what no option is named.

    Raises:
      ValueError: there is none of such a name; the message suggests one.
    """
    options.view_as(MixpanelOptions)
    known = options.get_all_options().keys()
    for name in options.get_all_options(retain_unknown_options=True).keys() - known:
        if name.startswith(_PREFIX):
            close = difflib.get_close_matches(name, [each for each in known if each.startswith(_PREFIX)], 1)
            raise ValueError(f"there is no option {name}" + (f"; did you mean {close[0]}?" if close else ""))


def _actions() -> list[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    MixpanelOptions._add_argparse_args(parser)
    return parser._actions


def _add_destination(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mixpanel_project_id", metavar="ID", help="the project's number; needed with a service account"
    )
    parser.add_argument(
        "--mixpanel_service_account",
        metavar="REF",
        help="reference to username:secret: env:NAME, file:PATH or gcp-secret:projects/P/secrets/S/versions/V",
    )
    parser.add_argument("--mixpanel_project_token", metavar="REF", help="reference to a project token")
    parser.add_argument(
        "--mixpanel_region", default="us", metavar="us|eu|in", help=f"one of {', '.join(REGION_HOSTS)} (default us)"
    )
    parser.add_argument("--mixpanel_api_host", metavar="URL", help="a base URL instead of the region's")
    parser.add_argument(
        "--mixpanel_endpoint",
        default="import",
        choices=ENDPOINTS,
        help="track is for those who hold a project token only; it confirms less (default import)",
    )


def _add_sending(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mixpanel_max_concurrent_requests",
        type=int,
        default=limits.RECOMMENDED_REQUESTS_IN_FLIGHT,
        metavar="N",
        help="most requests in flight in a worker process (default %(default)s)",
    )
    parser.add_argument(
        "--mixpanel_max_events_per_sec",
        type=float,
        metavar="N",
        help="most events/s of a worker process (default: 30000 at Mixpanel's hosts, no bound elsewhere)",
    )
    parser.add_argument(
        "--mixpanel_max_batch_events",
        type=int,
        default=limits.MAX_BATCH_EVENTS,
        metavar="N",
        help="most events in a request (default %(default)s)",
    )
    parser.add_argument(
        "--mixpanel_max_batch_bytes",
        type=int,
        default=limits.MAX_BATCH_BYTES,
        metavar="N",
        help="most bytes of uncompressed JSON in a request (default %(default)s)",
    )
    parser.add_argument(
        "--mixpanel_retry_deadline_secs",
        type=float,
        default=DEFAULT_RETRY_DEADLINE_SECS,
        metavar="S",
        help="how long a batch is tried (default %(default)s)",
    )
    parser.add_argument(
        "--mixpanel_request_timeout_secs",
        type=float,
        default=TOTAL_TIMEOUT_SECS,
        metavar="S",
        help="how long one request may take before it counts as lost (default %(default)s)",
    )
    parser.add_argument(
        "--mixpanel_ca_bundle",
        metavar="FILE",
        help="certificates (PEM) to trust instead of the usual authorities; must be there on every worker",
    )
    parser.add_argument(
        "--mixpanel_on_undelivered",
        default="fail",
        choices=ON_UNDELIVERED,
        help="what to do with a batch that Mixpanel never confirmed (default fail)",
    )
    parser.add_argument(
        "--mixpanel_num_shards",
        type=int,
        metavar="N",
        help="at most N requests in flight in the whole job (default: no such cap)",
    )
    parser.add_argument(
        "--mixpanel_max_buffering_secs",
        type=float,
        default=MAX_BUFFERING_SECS,
        metavar="S",
        help="longest that an event of a stream waits for its batch to fill (default %(default)s)",
    )
    parser.add_argument(
        "--mixpanel_auto_sharding",
        action="store_true",
        help="let Dataflow choose how many requests a stream has in flight, instead of --mixpanel_num_shards",
    )


def _add_form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mixpanel_insert_id",
        default="content",
        metavar="content|mixpanel-import",
        help="how an absent $insert_id is made, unless --insert_id_columns names columns (default content)",
    )
    parser.add_argument(
        "--mixpanel_time_zone",
        default="UTC",
        metavar="ZONE",
        help="zone of times that name none, such as Europe/Paris (default UTC)",
    )
    parser.add_argument(
        "--mixpanel_retention_days",
        type=int,
        default=limits.DEFAULT_RETENTION_DAYS,
        metavar="N",
        help="how long the project keeps events; older ones are counted (default %(default)s)",
    )
