"""Threads that do not keep a process alive."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Calls = SimpleQueue[tuple["Future[Any]", Callable[[], Any]] | None]


class DaemonThreads:
    """Runs calls on threads of its own, as `ThreadPoolExecutor` does, but does not hold up the end of the process.

    A worker whose runner is gone ends. With `ThreadPoolExecutor` Python would first wait for every call, and those
    that repeat a request would do so until their deadline, for a job that nobody watches any more.

    The threads end when the object is no longer used.

    Args:
      most: threads at once; they are started when there is a call for them.
      name: of the threads.
    """

    def __init__(self, most: int, *, name: str) -> None:
        self._most = most
        self._name = name
        self._calls: _Calls = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._started = 0
        weakref.finalize(self, self._calls.put, None)

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run a call on some thread, sooner or later."""
        future: Future[_T] = Future()
        self._calls.put((future, lambda: function(*args, **kwargs)))
        with self._lock:
            if not self._idle.acquire(blocking=False) and self._started < self._most:
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=_serve, args=(self._calls, self._idle), name=name, daemon=True).start()
        return future


def _serve(calls: _Calls, idle: threading.Semaphore) -> None:
    while (call := calls.get()) is not None:
        future, function = call
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - belongs to whoever asks for the result
            future.set_exception(error)
        else:
            future.set_result(result)
        del call, future, function
        idle.release()
    calls.put(None)  # for the next thread
