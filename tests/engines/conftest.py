"""The engines that these tests run on: where they are, and how they are started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import apache_beam
import pytest

ROOT = Path(__file__).parents[2]
ENGINES = Path(os.environ.get("BEAM_MIXPANEL_ENGINES") or ROOT / ".engines")
REQUIRED = os.environ.get("BEAM_MIXPANEL_REQUIRE_ENGINES") == "1"
STARTED_SECS = 60
JAVA = (
    "java",
    "-Xmx1g",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "util", "net", "nio", "time", "io")),
)
"""Java from 16 on keeps its own classes shut, and Flink 1.19 looks into them."""


class Engine(NamedTuple):
    """What to run a pipeline on.

    Attributes:
      name: for people.
      version: the runner's own.
      flags: what names it on a command line.
      parallelism: how many tasks it runs side by side.
    """

    name: str
    version: str
    flags: tuple[str, ...]
    parallelism: int = 1


def _missing(why: str) -> NoReturn:
    """Skip the test, or fail it where engines are required."""
    why = f"{why}; see scripts/fetch-engines"
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server listens; fail with its words if it ends or takes too long."""
    until = time.monotonic() + STARTED_SECS
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def direct_runner() -> Engine:
    """Beam's own default, which chooses an engine by what the pipeline holds; our launcher's is `FnApiRunner`."""
    return Engine("DirectRunner", apache_beam.__version__, ("--runner=DirectRunner",))


@pytest.fixture(scope="session")
def fn_api_runner() -> Engine:
    return Engine("FnApiRunner", apache_beam.__version__, ("--runner=FnApiRunner",))


@pytest.fixture(scope="session")
def portable_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Beam's embedded job service, with workers from a pool in a process of its own."""
    port = _free_port()
    log = tmp_path_factory.mktemp("pool") / "log"
    command = (sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}")
    # The pool runs the `python` that it finds first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "TEST_MIXPANEL_TOKEN": "a-token"}
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as pool:
        try:
            _await_port(port, pool, log)
            yield Engine(
                "PortableRunner (embed, EXTERNAL)",
                apache_beam.__version__,
                (
                    *("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL"),
                    f"--environment_config=localhost:{port}",
                ),
            )
        finally:
            pool.terminate()


@pytest.fixture(scope="session")
def prism() -> Engine:
    """Beam's Go runner, which starts and ends with the pipeline."""
    binary = ENGINES / "bin" / "prism"
    if not binary.exists():
        _missing(f"there is no Prism at {binary}")
    version = (ENGINES / "bin" / "prism.version").read_text().strip()
    return Engine("Prism", version, ("--runner=PrismRunner", f"--prism_location={binary}"))


def _flink_version(flink: Path) -> str:
    def of(jar: str) -> str:
        return next(flink.glob(f"{jar}-[0-9]*.jar")).stem.rpartition("-")[2]

    return f"{of('flink-runtime')}, Beam's runner {of('beam-runners-flink-1.19')}"


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Beam's job server, with a Flink cluster inside."""
    folder = ENGINES / "flink"
    if not folder.is_dir():
        _missing(f"there is no Flink in {folder}")
    if shutil.which("java") is None:
        _missing("there is no java for Flink")
    temporary = tmp_path_factory.mktemp("flink")
    port, log = _free_port(), temporary / "log"
    command = (
        *(*JAVA, "-cp", f"{folder}/*", "org.apache.beam.runners.flink.FlinkJobServerDriver"),
        *("--job-host=localhost", f"--job-port={port}", "--artifact-port=0", "--expansion-port=0"),
        *(f"--artifacts-dir={temporary}/artifacts", "--flink-master=[local]"),
    )
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            _await_port(port, server, log)
            yield Engine(
                "Flink (embedded, LOOPBACK)",
                _flink_version(folder),
                (
                    *("--runner=PortableRunner", f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"),
                    "--parallelism=2",
                ),
                parallelism=2,
            )
        finally:
            server.terminate()
