"""Following a run on a terminal: its super-steps as they finish, then what came of it."""

from __future__ import annotations

import asyncio
import json
import shlex
from datetime import datetime
from typing import Any

from rich.markup import escape

from stepgraph.cli import rendering
from stepgraph.client import GraphRun
from stepgraph.client.graph_run import FinishedRun, QueuedRun
from stepgraph.errors import (
    GraphRecursionError,
    NodeError,
    NoWorkerError,
    ReducerError,
    RunEndedError,
    StepgraphError,
)
from stepgraph.hosting.connection import Server


async def follow(
    run: GraphRun, graph: str, server: Server, *, address: str | None, detach: bool, as_json: bool
) -> None:
    """Shows a run's super-steps as they finish, then its values."""
    ids = {"thread_id": run.thread_id, "run_id": run.run_id}
    if not as_json:
        url = server.thread_url(run.thread_id)
        rendering.say(f"thread [bold]{escape(run.thread_id)}[/]" + (f"  [dim]{url}[/]" if url else ""))
    elif detach:
        rendering.print_json(ids)
    if isinstance(run, QueuedRun) and not as_json:
        rendering.say("[dim]in line: it begins when the thread stands still[/]")
    if detach:
        return
    again = f"starter.py resume {shlex.quote(run.thread_id)}" + (f" --graph {shlex.quote(address)}" if address else "")
    ending = asyncio.ensure_future(run.result())
    try:
        if not as_json:
            await _show_steps(run, ending)
        values = await ending
    except asyncio.CancelledError:
        who = f"waits for a worker that has graph {graph!r}" if address else "goes on with its workers"
        rendering.say(escape(f"The thread {who}. To follow it: {again}"), to=rendering.errors)
        raise
    except StepgraphError as error:
        error.parts.update({key: value for key, value in ids.items() if key not in error.parts})
        if isinstance(error, NodeError | ReducerError | GraphRecursionError | RunEndedError):
            error.add_note(f"What finished is kept. To go on: {again}")
        raise
    finally:
        ending.cancel()
    if isinstance(run, FinishedRun) and not as_json:
        rendering.say("[dim]nothing is left to run[/]")
    asked = values.pop("__interrupt__", [])
    if as_json:
        rendering.print_json({**ids, "values": values, "interrupts": [each._asdict() for each in asked]})
        return
    rendering.say(rendering.values_block(values))
    left = () if asked else (await run.record()).next
    if left:  # at a breakpoint, or somebody else took the thread over
        rendering.say(f"[dim]stopped before {escape(', '.join(left))}; to go on: {escape(again)}[/]")
    for each in asked:
        which = f" --interrupt {each.id}" if len(asked) > 1 else ""
        rendering.say(f"[bold]asks[/]  {escape(json.dumps(each.value, ensure_ascii=False))}")
        rendering.say(f"[dim]      to answer: {escape(again)} --answer ...{which}[/]")


async def _show_steps(run: GraphRun, ending: asyncio.Future[Any]) -> None:
    seen: set[str | None] = set()
    before: datetime | None = None
    waits = False
    while True:
        try:
            async for snapshot in run.watch():
                if snapshot.checkpoint_id in seen:
                    continue
                seen.add(snapshot.checkpoint_id)
                at = datetime.fromisoformat(snapshot.created_at) if snapshot.created_at else None
                rendering.say(rendering.step_line(snapshot, at - before if at and before else None))
                before = at
            return
        except NoWorkerError as error:
            if ending.done():  # how it ended needs no worker to be told
                return
            if not waits:
                rendering.say(f"[dim]{escape(str(error))} Waiting.[/]", to=rendering.errors)
                waits = True
