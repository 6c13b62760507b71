"""The Temporal SDK's runtime: one in each process. It logs in stepgraph's format and lets the process end cleanly."""

from __future__ import annotations

import atexit
import logging
import os
import time

from temporalio.runtime import LoggingConfig, LoggingFormat, Runtime, TelemetryConfig, TelemetryFilter

from stepgraph.temporal.logs import log_format

EXIT_PAUSE_SECONDS = 0.05

_runtimes: dict[int, Runtime] = {}
"""Process id -> runtime. A forked child keeps its parent's, which cannot be closed from there."""


def runtime() -> Runtime:
    """Return this process's runtime. A forked child gets its own, since its parent's threads do not exist there.

    The runtime writes its warnings to standard output, unless this process does not log warnings: a command's output
    must not be mixed with them. Forwarding them to Python's logging is not an option: a process was seen to hang at its
    end with it.
    """
    current_runtime = _runtimes.get(os.getpid())
    if current_runtime is None:
        current_runtime = _runtimes[os.getpid()] = Runtime(
            telemetry=TelemetryConfig(
                logging=LoggingConfig(
                    filter=TelemetryFilter(core_level="WARN", other_level="ERROR") if _logs_warnings() else "off",
                    format=LoggingFormat.JSON if log_format() == "json" else None,
                )
            )
        )
    return current_runtime


def _logs_warnings() -> bool:
    return logging.getLogger("temporalio").isEnabledFor(logging.WARNING)


@atexit.register
def _wait_for_runtime_threads() -> None:
    """Wait until the runtime's threads have left the interpreter, before it is finalized.

    A process that ends within microseconds of the server's last answer was aborted one time in three without this: the
    thread that brought the answer was still inside the interpreter.
    """
    if os.getpid() in _runtimes:
        time.sleep(EXIT_PAUSE_SECONDS)
