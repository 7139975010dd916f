"""Who is sending, and where to: credentials by reference, and the regions' hosts.

A secret is named by a reference and read where it is used, so that no job graph, log, repr or display data holds it:

* `env:NAME`: an environment variable of the process that sends;
* `file:PATH`: a file's content, without surrounding white space;
* `gcp-secret:projects/P/secrets/S/versions/V`: Google Cloud Secret Manager (needs the extra `gcp`).
"""

from __future__ import annotations

import base64
import os
import re
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from beam_mixpanel.client.errors import CredentialsError

REGION_HOSTS: Final = {
    "us": "https://api.mixpanel.com",
    "eu": "https://api-eu.mixpanel.com",
    "in": "https://api-in.mixpanel.com",
}
"""https://docs.mixpanel.com/reference/overview"""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GCP_SECRET: Final = re.compile(r"projects/[^/]+/secrets/[^/]+/versions/[^/]+")
_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MASKED: Final = "***"


class SecretReference:
    """Names a secret without holding it.

    Args:
      text: `env:NAME`, `file:PATH` or `gcp-secret:projects/P/secrets/S/versions/V`.

    Raises:
      ValueError: the text is no reference; it is not repeated, since it may be the secret itself.
    """

    def __init__(self, text: str) -> None:
        scheme, _, name = text.partition(":")
        if scheme not in ("env", "file", "gcp-secret") or not name:
            raise ValueError(
                "expected a reference to a secret, not the secret itself: env:NAME, file:PATH or "
                "gcp-secret:projects/P/secrets/S/versions/V. For example: export MIXPANEL_SECRET=... "
                "and pass env:MIXPANEL_SECRET"
            )
        if scheme == "gcp-secret" and not _GCP_SECRET.fullmatch(name):
            raise ValueError("what follows gcp-secret: must have the form projects/P/secrets/S/versions/V")
        if scheme == "env" and not _VARIABLE.fullmatch(name):
            raise ValueError("what follows env: must be the name of a variable, not its value: env:NAME, without a $")
        self.text = text
        self._scheme = scheme
        self._name = name

    def __repr__(self) -> str:
        """Show the reference."""
        return f"SecretReference({self.text!r})"

    @property
    def is_local(self) -> bool:
        """Whether only this machine could resolve it."""
        return self._scheme in ("env", "file")

    def resolve(self) -> str:
        """Read the secret, on the machine that needs it.

        Raises:
          CredentialsError: there is no such variable, file or secret, or it is empty.
        """
        secret = {"env": self._from_env, "file": self._from_file, "gcp-secret": self._from_gcp}[self._scheme]()
        if not secret:
            raise CredentialsError(f"{self.text} is empty")
        return secret

    def _from_env(self) -> str:
        value = os.environ.get(self._name)
        if value is None:
            raise CredentialsError(f"the environment variable {self._name} is not set")
        return value.strip()

    def _from_file(self) -> str:
        try:
            with open(self._name, encoding="utf-8-sig") as file:
                return file.read().strip()
        except OSError as error:
            reason = error.strerror
        except UnicodeDecodeError:
            reason = "it is not UTF-8 text"
        # Raised out here, it does not keep the decoder's error, which holds the file's content.
        raise CredentialsError(f"cannot read the secret from {self._name}: {reason}")

    def _from_gcp(self) -> str:
        try:
            from google.api_core.exceptions import GoogleAPIError
            from google.auth.exceptions import GoogleAuthError
            from google.cloud import secretmanager
        except ImportError:
            raise CredentialsError(f"{self.text} needs Google's client: pip install 'beam-mixpanel[gcp]'") from None
        try:
            answer = secretmanager.SecretManagerServiceClient().access_secret_version(name=self._name)
        except (GoogleAPIError, GoogleAuthError) as error:
            raise CredentialsError(
                f"cannot read {self.text} ({type(error).__name__}): check that this version exists, and that the "
                "worker's account has the role Secret Manager Secret Accessor"
            ) from error
        return str(answer.payload.data.decode(errors="replace").strip())


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


class _HeldSecret:
    """A secret by reference, or held for programs that got it by other means; never shown."""

    def __init__(self, secret: str | None, reference: SecretReference | None) -> None:
        self._secret = secret
        self.reference = reference

    def resolve(self) -> str:
        return self.reference.resolve() if self.reference else str(self._secret)

    def __repr__(self) -> str:
        return self.reference.text if self.reference else _MASKED


class ServiceAccount:
    """A service account with the role Owner or Admin: the recommended way to import.

    Args:
      username: as Mixpanel shows it.
      secret: kept out of reprs and logs, but pickled into the job where the pipeline is remote; prefer
        `from_reference`.
      project_id: the number of the project to import into.

    Raises:
      ValueError: the user name or the secret is empty, or the project id is no number.

    Source: https://docs.mixpanel.com/reference/service-accounts
    """

    def __init__(self, username: str, secret: str, *, project_id: str | int) -> None:
        if not username or not secret:
            raise ValueError("the service account's user name or secret is empty")
        self._hold(_HeldSecret(f"{username}:{secret}", None), project_id)

    @classmethod
    def from_reference(cls, reference: str, *, project_id: str | int) -> ServiceAccount:
        """Name `username:secret` by a reference that the workers resolve.

        Raises:
          ValueError: it is no reference, or the project id is no number.
        """
        account = cls.__new__(cls)
        account._hold(_HeldSecret(None, SecretReference(reference)), project_id)
        return account

    def _hold(self, secret: _HeldSecret, project_id: str | int) -> None:
        number = str(project_id).strip()
        if not (number.isascii() and number.isdecimal()):
            raise ValueError(
                f"project_id must be the project's number, got {project_id!r}; see Project Settings in Mixpanel"
            )
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
        username, colon, secret = pair.partition(":")
        if not (username and colon and secret):
            raise CredentialsError(f"{self._secret!r} must have the form username:secret")
        return _basic(pair)

    def project_token(self) -> str | None:
        """Give none: a service account holds no project token."""
        return None


class ProjectToken:
    """A project token, for those who have no service account.

    Args:
      token: as Project Settings shows it. Prefer `from_reference`.

    Raises:
      ValueError: the token is empty.

    Source: https://docs.mixpanel.com/reference/project-token
    """

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("the project token is empty")
        self._secret = _HeldSecret(token, None)

    @classmethod
    def from_reference(cls, reference: str) -> ProjectToken:
        """Name the token by a reference that the workers resolve.

        Raises:
          ValueError: it is no reference.
        """
        token = cls.__new__(cls)
        token._secret = _HeldSecret(None, SecretReference(reference))
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
        return _basic(f"{self._secret.resolve()}:")

    def project_token(self) -> str | None:
        """Give the token that `/track` wants in each event."""
        return self._secret.resolve()


def _basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


def resolve_host(region: str = "us", api_host: str | None = None) -> str:
    """Give the base URL to send to.

    Args:
      region: `us`, `eu` or `in`: where the project resides.
      api_host: a base URL instead of the region's; `http://` only for this machine.

    Raises:
      ValueError: the region is unknown, or the URL could send credentials in the clear.
    """
    if api_host is None:
        if region not in REGION_HOSTS:
            raise ValueError(f"unknown region {region!r}; use one of {', '.join(REGION_HOSTS)}")
        return REGION_HOSTS[region]
    if any(sign in api_host for sign in "@?#"):
        raise ValueError("the API host must hold neither credentials nor a query; use https://HOST")
    parts = _split(api_host)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"API host {api_host!r} is no URL; use https://HOST or https://HOST:PORT")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK_HOSTS:
        raise ValueError(
            f"http:// would send credentials to {parts.hostname} in the clear; use https:// "
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
