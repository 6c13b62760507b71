"""Commits a super-step, with the graph's code where that is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.drive.thread_io import ThreadIO, apply_unfolded
from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.thread import Thread


async def commit_step(thread: Thread, config: Mapping[str, Any], io: ThreadIO) -> Checkpoint:
    """Commit the tasks at the thread's head, all of which have finished. Return the new checkpoint.

    Args:
        thread: the thread.
        config: the part of the caller's config that routers see.
        io: reaches the graph's code.

    Raises:
        InvalidUpdateError: several tasks wrote to a channel without a reducer.
        PayloadTooLargeError: the state has become too large.
        ReducerError: a reducer raised, or returned a value that its channel cannot hold. The results of the tasks stay.
        StepgraphError: a router that was not asked before failed.
    """
    head = thread.head
    assert head is not None, "its tasks have finished"
    return thread.commit(await apply_unfolded(thread, head, thread.unfolded(), config, io))
