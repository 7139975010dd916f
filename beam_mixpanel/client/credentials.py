"""Who is sending, and where to: a service account or a project token, and the regions' hosts."""

from __future__ import annotations

import base64
from numbers import Integral
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from beam_mixpanel.core.arguments import check_choice, check_text, wrong_type
from beam_mixpanel.errors import CredentialsError
from beam_mixpanel.secrets import (
    HeldSecret,
    ReferencedSecret,
    Secret,
    SecretReference,
    SecretSource,
    SecretText,
    check_secret,
    secret_of,
)

REGION_HOSTS: Final = {
    "us": "https://api.mixpanel.com",
    "eu": "https://api-eu.mixpanel.com",
    "in": "https://api-in.mixpanel.com",
}
"""https://docs.mixpanel.com/reference/overview"""

_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Credentials(Protocol):
    """What the client needs of credentials; picklable, and without the secret until asked."""

    @property
    def reference(self) -> SecretReference | None:
        """The reference to the secret; None where the secret was given in the program."""

    @property
    def query(self) -> dict[str, str]:
        """What goes into the query of each request."""

    def authorization(self) -> str:
        """The header's value; reads the secret."""

    def project_token(self) -> str | None:
        """The token that goes into each event of `/track`; None where there is none."""


class ServiceAccount:
    """A service account with the role Owner or Admin: the recommended way to import.

    Args:
      username: as Mixpanel shows it.
      secret: stays in this process. For workers in other processes or on other machines, use `from_reference`.
      project_id: the number of the project to import into.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: the user name or the secret is empty, or the project id is not a number.

    Source: https://docs.mixpanel.com/reference/service-accounts
    """

    def __init__(self, username: str, secret: str, *, project_id: str | int) -> None:
        check_secret("username", username)
        check_secret("secret", secret)
        if ":" in username:
            raise ValueError("`username` must hold no colon; give the user name and the secret as two arguments")
        self._hold(HeldSecret(f"{username}:{secret}"), project_id)

    @classmethod
    def from_reference(cls, reference: str, *, project_id: str | int) -> ServiceAccount:
        """Name `username:secret` by a reference that the workers resolve.

        Raises:
          ValueError: it is no reference, or the project id is not a number.
        """
        account = cls.__new__(cls)
        account._hold(ReferencedSecret(reference), project_id)
        return account

    @classmethod
    def from_secret(cls, secret: SecretSource, *, project_id: str | int) -> ServiceAccount:
        """Take `username:secret` from an object that the workers ask for it, such as one of Beam's `Secret` classes.

        Raises:
          TypeError: it is not such an object.
          ValueError: the project id is not a number.
        """
        account = cls.__new__(cls)
        account._hold(secret_of(secret), project_id)
        return account

    def _hold(self, secret: Secret, project_id: str | int) -> None:
        if isinstance(project_id, bool) or not isinstance(project_id, (str, Integral)):
            raise wrong_type("project_id", "the project's number", project_id)
        number = str(project_id).strip()
        if not (number.isascii() and number.isdecimal()):
            # Not repeated: it may be a project token, which stands beside the id in Mixpanel's settings.
            raise ValueError("`project_id` must be the project's number; see Project Settings in Mixpanel")
        self._secret = secret
        self.project_id = number

    def __repr__(self) -> str:
        """Show the reference, never the secret."""
        return f"ServiceAccount({self._secret!r}, project_id={self.project_id!r})"

    @property
    def reference(self) -> SecretReference | None:
        """The reference to the secret, if there is one."""
        return self._secret.reference

    @property
    def query(self) -> dict[str, str]:
        """Name the project."""
        return {"project_id": self.project_id}

    def authorization(self) -> str:
        """Give the header's value.

        Raises:
          CredentialsError: the reference cannot be resolved, or is not `username:secret`.
        """
        pair = self._secret.resolve()
        if ":" not in pair or pair.startswith(":") or pair.index(":") == len(pair) - 1:
            raise CredentialsError(f"{self._secret!r} must have the form username:secret")
        return _basic(pair)

    def project_token(self) -> str | None:
        """Give none: a service account holds no project token."""
        return None


class ProjectToken:
    """A project token, for those who have no service account.

    Args:
      token: as Project Settings shows it; stays in this process. For workers in other processes or on other machines,
        use `from_reference`.

    Raises:
      TypeError: the token is not text.
      ValueError: the token is empty.

    Source: https://docs.mixpanel.com/reference/project-token
    """

    def __init__(self, token: str) -> None:
        self._secret: Secret = HeldSecret(check_secret("token", token))

    @classmethod
    def from_reference(cls, reference: str) -> ProjectToken:
        """Name the token by a reference that the workers resolve.

        Raises:
          ValueError: it is no reference.
        """
        token = cls.__new__(cls)
        token._secret = ReferencedSecret(reference)
        return token

    @classmethod
    def from_secret(cls, secret: SecretSource) -> ProjectToken:
        """Take the token from an object that the workers ask for it, such as one of Beam's `Secret` classes.

        Raises:
          TypeError: it is not such an object.
        """
        token = cls.__new__(cls)
        token._secret = secret_of(secret)
        return token

    def __repr__(self) -> str:
        """Show the reference, never the token."""
        return f"ProjectToken({self._secret!r})"

    @property
    def reference(self) -> SecretReference | None:
        """The reference to the token, if there is one."""
        return self._secret.reference

    @property
    def query(self) -> dict[str, str]:
        """Name nothing: the token itself names the project."""
        return {}

    def authorization(self) -> str:
        """Give the header's value: the token as user name, with an empty password."""
        return _basic(SecretText(f"{self._secret.resolve()}:"))

    def project_token(self) -> str | None:
        """Give the token that `/track` wants in each event."""
        return self._secret.resolve()


def credentials_of(
    service_account: str | None, project_token: str | None, project_id: str | int | None, *, written: str = "`{}`"
) -> Credentials:
    """Make the credentials that options or keys refer to.

    Args:
      service_account: reference to `username:secret`.
      project_token: reference to a project token, instead.
      project_id: the project's number; goes with a service account.
      written: how messages write the name of an argument, such as `--mixpanel_{}`.

    Raises:
      ValueError: there are none, or two, or a project id is missing or has no effect, or what is given is no reference;
        it is not repeated.
    """
    account_name, token_name, id_name = (
        written.format(name) for name in ("service_account", "project_token", "project_id")
    )
    if service_account is not None and project_token is not None:
        raise ValueError(f"give {account_name} or {token_name}, not both")
    if service_account is not None:
        if project_id is None:
            raise ValueError(f"{account_name} needs {id_name}, the project's number")
        try:
            return ServiceAccount.from_reference(service_account, project_id=project_id)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{account_name}: {error}") from None
    if project_token is not None:
        if project_id is not None:
            raise ValueError(
                f"{id_name} has no effect beside {token_name}, which names its project itself; leave it out"
            )
        try:
            return ProjectToken.from_reference(project_token)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{token_name}: {error}") from None
    raise ValueError(
        f"no credentials: give {account_name} with {id_name}, or {token_name}; their values are references to secrets: "
        "env:NAME, file:PATH or gcp-secret:..."
    )


def _basic(pair: SecretText) -> SecretText:
    return SecretText("Basic " + base64.b64encode(pair.encode()).decode())


def resolve_host(region: str = "us", api_host: str | None = None) -> str:
    """Give the base URL to send to.

    Args:
      region: `us`, `eu` or `in`: where the project resides.
      api_host: a base URL instead of the region's; `http://` only for this machine.

    Raises:
      ValueError: the region is unknown, or the URL could send credentials in the clear.
    """
    check_choice("region", region, tuple(REGION_HOSTS))
    if api_host is None:
        return REGION_HOSTS[region]
    check_text("api_host", api_host, "a base URL such as https://HOST")
    if any(sign in api_host for sign in "@?#"):
        raise ValueError("`api_host` must hold neither credentials nor a query; use https://HOST")
    parts = _split(api_host)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`api_host` must be https://HOST or https://HOST:PORT, got {api_host!r}")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK_HOSTS:
        raise ValueError(
            f"`api_host`: http:// would send credentials to {parts.hostname} in the clear; use https:// "
            "(http:// is for localhost only)"
        )
    return api_host.rstrip("/")


def _split(url: str) -> SplitResult | None:
    """Take a URL apart; None where its host or port has no valid form."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def is_mixpanel_host(host: str) -> bool:
    """Tell whether the documented rate limits apply to this base URL."""
    return str(urlsplit(host).hostname).endswith(".mixpanel.com")
