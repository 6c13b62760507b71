"""The names by which processes address each other: task queues, activity types, updates, signals and queries."""

from __future__ import annotations

from typing import Final

SHARED_TASK_QUEUE: Final = "stepgraph"
"""The task queue on which every worker process takes runs of any of its graphs, for starts made by hand."""


OPEN_THREAD: Final = "stepgraph.open_thread"


READ_CHECKPOINT: Final = "stepgraph.read_checkpoint"


ROUTE: Final = "stepgraph.route"


UPDATE_STATE: Final = "update_state"


FORK: Final = "fork"


RESUME: Final = "resume"


INVOKE: Final = "invoke"


WAIT_UNTIL_IDLE: Final = "wait_until_idle"


GET_STATE: Final = "get_state"


GET_HISTORY: Final = "get_state_history"


GET_RECORD: Final = "stepgraph.record"


GET_VALUES: Final = "stepgraph.values"


CHECK: Final = "stepgraph.check"


UPDATE_NOT_READY: Final = "UpdateNotReady"
"""The type of the refusal of an update that came at a moment when none can be taken."""


WORKFLOW_TASK_SECONDS: Final = 60
"""What a workflow task may take where there is external storage: it fetches, commits and stores states of 50 MB."""


def task_queue_of(graph: str) -> str:
    """A graph's own task queue: whoever has its code may poll it, and gets no other graph's work."""
    return f"{SHARED_TASK_QUEUE}.{graph}"


def steps_type(graph: str) -> str:
    """The activity type of super-steps in a row: ``research.steps``."""
    return f"{graph}.steps"


def activity_type(graph: str, node: str) -> str:
    """The activity type of a node: ``research.analyze``."""
    return f"{graph}.{node}"
