"""Threads that do not keep a process alive."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import pytest

from beam_mixpanel.client.threads import DaemonThreads


def _threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def test_calls_give_their_results_and_their_errors() -> None:
    """A future holds what its call returned or raised; a call that fails costs no thread."""
    threads = DaemonThreads(1, name="a-test-of-results")
    failed = threads.submit(int, "x")
    futures = [threads.submit(pow, number, 2) for number in range(20)]
    assert [future.result(5) for future in futures] == [number * number for number in range(20)]
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result(5)
    assert len(_threads("a-test-of-results")) == 1


def test_no_more_threads_than_allowed_and_all_of_them_where_calls_wait() -> None:
    """Calls run on as many threads as are allowed, at once."""
    threads = DaemonThreads(3, name="a-test-of-numbers")
    meeting = threading.Barrier(3)
    for future in [threads.submit(meeting.wait, 5) for _ in range(9)]:
        future.result(5)
    assert len(_threads("a-test-of-numbers")) == 3


def test_an_idle_thread_is_used_before_another_is_started() -> None:
    """Calls one after the other need one thread."""
    threads = DaemonThreads(9, name="a-test-of-idling")
    for _ in range(20):
        assert threads.submit(int, "1").result(5) == 1
        while not threads._idle._value:
            time.sleep(0.001)
    assert len(_threads("a-test-of-idling")) == 1


def test_threads_end_when_nobody_uses_them() -> None:
    """Threads of an object that is gone are gone."""
    threads = DaemonThreads(4, name="a-test-of-ending")
    meeting = threading.Barrier(4)
    for future in [threads.submit(meeting.wait, 5) for _ in range(4)]:
        future.result(5)
    left = _threads("a-test-of-ending")
    del threads, future
    gc.collect()
    for thread in left:
        thread.join(5)
    assert (len(left), [thread for thread in left if thread.is_alive()]) == (4, [])


def test_a_call_that_hangs_does_not_hold_up_the_process() -> None:
    """The process ends although a call has not."""
    script = (
        "import threading; from beam_mixpanel.client.threads import DaemonThreads; begun = threading.Event();"
        "threads = DaemonThreads(1, name='x'); threads.submit(lambda: (begun.set(), threading.Event().wait()));"
        "begun.wait()"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=20).returncode == 0
