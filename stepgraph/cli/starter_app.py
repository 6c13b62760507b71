"""``starter.py`` / ``stepgraph``: the operator's command line.

Each command is thin: it reads its arguments, asks `GraphClient`, and prints with `stepgraph.cli.rendering`.
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Annotated

import typer
from rich.markup import escape

from stepgraph.cli import checkpoint_tree as drawing
from stepgraph.cli import demo as demonstration
from stepgraph.cli import error_output as failing
from stepgraph.cli import rendering
from stepgraph.cli import time_travel as travel
from stepgraph.cli.arguments import (
    AsJson,
    Busy,
    Detach,
    GraphArgument,
    GraphOption,
    OnBusy,
    RecursionLimit,
    ThreadArgument,
)
from stepgraph.cli.checkpoint_ref import checkpoint_named
from stepgraph.cli.connect import (
    checked_thread_id,
    client_for,
    config_with,
    connected,
    read_json,
    reader_of,
    refuse_to_detach_from_own_worker,
    run_of,
)
from stepgraph.cli.graph_loader import is_address, load_graph, load_graphs
from stepgraph.cli.progress import follow
from stepgraph.cli.thread_list import list_threads, status_of, thread_status
from stepgraph.errors import (
    ThreadBusyError,
)
from stepgraph.graph.validation import graph_name
from stepgraph.hosting.connection import connect
from stepgraph.protocol.interrupts import Command
from stepgraph.protocol.snapshot import config_for
from stepgraph.temporal.logs import configure_logging
from stepgraph.temporal.settings import text

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def starter() -> None:
    """Starts, resumes and reads threads: runs of graphs on Temporal."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # values may have any character
    with failing.failing():
        configure_logging("console", text("STEPGRAPH_LOG_LEVEL", "error"))


@app.command("run")
def run_command(
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

    async def work() -> None:
        values = read_json(input)
        loaded = load_graph(graph) if is_address(graph) else None
        name = loaded.name if loaded else graph_name(graph)
        if loaded is not None:
            values = loaded.registry.schema.check_input(name, values)
        thread_id = f"{name}-{uuid.uuid4().hex[:12]}" if thread is None else checked_thread_id(thread)
        temporal, server = await connected(as_json=as_json)
        async with client_for(temporal, name, loaded) as client:
            try:
                config = config_with(thread_id, recursion_limit)
                started = await client.astart(values, config, on_busy=on_busy.value)
            except ThreadBusyError as error:
                if on_busy is Busy.REFUSE:
                    error.add_note("To wait in line: --on-busy enqueue.")
                raise
            address = graph if loaded else None
            await follow(started, name, server, address=address, detach=detach, as_json=as_json)

    refuse_to_detach_from_own_worker(graph, detach=detach)
    failing.run(work(), as_json=as_json)


@app.command()
def resume(
    thread: ThreadArgument,
    answer: Annotated[
        str | None, typer.Option(metavar="JSON", help="The answer to what it asks: JSON, or a text as it is.")
    ] = None,
    interrupt: Annotated[str | None, typer.Option(metavar="ID", help="Which question the answer is to.")] = None,
    graph: GraphOption = None,
    recursion_limit: RecursionLimit = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Goes on with a thread where it failed or stopped, or with an answer to what it asks; follows one that runs."""

    async def work() -> None:
        thread_id = checked_thread_id(thread)
        loaded = load_graph(graph) if graph is not None and is_address(graph) else None
        temporal, server = await connected(as_json=as_json)
        latest = await run_of(temporal, thread_id)
        name = loaded.name if loaded else graph_name(graph or latest.graph)
        async with client_for(temporal, name, loaded) as client:
            config = config_with(thread_id, recursion_limit)
            try:
                started = await client.astart(_answer(answer, interrupt), config)
            except ThreadBusyError:
                running = await client.aget_run(config)
                if running is None:
                    raise
                started = running
            address = graph if loaded else None
            await follow(started, name, server, address=address, detach=detach, as_json=as_json)

    refuse_to_detach_from_own_worker(graph, detach=detach)
    failing.run(work(), as_json=as_json)


@app.command()
def state(
    thread: ThreadArgument,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="A checkpoint: its id, the end of it, or a step.")
    ] = None,
    graph: GraphOption = None,
    as_json: AsJson = False,
) -> None:
    """Shows where a thread stands, or what was true at a checkpoint."""

    async def work() -> None:
        async with reader_of(thread, graph) as (client, run):
            config = config_for(run.thread_id)
            if checkpoint is not None:
                config = config_for(run.thread_id, await checkpoint_named(client, run.thread_id, checkpoint))
            found = await client.aget_state(config)
        if as_json:
            rendering.print_json(found)
            return
        status = status_of(run.status) if checkpoint is not None else thread_status(run.status, found)
        rendering.say(f"thread      {escape(run.thread_id)}, graph {escape(run.graph)}, {status}")
        rendering.say(rendering.state_block(found))

    failing.run(work(), as_json=as_json)


@app.command()
def history(
    thread: ThreadArgument,
    limit: Annotated[int | None, typer.Option(metavar="COUNT", min=1, help="How many checkpoints at the most.")] = None,
    values: Annotated[bool, typer.Option("--values", help="Show the values, too.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Draw it as a Mermaid flowchart.")] = False,
    graph: GraphOption = None,
    as_json: AsJson = False,
) -> None:
    """Shows a thread's checkpoints, newest first, across its runs."""

    async def work() -> None:
        async with reader_of(thread, graph) as (client, run):
            found = [snapshot async for snapshot in client.aget_state_history(config_for(run.thread_id), limit=limit)]
        if mermaid:
            print(drawing.mermaid(found, head=found[0].checkpoint_id if found else None), end="")
        elif as_json:
            rendering.print_json(found)
        else:
            rendering.show_history(found, values=values)

    failing.run(work(), as_json=as_json)


@app.command()
def threads(
    graph: Annotated[str | None, typer.Option(metavar="NAME", help="Only threads of this graph.")] = None,
    limit: Annotated[int, typer.Option(metavar="COUNT", min=1, help="How many at the most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Lists threads, the latest first."""

    async def work() -> None:
        if graph is not None:
            graph_name(graph)
        client, server = await connect()
        found = await list_threads(client, graph=graph, limit=limit)
        if as_json:
            rendering.print_json(found)
        elif found:
            rendering.show_threads(found)
        else:
            of = f" of graph {graph!r}" if graph else ""
            rendering.say(escape(f"There are no threads{of} at {server.address}, namespace {server.namespace!r}."))

    failing.run(work(), as_json=as_json)


@app.command("graph")
def draw(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="MODULE:VARIABLE or FILE.py:VARIABLE.")],
    as_json: AsJson = False,
) -> None:
    """Draws a graph as a Mermaid flowchart; with --json, prints its spec (a list of specs, if there are several)."""
    with failing.failing(as_json=as_json):
        found = load_graphs([address])
        if as_json:
            specs = [graph.registry.spec.model_dump(mode="json") for graph in found]
            rendering.print_json(specs if len(specs) > 1 else specs[0])
            return
        for graph in found:
            if len(found) > 1:
                print(f"%% {graph.name}")
            print(graph.get_graph().draw_mermaid(), end="")


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Runs the examples for real: a failure, what was saved of it, the resume, and the history."""
    with failing.failing(as_json=as_json):
        demonstration.run(as_json=as_json)


travel.add_to(app)


def main() -> None:
    """The console command."""
    app()


def _answer(answer: str | None, interrupt: str | None) -> Command | None:
    """What answers an interrupt: JSON if it is some, otherwise the text itself."""
    if answer is None:
        return None
    try:
        value = json.loads(answer)
    except json.JSONDecodeError:
        value = answer
    return Command(resume=value if interrupt is None else {interrupt: value})
