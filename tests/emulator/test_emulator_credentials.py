"""Who may import, and how the others are turned away."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from beam_mixpanel.emulator import Emulator

ACCOUNT, PROJECT, TOKEN, LEGACY = (
    "robot.1a2b.mp-service-account:s3cret:with:colons",
    "123",
    "tok3n",
    "legacysecret",
)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Emulator]:
    """An emulator that accepts certain credentials only."""
    secrets = {
        "service_account": ACCOUNT,
        "project_token": TOKEN,
        "project_secret": LEGACY,
        "bearer_token": "oauth",
    }
    with Emulator(project_id=PROJECT, **secrets) as emulator:
        yield emulator


@pytest.mark.parametrize(
    ("authorization", "project_id"),
    [
        (basic(ACCOUNT), PROJECT),
        (f"Basic {ACCOUNT}", PROJECT),
        (f"basic {base64.b64encode(ACCOUNT.encode()).decode()}", PROJECT),
        (basic(TOKEN + ":"), None),
        (basic(TOKEN + ":"), PROJECT),
        (basic(TOKEN), None),
        (basic(LEGACY + ":"), None),
        ("Bearer oauth", PROJECT),
    ],
)
def test_accepted(guarded, send, event, authorization, project_id):
    """Each documented form of the right credentials may import."""
    path = "/import?strict=1" + (f"&project_id={project_id}" if project_id else "")
    assert send(guarded, [event(0)], path, auth=None, headers={"Authorization": authorization}).status_code == 200


@pytest.mark.parametrize(
    ("authorization", "project_id", "error"),
    [
        ("", PROJECT, "Invalid credentials"),
        ("Digest x", PROJECT, "Invalid credentials"),
        ("Basic", PROJECT, "Invalid credentials"),
        ("Basic %%%", PROJECT, "Invalid credentials"),
        ("Bearer other", PROJECT, "Invalid credentials"),
        ("Bearer ", PROJECT, "Invalid credentials"),
        (basic("other:secret"), PROJECT, "Not a valid service account username"),
        (basic(ACCOUNT + "x"), PROJECT, "Invalid credentials"),
        (basic(ACCOUNT), None, "Invalid credentials"),
        (basic(ACCOUNT), "999", "not a project member"),
        (basic("wrong:"), None, "Unauthorized, invalid project secret. See docs for more information: "),
        (basic(LEGACY + ":"), "999", "Credentials in request did not match project_id URL parameter"),
    ],
)
def test_refused(guarded, send, event, authorization, project_id, error):
    """Wrong credentials are a 401 with the text that was observed, and nothing is stored."""
    guarded.reset()
    path = "/import?strict=1" + (f"&project_id={project_id}" if project_id else "")
    answer = send(guarded, [event(0)], path, auth=None, headers={"Authorization": authorization})
    content = answer.json()
    assert (answer.status_code, content["code"], content["status"]) == (401, 401, "Unauthorized")
    assert error in content["error"]
    stats = guarded.stats()
    assert (stats["events_accepted"], stats["refused_by_reason"]) == (0, {content["error"]: 1})


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(basic("any:thing"), 200), (basic("token:"), 200), ("Bearer x", 200), ("", 401), (basic(":"), 401)],
)
def test_any_credentials_by_default(emulator, send, event, authorization, status):
    """An emulator without credentials of its own accepts any that are not empty."""
    headers = {"Authorization": authorization}
    assert send(emulator, [event(0)], "/import?project_id=1", auth=None, headers=headers).status_code == status


@pytest.mark.parametrize("query", ["", "&project_id="])
def test_a_service_account_names_its_project(emulator, send, event, query):
    """A user name with a password, and without project_id, is a 401 though any credentials are accepted."""
    answer = send(emulator, [event(0)], f"/import?strict=1{query}", auth=("user", "secret"))
    assert (answer.status_code, answer.json()["error"]) == (401, "Invalid credentials")


def test_secrets_are_not_shown(guarded, send, event):
    """The record of a request tells the scheme and whether it was accepted, never the credential."""
    guarded.reset()
    send(guarded, [event(0)], auth=None, headers={"Authorization": basic(TOKEN + ":"), "Cookie": "sweet"})
    send(guarded, [event(0)], auth=None, headers={"Authorization": basic("other:")})
    shown = [request["headers"] for request in guarded.requests()]
    assert [headers["authorization"] for headers in shown] == ["Basic (accepted)", "Basic (refused)"]
    assert shown[0]["cookie"] == "(hidden)"


def test_raw_export_needs_credentials(guarded, http):
    """The raw export asks for the same credentials."""
    path = "/api/2.0/export?from_date=2020-01-01&to_date=2020-01-01"
    assert http.get(guarded.url + path).status_code == 401
    assert http.get(guarded.url + path, headers={"Authorization": basic(TOKEN + ":")}).status_code == 200
