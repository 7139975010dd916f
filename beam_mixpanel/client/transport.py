"""One request and its answer, within a time that truly ends."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection

from beam_mixpanel.errors import MixpanelError, NoAnswerError

CONNECT_TIMEOUT_SECS: Final = 10.0
TOTAL_TIMEOUT_SECS: Final = 60.0
_MAX_ANSWER_BYTES: Final = 4_000_000
"""Two thousand failed records are some 400 kB; more than this is no answer of Mixpanel's."""
_WATCH_EVERY_SECS: Final = 0.25


class Answer(NamedTuple):
    """An HTTP answer; header names in lower case, the body whole and decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request; tests pass a function of this form."""

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post the body.

        Raises:
          NoAnswerError: there was no whole answer.
        """


class PooledTransport:
    """Keeps connections open between requests, one a thread; verifies TLS; follows no redirects.

    Proxies, and a CA bundle where none is given, come from the environment (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`), as
    with any program that uses requests. What goes to this machine by `http://` goes there directly.

    Args:
      total_timeout_secs: upper bound on a whole call, from connecting to the last byte of the answer, however slowly
        the server drips it.
      ca_bundle: a file of certificates in PEM form, which are trusted instead of the usual authorities.

    Raises:
      MixpanelError: the bundle cannot be read, or holds no certificate.
    """

    def __init__(self, *, total_timeout_secs: float = TOTAL_TIMEOUT_SECS, ca_bundle: str | None = None) -> None:
        if ca_bundle is not None:
            _check_ca_bundle(ca_bundle)
        self._ca_bundle = ca_bundle
        self._total_timeout_secs = total_timeout_secs
        self._of_thread = threading.local()

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post the body and read the whole answer.

        Raises:
          NoAnswerError: there was none, or not in time.
        """
        with _WATCHDOG.watch(self._total_timeout_secs) as call:
            try:
                answer = self._post(url, headers, body)
                # What was cut within its headers, or has no stated length, looks whole.
                if not call.overran:
                    return answer
                failure = _timeout()
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                failure = _timeout() if call.overran else _no_answer(error)
        # Raised out here, it does not keep the library's error, which holds the request's headers.
        raise failure

    def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self._session(url).post(
            url,
            data=body,
            headers={name: value for name, value in headers.items() if name != "Authorization"},
            auth=_Authorization(headers.get("Authorization")),
            timeout=(min(CONNECT_TIMEOUT_SECS, self._total_timeout_secs), self._total_timeout_secs),
            allow_redirects=False,
            stream=True,
        ) as response:
            lower = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, lower, _read_whole(response.raw))

    def _session(self, url: str) -> requests.Session:
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = _Session()
            # Read once, as requests would; it would do so for each request, which costs a millisecond.
            session.trust_env = False
            session.proxies = _proxies(url)
            session.verify = self._ca_bundle or _ca_bundle()
            session.mount("http://", _WatchedAdapter())
            session.mount("https://", _WatchedAdapter())
        return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: requests would read the redirect's body and prepare to follow it even if told not to."""


def _proxies(url: str) -> dict[str, str]:
    """Read the environment's proxies; none for `http://`, which is for this machine and must not leave it."""
    if urlsplit(url).scheme == "https":
        return requests.utils.get_environ_proxies(url)
    return {}


def _ca_bundle() -> str | bool:
    path = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if path and not os.path.exists(path):
        raise MixpanelError(f"REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names {path}, which does not exist; correct it")
    return path or True


def _check_ca_bundle(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise MixpanelError(
            f"cannot use the CA bundle {path}: {reason}; it must be a PEM file, there on every machine that sends"
        ) from None


def _read_whole(raw: Any) -> bytes:
    parts = []
    size = 0
    for part in raw.stream(65536, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > _MAX_ANSWER_BYTES:
            raise requests.ConnectionError("the answer is too long to be Mixpanel's")
    return b"".join(parts)


def _timeout() -> NoAnswerError:
    return NoAnswerError("timeout", "no whole answer in time")


def _no_answer(error: Exception) -> NoAnswerError:
    """Sort what went wrong; the words are ours, since a library's could hold the URL of a proxy with its password."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
        return _timeout()
    if isinstance(error, requests.exceptions.SSLError):
        return NoAnswerError("tls_failed", "the server's certificate could not be verified, or TLS failed")
    if isinstance(error, (requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL)):
        return NoAnswerError("connection_failed", "cannot connect through the proxy")
    if _is_or_wraps(error, urllib3.exceptions.NewConnectionError):
        return NoAnswerError("connection_failed", "cannot connect to the server")
    if _is_or_wraps(error, (urllib3.exceptions.TimeoutError, TimeoutError)):  # while sending the body
        return _timeout()
    return NoAnswerError("connection_lost", "the connection was lost before the answer was whole")


def _is_or_wraps(error: Exception, kinds: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """Look for an error in another: requests and urllib3 hand on what they caught as an argument, or as the reason."""
    if isinstance(error, kinds):
        return True
    inner = (*error.args, getattr(error, "reason", None))
    return any(isinstance(each, Exception) and _is_or_wraps(each, kinds) for each in inner)


class _Authorization(AuthBase):
    """Sets the header itself, so that a `.netrc` cannot replace it."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value:
            request.headers["Authorization"] = self._value
        return request


class _Call:
    """A call under way: when it must have ended, the connection it runs on, and that connection's socket."""

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.connection: Any = None
        self.sock: Any = None
        self.overran = False

    def cut(self) -> None:
        self.overran = True
        sock = getattr(self.connection, "sock", None) or self.sock
        sock = getattr(sock, "socket", sock)  # TLS within TLS: behind an https:// proxy
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not `SSLSocket.shutdown`: it takes TLS off first, while the call's own thread may be writing.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Watchdog:
    """Cuts the connections of calls that overrun: a socket's own time-out starts anew with each byte."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[_Call] = set()
        self._thread: threading.Thread | None = None
        self.of_thread = threading.local()

    @contextlib.contextmanager
    def watch(self, secs: float) -> Iterator[_Call]:
        call = _Call(time.monotonic() + secs)
        self.of_thread.call = call
        with self._lock:
            self._calls.add(call)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="mixpanel-watchdog", daemon=True)
                self._thread.start()
        try:
            yield call
        finally:
            with self._lock:
                self._calls.discard(call)

    def cut_all(self) -> None:
        with self._lock:
            for call in self._calls:
                call.cut()

    def runs_on(self, connection: Any) -> None:
        """Note what the present thread's call uses; the socket too, which an answer without length takes away."""
        call: _Call = self.of_thread.call
        call.connection = connection
        call.sock = connection.sock

    def _run(self) -> None:
        while True:
            time.sleep(_WATCH_EVERY_SECS)
            now = time.monotonic()
            # Under the lock, so that no call ends meanwhile and leaves its connection to the next.
            with self._lock:
                for call in self._calls:
                    if call.ends_at < now:
                        call.cut()


_WATCHDOG: Final = _Watchdog()


def abandon_requests() -> None:
    """Cut the connections of all requests in flight in this process; each ends with `NoAnswerError`."""
    _WATCHDOG.cut_all()


class _WatchedHTTPConnection(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _WATCHDOG.runs_on(self)
        super().request(*args, **kwargs)

    def getresponse(self) -> Any:
        _WATCHDOG.runs_on(self)
        return super().getresponse()


class _WatchedHTTPSConnection(HTTPSConnection):
    def connect(self) -> None:
        _WATCHDOG.runs_on(self)
        super().connect()

    def request(self, *args: Any, **kwargs: Any) -> None:
        _WATCHDOG.runs_on(self)
        super().request(*args, **kwargs)

    def getresponse(self) -> Any:
        _WATCHDOG.runs_on(self)
        return super().getresponse()


class _WatchedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _WatchedHTTPConnection


class _WatchedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


_POOLS: Final = {"http": _WatchedHTTPPool, "https": _WatchedHTTPSPool}


class _WatchedAdapter(HTTPAdapter):
    """Makes connections that the watchdog knows, through proxies as well."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
