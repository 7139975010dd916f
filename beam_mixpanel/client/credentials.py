"""Who is sending, and where to: credentials by reference, and the regions' hosts.

A secret is named by a reference and read where it is used, so that no job graph, log, repr or display data holds it:

* `env:NAME`: an environment variable of the process that sends;
* `file:PATH`: a file's content, without surrounding white space;
* `gcp-secret:projects/P/secrets/S/versions/V`: Google Cloud Secret Manager (needs the extra `gcp`).

A secret that the program gives itself stays in its process: what is pickled is a handle to it.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import stat
import uuid
from numbers import Integral
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from beam_mixpanel.core.arguments import check_choice, check_text, wrong_type
from beam_mixpanel.errors import CredentialsError

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

_log = logging.getLogger(__name__)
_warned_of: Final[set[str]] = set()


class SecretText(str):
    """A secret that does not show where values are shown: in a repr, or in a traceback with its variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show nothing of it."""
        return _MASKED


class SecretReference:
    """Names a secret without holding it.

    Args:
      text: `env:NAME`, `file:PATH` or `gcp-secret:projects/P/secrets/S/versions/V`.

    Raises:
      TypeError: it is not text.
      ValueError: the text is no reference; it is not repeated, since it may be the secret itself.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise wrong_type("reference", "text: env:NAME, file:PATH or gcp-secret:...", text)
        scheme, _, name = text.partition(":")
        if scheme not in ("env", "file", "gcp-secret") or not name:
            raise ValueError(
                "expected a reference to a secret, not the secret itself: env:NAME, file:PATH or "
                "gcp-secret:projects/P/secrets/S/versions/V. For example: export MIXPANEL_SECRET=... "
                "and pass env:MIXPANEL_SECRET"
            )
        if scheme == "gcp-secret" and not _GCP_SECRET.fullmatch(name):
            raise ValueError("`reference`: what follows gcp-secret: must have the form projects/P/secrets/S/versions/V")
        if scheme == "env" and not _VARIABLE.fullmatch(name):
            raise ValueError(
                "`reference`: what follows env: must be the name of a variable, not its value: env:NAME, without a $"
            )
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

    def resolve(self) -> SecretText:
        """Read the secret, on the machine that needs it.

        Raises:
          CredentialsError: there is no such variable, file or secret, or it is empty or no text.
        """
        secret = {"env": self._from_env, "file": self._from_file, "gcp-secret": self._from_gcp}[self._scheme]()
        if not secret:
            raise CredentialsError(f"{self.text} is empty")
        if not _is_unicode(secret):
            raise CredentialsError(f"{self.text} is not UTF-8 text")
        return secret

    def _from_env(self) -> SecretText:
        if self._name not in os.environ:
            raise CredentialsError(f"the environment variable {self._name} is not set")
        return SecretText(os.environ[self._name].strip())

    def _from_file(self) -> SecretText:
        try:
            with open(self._name, encoding="utf-8-sig") as file:
                _warn_if_others_can_read(self._name, os.fstat(file.fileno()).st_mode)
                return SecretText(file.read().strip())
        except OSError as error:
            reason = error.strerror
        except UnicodeDecodeError:
            reason = "it is not UTF-8 text"
        # Raised out here, it does not keep the decoder's error, which holds the file's content.
        raise CredentialsError(f"cannot read the secret from {self._name}: {reason}")

    def _from_gcp(self) -> SecretText:
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
        return SecretText(answer.payload.data.decode(errors="replace").strip())


def _is_unicode(text: str) -> bool:
    """Tell whether it can be sent; a variable that is not UTF-8 arrives with lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _check_secret(name: str, value: object) -> str:
    """Give a text that may be a secret, and is never repeated.

    Raises:
      TypeError: it is not text.
      ValueError: it is empty, or cannot be sent.
    """
    text = check_text(name, value, "text")
    if not _is_unicode(text):
        raise ValueError(f"`{name}` is not UTF-8 text")
    return text


def _has_permission_bits() -> bool:
    return os.name == "posix"


def _warn_if_others_can_read(path: str, mode: int) -> None:
    """Say so once for each file, where files have such bits."""
    if _has_permission_bits() and mode & (stat.S_IRGRP | stat.S_IROTH) and path not in _warned_of:
        _warned_of.add(path)
        _log.warning("the secret in %s can be read by other users of this machine; chmod 600 %s", path, path)


class SecretSource(Protocol):
    """An object that reads a secret when it is asked, such as Beam's `GcpSecret`."""

    def get_secret_bytes(self) -> bytes:
        """Read it."""


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


_held: Final[dict[str, SecretText]] = {}
"""The secrets that this program gave, by handle. They are never written down, so only this process has them, and the
processes that it forks."""


class _Held:
    """A secret that the program gave. What is pickled is the handle: neither a job graph nor a worker's disk has it."""

    reference: SecretReference | None = None

    def __init__(self, secret: str) -> None:
        self._handle = uuid.uuid4().hex
        _held[self._handle] = SecretText(secret)

    def resolve(self) -> SecretText:
        if self._handle not in _held:
            raise CredentialsError(
                "the secret was given in the program that submitted the job and does not leave its process, but this "
                "worker is another process; use from_reference('env:NAME'), 'file:PATH' or "
                "'gcp-secret:projects/P/secrets/S/versions/V', which each worker reads for itself"
            )
        return _held[self._handle]

    def __repr__(self) -> str:
        return _MASKED


class _Referenced:
    """A secret by reference."""

    def __init__(self, reference: str) -> None:
        self.reference: SecretReference | None = SecretReference(reference)
        self.resolve = self.reference.resolve

    def __repr__(self) -> str:
        return str(self.reference and self.reference.text)


class _Sourced:
    """A secret that somebody else's object reads."""

    reference: SecretReference | None = None

    def __init__(self, source: SecretSource) -> None:
        self._source = source

    def resolve(self) -> SecretText:
        try:
            secret = SecretText(self._source.get_secret_bytes().decode().strip())
        except RuntimeError as error:  # what Beam's classes raise
            raise CredentialsError(f"cannot read the secret from {self!r}") from error
        except UnicodeDecodeError:
            secret = SecretText()
        if not secret:
            raise CredentialsError(f"the secret of {self!r} is empty or not UTF-8 text")
        return secret

    def __repr__(self) -> str:
        return type(self._source).__name__


def _from_source(source: SecretSource) -> _Held | _Sourced:
    """Take an object that reads a secret; Beam's `RawSecret` holds it, and would be pickled with it."""
    if not hasattr(source, "get_secret_bytes") or isinstance(source, type):
        raise wrong_type("secret", "an object with get_secret_bytes(), such as Beam's GcpSecret", source)
    if type(source).__name__ == "RawSecret":
        text = source.get_secret_bytes().decode(errors="surrogateescape").strip()
        return _Held(_check_secret("secret", text))
    return _Sourced(source)


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
        _check_secret("username", username)
        _check_secret("secret", secret)
        if ":" in username:
            raise ValueError("`username` must hold no colon; give the user name and the secret as two arguments")
        self._hold(_Held(f"{username}:{secret}"), project_id)

    @classmethod
    def from_reference(cls, reference: str, *, project_id: str | int) -> ServiceAccount:
        """Name `username:secret` by a reference that the workers resolve.

        Raises:
          ValueError: it is no reference, or the project id is not a number.
        """
        account = cls.__new__(cls)
        account._hold(_Referenced(reference), project_id)
        return account

    @classmethod
    def from_secret(cls, secret: SecretSource, *, project_id: str | int) -> ServiceAccount:
        """Take `username:secret` from an object that the workers ask for it, such as one of Beam's `Secret` classes.

        Raises:
          TypeError: it is not such an object.
          ValueError: the project id is not a number.
        """
        account = cls.__new__(cls)
        account._hold(_from_source(secret), project_id)
        return account

    def _hold(self, secret: _Held | _Referenced | _Sourced, project_id: str | int) -> None:
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
        self._secret: _Held | _Referenced | _Sourced = _Held(_check_secret("token", token))

    @classmethod
    def from_reference(cls, reference: str) -> ProjectToken:
        """Name the token by a reference that the workers resolve.

        Raises:
          ValueError: it is no reference.
        """
        token = cls.__new__(cls)
        token._secret = _Referenced(reference)
        return token

    @classmethod
    def from_secret(cls, secret: SecretSource) -> ProjectToken:
        """Take the token from an object that the workers ask for it, such as one of Beam's `Secret` classes.

        Raises:
          TypeError: it is not such an object.
        """
        token = cls.__new__(cls)
        token._secret = _from_source(secret)
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


def _basic(pair: SecretText) -> SecretText:
    return SecretText("Basic " + base64.b64encode(pair.encode()).decode())


def forms_of_secret(sent: str) -> list[SecretText]:
    """Give the forms in which a secret that was sent could be echoed, the longest first.

    Args:
      sent: the header's value, or a token.
    """
    scheme, _, encoded = sent.partition(" ")
    if scheme != "Basic":
        return [SecretText(sent)]
    pair = base64.b64decode(encoded).decode()
    username, _, secret = pair.partition(":")
    return [SecretText(form) for form in (pair, encoded, secret or username)]


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
