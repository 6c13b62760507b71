"""Follows a run on a terminal: prints its super-steps as they finish, then its values or what it waits for."""

from __future__ import annotations

import asyncio
import json
import shlex
from datetime import datetime

from rich.markup import escape

from stepgraph.cli import rendering
from stepgraph.cli.connect import GraphConnection
from stepgraph.client import FinishedRun, GraphRun, QueuedRun
from stepgraph.errors import (
    GraphRecursionError,
    NodeError,
    ReducerError,
    RunEndedError,
    StepgraphError,
)
from stepgraph.protocol.interrupts import Interrupt
from stepgraph.protocol.invoke_result import INTERRUPT_KEY
from stepgraph.temporal.program_names import operator_command, worker_command

WORKER_CHECK_SECONDS = 5.0
"""The pause between two looks for a worker that serves the thread."""


async def follow(run: GraphRun, connection: GraphConnection, *, detach: bool, as_json: bool) -> None:
    """Print a run's super-steps as they finish, then its values; errors get the command that goes on as a note.

    Args:
        run: the run, or the queued input.
        connection: what the run was started with.
        detach: whether to print only the ids.
        as_json: whether to print one JSON document instead of lines.
    """
    ids = {"thread_id": run.thread_id, "run_id": run.run_id}
    if not as_json:
        url = connection.server.thread_url(run.thread_id)
        rendering.print_line(f"thread [bold]{escape(run.thread_id)}[/]" + (f"  [dim]{url}[/]" if url else ""))
    elif detach:
        rendering.print_json(ids)
    if isinstance(run, QueuedRun) and not as_json:
        rendering.print_line("[dim]queued: it begins when the thread is idle[/]")
    if detach:
        return
    address = connection.address
    resume = f"{operator_command()} resume {shlex.quote(run.thread_id)}" + (
        f" --graph {shlex.quote(address)}" if address else ""
    )
    result = asyncio.ensure_future(run.result())
    try:
        if not as_json:
            await _print_steps(run)
        values = await result
    except asyncio.CancelledError:
        state = (
            f"waits for a worker that has graph {connection.client.graph!r}" if address else "goes on with its workers"
        )
        rendering.print_line(escape(f"The thread {state}. To follow it: {resume}"), to=rendering.errors)
        raise
    except StepgraphError as error:
        error.parts.update({key: value for key, value in ids.items() if key not in error.parts})
        if isinstance(error, NodeError | ReducerError | GraphRecursionError | RunEndedError):
            error.add_note(f"What finished is kept. To go on: {resume}")
        raise
    finally:
        result.cancel()
    if isinstance(run, FinishedRun) and not as_json:
        rendering.print_line("[dim]nothing is left to run[/]")
    interrupts: list[Interrupt] = values.pop(INTERRUPT_KEY, []) if isinstance(values, dict) else []
    if as_json:
        rendering.print_json({**ids, "values": values, "interrupts": [each._asdict() for each in interrupts]})
        return
    rendering.print_line(rendering.values_block(values))
    next_nodes = () if interrupts else (await run.record()).next
    if next_nodes:  # the thread is at a breakpoint, or another client changed it
        rendering.print_line(f"[dim]stopped before {escape(', '.join(next_nodes))}; to go on: {escape(resume)}[/]")
    for interrupt in interrupts:
        option = f" --interrupt {interrupt.id}" if len(interrupts) > 1 else ""
        rendering.print_line(f"[bold]interrupt[/]  {escape(json.dumps(interrupt.value, ensure_ascii=False))}")
        rendering.print_line(f"[dim]           to answer: {escape(resume)} --answer ...{option}[/]")


async def _print_steps(run: GraphRun) -> None:
    """Print each super-step as it finishes, until the run has ended. Says so once while no worker takes it up."""
    previous_time: datetime | None = None
    telling = asyncio.ensure_future(_tell_of_missing_worker(run))
    try:
        async for snapshot in run.watch():
            time = datetime.fromisoformat(snapshot.created_at) if snapshot.created_at else None
            took = time - previous_time if time and previous_time else None
            rendering.print_line(rendering.step_line(snapshot, took))
            previous_time = time
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell_of_missing_worker(run: GraphRun) -> None:
    """Print a line as soon as no worker serves the run's thread, once."""
    while True:
        if not await run.has_worker():
            rendering.print_line(
                f"[dim]No worker serves thread {escape(repr(run.thread_id))}. Start one that has its graph: "
                f"{worker_command()} --graphs MODULE:VARIABLE. Waiting.[/]",
                to=rendering.errors,
            )
            return
        await asyncio.sleep(WORKER_CHECK_SECONDS)
