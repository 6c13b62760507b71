"""What a thread needs from outside: the graph's code, and checkpoints of other runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.commit import NOTHING_APPLIED
from stepgraph.engine.folding import Applied, Entry, Unfolded
from stepgraph.engine.record import Record
from stepgraph.engine.thread import Thread
from stepgraph.protocol.apply_writes_request import ApplyWritesRequest, ApplyWritesResult, AuthorWrites
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.task_request import request_fields


@dataclass(frozen=True)
class ThreadIO:
    """What the caller does for a thread. Each function raises a `StepgraphError` if it fails."""

    read_checkpoint: Callable[[ReadRequest], Awaitable[Record]]
    """Returns the record of a checkpoint of another run, or of another thread."""
    apply_writes: Callable[[Thread, ApplyWritesRequest], Awaitable[ApplyWritesResult]]
    """Has the graph's code apply writes. The request has the values that they are applied to."""


async def apply_unfolded(
    thread: Thread, checkpoint: Checkpoint, unfolded: Unfolded | None, config: Mapping[str, Any], io: ThreadIO
) -> Applied:
    """Have the graph's code fold the writes of a super-step, and ask the routers that were not asked.

    ``None`` stands for a super-step that needs no code. Raises the errors of ``io.apply_writes``.
    """
    if unfolded is None:
        return NOTHING_APPLIED
    authors, channels = authors_of(unfolded.entries), unfolded.channels
    request = apply_writes_request(thread, checkpoint, unfolded.values, authors, config, channels=channels)
    return (await io.apply_writes(thread, request)).to_applied()


def apply_writes_request(
    thread: Thread,
    checkpoint: Checkpoint,
    values: Mapping[str, Any],
    authors: Sequence[AuthorWrites],
    config: Mapping[str, Any],
    *,
    channels: Sequence[str] = (),
) -> ApplyWritesRequest:
    """Return the request to apply writes to the values of a checkpoint.

    It has the values that reducers and routers read: all for routers, otherwise those that are folded.
    """
    if not any(author.route for author in authors):
        written = {name for author in authors for name in author.result.channels}
        names = {*channels, *(name for name in thread.spec.custom_channels if name in written)}
        values = {name: value for name, value in values.items() if name in names}
    return ApplyWritesRequest(
        **request_fields(thread, checkpoint, config),
        state=dict(values),
        authors=tuple(authors),
        channels=tuple(channels),
    )


def authors_of(entries: Sequence[Entry]) -> tuple[AuthorWrites, ...]:
    """Return what a super-step's tasks wrote, as an `ApplyWritesRequest` has it."""
    return tuple(
        AuthorWrites(key=entry.key, node=entry.node, result=entry.result, route=entry.result.unrouted)
        for entry in entries
    )
