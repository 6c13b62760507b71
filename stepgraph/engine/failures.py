"""From an exception of a node to what a thread keeps of it, and to what the caller is told."""

from __future__ import annotations

import traceback

from stepgraph.engine.checkpoint import TaskFailure
from stepgraph.engine.thread import Thread
from stepgraph.errors import MissingNodeError, NodeError, StepgraphError

TEXT_LIMIT = 20_000
"""Characters kept of an exception's message, and of its traceback."""


def failure_from(error: BaseException, *, attempts: int) -> TaskFailure:
    """What is kept of an exception that a task ended with."""
    return TaskFailure(
        error_type=f"{type(error).__module__}:{type(error).__qualname__}",
        error_message=str(error)[:TEXT_LIMIT],
        traceback="".join(traceback.format_exception(error))[-TEXT_LIMIT:],
        attempts=attempts,
        error=error.to_wire() if isinstance(error, StepgraphError) else None,
    )


def node_error(thread: Thread) -> NodeError:
    """What the caller is told of the failures at the head: the first of them, in the order of the tasks."""
    head = thread.head
    assert head is not None
    task, failure = next((task, failure) for task, _, failure in thread.outcomes(head) if failure is not None)
    others = [name for name in thread.failures if name != task.id]
    also = f" Also failed: {', '.join(map(repr, others))}." if others else ""
    kept = f" Finished beside it, and kept: {', '.join(map(repr, thread.results))}." if thread.results else ""
    own = failure.error or {}
    kind = MissingNodeError if own.get("type") == MissingNodeError.__name__ else NodeError
    parts = {
        **own.get("parts", {}),
        **failure.model_dump(mode="json", exclude={"error"}),
        "graph": thread.spec.name,
        "node": task.node,
        "step": task.step,
        "thread_id": thread.thread_id,
        "checkpoint_id": head.id,
    }
    return kind(
        f"Node {task.node!r} of graph {thread.spec.name!r} failed in step {task.step} of thread {thread.thread_id!r}: "
        f"{failure.summary.rstrip('.')}.{also}{kept}",
        **parts,
    )
