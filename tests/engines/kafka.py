"""A Kafka of one broker, and Beam's Java side of reading from it: all on loopback, on free ports."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.engines import conftest as engines
from tests.engines.waiting import await_true

_WARN: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/topics
offsets.topic.replication.factor=1
num.partitions=2
"""


class Kafka:
    """A broker that runs.

    Attributes:
      address: of the broker, `HOST:PORT`.
      expansion_service: the address of Beam's expansion service, whose transforms run in a Java worker.
    """

    def __init__(self, jars: Path, address: str, expansion_service: str) -> None:
        self.address = address
        self.expansion_service = expansion_service
        self._jars = jars

    def send(self, topic: str, messages: Iterable[str]) -> None:
        """Write messages to a topic, which is made where there is none, and wait until they are there."""
        command = java(self._jars, "kafka.tools.ConsoleProducer", f"--bootstrap-server={self.address}")
        subprocess.run([*command, f"--topic={topic}"], input="\n".join(messages), text=True, check=True)


def java(jars: Path, *arguments: str, level: str = _WARN) -> tuple[str, ...]:
    """Give a command that runs a class of these packages."""
    return "java", "-Xmx512m", level, "-cp", f"{jars}/*", *arguments


@contextlib.contextmanager
def kafka(jars: Path, folder: Path) -> Iterator[Kafka]:
    """Run a broker, an expansion service and a Java worker pool for the length of the block."""
    with _broker(jars, folder) as address, _worker_pool(jars, folder) as pool:
        main = str(Path(__file__).with_name("LoopbackExpansionService.java"))
        options = ("--defaultEnvironmentType=EXTERNAL", f"--defaultEnvironmentConfig={pool}")
        log = folder / "expansion-service.log"
        with engines._running(java(jars, main, *options), log) as service:
            port = _printed(r"^port (\d+)$", log, service)
            yield Kafka(jars, address, f"localhost:{port}")


@contextlib.contextmanager
def _broker(jars: Path, folder: Path) -> Iterator[str]:
    port = engines._free_port()
    properties = folder / "server.properties"
    properties.write_text(_PROPERTIES.format(port=port, controller=engines._free_port(), folder=folder))
    format_ = java(jars, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", str(properties))
    done = subprocess.run(format_, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    log = folder / "broker.log"
    with engines._running(java(jars, "kafka.Kafka", str(properties)), log) as broker:
        engines._await_port(port, broker, log)
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def _worker_pool(jars: Path, folder: Path) -> Iterator[str]:
    """Run Beam's pool of Java workers, which are threads of one process; give its address."""
    log = folder / "java-pool.log"
    name = "org.apache.beam.fn.harness.ExternalWorkerService"
    command = java(jars, name, level=f"-Dorg.slf4j.simpleLogger.log.{name}=info")
    with engines._running(command, log, os.environ | {"PIPELINE_OPTIONS": '{"options": {}}'}) as pool:
        yield _printed(r"started at address: (\S+)$", log, pool)


def _printed(pattern: str, log: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait until a server says where it listens."""

    def found() -> re.Match[str] | None:
        return re.search(pattern, log.read_text(), re.MULTILINE)

    await_true(f"{pattern} in {log.name}", lambda: bool(found()) or process.poll() is not None, engines.STARTED_SECS)
    match = found()
    assert match, log.read_text()
    return match[1]
