"""RunSettings from the environment: every variable stepgraph reads, named once."""

from __future__ import annotations

import os
from typing import Final

from stepgraph.errors import StepgraphError
from stepgraph.protocol.opening import RunSettings

ENVIRONMENT: Final = {
    "STEPGRAPH_GRAPHS": "Graphs that a worker serves, as module:variable or path.py:variable, separated by commas.",
    "STEPGRAPH_TASK_QUEUE": "The one task queue that a worker polls and a client uses, instead of one for each graph.",
    "STEPGRAPH_LOG_FORMAT": "console or json; by default console on a terminal, json elsewhere.",
    "STEPGRAPH_LOG_LEVEL": "debug, info, warning or error; info by default.",
    "STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS": "How long a worker that is told to stop waits for running nodes; 30 by default.",
    "STEPGRAPH_HOME": "Where the embedded server keeps its database; .stepgraph in the working directory by default.",
    "STEPGRAPH_EMBEDDED_IDLE_SECONDS": "Seconds that an embedded server stays up after its last user; 600 by default.",
    "STEPGRAPH_WEB_UI": "Address of Temporal's Web UI, where it cannot be guessed from the server's.",
    "STEPGRAPH_STORAGE": "Where payloads beyond 1 MB go: s3://bucket/prefix, file:///folder or none (the default; "
    "with the embedded server, a folder beside its database).",
    "STEPGRAPH_INLINE_BYTES": "Largest state, in bytes of JSON, put into an activity's input; 4096 by default.",
    "STEPGRAPH_MAX_CACHED_WORKFLOWS": "Open runs that a worker keeps in memory; 300 by default. Others are replayed.",
    "STEPGRAPH_STATE_CACHE_BYTES": "Bytes of state that a worker process keeps at hand; 64000000 by default, 0: none.",
    "STEPGRAPH_CONTINUE_AS_NEW_STEPS": "Super-steps after which a run continues as new; 500 by default.",
    "STEPGRAPH_CONTINUE_AS_NEW_BYTES": "Bytes of states made in a run after which it continues as new; 500000000 by default.",
    "STEPGRAPH_FUSED_STEPS": "Super-steps of durability 'async' that are written to disk together; 500 by default.",
    "STEPGRAPH_FUSED_SECONDS": "Seconds after which those are written that have been run; 0.5 by default.",
    "STEPGRAPH_WORKERS": "in-process (default): graph.invoke() brings a worker of its own. external: others do it.",
}
"""Variable -> meaning. `TEMPORAL_*` variables are read by `temporalio.envconfig`."""


def text(name: str, default: str | None = None) -> str | None:
    """A variable's value; an empty one counts as unset."""
    assert name in ENVIRONMENT, name
    return os.environ.get(name) or default


def number(name: str, default: float) -> float:
    """A variable's value as a number that is not negative. `StepgraphError` naming the variable otherwise."""
    given = text(name)
    if given is None:
        return default
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise StepgraphError(f"{name} must be a number, 0 or more; got {given!r}.", setting=name)
    return value


def run_settings(*, search_attributes: bool = False, uses_external_storage: bool = False) -> RunSettings:
    """What `open_thread` records for a run."""
    return RunSettings(
        search_attributes=search_attributes,
        uses_external_storage=uses_external_storage,
        inline_bytes=int(number("STEPGRAPH_INLINE_BYTES", 4096)),
        continue_as_new_steps=max(1, int(number("STEPGRAPH_CONTINUE_AS_NEW_STEPS", 500))),
        continue_as_new_bytes=max(1, int(number("STEPGRAPH_CONTINUE_AS_NEW_BYTES", 500_000_000))),
        fused_steps=max(1, int(number("STEPGRAPH_FUSED_STEPS", 500))),
        fused_seconds=number("STEPGRAPH_FUSED_SECONDS", 0.5),
    )
