"""Checkpoints by the names people give them: an id, the end of one, or a step."""

from __future__ import annotations

from stepgraph.cli.rendering import SHORT_ID
from stepgraph.client import GraphClient
from stepgraph.errors import CheckpointNotFoundError
from stepgraph.protocol.snapshot import config_for


async def checkpoint_named(client: GraphClient, thread_id: str, name: str) -> str:
    """The id of the checkpoint that ``name`` names. `CheckpointNotFoundError` with the candidates if it is not one."""
    matching = {}
    async for snapshot in client.aget_state_history(config_for(thread_id)):
        found = snapshot.checkpoint_id or ""
        step = str((snapshot.metadata or {}).get("step"))
        if found == name:
            return found
        if step == name or (len(name) > 3 and found.endswith(name)):
            matching[found] = f"{found[-SHORT_ID:]} ({(snapshot.metadata or {}).get('source')}, step {step})"
    if len(matching) == 1:
        return next(iter(matching))
    which = "; ".join(matching.values())
    raise CheckpointNotFoundError(
        f"{name!r} names {len(matching)} checkpoints of thread {thread_id!r}: {which}. Name it by as much of its id."
        if matching
        else f"Thread {thread_id!r} has no checkpoint {name!r}. See: starter.py history {thread_id}",
        thread_id=thread_id,
        checkpoint_id=name,
    )
