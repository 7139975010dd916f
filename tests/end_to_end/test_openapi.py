"""Every request of ours fits Mixpanel's OpenAPI file, but for the exceptions that are stated here."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings

from beam_mixpanel import ProjectToken, ServiceAccount
from beam_mixpanel.client.client import MixpanelClient
from beam_mixpanel.client.transport import Answer
from tests import openapi
from tests.end_to_end.test_agreement import ALLOWED, REPAIRED, boundary_lines, prepare

HOST = "https://api.mixpanel.com"

NO_PROJECT = {"query project_id missing"}
"""A project token needs none: https://docs.mixpanel.com/reference/import-events#authentication."""

NO_USER = {"*.properties lacks distinct_id"}
"""Derived from `$user_id` and `$device_id`:
https://docs.mixpanel.com/docs/tracking-methods/id-management/migrating-to-simplified-id-merge-system."""


def _sent(credentials: ProjectToken | ServiceAccount, endpoint: str, bodies: list[bytes]) -> list[set[str]]:
    """Import a batch, and give what of each request does not fit."""
    judged: list[set[str]] = []

    def transport(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        named = {name.lower(): value for name, value in headers.items()}
        judged.append(openapi.objections_to_request("POST", url, named, body))
        return Answer(200, {}, json.dumps({"code": 200, "num_records_imported": len(bodies), "status": 1}).encode())

    MixpanelClient(credentials, host=HOST, endpoint=endpoint, transport=transport).import_batch(bodies)
    return judged


BODIES = [body for text in (*ALLOWED.values(), *REPAIRED.values()) for body in prepare(text).events.bodies]


def test_imports_of_a_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a service account a request fits, but that ids may be derived."""
    monkeypatch.setenv("TEST_ACCOUNT", "user:secret")
    account = ServiceAccount.from_reference("env:TEST_ACCOUNT", project_id="1")
    assert _sent(account, "import", [body for body in BODIES if b"distinct_id" in body]) == [set()]
    [found] = _sent(account, "import", BODIES)
    assert found <= NO_USER


def test_imports_by_project_token(token_reference: str) -> None:
    """With a project token there is no project_id."""
    [found] = _sent(ProjectToken.from_reference(token_reference), "import", BODIES)
    assert NO_PROJECT <= found <= NO_PROJECT | NO_USER


def test_tracking(token_reference: str) -> None:
    """A request to `/track` fits."""
    assert _sent(ProjectToken.from_reference(token_reference), "track", BODIES) == [set()]


@settings(max_examples=200, deadline=None)
@given(boundary_lines())
def test_every_event_fits(text: bytes) -> None:
    """Whatever we read, what we would send of it is an event as the file has it."""
    for body in prepare(text).events.bodies:
        assert openapi.objections_to_event(json.loads(body)) <= NO_USER


@pytest.mark.parametrize(
    ("url", "headers", "body", "objections"),
    [
        ("/import", {}, b"[]", {"query strict missing", "query project_id missing", " minItems"}),
        ("/import?strict=2&project_id=1", {}, b"[{}]", {"query strict", "* lacks event, properties"}),
        ("/track?ip=yes", {"content-type": "text/html"}, b'[{"event":1,"properties":{}}]', None),
        ("/track", {}, b'[{"event":"e","properties":{"time":"x"},"more":1}]', None),
    ],
)
def test_the_judge_objects(url: str, headers: dict[str, str], body: bytes, objections: set[str] | None) -> None:
    """The judge sees what does not fit."""
    found = openapi.objections_to_request("POST", HOST + url, headers, body)
    assert found
    assert objections is None or found == objections
