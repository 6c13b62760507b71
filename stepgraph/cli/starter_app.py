"""``starter.py`` / ``stepgraph`` / ``python -m stepgraph``: the operator's command line.

Owns the commands that run, resume and read threads. Each reads its arguments, calls `GraphClient`, and prints with
`stepgraph.cli.rendering`. Knows nothing of how errors are reported: `stepgraph.cli.error_output` does.
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from stepgraph.cli import checkpoint_tree, demo, rendering, time_travel
from stepgraph.cli.arguments import (
    AsJson,
    Busy,
    Detach,
    GraphArgument,
    GraphOption,
    OnBusy,
    RecursionLimit,
    ThreadArgument,
    Version,
)
from stepgraph.cli.checkpoint_ref import config_at
from stepgraph.cli.connect import (
    checked_thread_id,
    graph_called,
    open_graph,
    open_thread,
    read_json,
    refuse_to_detach_from_own_worker,
    with_recursion_limit,
)
from stepgraph.cli.error_output import reports_errors, run_app
from stepgraph.cli.graph_loader import load_graphs
from stepgraph.cli.progress import follow
from stepgraph.cli.thread_list import list_threads
from stepgraph.cli.thread_status import status_of, thread_status, unresponsive_text
from stepgraph.errors import ThreadBusyError
from stepgraph.graph.validation import graph_name
from stepgraph.hosting.connection import connect
from stepgraph.protocol.interrupts import Command
from stepgraph.protocol.snapshot import config_for
from stepgraph.temporal.logs import configure_logging
from stepgraph.temporal.run_outcome import outcome_of
from stepgraph.temporal.settings import text_setting

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
@reports_errors
def starter(version: Version = False) -> None:
    """Starts, resumes and reads threads: runs of graphs on Temporal."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # values may have any character
    configure_logging("console", text_setting("STEPGRAPH_LOG_LEVEL", "error"), tracebacks=False)


@app.command("run")
@reports_errors
async def run_command(
    graph: GraphArgument,
    input: Annotated[
        str,
        typer.Option(metavar="JSON", help="The state's keys to set: a JSON object, @FILE, or - for standard input."),
    ],
    thread: Annotated[str | None, typer.Option(metavar="ID", help="The thread's id; a new one by default.")] = None,
    on_busy: OnBusy = Busy.REFUSE,
    recursion_limit: RecursionLimit = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Runs a graph on a thread, showing each super-step as it finishes."""
    refuse_to_detach_from_own_worker(graph, detach=detach)
    values = read_json(input)
    reference = graph_called(graph)
    if reference.code is not None:
        values = reference.code.registry.schema.check_input(reference.name, values)
    thread_id = f"{reference.name}-{uuid.uuid4().hex[:12]}" if thread is None else checked_thread_id(thread)
    config = with_recursion_limit(config_for(thread_id), recursion_limit)
    async with open_graph(reference, announce=not as_json) as connection:
        try:
            started = await connection.client.astart(values, config, on_busy=on_busy.value)
        except ThreadBusyError as error:
            if on_busy is Busy.REFUSE:
                error.add_note("To wait for its result: starter.py resume. To enqueue the input: --on-busy enqueue.")
            raise
        await follow(started, connection, detach=detach, as_json=as_json)


@app.command()
@reports_errors
async def resume(
    thread: ThreadArgument,
    answer: Annotated[
        str | None, typer.Option(metavar="JSON", help="The answer to an interrupt: JSON, or a text as it is.")
    ] = None,
    interrupt: Annotated[str | None, typer.Option(metavar="ID", help="Which interrupt the answer is for.")] = None,
    graph: GraphOption = None,
    recursion_limit: RecursionLimit = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Goes on with a thread where it failed or stopped, or with the answer to an interrupt; follows one that runs."""
    refuse_to_detach_from_own_worker(graph, detach=detach)
    reference = graph_called(graph) if graph is not None else None
    async with open_thread(thread, reference, announce=not as_json) as (connection, run):
        client = connection.client
        graph_name(client.graph)  # the thread may be a workflow that runs no graph
        config = with_recursion_limit(config_for(run.thread_id), recursion_limit)
        started = await client.astart(_answer_command(answer, interrupt), config)
        await follow(started, connection, detach=detach, as_json=as_json)


@app.command()
@reports_errors
async def state(
    thread: ThreadArgument,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="A checkpoint: its id, the end of it, or a step.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Shows a thread's current state, or the state at a checkpoint."""
    async with open_thread(thread) as (connection, run):
        config = await config_at(connection.client, run.thread_id, checkpoint)
        snapshot = await connection.client.aget_state(config)
        open_run = await connection.client.aget_run(config)
        unresponsive = await open_run.unresponsive_queue() if open_run is not None else None
        refused = not run.is_open and (await outcome_of(connection.client.client, run)).refused
    if as_json:
        rendering.print_json(snapshot)
        return
    status = status_of(run.status) if checkpoint is not None else thread_status(run.status, snapshot, refused=refused)
    rendering.print_line(f"thread      {escape(run.thread_id)}, graph {escape(run.graph)}, {status}")
    if unresponsive is not None:
        rendering.print_line(escape(unresponsive_text(unresponsive)))
    rendering.print_line(rendering.state_block(snapshot))


@app.command()
@reports_errors
async def history(
    thread: ThreadArgument,
    limit: Annotated[int | None, typer.Option(metavar="COUNT", min=1, help="How many checkpoints at the most.")] = None,
    values: Annotated[bool, typer.Option("--values", help="Show the values, too.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Draw it as a Mermaid flowchart.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows a thread's checkpoints, newest first, across its runs."""
    async with open_thread(thread) as (connection, run):
        newest_first = connection.client.aget_state_history(config_for(run.thread_id), limit=limit)
        snapshots = [snapshot async for snapshot in newest_first]
    if mermaid:
        print(checkpoint_tree.mermaid(snapshots, head=snapshots[0].checkpoint_id if snapshots else None), end="")
    elif as_json:
        rendering.print_json(snapshots)
    else:
        rendering.show_history(snapshots, values=values)


@app.command()
@reports_errors
async def threads(
    graph: Annotated[str | None, typer.Option(metavar="NAME", help="Only threads of this graph.")] = None,
    limit: Annotated[int, typer.Option(metavar="COUNT", min=1, help="How many at the most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Lists threads, the latest first."""
    if graph is not None:
        graph_name(graph)
    temporal, server = await connect()
    listed = await list_threads(temporal, graph=graph, limit=limit)
    if as_json:
        rendering.print_json(listed)
    elif listed:
        rendering.show_threads(listed)
    else:
        of_graph = f" of graph {graph!r}" if graph else ""
        rendering.print_line(
            escape(f"There are no threads{of_graph} at {server.address}, namespace {server.namespace!r}.")
        )


@app.command("graph")
@reports_errors
def draw(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="MODULE:VARIABLE or FILE.py:VARIABLE.")],
    as_json: AsJson = False,
) -> None:
    """Draws a graph as a Mermaid flowchart; with --json, prints its spec (a list of specs, if there are several)."""
    graphs = load_graphs([address])
    if as_json:
        specs = [graph.registry.spec.model_dump(mode="json") for graph in graphs]
        rendering.print_json(specs if len(specs) > 1 else specs[0])
        return
    for graph in graphs:
        if len(graphs) > 1:
            print(f"%% {graph.name}")
        print(graph.get_graph().draw_mermaid(), end="")


@app.command("demo")
@reports_errors
def demo_command(as_json: AsJson = False) -> None:
    """Runs the examples for real: a failure, what was saved of it, the resume, and the history."""
    demo.run(as_json=as_json)


time_travel.add_to(app)


def main() -> NoReturn:
    """Run the command line."""
    run_app(app)


def _answer_command(answer: str | None, interrupt: str | None) -> Command | None:
    """Return the command that answers an interrupt; None without an answer.

    Args:
        answer: the answer as typed: its JSON value if it is JSON, otherwise the text itself.
        interrupt: the interrupt's id; None if only one waits.
    """
    if answer is None:
        return None
    try:
        value = json.loads(answer)
    except json.JSONDecodeError:
        value = answer
    return Command(resume=value if interrupt is None else {interrupt: value})
