"""The ids of checkpoints and tasks.

A checkpoint's id is its run's id and a sequence number. So it says which run made it, ids of one run sort by time, and
a replay makes the same. Each subgraph counts on its own, under the task that runs it: what runs side by side gets the
same ids whichever is first.

A task's id is opaque: a hash of what the task is. It holds neither ``:`` nor ``|``, which separate the parts of a
subgraph's namespace.
"""

from __future__ import annotations

import hashlib

TASK_ID_DIGITS = 16


def checkpoint_id(run_id: str, sequence: int, *, inside: str = "") -> str:
    """Return the id of a run's checkpoint: ``<run id>.000012``.

    Args:
        run_id: the run's id, which has no full stop.
        sequence: counts the checkpoints of the run, or of one subgraph in it, from 1.
        inside: the id of the task that runs the subgraph; empty for the graph itself.
    """
    return f"{run_id}.{inside}.{sequence:06d}" if inside else f"{run_id}.{sequence:06d}"


def run_id_of(checkpoint_id: str) -> str:
    """Return the id of the run that made a checkpoint."""
    return checkpoint_id.partition(".")[0]


def task_id(checkpoint_id: str, node: str, *, path: str = "", namespace: str = "") -> str:
    """Return the id of a task: 16 hexadecimal digits.

    Args:
        checkpoint_id: the checkpoint where the task was first planned.
        node: the node's name.
        path: tells apart the tasks of one node: empty for a triggered one, its number for one that was sent.
        namespace: the subgraph's namespace; empty for the graph itself.
    """
    text = "\0".join((checkpoint_id, namespace, path, node))
    return hashlib.sha256(text.encode()).hexdigest()[:TASK_ID_DIGITS]
