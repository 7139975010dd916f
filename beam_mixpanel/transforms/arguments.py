"""What the arguments of the transforms may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from beam_mixpanel.client.credentials import Credentials, ProjectToken, ServiceAccount
from beam_mixpanel.core.arguments import wrong_type
from beam_mixpanel.core.rows.mapping import EventMapping
from beam_mixpanel.core.rows.mapping_settings import mapping_of

ENDPOINTS: Final = ("import", "track")
ON_UNDELIVERED: Final = ("fail", "dead_letter")
MAX_BUFFERING_SECS: Final = 5.0
MOST_RETENTION_DAYS: Final = 36_500
"""A century: longer than any project, and within what times can be."""
MOST_AGE_MS: Final = MOST_RETENTION_DAYS * 86_400_000


def check_credentials(credentials: Any) -> Credentials:
    """Give credentials; anything else is not repeated, since it may be the secret itself.

    Raises:
      TypeError: it is something else.
    """
    if not isinstance(credentials, (ServiceAccount, ProjectToken)):
        raise TypeError(
            f"{wrong_type('credentials', 'a ServiceAccount or a ProjectToken', credentials)}. For example: "
            "ServiceAccount.from_reference('env:NAME', project_id=123), where the variable NAME holds USERNAME:SECRET; "
            "or from_secret(...) for an object of Beam's Secret classes"
        )
    return credentials


def check_mapping(mapping: Any) -> EventMapping | None:
    """Give a mapping; a dict has the keys of a mapping file.

    Raises:
      MappingError: a key or a value of the dict is wrong.
      TypeError: it is something else.
    """
    if mapping is None or isinstance(mapping, EventMapping):
        return mapping
    if not isinstance(mapping, Mapping):
        raise TypeError(
            f"{wrong_type('mapping', 'an EventMapping, or a dict with the keys of a mapping file', mapping)}, such as "
            "{'event': 'Order Placed', 'time_column': 'ordered_at'}"
        )
    return mapping_of(mapping)
