"""Secrets by reference: named where a job is built, read where they are used.

So no job graph, log, repr or display data holds one:

* `env:NAME`: an environment variable of the process that needs it;
* `file:PATH`: a file's content, without surrounding white space;
* `gcp-secret:projects/P/secrets/S/versions/V`: Google Cloud Secret Manager (needs the extra `gcp`).

A secret that the program gives itself stays in its process: what is pickled is a handle to it.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import uuid
from typing import Final, Protocol, TypeAlias

from beam_mixpanel.core.arguments import check_text, wrong_type
from beam_mixpanel.errors import CredentialsError

__all__ = [
    "HeldSecret",
    "ReferencedSecret",
    "Secret",
    "SecretReference",
    "SecretSource",
    "SecretText",
    "SourcedSecret",
    "check_secret",
    "secret_of",
]

MASKED: Final = "***"
"""What is shown in place of a secret."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GCP_SECRET: Final = re.compile(r"projects/[^/]+/secrets/[^/]+/versions/[^/]+")

_log = logging.getLogger(__name__)
_warned_of: Final[set[str]] = set()


class SecretText(str):
    """A secret that does not show where values are shown: in a repr, or in a traceback with its variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show nothing of it."""
        return MASKED


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


def check_secret(name: str, value: object) -> str:
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


_held: Final[dict[str, SecretText]] = {}
"""The secrets that this program gave, by handle. They are never written down, so only this process has them, and the
processes that it forks."""


class HeldSecret:
    """A secret that the program gave. What is pickled is the handle: neither a job graph nor a worker's disk has it."""

    reference: SecretReference | None = None

    def __init__(self, secret: str) -> None:
        self._handle = uuid.uuid4().hex
        _held[self._handle] = SecretText(secret)

    def resolve(self) -> SecretText:
        """Return it, in the process that was given it.

        Raises:
          CredentialsError: this is another process.
        """
        if self._handle not in _held:
            raise CredentialsError(
                "the secret was given in the program that submitted the job and does not leave its process, but this "
                "worker is another process; use from_reference('env:NAME'), 'file:PATH' or "
                "'gcp-secret:projects/P/secrets/S/versions/V', which each worker reads for itself"
            )
        return _held[self._handle]

    def __repr__(self) -> str:
        """Show nothing of it."""
        return MASKED


class ReferencedSecret:
    """A secret by reference."""

    def __init__(self, reference: str) -> None:
        self.reference: SecretReference | None = SecretReference(reference)
        self.resolve = self.reference.resolve

    def __repr__(self) -> str:
        """Show the reference."""
        return str(self.reference and self.reference.text)


class SourcedSecret:
    """A secret that somebody else's object reads."""

    reference: SecretReference | None = None

    def __init__(self, source: SecretSource) -> None:
        self._source = source

    def resolve(self) -> SecretText:
        """Ask the object for it.

        Raises:
          CredentialsError: it fails, or gives nothing, or no UTF-8 text.
        """
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
        """Show the kind of the object."""
        return type(self._source).__name__


Secret: TypeAlias = HeldSecret | ReferencedSecret | SourcedSecret


def secret_of(source: SecretSource) -> Secret:
    """Take an object that reads a secret; Beam's `RawSecret` holds it, and would be pickled with it."""
    if not hasattr(source, "get_secret_bytes") or isinstance(source, type):
        raise wrong_type("secret", "an object with get_secret_bytes(), such as Beam's GcpSecret", source)
    if type(source).__name__ == "RawSecret":
        text = source.get_secret_bytes().decode(errors="surrogateescape").strip()
        return HeldSecret(check_secret("secret", text))
    return SourcedSecret(source)
