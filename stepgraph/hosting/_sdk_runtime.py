"""The Temporal SDK's runtime: one in each process. It logs in stepgraph's format and lets the process end cleanly."""

from __future__ import annotations

import atexit
import logging
import os
import time

from temporalio.runtime import LoggingConfig, LoggingFormat, Runtime, TelemetryConfig, TelemetryFilter

from stepgraph.errors import StepgraphError
from stepgraph.temporal.logs import log_format

EXIT_PAUSE_SECONDS = 0.05

_runtime: Runtime | None = None
_runtime_pid = 0
"""The process that made the runtime. A forked child keeps its parent's, which cannot be closed from there."""


def runtime() -> Runtime:
    """Return this process's runtime.

    The runtime writes its warnings to standard output, unless this process does not log warnings: a command's output
    must not be mixed with them. Forwarding them to Python's logging is not an option: a process was seen to hang at its
    end with it.

    Raises:
        StepgraphError: this process was forked from one that had a runtime. What the runtime's threads waited for stays
            as it was in the child, where these threads do not exist. A second runtime there was seen to end three of
            fifty processes by a segmentation fault.
    """
    global _runtime, _runtime_pid
    if _runtime is None:
        _runtime, _runtime_pid = _new_runtime(), os.getpid()
    if _runtime_pid != os.getpid():
        raise StepgraphError(
            f"Process {os.getpid()} was forked after process {_runtime_pid} had connected to Temporal, and Temporal's "
            "SDK does not survive a fork. Start the process by multiprocessing.get_context('spawn'), or fork before "
            "the first call.",
            pid=os.getpid(),
        )
    return _runtime


def _new_runtime() -> Runtime:
    return Runtime(
        telemetry=TelemetryConfig(
            logging=LoggingConfig(
                filter=TelemetryFilter(core_level="WARN", other_level="ERROR") if _logs_warnings() else "off",
                format=LoggingFormat.JSON if log_format() == "json" else None,
            )
        )
    )


def _logs_warnings() -> bool:
    return logging.getLogger("temporalio").isEnabledFor(logging.WARNING)


@atexit.register
def _wait_for_runtime_threads() -> None:
    """Wait until the runtime's threads have left the interpreter, before it is finalized.

    A process that ends within microseconds of the server's last answer was aborted one time in three without this: the
    thread that brought the answer was still inside the interpreter.
    """
    if os.getpid() == _runtime_pid:
        time.sleep(EXIT_PAUSE_SECONDS)
