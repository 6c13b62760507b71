"""The commands of time travel: ``update``, ``fork``, ``replay``, ``tree``; `starter` adds them to its own."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from stepgraph.cli import checkpoint_tree as drawing
from stepgraph.cli import error_output as failing
from stepgraph.cli import rendering
from stepgraph.cli.arguments import AsJson, Detach, GraphOption, RecursionLimit, ThreadArgument
from stepgraph.cli.checkpoint_ref import checkpoint_named
from stepgraph.cli.connect import (
    checked_thread_id,
    config_with,
    for_thread,
    read_json,
    reader_of,
    refuse_to_detach_from_own_worker,
)
from stepgraph.cli.progress import follow
from stepgraph.client import GraphClient
from stepgraph.protocol.snapshot import StateSnapshot, config_for

Values = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="The state's keys to set: a JSON object, @FILE, or - for standard input."),
]
AsNode = Annotated[str | None, typer.Option(metavar="NODE", help="In whose name; by default the last writer's.")]
Checkpoint = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A checkpoint: its id, the end of it, or a step; by default the head."),
]
CheckpointArgument = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Its id, the end of it, or a step.")]

FORKS_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (update, fork, replay, tree):
        app.command()(command)


def update(
    thread: ThreadArgument,
    values: Values = None,
    as_node: AsNode = None,
    checkpoint: Checkpoint = None,
    graph: GraphOption = None,
    as_json: AsJson = False,
) -> None:
    """Writes values by hand, as a new head of the thread. Nothing is run; `resume` goes on from it."""

    async def work() -> None:
        written = None if values is None else read_json(values)
        async with for_thread(thread, graph) as (client, run, _):
            config = await _at(client, run.thread_id, checkpoint)
            made = await client.aupdate_state(config, written, as_node=as_node)
            head = await client.aget_state(config_for(run.thread_id))
        if as_json:
            rendering.print_json({**made["configurable"], "next": list(head.next)})
            return
        rendering.say(rendering.step_line(head, None))
        rendering.say(f"checkpoint  {made['configurable']['checkpoint_id']}")

    failing.run(work(), as_json=as_json)


def fork(
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

    async def work() -> None:
        written = None if values is None else read_json(values)
        new_thread = None if to is None else checked_thread_id(to)
        async with for_thread(thread, graph) as (client, run, server):
            at = await _at(client, run.thread_id, checkpoint)
            limit = config_with(run.thread_id, recursion_limit).get("recursion_limit")
            config = at if limit is None else {**at, "recursion_limit": limit}
            started = await client.astart_fork(config, written, as_node, new_thread)
            await follow(started, client.graph, server, address=graph, detach=detach, as_json=as_json)

    refuse_to_detach_from_own_worker(graph, detach=detach)
    failing.run(work(), as_json=as_json)


def replay(
    thread: ThreadArgument,
    checkpoint: CheckpointArgument,
    graph: GraphOption = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Runs again what came after a checkpoint."""

    async def work() -> None:
        async with for_thread(thread, graph) as (client, run, server):
            started = await client.astart(None, await _at(client, run.thread_id, checkpoint))
            await follow(started, client.graph, server, address=graph, detach=detach, as_json=as_json)

    refuse_to_detach_from_own_worker(graph, detach=detach)
    failing.run(work(), as_json=as_json)


def tree(
    thread: ThreadArgument,
    diff: Annotated[bool, typer.Option("--diff", help="Show what each changed against its parent.")] = False,
    graph: GraphOption = None,
    as_json: AsJson = False,
) -> None:
    """Draws a thread's checkpoints as the tree they are, with its head and its forks."""

    async def work() -> None:
        async with reader_of(thread, graph) as (client, run):
            config = config_for(run.thread_id)
            found = [snapshot async for snapshot in client.aget_state_history(config)]
            head = (await client.aget_state(config)).checkpoint_id
            forks = await _forks(client, config)
        if as_json:
            rendering.print_json({"head": head, "forks": forks, "checkpoints": [_node(each, found) for each in found]})
            return
        rendering.say(f"[bold]{escape(run.thread_id)}[/]  [dim]{escape(run.graph)}[/]")
        for line in drawing.lines(found, forks, head=head, diff=diff):
            rendering.say(line)

    failing.run(work(), as_json=as_json)


async def _at(client: GraphClient, thread_id: str, checkpoint: str | None) -> dict[str, Any]:
    """The config of a thread, or of the checkpoint of it that was named."""
    if checkpoint is None:
        return config_for(thread_id)
    return config_for(thread_id, await checkpoint_named(client, thread_id, checkpoint))


async def _forks(client: GraphClient, config: dict[str, Any]) -> dict[str, list[str]]:
    """The threads that were forked from this one, by the id of the checkpoint they grew from."""
    found: dict[str, list[str]] = {}
    for fork in (await client.aget_forks(config))[:FORKS_SHOWN]:
        grown = [snapshot async for snapshot in client.aget_state_history(fork)]
        origin = (grown[-1].metadata or {}).get("forked_from") if grown else None
        if origin is not None:
            found.setdefault(origin["checkpoint_id"], []).append(fork["configurable"]["thread_id"])
    return found


def _node(snapshot: StateSnapshot, found: list[StateSnapshot]) -> dict[str, Any]:
    """A checkpoint of the tree, as JSON data."""
    metadata = snapshot.metadata or {}
    parent = (snapshot.parent_config or {}).get("configurable", {})
    before = next((each for each in found if each.checkpoint_id == parent.get("checkpoint_id")), None)
    return {
        "checkpoint_id": snapshot.checkpoint_id,
        "parent": parent or None,
        "step": metadata.get("step"),
        "source": metadata.get("source"),
        "writes": metadata.get("writes"),
        "next": list(snapshot.next),
        "changes": list(drawing.differences(before, snapshot)),
    }
