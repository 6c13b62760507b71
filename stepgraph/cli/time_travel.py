"""The commands of time travel: ``update``, ``fork``, ``replay``, ``tree``. `starter_app` adds them to its own."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from stepgraph.cli import checkpoint_tree, rendering
from stepgraph.cli.arguments import AsJson, Detach, GraphOption, RecursionLimit, ThreadArgument
from stepgraph.cli.checkpoint_ref import config_at
from stepgraph.cli.connect import (
    checked_thread_id,
    graph_at,
    open_thread,
    read_json,
    refuse_to_detach_from_own_worker,
    with_recursion_limit,
)
from stepgraph.cli.error_output import reports_errors
from stepgraph.cli.progress import follow
from stepgraph.client import GraphClient
from stepgraph.protocol.config import Config
from stepgraph.protocol.snapshot import StateSnapshot, config_for

Values = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="The state's keys to set: a JSON object, @FILE, or - for standard input."),
]
AsNode = Annotated[str | None, typer.Option(metavar="NODE", help="In whose name; by default the last writer's.")]
TaskId = Annotated[
    str | None, typer.Option(metavar="ID", help="Which task the values are the result of, if its node is due twice.")
]
Checkpoint = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A checkpoint: its id, the end of it, or a step; by default the head."),
]
CheckpointArgument = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Its id, the end of it, or a step.")]

MAX_FORKS = 20
"""How many forks ``tree`` shows."""


def add_to(app: typer.Typer) -> None:
    """Add the commands to an application."""
    for command in (update, fork, replay, tree):
        app.command()(command)


@reports_errors
async def update(
    thread: ThreadArgument,
    values: Values = None,
    as_node: AsNode = None,
    task_id: TaskId = None,
    checkpoint: Checkpoint = None,
    graph: GraphOption = None,
    as_json: AsJson = False,
) -> None:
    """Writes values by hand, as a new head of the thread. Nothing is run; `resume` goes on from it."""
    changes = None if values is None else read_json(values)
    async with open_thread(thread, graph_at(graph)) as (connection, run):
        client = connection.client
        config = await config_at(client, run.thread_id, checkpoint)
        updated = await client.aupdate_state(config, changes, as_node=as_node, task_id=task_id)
        head = await client.aget_state(config_for(run.thread_id))
    if as_json:
        rendering.print_json({**updated["configurable"], "next": list(head.next)})
        return
    rendering.print_line(rendering.step_line(head, None))
    rendering.print_line(f"checkpoint  {updated['configurable']['checkpoint_id']}")


@reports_errors
async def fork(
    thread: ThreadArgument,
    values: Values = None,
    as_node: AsNode = None,
    checkpoint: Checkpoint = None,
    to: Annotated[str | None, typer.Option(metavar="ID", help="A new thread to grow on, beside this one.")] = None,
    graph: GraphOption = None,
    recursion_limit: RecursionLimit = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Goes on from a checkpoint, with other values if some are given: on this thread, or on a new one beside it."""
    refuse_to_detach_from_own_worker(graph, detach=detach)
    changes = None if values is None else read_json(values)
    new_thread = None if to is None else checked_thread_id(to)
    async with open_thread(thread, graph_at(graph)) as (connection, run):
        config = await config_at(connection.client, run.thread_id, checkpoint)
        started = await connection.client.astart_fork(
            with_recursion_limit(config, recursion_limit), changes, as_node, new_thread
        )
        await follow(started, connection, detach=detach, as_json=as_json)


@reports_errors
async def replay(
    thread: ThreadArgument,
    checkpoint: CheckpointArgument,
    graph: GraphOption = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Runs again what came after a checkpoint."""
    refuse_to_detach_from_own_worker(graph, detach=detach)
    async with open_thread(thread, graph_at(graph)) as (connection, run):
        config = await config_at(connection.client, run.thread_id, checkpoint)
        started = await connection.client.astart(None, config)
        await follow(started, connection, detach=detach, as_json=as_json)


@reports_errors
async def tree(
    thread: ThreadArgument,
    diff: Annotated[bool, typer.Option("--diff", help="Show what each changed against its parent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draws a thread's checkpoints as the tree they are, with its head and its forks."""
    async with open_thread(thread) as (connection, run):
        client = connection.client
        config = config_for(run.thread_id)
        snapshots = [snapshot async for snapshot in client.aget_state_history(config)]
        head = (await client.aget_state(config)).checkpoint_id
        forks = await _forks_by_checkpoint(client, config)
    if as_json:
        checkpoints = [_checkpoint_json(snapshot, snapshots) for snapshot in snapshots]
        rendering.print_json({"head": head, "forks": forks, "checkpoints": checkpoints})
        return
    rendering.print_line(f"[bold]{escape(run.thread_id)}[/]  [dim]{escape(run.graph)}[/]")
    for line in checkpoint_tree.lines(snapshots, forks, head=head, diff=diff):
        rendering.print_line(line)


async def _forks_by_checkpoint(client: GraphClient, config: Config) -> dict[str, list[str]]:
    """Return the ids of the threads that were forked from this one, by the id of the checkpoint they began at."""
    forks: dict[str, list[str]] = {}
    for fork_config in (await client.aget_forks(config))[:MAX_FORKS]:
        snapshots = [snapshot async for snapshot in client.aget_state_history(fork_config)]
        origin = (snapshots[-1].metadata or {}).get("forked_from") if snapshots else None
        if origin is not None:
            forks.setdefault(origin["checkpoint_id"], []).append(fork_config["configurable"]["thread_id"])
    return forks


def _checkpoint_json(snapshot: StateSnapshot, snapshots: list[StateSnapshot]) -> dict[str, Any]:
    """Return a checkpoint of the tree as JSON data, with what it changed against its parent."""
    metadata = snapshot.metadata or {}
    parent = (snapshot.parent_config or {}).get("configurable", {})
    previous = next((each for each in snapshots if each.checkpoint_id == parent.get("checkpoint_id")), None)
    return {
        "checkpoint_id": snapshot.checkpoint_id,
        "parent": parent or None,
        "step": metadata.get("step"),
        "source": metadata.get("source"),
        "writes": metadata.get("writes"),
        "next": list(snapshot.next),
        "changes": list(checkpoint_tree.differences(previous, snapshot)),
    }
