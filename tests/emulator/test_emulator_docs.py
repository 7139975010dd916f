"""docs/emulator.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from beam_mixpanel.emulator.faults import KINDS, Fault
from beam_mixpanel.emulator.options import EmulatorOptions
from beam_mixpanel.emulator.server import Routes
from beam_mixpanel.emulator.service import Service

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "emulator.md").read_text()
MAX_IMAGE_BYTES = 200_000


def test_all_control_endpoints_are_described() -> None:
    """The table has each method and path under /_emulator/, and no other."""
    service = Service(EmulatorOptions())
    routes = Routes(service).application().routes
    served = {(method, route.path) for route in routes for method in route.methods or () if method != "HEAD"}
    service.close()
    described = set(re.findall(r"^\| `([A-Z]+) (/\S+)` \|", TEXT, re.MULTILINE))
    assert described == {(method, path) for method, path in served if path.startswith("/_emulator/")}


def test_all_failures_and_their_options_are_described() -> None:
    """The table has each kind of failure and each option of it."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|([^|]*)\|$", TEXT, re.MULTILINE)
    described = {kind: set(re.findall(r"`(\w+)`", options)) for kind, options in rows}
    shared = {field.name for field in msgspec.structs.fields(Fault)}
    options = {kind: {field.name for field in msgspec.structs.fields(of)} - shared for kind, of in KINDS.items()}
    assert described == options


@pytest.mark.parametrize("name", re.findall(r"\((images/[^)]+)\)", TEXT))
def test_pictures_are_there_and_light(name: str) -> None:
    """Each picture is a PNG under 200 kB."""
    data = (DOCS / name).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < MAX_IMAGE_BYTES
