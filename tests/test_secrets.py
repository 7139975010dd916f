"""References to secrets: read where they are needed, and shown nowhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from beam_mixpanel import secrets as secrets_module
from beam_mixpanel.client.credentials import (
    ProjectToken,
    ServiceAccount,
)
from beam_mixpanel.errors import CredentialsError, MixpanelError
from beam_mixpanel.secrets import SecretReference

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
        monkeypatch.setattr(secrets_module, "_has_permission_bits", lambda: False)
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
