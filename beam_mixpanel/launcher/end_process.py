"""The end of a process that ran a job."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import NoReturn

from beam_mixpanel.launcher.verdict import EXIT_FAILED


def end_process(code: int) -> NoReturn:
    """End this process with an exit code, as `sys.exit` does, but wait for no job that was given up.

    Beam's embedded job server cannot cancel a job: its thread would hold an interrupted process until the job ends.
    """
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    if code == EXIT_FAILED and not all(thread.daemon for thread in others):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
