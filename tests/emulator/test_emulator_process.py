"""The command line and the child process: start, line, signals, secrets, end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import time

import pytest

from beam_mixpanel.emulator import EmulatorProcess

COMMAND = [sys.executable, "-m", "beam_mixpanel.emulator"]
READY = "Mixpanel emulator listening on http://127.0.0.1:"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_and_stop(number, send, event):
    """The command says where it listens as soon as it does, and a signal ends it quickly with success."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert line.startswith(READY)
        began = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=5)
    assert (process.returncode, output, errors) == (0, "", "")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "host must be 127.0.0.1 or ::1 (loopback only)"),
        (["--rate-limit", "-1"], "rate_limit must be a positive number"),
        (["--storage", "/proc"], "storage"),
    ],
)
def test_misuse(arguments, message):
    """Arguments that are wrong end with code 2 and say why."""
    done = subprocess.run(COMMAND + arguments, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_taken_port(emulator):
    """A port that is taken ends with code 2 and says so."""
    port = emulator.url.rsplit(":", 1)[1]
    done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False, timeout=10)
    assert (done.returncode, "in use" in done.stderr) == (2, True)


@pytest.mark.parametrize("module", ["starlette", "uvicorn", "msgspec"])
def test_missing_extra(module):
    """Without the extra's packages, the command says how to install them and ends with code 2."""
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "import runpy; runpy.run_module('beam_mixpanel.emulator', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 2
    assert "pip install 'beam-mixpanel[emulator]'" in done.stderr


def test_the_process_is_an_emulator(send, event):
    """EmulatorProcess has the interface of Emulator, over a process of its own."""
    old = [event(number) for number in range(2)]
    with EmulatorProcess(record_bodies=True, rolling_limit=100, latency_ms=1) as emulator:
        assert send(emulator, old + old[:1]).status_code == 200
        assert emulator.events() == old + old[:1]
        assert emulator.events(deduplicated=True) == [old[1], old[0]]
        assert emulator.stats()["limits"]["rolling_limit"] == 100
        assert emulator.requests(bodies=True)[0]["events"] == old + old[:1]
        emulator.add_fault(kind="status", times=1)
        assert send(emulator, old).status_code == 503
        emulator.clear_faults()
        emulator.set_limits(rolling_limit=1)
        assert send(emulator, old).status_code == 429
        emulator.reset()
        assert emulator.events() == []


def test_secrets_travel_by_environment(send, event):
    """A child process knows its credentials, and its command line does not show them."""
    old = [event(0)]
    with EmulatorProcess(service_account="robot:s3cret", project_id="7") as emulator:
        with open(f"/proc/{emulator.pid}/cmdline", "rb") as file:
            assert b"s3cret" not in file.read()
        path = "/import?strict=1&project_id=7"
        assert send(emulator, old, path, auth=("robot", "s3cret")).status_code == 200
        assert send(emulator, old, path, auth=("robot", "wrong")).status_code == 401


def test_credentials_of_the_environment_are_not_inherited(send, event, monkeypatch):
    """An EmulatorProcess without credentials accepts any, whatever the environment says."""
    monkeypatch.setenv("MIXPANEL_EMULATOR_PROJECT_TOKEN", "other")
    with EmulatorProcess() as emulator:
        assert send(emulator, [event(0)]).status_code == 200


def test_nothing_of_the_events_is_printed(send, event):
    """Neither output nor error output holds credentials or properties, also when requests fail."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:

        class Running:
            url = process.stdout.readline().split()[-1]

        send(Running, [event(0, plan="SENSITIVE")], auth=("robot", "SENSITIVE"))
        send(Running, [event(0, time=None, plan="SENSITIVE")], auth=("robot", "SENSITIVE"))
        send(Running, None, data=b"SENSITIVE", auth=("robot", "SENSITIVE"))
        process.terminate()
        output, _ = process.communicate(timeout=5)
    assert output == ""


def test_the_child_ends_with_its_parent(tmp_path):
    """A child process ends when its parent is killed."""
    code = (
        "import json, os, time\nfrom beam_mixpanel.emulator import EmulatorProcess\n"
        "with EmulatorProcess() as e:\n    print(json.dumps(e.pid), flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child = json.loads(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 3
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_running(child)


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_clock_cannot_travel():
    """A clock given to a process is refused with the way to do it."""
    with pytest.raises(ValueError, match="use Emulator"):
        EmulatorProcess(clock=time.time)


def test_stops_quickly_though_requests_hang(send, event):
    """Leaving the context takes less than a second, though a request hangs."""
    import threading

    import requests

    with EmulatorProcess() as emulator:
        emulator.add_fault(kind="hang")

        def post():
            with pytest.raises(requests.ConnectionError):
                requests.post(f"{emulator.url}/import", timeout=10)

        thread = threading.Thread(target=post)
        thread.start()
        while not emulator.stats()["in_flight"]:
            time.sleep(0.005)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    thread.join(2)
    assert not thread.is_alive()


def test_ctrl_c_is_not_for_the_emulator() -> None:
    """It goes to the processes of a terminal's group; the emulator stays until the one who started it ends."""
    with EmulatorProcess() as emulator:
        assert emulator._process is not None
        assert os.getpgid(emulator._process.pid) != os.getpgrp()


def test_kept_connections_are_answered_at_once(emulator, event):
    """No answer on a kept connection waits for the client's delayed acknowledgement (40 ms on Linux)."""
    connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=5)
    body = json.dumps([event()])
    headers = {"Authorization": "Basic dXNlcjo=", "Content-Type": "application/json"}
    secs = []
    with contextlib.closing(connection):
        for _ in range(30):
            began = time.perf_counter()
            connection.request("POST", "/import?strict=1", body, headers)
            assert connection.getresponse().read()
            secs.append(time.perf_counter() - began)
    assert statistics.median(secs) < 0.03
