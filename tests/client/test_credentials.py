"""Credentials by reference, and the hosts they may be sent to: no secret shows, and no plain `http://` leaves."""

from __future__ import annotations

import base64
import copy
import pickle
import subprocess
import sys
import traceback
from typing import Any

import pytest

from beam_mixpanel.client.credentials import (
    REGION_HOSTS,
    Credentials,
    ProjectToken,
    ServiceAccount,
    credentials_of,
    is_mixpanel_host,
    resolve_host,
)
from beam_mixpanel.errors import CredentialsError

SECRET = "pl4in-s3cret"
VARIABLE = "TEST_MIXPANEL_SECRET"


def _decode(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(encoded).decode()


class TestServiceAccount:
    def test_header_and_query(self):
        """User name and secret go into the header, the project id into the query, in whatever type it is given."""
        for project_id in (123, "123", " 123 "):
            account = ServiceAccount("a-user", "a:b", project_id=project_id)
            assert _decode(account.authorization()) == "a-user:a:b"
            assert account.query == {"project_id": "123"}
            assert account.project_token() is None
            assert account.reference is None

    def test_text_beyond_ascii_is_sent_as_utf_8(self):
        """A secret of any letters has a header."""
        assert _decode(ServiceAccount("a", "é☂", project_id=1).authorization()) == "a:é☂"

    @pytest.mark.parametrize("project_id", ["", "abc", "12 3", "-1", "1.5", "١٢٣", "²", None])
    def test_a_project_id_is_a_number(self, project_id):
        """Anything but ASCII digits is refused, with what is expected; not repeated: it may be a token."""
        with pytest.raises((TypeError, ValueError), match="the project's number") as caught:
            ServiceAccount("a", "b", project_id=project_id)
        assert not project_id or repr(project_id) not in str(caught.value)
        with pytest.raises((TypeError, ValueError), match="the project's number"):
            ServiceAccount.from_reference("env:A", project_id=project_id)

    @pytest.mark.parametrize(("username", "secret"), [("", SECRET), ("a-user", ""), ("a-user", None)])
    def test_nothing_may_be_empty(self, username, secret):
        """An empty user name or secret is found when it is given, not by a 401."""
        with pytest.raises((TypeError, ValueError), match=r"empty|must be text") as caught:
            ServiceAccount(username, secret, project_id=1)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("value", [SECRET, f":{SECRET}", f"{SECRET}:"])
    def test_a_reference_must_name_user_and_secret(self, monkeypatch, value):
        """What is behind the reference must have the form; the error names the reference, not what it holds."""
        monkeypatch.setenv(VARIABLE, value)
        account = ServiceAccount.from_reference(f"env:{VARIABLE}", project_id=1)
        with pytest.raises(CredentialsError, match=f"env:{VARIABLE} must have the form username:secret") as caught:
            account.authorization()
        assert SECRET not in str(caught.value)

    def test_a_reference_is_resolved(self, monkeypatch):
        """A good reference gives the header."""
        monkeypatch.setenv(VARIABLE, f"a-user:{SECRET}")
        account = ServiceAccount.from_reference(f"env:{VARIABLE}", project_id=1)
        assert _decode(account.authorization()) == f"a-user:{SECRET}"


class TestProjectToken:
    def test_token_as_user_name(self):
        """A token is the user name, with an empty password, and names the project by itself."""
        token = ProjectToken(SECRET)
        assert _decode(token.authorization()) == f"{SECRET}:"
        assert (token.query, token.project_token(), token.reference) == ({}, SECRET, None)

    @pytest.mark.parametrize("token", ["", None])
    def test_it_may_not_be_empty(self, token):
        """An empty token is found when it is given."""
        with pytest.raises((TypeError, ValueError), match=r"empty|must be text"):
            ProjectToken(token)


def _all_credentials() -> list[Credentials]:
    return [
        ServiceAccount("a-user", SECRET, project_id=1),
        ProjectToken(SECRET),
        ServiceAccount.from_reference(f"env:{VARIABLE}", project_id=1),
        ProjectToken.from_reference(f"env:{VARIABLE}"),
    ]


class TestSecrecy:
    @pytest.mark.parametrize("credentials", _all_credentials(), ids=range(4))
    def test_no_secret_in_text(self, monkeypatch, credentials):
        """Neither repr nor str nor a format shows the secret, before or after it was used."""
        monkeypatch.setenv(VARIABLE, f"a-user:{SECRET}")
        credentials.authorization()
        assert SECRET not in f"{credentials} {credentials!r} {[credentials]} {vars(credentials)}"

    @pytest.mark.parametrize("credentials", _all_credentials()[2:], ids=range(2))
    def test_a_pickled_reference_holds_no_secret(self, monkeypatch, credentials):
        """What travels to the workers is the reference, also after the secret was read here; there it is read anew."""
        monkeypatch.setenv(VARIABLE, f"a-user:{SECRET}")
        before = credentials.authorization()
        pickled = pickle.dumps(credentials)
        assert SECRET.encode() not in pickled
        monkeypatch.setenv(VARIABLE, "another:secret")
        copy: Credentials = pickle.loads(pickled)
        assert repr(copy) == repr(credentials)
        assert copy.authorization() != before

    @pytest.mark.parametrize("credentials", _all_credentials()[:2], ids=range(2))
    def test_a_secret_given_in_the_program_is_not_pickled(self, credentials):
        """What is pickled finds the secret in this process, as in-process runners do; it does not hold it."""
        pickled = pickle.dumps(credentials)
        assert SECRET.encode() not in pickled
        assert pickle.loads(pickled).authorization() == copy.deepcopy(credentials).authorization()
        assert pickle.loads(pickled).authorization() == credentials.authorization()

    @pytest.mark.parametrize("credentials", _all_credentials()[:2], ids=range(2))
    def test_a_secret_given_in_the_program_does_not_leave_its_process(self, credentials):
        """In another process it is an error that names the cure; in a forked one it is there."""
        use = "import pickle, sys; pickle.load(sys.stdin.buffer).authorization()"
        other = subprocess.run([sys.executable, "-c", use], input=pickle.dumps(credentials), capture_output=True)
        assert "CredentialsError" in other.stderr.decode()
        assert "use from_reference" in other.stderr.decode()

    def test_no_secret_in_the_variables_of_a_traceback(self, monkeypatch):
        """A traceback that shows all variables, as error trackers send it, does not show what was resolved."""
        monkeypatch.setenv(VARIABLE, f"{SECRET}:")
        for credentials in (
            ServiceAccount.from_reference(f"env:{VARIABLE}", project_id=1),
            ServiceAccount.from_secret(_Source(f"{SECRET}:".encode()), project_id=1),
        ):
            with pytest.raises(CredentialsError) as caught:
                credentials.authorization()
            shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
            assert "username:secret" in shown
            assert "pair = ***" in shown
            assert f"{SECRET}:" not in shown.replace(f"_Source({SECRET}", "")


class _Source:
    """Stands in for a class such as Beam's `GcpSecret`."""

    def __init__(self, secret: bytes | None) -> None:
        self._secret = secret

    def get_secret_bytes(self) -> bytes:
        if self._secret is None:
            raise RuntimeError("Failed to retrieve secret bytes")
        return self._secret


class RawSecret(_Source):
    """Stands in for Beam's class of this name, which holds the secret itself."""


class TestSecretSources:
    def test_the_source_is_asked_when_the_secret_is_needed(self):
        """An object such as Beam's `GcpSecret` travels as it is, and is named, not shown."""
        account = ServiceAccount.from_secret(_Source(f"a-user:{SECRET}\n".encode()), project_id=1)
        token = ProjectToken.from_secret(_Source(SECRET.encode()))
        assert _decode(pickle.loads(pickle.dumps(account)).authorization()) == f"a-user:{SECRET}"
        assert token.project_token() == SECRET
        assert (repr(account), repr(token)) == ("ServiceAccount(_Source, project_id='1')", "ProjectToken(_Source)")
        assert account.reference is token.reference is None

    def test_a_raw_secret_is_held(self):
        """Beam's `RawSecret` would be pickled with its secret; it is held in this process instead."""
        token = ProjectToken.from_secret(RawSecret(SECRET.encode()))
        assert SECRET.encode() not in pickle.dumps(token)
        assert token.project_token() == SECRET

    def test_beams_own_class_serves(self):
        """It is Beam's class that is meant."""
        secrets = pytest.importorskip("apache_beam.utils.secret", reason="Beam has none before 2.75")
        token = ProjectToken.from_secret(secrets.RawSecret(SECRET))
        assert SECRET.encode() not in pickle.dumps(token)
        assert token.project_token() == SECRET

    @pytest.mark.parametrize("secret", [None, b"", b" \n", b"\xff"])
    def test_a_source_that_gives_none_is_named(self, secret):
        """The error names the class, and nothing of what it read."""
        with pytest.raises(CredentialsError, match="_Source"):
            ProjectToken.from_secret(_Source(secret)).authorization()

    @pytest.mark.parametrize("use", [ProjectToken.from_secret, lambda it: ServiceAccount.from_secret(it, project_id=1)])
    def test_what_is_no_source_is_refused(self, use):
        """A text is not, since it could be the secret; it is not repeated."""
        with pytest.raises(TypeError, match="GcpSecret") as caught:
            use(SECRET)
        assert SECRET not in str(caught.value)


class TestHosts:
    @pytest.mark.parametrize(
        ("region", "host"),
        [
            ("us", "https://api.mixpanel.com"),
            ("eu", "https://api-eu.mixpanel.com"),
            ("in", "https://api-in.mixpanel.com"),
        ],
    )
    def test_regions(self, region, host):
        """Each region has its host."""
        assert resolve_host(region) == host
        assert is_mixpanel_host(host)
        assert region in REGION_HOSTS

    def test_an_unknown_region_is_refused_with_the_known_ones(self):
        """The error says which regions there are."""
        with pytest.raises(ValueError, match="`region` must be one of us, eu, in, got 'mars'"):
            resolve_host("mars")

    @pytest.mark.parametrize(
        "host",
        [
            "http://localhost",
            "http://localhost:8080",
            "http://LOCALHOST:8080",
            "http://127.0.0.1:9",
            "http://[::1]",
            "http://[::1]:8080",
            "https://proxy.example.com",
            "https://proxy.example.com:8443/mixpanel",
        ],
    )
    def test_own_hosts(self, host):
        """`https://` to anywhere, `http://` to this machine."""
        assert resolve_host("us", host) == host
        assert resolve_host("us", f"{host}/") == host
        assert not is_mixpanel_host(host)

    @pytest.mark.parametrize(
        "host",
        [
            "http://api.mixpanel.com",
            "HTTP://api.mixpanel.com",
            "http://127.0.0.1.evil.com",
            "http://localhost.evil.com",
            "http://127.0.0.1\\.evil.com",
            "http://127.0.0.1;evil.com",
            "http://[::2]",
            "http://[::ffff:10.0.0.1]",
            "http://10.0.0.1",
            "http://0.0.0.0",
        ],
    )
    def test_credentials_never_go_in_the_clear(self, host):
        """`http://` to another machine, however it is dressed up, is refused with the cure."""
        with pytest.raises(ValueError, match=r"in the clear; use https://"):
            resolve_host("us", host)

    @pytest.mark.parametrize(
        "host",
        [
            f"https://a-user:{SECRET}@host",
            f"https://{SECRET}@host",
            f"a-user:{SECRET}@host",
            f"http://127.0.0.1@{SECRET}.com",
            f"https://:@{SECRET}",
            f"https://host?token={SECRET}",
            f"https://host/#{SECRET}",
        ],
    )
    def test_a_host_holds_no_credentials(self, host):
        """A URL with credentials, or room for them, is refused without being repeated."""
        with pytest.raises(ValueError, match="neither credentials nor a query") as caught:
            resolve_host("us", host)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        "host", ["", "localhost:8080", "api.mixpanel.com", "ftp://host", "https://", "https:///x", "https://h:x"]
    )
    def test_what_is_no_url_is_refused(self, host):
        """The error repeats it and says what a URL looks like."""
        with pytest.raises(ValueError, match=r"api_host.*https://HOST"):
            resolve_host("us", host)

    @pytest.mark.parametrize("host", ["https://h:99999", "https://[::1"])
    def test_a_url_that_cannot_be_taken_apart_is_refused(self, host):
        """A port or address that is none is an error now, not at the first request."""
        with pytest.raises(ValueError, match="api_host"):
            resolve_host("us", host)

    @pytest.mark.parametrize("host", ["https://evilmixpanel.com", "https://mixpanel.com.evil.com", "https://[::1]"])
    def test_only_mixpanels_own_hosts_are_its(self, host):
        """A name that only looks like Mixpanel's is not."""
        assert not is_mixpanel_host(host)


NOTHING: dict[str, Any] = {"service_account": None, "project_token": None, "project_id": None}


class TestCredentialsOfOptions:
    """One place makes credentials of options, keys and flags; a message writes names as the reader wrote them."""

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "no credentials: give --service_account with --project_id, or --project_token"),
            ({"project_id": 1}, "no credentials"),
            ({"service_account": "env:A"}, "--service_account needs --project_id"),
            ({"service_account": "env:A", "project_token": "env:B"}, "--service_account or --project_token, not both"),
            ({"project_token": "env:B", "project_id": 1}, "--project_id has no effect beside --project_token"),
            ({"service_account": SECRET, "project_id": 1}, "--service_account: expected a reference"),
            ({"service_account": "env:A", "project_id": SECRET}, "the project's number"),
            ({"project_token": SECRET}, "--project_token: expected a reference"),
            ({"project_token": ""}, "--project_token: expected a reference"),
        ],
    )
    def test_what_is_missing_double_or_without_effect_is_refused(self, given, message):
        with pytest.raises(ValueError, match=message) as refused:
            credentials_of(**NOTHING | given, written="--{}")
        assert SECRET not in str(refused.value)

    def test_references_make_credentials(self):
        account = credentials_of(**NOTHING | {"service_account": "env:A", "project_id": 7})
        assert repr(account) == repr(ServiceAccount.from_reference("env:A", project_id=7))
        token = credentials_of(**NOTHING | {"project_token": "env:B"})
        assert repr(token) == repr(ProjectToken.from_reference("env:B"))
