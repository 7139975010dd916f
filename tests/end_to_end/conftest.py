"""What end-to-end tests share: the engines that they run on."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar

import pytest
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

SHORT_WAITS = {"FIRST_DELAY_SECS": 0.02, "MIN_JITTER_SECS": 0.02, "MAX_JITTER_SECS": 0.05}
"""For `core.backoff`, whose own are 2 s and more, and 1 to 5 s of jitter: documented, tested with a clock that a test
moves, and too long to sit out for every row of a table."""
WORKER = Path(__file__).with_name("short_waits_worker.py")
WORKER_ENDS_SECS = 15


@pytest.fixture(scope="session")
def short_waits() -> dict[str, float]:
    return SHORT_WAITS


class _WorkerPool(BeamFnExternalWorkerPoolServicer):
    """Beam's, but it waits for each worker to end, as each must once its job is over."""

    workers: ClassVar[dict[str, Popen[bytes]]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._worker_processes = self.workers

    def StartWorker(self, start_worker_request: Any, unused_context: Any) -> Any:
        former = self.workers.get(start_worker_request.worker_id)
        if former:
            former.wait(WORKER_ENDS_SECS)
        return super().StartWorker(start_worker_request, unused_context)


@pytest.fixture(scope="session")
def worker_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a pool that starts a worker process for each job, in the environment of that moment."""
    command = tmp_path_factory.mktemp("workers") / "worker"
    words = [sys.executable, str(WORKER), f"--short_waits={json.dumps(SHORT_WAITS)}"]
    command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    command.chmod(0o755)
    address, server = _WorkerPool.start(use_process=True, container_executable=str(command))
    yield address
    server.stop(0).wait()
    for worker in _WorkerPool.workers.values():
        with worker:
            worker.wait(WORKER_ENDS_SECS)


@pytest.fixture(
    params=[pytest.param(False, id="in-process"), pytest.param(True, id="portable", marks=pytest.mark.portable)]
)
def engine(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Flags for the default runner in this process, or for a job service with a worker process of its own."""
    if not request.param:
        return ()
    pool = request.getfixturevalue("worker_pool")
    return (
        "--runner=PortableRunner",
        "--job_endpoint=embed",
        "--environment_type=EXTERNAL",
        f"--environment_config={pool}",
    )
