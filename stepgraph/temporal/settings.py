"""Settings from environment variables. Every variable that stepgraph reads is named here, once.

Variables named ``TEMPORAL_*`` are the SDK's; `temporalio.envconfig` reads them.
"""

from __future__ import annotations

import math
import os
from typing import Final

from stepgraph.errors import StepgraphError
from stepgraph.protocol.opening import RunSettings

ENVIRONMENT: Final = {
    "STEPGRAPH_GRAPHS": "The graphs that a worker serves: module:variable or path.py:variable, separated by commas.",
    "STEPGRAPH_TASK_QUEUE": "The task queue of all graphs, for workers and clients. By default each graph has its own.",
    "STEPGRAPH_LOG_FORMAT": "console or json. Default: console on a terminal, json elsewhere.",
    "STEPGRAPH_LOG_LEVEL": "debug, info, warning or error. Default: info.",
    "STEPGRAPH_ERROR_TEXTS": "shown; or hidden: logs and the Web UI's pages of threads have an error's type and place, "
    "and not its text, which may quote a state. Default: shown.",
    "STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS": "How long a worker that is stopped waits for running nodes. Default: 30.",
    "STEPGRAPH_HOME": "The folder of the embedded server's database. Default: .stepgraph in the working directory.",
    "STEPGRAPH_EMBEDDED_IDLE_SECONDS": "How long the embedded server runs on after its last client. Default: 600.",
    "STEPGRAPH_WEB_UI": "The address of Temporal's Web UI. Default: derived from the server's address, if it can be.",
    "STEPGRAPH_STORAGE": "External storage for payloads above 1 MB: s3://bucket/prefix, file:///folder or none. "
    "Default: none; with the embedded server, a folder beside its database.",
    "STEPGRAPH_STORE": "The store of nodes whose graph was compiled without one: sqlite:///file.db, "
    "postgresql://user@host/database, memory, module:function or none. Default: none; with the embedded server, a "
    "SQLite file beside its database.",
    "STEPGRAPH_INLINE_BYTES": "The largest state, in bytes of JSON, that an activity's input contains. Default: 4096.",
    "STEPGRAPH_MAX_CACHED_WORKFLOWS": "How many open runs a worker keeps in memory; it replays the others when "
    "they are needed. Default: 300.",
    "STEPGRAPH_STATE_CACHE_BYTES": "The size of a worker process's cache of states; 0 disables it. Default: 64000000.",
    "STEPGRAPH_CONTINUE_AS_NEW_STEPS": "The number of super-steps after which a run continues as new. Default: 500.",
    "STEPGRAPH_CONTINUE_AS_NEW_BYTES": "The total size of a run's states after which it continues as new. "
    "Default: 500000000.",
    "STEPGRAPH_CONTINUE_AS_NEW_TASKS": "The number of tasks after which a run continues as new, in the middle of a "
    "super-step if need be. Default: 4000.",
    "STEPGRAPH_TASKS_IN_FLIGHT": "The largest number of tasks of a super-step that run at once, at most 1800. "
    "Default: 100.",
    "STEPGRAPH_FUSED_STEPS": "The largest number of super-steps that one activity runs with durability 'async'. "
    "Default: 500.",
    "STEPGRAPH_FUSED_SECONDS": "Seconds after which such an activity starts no further super-step. Default: 0.5.",
    "STEPGRAPH_WORKERS": "in-process: graph.invoke() starts its own worker. external: other processes run the workers. "
    "Default: in-process.",
}
"""Each variable with its description."""

MAX_IN_FLIGHT: Final = 1_800
"""A run with 2,000 pending activities can schedule no more: the server fails its workflow tasks."""


def text_setting(name: str, default: str | None = None) -> str | None:
    """Return a variable's value, or ``default`` if the variable is unset or empty."""
    assert name in ENVIRONMENT, name
    return os.environ.get(name) or default


NUMBERS: Final = {
    "STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS": 86_400,
    "STEPGRAPH_EMBEDDED_IDLE_SECONDS": math.inf,
    "STEPGRAPH_INLINE_BYTES": 10**15,
    "STEPGRAPH_MAX_CACHED_WORKFLOWS": 1_000_000,
    "STEPGRAPH_STATE_CACHE_BYTES": 10**15,
    "STEPGRAPH_CONTINUE_AS_NEW_STEPS": 1_000_000,
    "STEPGRAPH_CONTINUE_AS_NEW_BYTES": 10**15,
    "STEPGRAPH_CONTINUE_AS_NEW_TASKS": 1_000_000,
    "STEPGRAPH_TASKS_IN_FLIGHT": MAX_IN_FLIGHT,
    "STEPGRAPH_FUSED_STEPS": 1_000_000,
    "STEPGRAPH_FUSED_SECONDS": 86_400,
}
"""The variables that are numbers, each with the largest that it may be."""


def check_numbers() -> None:
    """Raise `StepgraphError` if a variable that should be a number is none, or is too large."""
    for name in NUMBERS:
        number_setting(name, 0)


def number_setting(name: str, default: float) -> float:
    """Return a variable's value as a number, from 0 to that of `NUMBERS`. `StepgraphError` if it is none."""
    text = text_setting(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise StepgraphError(f"{name} must be a number, 0 or more; got {text!r}.", setting=name)
    if value > NUMBERS[name]:
        raise StepgraphError(f"{name} may be {NUMBERS[name]:,} at the most; got {text}.", setting=name)
    return value


def hides_error_texts() -> bool:
    """Return whether the texts of errors stay out of logs and pages. `StepgraphError` if the value is wrong."""
    choice = text_setting("STEPGRAPH_ERROR_TEXTS", "shown")
    if choice not in ("shown", "hidden"):
        raise StepgraphError(
            f"STEPGRAPH_ERROR_TEXTS must be 'shown' or 'hidden'; got {choice!r}.", setting="STEPGRAPH_ERROR_TEXTS"
        )
    return choice == "hidden"


def run_settings(*, search_attributes: bool = False, uses_external_storage: bool = False) -> RunSettings:
    """Return the settings that decide a run's commands. `open_thread` records them in the run's history.

    Args:
        search_attributes: whether the namespace has stepgraph's search attributes.
        uses_external_storage: whether the worker's client has external storage.

    Raises:
        StepgraphError: a variable has an invalid value.
    """
    return RunSettings(
        search_attributes=search_attributes,
        uses_external_storage=uses_external_storage,
        inline_bytes=int(number_setting("STEPGRAPH_INLINE_BYTES", 4096)),
        continue_as_new_steps=max(1, int(number_setting("STEPGRAPH_CONTINUE_AS_NEW_STEPS", 500))),
        continue_as_new_bytes=max(1, int(number_setting("STEPGRAPH_CONTINUE_AS_NEW_BYTES", 500_000_000))),
        continue_as_new_tasks=max(
            1, int(number_setting("STEPGRAPH_CONTINUE_AS_NEW_TASKS", _default("continue_as_new_tasks")))
        ),
        tasks_in_flight=max(1, int(number_setting("STEPGRAPH_TASKS_IN_FLIGHT", _default("tasks_in_flight")))),
        fused_steps=max(1, int(number_setting("STEPGRAPH_FUSED_STEPS", _default("fused_steps")))),
        fused_seconds=number_setting("STEPGRAPH_FUSED_SECONDS", _default("fused_seconds")),
        hides_error_texts=hides_error_texts(),
    )


def _default(field: str) -> float:
    """Return what a run goes by whose recorded settings lack a field: that is what the field is by default, too."""
    default: float = RunSettings.model_fields[field].default
    return default
