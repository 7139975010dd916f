"""Official and popular clients of Mixpanel run against the emulator, and what they send arrives.

`scripts/fetch-clients` installs them; without it these tests are skipped, and fail in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import pytest

from beam_mixpanel.emulator import Emulator

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "clients"
CLIENTS = Path(os.environ.get("BEAM_MIXPANEL_CLIENTS", ROOT / ".clients"))
HOUR_AGO = int(time.time()) - 3600


@pytest.fixture
def emulator():
    """An emulator whose clock is the system's, as the clients' is."""
    with Emulator(record_bodies=True) as emulator:
        yield emulator


def _required(found: object, what: str) -> None:
    if found:
        return
    reason = f"{what} is not installed; scripts/fetch-clients installs it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _run(command: list[str], **environment: str) -> str:
    """Run a client to its end, without a proxy between it and this machine; return what it printed."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, env=plain | environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _python(script: str, package: str, *arguments: object) -> str:
    _required((CLIENTS / "python" / package).is_dir(), f"PyPI's {package}")
    return _run([sys.executable, str(SCRIPTS / script), *map(str, arguments)], PYTHONPATH=str(CLIENTS / "python"))


def _node(script: Path, package: str, *arguments: object) -> str:
    node = shutil.which("node")
    _required(node and (CLIENTS / "node_modules" / package).is_dir(), f"npm's {package}")
    return _run([str(node), str(script), *map(str, arguments)], NODE_PATH=str(CLIENTS / "node_modules"))


def _names(emulator: Emulator) -> list[str]:
    return sorted(event["event"] for event in emulator.events())


def _requests(emulator: Emulator) -> Counter[tuple[str, str, int]]:
    return Counter((request["method"], request["path"], request["status"]) for request in emulator.requests())


def test_mixpanel_for_python(emulator):
    """PyPI's mixpanel: alone and buffered to /track, to /import by secret and account; profiles are a clear error."""
    printed = _python("mixpanel_python.py", "mixpanel", emulator.url, HOUR_AGO)
    imported = ["import with a secret", "import with an account"]
    assert _names(emulator) == ["buffered 1", "buffered 2", *imported, "track"]
    assert _requests(emulator) == {("POST", "/track", 200): 2, ("POST", "/import", 200): 2}
    [tracked] = [event for event in emulator.events() if event["event"] == "track"]
    assert tracked["properties"]["plan"] == "caf\u00e9 & co"
    assert {event["properties"]["distinct_id"] for event in emulator.events()} == {"ann"}
    assert printed.strip()


def test_mixpanel_utils(emulator, tmp_path):
    """PyPI's mixpanel-utils imports, and exports again what it imported."""
    day = datetime.fromtimestamp(HOUR_AGO, timezone.utc).date()
    file = tmp_path / "export.json"
    _python("mixpanel_utils_python.py", "mixpanel_utils", emulator.url, HOUR_AGO, day, file)
    assert _names(emulator) == ["utils 1", "utils 2"]
    assert sorted(event["event"] for event in json.loads(file.read_text())) == ["utils 1", "utils 2"]
    assert _requests(emulator) == {("POST", "/import", 200): 1}


def test_mixpanel_for_node(emulator):
    """Npm's mixpanel: single events by GET, batches by POST, to /track and /import, by secret and by account."""
    _node(SCRIPTS / "mixpanel_node.js", "mixpanel", emulator.url, HOUR_AGO)
    batches = [f"{kind}_batch {number}" for kind in ("import", "track") for number in (1, 2)]
    assert _names(emulator) == sorted(["import with a secret", "import with an account", "track", *batches])
    assert _requests(emulator) == {
        ("GET", "/track", 200): 1,
        ("GET", "/import", 200): 2,
        ("POST", "/import", 200): 1,
        ("POST", "/track", 200): 1,
    }
    [tracked] = [event for event in emulator.events() if event["event"] == "track"]
    assert tracked["properties"]["plan"] == "caf\u00e9 & co"


def test_mixpanel_import(emulator, tmp_path, event):
    """Npm's mixpanel-import sends a file of 5,000 events, and each arrives once."""
    file = tmp_path / "events.ndjson"
    sent = [event(number, time=HOUR_AGO * 1000) for number in range(5000)]
    file.write_text("".join(json.dumps(one) + "\n" for one in sent))
    _node(ROOT / "benchmarks" / "peers" / "mixpanel_import.js", "mixpanel-import", file, emulator.url)
    arrived = {one["properties"]["$insert_id"]: one["properties"]["distinct_id"] for one in emulator.events()}
    assert arrived == {one["properties"]["$insert_id"]: one["properties"]["distinct_id"] for one in sent}
    assert emulator.stats()["duplicates"] == 0
    assert {key[1:] for key in _requests(emulator)} == {("/import", 200)}
