"""Where a database is and as whom to read, as a URL that holds a password."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from beam_mixpanel.core.arguments import wrong_type
from beam_mixpanel.errors import DatabaseError
from beam_mixpanel.secrets import SecretReference, SecretText

EMBEDDED: Final = ("sqlite:///", "duckdb:///")
"""How the URLs of databases begin that are files: they hold no password, and may be given as they are."""
_MASKED: Final = "***"
_SHAPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s#%]|%[0-9A-Fa-f]{2})*")
_ALIASES: Final = {"postgres": "postgresql", "mariadb": "mysql"}
_DEFAULT_PORTS: Final = {"postgresql": 5432, "mysql": 3306}
_ADDRESS_KEYS: Final = frozenset(
    ("host", "hostaddr", "port", "dbname", "unix_socket", "service", "service_name", "database", "catalog", "schema")
)
"""Options of drivers that say where the data is; others may be secret, or change without the data."""
_SECRET_KEYS: Final = re.compile("pass|secret|token|key|credential", re.IGNORECASE)


class DatabaseUrl:
    """A URL as SQLAlchemy writes them: `postgresql://user:password@host:port/database?option=value`.

    Args:
      text: the URL; signs such as `@ / # %` in a password are written as `%40 %2F %23 %25`.

    Raises:
      DatabaseError: it has another form. That is checked here, since drivers repeat what they cannot read.
    """

    def __init__(self, text: SecretText) -> None:
        self.text = text
        parts = _split(text)
        if parts is None:
            raise DatabaseError(
                "the connection must have the form postgresql://USER:PASSWORD@HOST:5432/DATABASE; write signs such as "
                "@ : / # % and spaces in user name and password as %40 %3A %2F %23 %25 %20"
            )
        self.scheme = parts.scheme
        self.path = unquote(parts.path.removeprefix("/"))
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self._host, self._port = parts.hostname or "", parts.port
        self.place = f"{parts.scheme}://{_host_and_port(self._host, parts.port)}/{self.path}"
        secrets = [parts.password or "", *(value for key, value in self.query.items() if _SECRET_KEYS.search(key))]
        self._secrets = sorted({form for secret in secrets for form in (secret, unquote(secret)) if form}, key=len)

    def __repr__(self) -> str:
        """Show the place, never user name or password."""
        return f"DatabaseUrl({self.place!r})"

    @property
    def address(self) -> str:
        """Where the data is, the same however the URL is written; without user name or password.

        Of a file, its whole path.
        """
        if self.text.startswith(EMBEDDED):
            return f"{self.scheme}:///{os.path.realpath(self.path)}"
        kind = self.scheme.partition("+")[0]
        kind = _ALIASES.get(kind, kind)
        port = self._port or _DEFAULT_PORTS.get(kind)
        query = urlencode(sorted((key, value) for key, value in self.query.items() if key.lower() in _ADDRESS_KEYS))
        address = f"{kind}://{_host_and_port(self._host, port)}/{self.path}"
        return f"{address}?{query}".removesuffix("?")

    def scrub(self, message: object) -> str:
        """Write a driver's message in one line, without the URL and its secrets."""
        text = str(message).replace(self.text, self.place)
        for secret in reversed(self._secrets):
            text = text.replace(secret, _MASKED)
        return " ".join(text.split())


def _split(text: str) -> SplitResult | None:
    if not _SHAPE.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    user = parts.netloc.rpartition("@")[0]
    if "@" in user or user.count(":") > 1:
        return None
    return parts


class Connection:
    """Names a database without holding its password.

    Args:
      reference: `env:NAME`, `file:PATH` or `gcp-secret:…` of a URL; or the URL itself of SQLite or DuckDB, which are
        files without a password.

    Raises:
      TypeError: it is not text.
      ValueError: it is neither; it is not repeated, since it may hold a password.
    """

    def __init__(self, reference: str) -> None:
        if not isinstance(reference, str):
            raise wrong_type("connection", "a reference to a URL, such as env:NAME, or sqlite:///FILE", reference)
        self._url = reference if reference.startswith(EMBEDDED) else ""
        self.reference = None if self._url else SecretReference(reference)

    def __repr__(self) -> str:
        """Show the reference."""
        return f"Connection({self.shown!r})"

    @property
    def shown(self) -> str:
        """What people may see: the reference, or the file that the URL names, without options, which may be secret."""
        if self.reference:
            return self.reference.text
        return self._url.partition("?")[0]

    def url(self) -> DatabaseUrl:
        """Read the URL, on the machine that connects.

        Raises:
          CredentialsError: there is no such variable, file or secret.
          DatabaseError: it holds no URL.
        """
        return DatabaseUrl(self.reference.resolve() if self.reference else SecretText(self._url))


def _host_and_port(host: str, port: int | None) -> str:
    if port:
        return f"{host}:{port}"
    return host
