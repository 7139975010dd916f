"""The engines that these tests run on: where they are, and how they are started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import apache_beam
import pytest
from apache_beam.runners.portability.prism_runner import PrismRunner

from tests.engines.waiting import await_true

ROOT = Path(__file__).parents[2]
ENGINES = Path(os.environ.get("BEAM_MIXPANEL_ENGINES") or ROOT / ".engines")
REQUIRED = os.environ.get("BEAM_MIXPANEL_REQUIRE_ENGINES") == "1"
CLUSTER = Path(__file__).with_name("flink-conf.yaml")
STARTED_SECS = 60
ENDED = {"FINISHED", "CANCELED", "FAILED"}
"""The states of a job on Flink that it does not leave."""

JAVA = (
    "java",
    "-Xmx1g",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "util", "net", "nio", "time", "io")),
)
"""Java from 16 on keeps its own classes shut, and Flink 1.19 looks into them."""


KEEP_WORKERS = "--environment_cache_millis=60000"
"""Flink in batch ends a worker when a stage is over, and sometimes under a bundle that has just begun."""


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


@contextlib.contextmanager
def _running(
    command: Sequence[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the length of the block; what it says goes to a file."""
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()


def _external(pool: str) -> tuple[str, ...]:
    return "--environment_type=EXTERNAL", f"--environment_config={pool}"


@pytest.fixture(scope="session")
def direct_runner() -> Engine:
    """Beam's own default, which chooses an engine by what the pipeline holds; our launcher's is `FnApiRunner`."""
    return Engine("DirectRunner", apache_beam.__version__, ("--runner=DirectRunner",))


@pytest.fixture(scope="session")
def fn_api_runner() -> Engine:
    return Engine("FnApiRunner", apache_beam.__version__, ("--runner=FnApiRunner",))


@pytest.fixture(scope="session")
def worker_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a pool, a process that starts workers as processes for whoever asks."""
    with _worker_pool(tmp_path_factory.mktemp("pool") / "log", TEST_MIXPANEL_TOKEN="a-token") as address:
        yield address


@contextlib.contextmanager
def _worker_pool(log: Path, **variables: str) -> Iterator[str]:
    """Run a pool whose workers have these variables; give its address."""
    port = _free_port()
    command = (sys.executable, str(Path(__file__).with_name("worker_pool.py")), str(port))
    # The pool runs the `python` that it finds first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)} | variables
    with _running(command, log, environment) as pool:
        _await_port(port, pool, log)
        yield f"localhost:{port}"


@pytest.fixture(scope="session")
def expansion_service(worker_pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of Beam's expansion service, which offers our transforms, to run in workers of the pool."""
    port = _free_port()
    log = tmp_path_factory.mktemp("expansion-service") / "log"
    command = (
        *(sys.executable, "-m", "apache_beam.runners.portability.expansion_service_main", f"--port={port}"),
        *("--fully_qualified_name_glob=beam_mixpanel.yaml.*", *_external(worker_pool)),
    )
    with _running(command, log, os.environ | {"PYTHONPATH": str(ROOT)}) as service:
        _await_port(port, service, log)
        yield f"localhost:{port}"


@pytest.fixture(scope="session")
def portable_runner(worker_pool: str) -> Engine:
    """Beam's embedded job service, with workers from a pool in a process of its own."""
    flags = ("--runner=PortableRunner", "--job_endpoint=embed", *_external(worker_pool))
    return Engine("PortableRunner (embed, EXTERNAL)", apache_beam.__version__, flags)


@pytest.fixture(scope="session")
def prism() -> Iterator[Engine]:
    """Beam's Go runner, which begins with the first pipeline.

    Beam would end it with this process, and not where its temporary folder is gone by then.
    """
    binary = ENGINES / "bin" / "prism"
    if not binary.exists():
        _missing(f"there is no Prism at {binary}")
    version = (ENGINES / "bin" / "prism.version").read_text().strip()
    yield Engine("Prism", version, ("--runner=PrismRunner", f"--prism_location={binary}"))
    server = PrismRunner.shared_handle.acquire(lambda: None)
    if server is not None:
        server.stop()


@pytest.fixture(scope="session")
def job_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of Beam's job service in Python, which takes jobs from any language."""
    port = _free_port()
    log = tmp_path_factory.mktemp("job-service") / "log"
    command = (sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", f"--port={port}")
    with _running(command, log) as server:
        _await_port(port, server, log)
        yield f"localhost:{port}"


@pytest.fixture(scope="session")
def java_example(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the class path of the example in Java, built from what was fetched for it, without a network."""
    repository = ENGINES / "java"
    if not repository.is_dir():
        _missing(f"there are no packages for Java in {repository}")
    if shutil.which("mvn") is None:
        _missing("there is no mvn for Java")
    folder = tmp_path_factory.mktemp("java") / "example"
    shutil.copytree(ROOT / "examples" / "java", folder, ignore=shutil.ignore_patterns("target"))
    command = ("mvn", "-o", "-q", "-B", f"-Dmaven.repo.local={repository}", "package")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return f"{folder}/target/*"


@pytest.fixture(scope="session")
def go_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the example in Go as a program, built from the modules that were fetched for it, without a network."""
    if shutil.which("go") is None:
        _missing("there is no go")
    program = tmp_path_factory.mktemp("go") / "orders_to_mixpanel"
    command = ("go", "build", "-o", str(program), ".")
    environment = os.environ | {"GOPROXY": "off"}
    done = subprocess.run(command, cwd=ROOT / "examples" / "go", env=environment, capture_output=True, text=True)
    if "GOPROXY=off" in done.stderr:
        _missing("there are no modules for Go")
    assert done.returncode == 0, done.stderr
    return program


def _flink_version(flink: Path) -> str:
    def of(jar: str) -> str:
        return next(flink.glob(f"{jar}-[0-9]*.jar")).stem.rpartition("-")[2]

    return f"{of('flink-runtime')}, Beam's runner {of('beam-runners-flink-1.19')}"


@pytest.fixture(scope="session")
def flink_folder() -> Path:
    folder = ENGINES / "flink"
    if not folder.is_dir():
        _missing(f"there is no Flink in {folder}")
    if shutil.which("java") is None:
        _missing("there is no java for Flink")
    return folder


@contextlib.contextmanager
def _job_server(flink: Path, temporary: Path, master: str) -> Iterator[str]:
    """Run Beam's job server for a cluster; give its address."""
    port, log = _free_port(), temporary / "job-server.log"
    command = (
        *(*JAVA, "-cp", f"{flink}/*", "org.apache.beam.runners.flink.FlinkJobServerDriver"),
        *("--job-host=localhost", f"--job-port={port}", "--artifact-port=0", "--expansion-port=0"),
        *(f"--artifacts-dir={temporary}/artifacts", f"--flink-master={master}"),
    )
    with _running(command, log) as server:
        _await_port(port, server, log)
        yield f"localhost:{port}"


@pytest.fixture(scope="session")
def flink_job_service(flink_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of Beam's job server, with a Flink cluster inside."""
    with _job_server(flink_folder, tmp_path_factory.mktemp("flink"), "[local]") as address:
        yield address


@pytest.fixture(scope="session")
def flink(flink_folder: Path, flink_job_service: str) -> Engine:
    flags = ("--runner=PortableRunner", f"--job_endpoint={flink_job_service}", "--environment_type=LOOPBACK")
    return Engine(
        "Flink (embedded, LOOPBACK)", _flink_version(flink_folder), (*flags, "--parallelism=2"), parallelism=2
    )


class FlinkCluster:
    """A JobManager and TaskManagers, each a process; Beam's part is not on their class path, as on a real cluster."""

    def __init__(self, flink: Path, folder: Path, processes: contextlib.ExitStack) -> None:
        self._jars = os.pathsep.join(str(jar) for jar in flink.glob("*.jar") if not jar.name.startswith("beam-"))
        self._folder = folder
        self._processes = processes
        self.port = _free_port()
        self.task_managers: list[subprocess.Popen[bytes]] = []
        self._started = 0
        ports = f"jobmanager.rpc.port: {_free_port()}\nrest.port: {self.port}\n"
        states = f"state.checkpoints.dir: {(folder / 'checkpoints').as_uri()}\n"
        (folder / "flink-conf.yaml").write_text(CLUSTER.read_text() + ports + states)

    def start(self, task_managers: int) -> None:
        manager = self._start("job-manager", "entrypoint.StandaloneSessionClusterEntrypoint")
        _await_port(self.port, manager, self._folder / "job-manager.log")
        await_true("a JobManager that leads", self._leads, STARTED_SECS)
        self.restore(task_managers)

    def _leads(self) -> bool:
        """Tell whether the JobManager, which listens already, knows that it leads: it says 503 till then."""
        try:
            self.ask("overview")
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            return False
        return True

    def _active_jobs(self) -> list[str]:
        return [job["id"] for job in self.ask("jobs")["jobs"] if job["status"] not in ENDED]

    def restore(self, task_managers: int) -> None:
        """End what runs, and start TaskManagers in place of those that were killed."""
        for job in self._active_jobs():
            self.ask(f"jobs/{job}?mode=cancel", method="PATCH")
        self.task_managers = [process for process in self.task_managers if process.poll() is None]
        while len(self.task_managers) < task_managers:
            self.add_task_manager()
        await_true(
            "TaskManagers, and jobs to end",
            lambda: self.ask("overview")["taskmanagers"] == task_managers and not self._active_jobs(),
            STARTED_SECS,
        )

    def add_task_manager(self) -> None:
        self._started += 1
        name = f"task-manager-{self._started}"
        self.task_managers.append(self._start(name, "taskexecutor.TaskManagerRunner"))

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ask Flink's REST interface."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://localhost:{self.port}/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
            return json.load(response)

    def _start(self, name: str, entry: str) -> subprocess.Popen[bytes]:
        command = (*JAVA, "-XX:+UseSerialGC", "-cp", self._jars, f"org.apache.flink.runtime.{entry}")
        command = (*command, "--configDir", str(self._folder))
        return self._processes.enter_context(_running(command, self._folder / f"{name}.log"))


@pytest.fixture(scope="session")
def _flink_cluster(
    flink_folder: Path, worker_pool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, FlinkCluster]]:
    folder = tmp_path_factory.mktemp("flink-cluster")
    with contextlib.ExitStack() as processes:
        cluster = FlinkCluster(flink_folder, folder, processes)
        cluster.start(task_managers=2)
        address = processes.enter_context(_job_server(flink_folder, folder, f"localhost:{cluster.port}"))
        flags = ("--runner=PortableRunner", f"--job_endpoint={address}", *_external(worker_pool), KEEP_WORKERS)
        flags = (*flags, "--parallelism=2")
        yield Engine("Flink (session cluster)", _flink_version(flink_folder), flags, parallelism=2), cluster


@pytest.fixture
def flink_cluster(_flink_cluster: tuple[Engine, FlinkCluster]) -> Iterator[tuple[Engine, FlinkCluster]]:
    """A session cluster with two TaskManagers, and workers from a pool; what a test kills is replaced."""
    yield _flink_cluster
    _flink_cluster[1].restore(task_managers=2)


@pytest.fixture
def flink_processes(flink_cluster: tuple[Engine, FlinkCluster]) -> Engine:
    """The session cluster, for tests that only run something on it."""
    return flink_cluster[0]
