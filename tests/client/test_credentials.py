"""Credentials by reference, and the hosts they may be sent to: no secret shows, and no plain `http://` leaves."""

from __future__ import annotations

import base64
import copy
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from beam_mixpanel.client import credentials as credentials_module
from beam_mixpanel.client.credentials import (
    REGION_HOSTS,
    Credentials,
    ProjectToken,
    SecretReference,
    ServiceAccount,
    is_mixpanel_host,
    resolve_host,
)
from beam_mixpanel.errors import CredentialsError, MixpanelError

SECRET = "pl4in-s3cret"
VARIABLE = "TEST_MIXPANEL_SECRET"


class _GoogleAPIError(Exception):
    pass


class _GoogleAuthError(Exception):
    pass


class _SecretManager:
    """Stands in for Google's library, which is an extra."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.payload: Any = None
        self.error: type[Exception] | None = None

    def access_secret_version(self, *, name: str) -> Any:
        self.asked.append(name)
        if self.error:
            raise self.error
        return self


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> _SecretManager:
    """Google's library as installed, with a client that a test directs."""
    manager = _SecretManager()
    library = {
        "google.cloud": {"secretmanager": SimpleNamespace(SecretManagerServiceClient=lambda: manager)},
        "google.api_core.exceptions": {"GoogleAPIError": _GoogleAPIError},
        "google.auth.exceptions": {"GoogleAuthError": _GoogleAuthError},
    }
    for name, content in library.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return manager


def _decode(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(encoded).decode()


class TestSecretReference:
    def test_env_is_read_when_it_is_needed(self, monkeypatch):
        """`env:` names a variable; it is read at the time of use, without white space around it."""
        reference = SecretReference(f"env:{VARIABLE}")
        monkeypatch.setenv(VARIABLE, f" {SECRET}\n")
        assert reference.resolve() == SECRET

    @pytest.mark.parametrize("content", [SECRET.encode(), f"\n {SECRET}\r\n".encode(), f"\ufeff{SECRET}\n".encode()])
    def test_file_is_read_without_white_space_or_byte_order_mark(self, tmp_path, content):
        """`file:` names a file, however an editor has ended or begun it."""
        path = tmp_path / "secret"
        path.write_bytes(content)
        assert SecretReference(f"file:{path}").resolve() == SECRET

    def test_a_variable_that_is_not_set(self, monkeypatch):
        """The error names the variable."""
        monkeypatch.delenv(VARIABLE, raising=False)
        with pytest.raises(CredentialsError, match=f"{VARIABLE} is not set"):
            SecretReference(f"env:{VARIABLE}").resolve()

    @pytest.mark.parametrize("value", ["", " \n"])
    def test_an_empty_secret(self, monkeypatch, tmp_path, value):
        """An empty variable or file is an error that names it, not an empty password."""
        monkeypatch.setenv(VARIABLE, value)
        path = tmp_path / "secret"
        path.write_text(value)
        for reference in (f"env:{VARIABLE}", f"file:{path}"):
            with pytest.raises(CredentialsError, match="is empty") as caught:
                SecretReference(reference).resolve()
            assert reference in str(caught.value)

    def test_a_file_that_cannot_be_read(self, tmp_path):
        """The error names the file and what is wrong with it."""
        with pytest.raises(CredentialsError, match=r"no-such-file: No such file"):
            SecretReference(f"file:{tmp_path}/no-such-file").resolve()
        with pytest.raises(CredentialsError, match="Is a directory"):
            SecretReference(f"file:{tmp_path}").resolve()

    @pytest.mark.skipif(os.name != "posix", reason="files have no such bits here")
    @pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
    def test_a_file_that_others_can_read_draws_a_warning_once(self, tmp_path, caplog, mode, warns):
        """The warning names the file and the cure, not the secret, and comes once however often it is read."""
        path = tmp_path / "secret"
        path.write_text(SECRET)
        path.chmod(mode)
        for _ in range(2):
            assert SecretReference(f"file:{path}").resolve() == SECRET
        assert [record.getMessage().count(f"chmod 600 {path}") for record in caplog.records] == [1] * warns
        assert SECRET not in caplog.text

    def test_no_warning_where_files_have_no_such_bits(self, tmp_path, caplog, monkeypatch):
        """Elsewhere than on POSIX the bits say nothing."""
        path = tmp_path / "secret"
        path.write_text(SECRET)
        path.chmod(0o644)
        monkeypatch.setattr(credentials_module, "_has_permission_bits", lambda: False)
        assert SecretReference(f"file:{path}").resolve() == SECRET
        assert caplog.records == []

    def test_a_variable_that_is_no_text_is_not_repeated(self, monkeypatch):
        """A variable that is not UTF-8 is refused when it is read, without its content."""
        monkeypatch.setitem(os.environb, VARIABLE.encode(), f"a:{SECRET}".encode() + b"\xff")
        account = ServiceAccount.from_reference(f"env:{VARIABLE}", project_id=1)
        with pytest.raises(CredentialsError, match="not UTF-8") as caught:
            account.authorization()
        assert SECRET not in f"{caught.value} {caught.value.__context__!r}"

    def test_a_file_that_is_no_text_is_not_repeated(self, tmp_path):
        """A file that is not UTF-8 is refused; its content is neither in the error nor in what the error holds."""
        path = tmp_path / "secret"
        path.write_bytes(SECRET.encode() + b"\xff")
        with pytest.raises(CredentialsError, match="not UTF-8") as caught:
            SecretReference(f"file:{path}").resolve()
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None

    @pytest.mark.parametrize(
        "text",
        [
            SECRET,
            f"a-user:{SECRET}",
            f"ENV:{SECRET}",
            f"env:a-user:{SECRET}",
            f"env:{SECRET}",
            f"env:a.user.mp-service-account:{SECRET}",
            f"gcp-secret:{SECRET}",
            f"gcp-secret:a-user:{SECRET}",
            f"https://{SECRET}",
            "",
            "env:",
            "file:",
            "env:$NAME",
        ],
    )
    @pytest.mark.parametrize(
        "use",
        [
            SecretReference,
            ProjectToken.from_reference,
            lambda text: ServiceAccount.from_reference(text, project_id=1),
        ],
    )
    def test_a_plain_secret_is_refused_without_being_repeated(self, text, use: Callable[[str], object]):
        """What is no reference is refused with the forms that are, also where a shell put the secret after `env:`."""
        with pytest.raises(ValueError, match=r"env:NAME|projects/P/secrets/S/versions/V") as caught:
            use(text)
        assert SECRET not in str(caught.value)
        assert caught.value.__context__ is None

    @pytest.mark.parametrize(
        ("text", "is_local"),
        [("env:NAME", True), ("file:/run/secret", True), ("gcp-secret:projects/p/secrets/s/versions/latest", False)],
    )
    def test_only_cloud_secrets_can_be_resolved_anywhere(self, text, is_local):
        """`env:` and `file:` are of one machine."""
        reference = SecretReference(text)
        assert reference.is_local == is_local
        assert repr(reference) == f"SecretReference({text!r})"

    def test_a_cloud_secret_without_googles_client_names_the_extra(self):
        """Without Google's client the error says what to install."""
        try:
            import google.cloud.secretmanager  # noqa: F401
        except ImportError:
            with pytest.raises(CredentialsError, match=r"beam-mixpanel\[gcp\]"):
                SecretReference("gcp-secret:projects/p/secrets/s/versions/1").resolve()
        else:
            pytest.skip("Google's client is installed")

    def test_a_cloud_secret_is_read(self, google):
        """With Google's client, the named version is read, without white space around it."""
        google.payload = SimpleNamespace(data=f"{SECRET}\n".encode())
        assert SecretReference("gcp-secret:projects/p/secrets/s/versions/1").resolve() == SECRET
        assert google.asked == ["projects/p/secrets/s/versions/1"]

    @pytest.mark.parametrize("error", [_GoogleAPIError, _GoogleAuthError])
    def test_a_cloud_secret_that_cannot_be_read_names_the_cure(self, google, error):
        """What Google refuses is an error of ours, with the role that the worker needs."""
        google.error = error
        with pytest.raises(CredentialsError, match=rf"versions/1 \({error.__name__}\).*Secret Manager Secret Accessor"):
            SecretReference("gcp-secret:projects/p/secrets/s/versions/1").resolve()

    def test_errors_belong_to_the_family(self):
        """Whoever catches the package's errors catches these."""
        assert issubclass(CredentialsError, MixpanelError)


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
