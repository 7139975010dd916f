"""Beam's worker pool with a pool inside for each TaskManager: `python worker_pool.py PORT`.

Flink's TaskManagers name their workers alike (each counts from 1-1), and Beam's pool knows a worker by its name alone.
One pool under two TaskManagers would end the worker of the one when the other asks for it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance


class _PoolPerClient(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Whoever starts a worker stops it on the same connection."""

    def __init__(self) -> None:
        self._pools: defaultdict[str, Any] = defaultdict(
            lambda: BeamFnExternalWorkerPoolServicer(use_process=True, data_buffer_time_limit_ms=-1)
        )

    def StartWorker(self, request: Any, context: Any) -> Any:
        return self._pools[context.peer()].StartWorker(request, context)

    def StopWorker(self, request: Any, context: Any) -> Any:
        return self._pools[context.peer()].StopWorker(request, context)


def run(port: int) -> None:
    """Serve until the process is ended."""
    server = grpc.server(shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_PoolPerClient(), server)
    server.add_insecure_port(f"localhost:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    run(int(sys.argv[1]))
