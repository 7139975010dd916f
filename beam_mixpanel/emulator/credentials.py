"""Decides whether a request may import, and with which words it is turned away.

Sources: https://docs.mixpanel.com/reference/ingestion-api-authentication,
https://docs.mixpanel.com/reference/service-accounts ("both base64 encoding and plain-text"),
https://docs.mixpanel.com/troubleshooting/errors/401-unauthorized; the longer texts are those that
https://github.com/mixpanel/sheets expects from the live service.
"""

from __future__ import annotations

import base64
import binascii
from hmac import compare_digest

from beam_mixpanel.emulator.options import EmulatorOptions

INVALID = "Invalid credentials"
UNKNOWN_ACCOUNT = "Not a valid service account username"
NOT_A_MEMBER = "Unauthorized, service account is not a project member"  # the last four words are documented
WRONG_PROJECT = (
    "Unauthorized, invalid project secret. See docs for more information: "
    "https://developer.mixpanel.com/reference/authentication#project-secret"
)
OTHER_PROJECT = "Credentials in request did not match project_id URL parameter"


class Credentials:
    """The credentials that are accepted: those that were set, or any if none was."""

    def __init__(self, options: EmulatorOptions) -> None:
        """Read them from the options."""
        self._account = options.service_account
        self._project_id = options.project_id
        self._user_names = [name for name in (options.project_token, options.project_secret) if name]
        self._bearer = options.bearer_token
        self._any = not (self._account or self._user_names or self._bearer)

    def refuse(self, authorization: str, project_id: str | None) -> str | None:
        """Return the error text of the 401, or None if the request may pass.

        Args:
          authorization: the header, empty if it was absent.
          project_id: the query parameter.
        """
        scheme, _, value = authorization.strip().partition(" ")
        value = value.strip()
        if scheme.lower() == "bearer":
            return self._refuse_bearer(value)
        if scheme.lower() != "basic":
            return INVALID
        user, _, password = _decode_basic(value).partition(":")
        if not user:
            return INVALID
        if self._any:
            # A service account acts in many projects, so it has to name one:
            # https://docs.mixpanel.com/reference/import-events#authentication
            return INVALID if password and not project_id else None
        if password:
            return self._refuse_account(user, password, project_id)
        return self._refuse_user(user, project_id)

    def _refuse_bearer(self, token: str) -> str | None:
        known = self._any or (self._bearer is not None and _same(token, self._bearer))
        if not token or not known:
            return INVALID
        return None

    def _refuse_account(self, user: str, password: str, project_id: str | None) -> str | None:
        known_user, _, secret = (self._account or "").partition(":")
        if not _same(user, known_user):
            return UNKNOWN_ACCOUNT
        if not _same(password, secret) or not project_id:
            return INVALID
        return NOT_A_MEMBER if self._is_other_project(project_id) else None

    def _refuse_user(self, user: str, project_id: str | None) -> str | None:
        """A project token or secret is the user name, with an empty password."""
        if not any(_same(user, name) for name in self._user_names):
            return WRONG_PROJECT
        return OTHER_PROJECT if self._is_other_project(project_id) else None

    def _is_other_project(self, project_id: str | None) -> bool:
        return bool(project_id and self._project_id and project_id != self._project_id)


def _decode_basic(value: str) -> str:
    if ":" in value:
        return value
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _same(left: str, right: str) -> bool:
    return compare_digest(left.encode(), right.encode())
