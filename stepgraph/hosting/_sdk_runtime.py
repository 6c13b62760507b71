"""The SDK's runtime: one a process, with its own log lines in the format of ours, and a safe end."""

from __future__ import annotations

import atexit
import logging
import os
import time

from temporalio.runtime import LoggingConfig, LoggingFormat, Runtime, TelemetryConfig, TelemetryFilter

from stepgraph.temporal.logs import log_format

SETTLE_SECONDS = 0.05

_of_process: dict[int, Runtime] = {}


def runtime() -> Runtime:
    """This process's runtime. A forked child gets one of its own: the parent's threads are not there.

    It writes its warnings to standard output itself, unless this process logs no warnings: a command's output is its
    own. To have them forwarded to Python's logging would be neater, but a process was seen to hang at its end.
    """
    found = _of_process.get(os.getpid())
    if found is None:
        found = _of_process[os.getpid()] = Runtime(  # the parent's is kept: it cannot be taken down from here
            telemetry=TelemetryConfig(
                logging=LoggingConfig(
                    filter=TelemetryFilter(core_level="WARN", other_level="ERROR") if _warns() else "off",
                    format=LoggingFormat.JSON if log_format() == "json" else None,
                )
            )
        )
    return found


def _warns() -> bool:
    return logging.getLogger("temporalio").isEnabledFor(logging.WARNING)


@atexit.register
def _settle() -> None:
    """Lets the runtime's threads finish with the interpreter before it is taken down.

    Whoever ends within microseconds of the server's last answer is otherwise aborted, one time in three: the thread
    that brought the answer is still about to leave the interpreter.
    """
    if os.getpid() in _of_process:
        time.sleep(SETTLE_SECONDS)
