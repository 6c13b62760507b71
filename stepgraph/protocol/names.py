"""The names by which processes address each other: task queues, activity types, updates, signals and queries.

`update_state`, `fork`, `resume` and `invoke` name both an update and a signal. Names that begin with ``stepgraph.`` are
for stepgraph's own use; humans may use the others with Temporal's CLI.
"""

from __future__ import annotations

from typing import Final

SHARED_TASK_QUEUE: Final = "stepgraph"
"""The task queue that every worker polls for runs of any of its graphs; meant for runs that are started by hand."""

# Activities for a thread as a whole
OPEN_THREAD: Final = "stepgraph.open_thread"
READ_CHECKPOINT: Final = "stepgraph.read_checkpoint"

# Updates and signals
UPDATE_STATE: Final = "update_state"
FORK: Final = "fork"
RESUME: Final = "resume"
INVOKE: Final = "invoke"

# Updates only
WAIT_UNTIL_IDLE: Final = "wait_until_idle"

# Queries
GET_STATE: Final = "get_state"
GET_HISTORY: Final = "get_state_history"
GET_RECORD: Final = "stepgraph.record"
GET_VALUES: Final = "stepgraph.values"
GET_WRITES: Final = "stepgraph.writes"
GET_SPEC: Final = "stepgraph.spec"
CHECK: Final = "stepgraph.check"

UPDATE_NOT_READY: Final = "UpdateNotReady"
"""The error type with which a run refuses an update that it cannot accept at the moment; the client sends it again."""


def task_queue_of(graph: str) -> str:
    """Return the task queue of one graph. Only workers that have the graph's code poll it."""
    return f"{SHARED_TASK_QUEUE}.{graph}"


def steps_type(graph: str) -> str:
    """Return the activity type of fused super-steps: ``research.steps``."""
    return f"{graph}.steps"


def apply_writes_type(graph: str) -> str:
    """Return the activity type that folds writes and asks routers: ``research.apply_writes``."""
    return f"{graph}.apply_writes"


def activity_type(graph: str, node: str) -> str:
    """Return the activity type of a node: ``research.analyze``."""
    return f"{graph}.{node}"
