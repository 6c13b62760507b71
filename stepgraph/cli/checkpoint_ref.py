"""Finds checkpoints by what a user types: an id, the end of an id, or a step."""

from __future__ import annotations

from stepgraph.cli.rendering import SHORT_ID
from stepgraph.client import GraphClient
from stepgraph.errors import CheckpointNotFoundError
from stepgraph.protocol.config import RunnableConfig
from stepgraph.protocol.snapshot import config_for
from stepgraph.temporal.program_names import operator_command

MIN_ID_END = 4
"""The fewest characters that are taken as the end of an id."""


async def config_at(client: GraphClient, thread_id: str, reference: str | None) -> RunnableConfig:
    """Return the config of the checkpoint that a reference names, or of the thread if there is no reference.

    Raises:
        CheckpointNotFoundError: the reference names no checkpoint, or several; the message has the candidates.
    """
    if reference is None:
        return config_for(thread_id)
    return config_for(thread_id, await checkpoint_named(client, thread_id, reference))


async def checkpoint_named(client: GraphClient, thread_id: str, reference: str) -> str:
    """Return the id of the checkpoint that a reference names. Raises as `config_at` does."""
    candidates = {}
    async for snapshot in client.aget_state_history(config_for(thread_id)):
        checkpoint_id = snapshot.checkpoint_id or ""
        metadata = snapshot.metadata or {}
        step = str(metadata.get("step"))
        if checkpoint_id == reference:
            return checkpoint_id
        if step == reference or (len(reference) >= MIN_ID_END and checkpoint_id.endswith(reference)):
            candidates[checkpoint_id] = f"{checkpoint_id[-SHORT_ID:]} ({metadata.get('source')}, step {step})"
    if len(candidates) == 1:
        return next(iter(candidates))
    listed = "; ".join(candidates.values())
    raise CheckpointNotFoundError(
        f"{reference!r} names {len(candidates)} checkpoints of thread {thread_id!r}: {listed}. "
        "Name it by as much of its id."
        if candidates
        else f"Thread {thread_id!r} has no checkpoint {reference!r}. See: {operator_command()} history {thread_id}",
        thread_id=thread_id,
        checkpoint_id=reference,
    )
