"""``starter.py`` / ``stepgraph``: the operator's command line.

Each command is thin: it reads its arguments, asks `GraphClient`, and prints with `stepgraph.cli.rendering`.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from temporalio.client import Client
from temporalio.worker import Worker

from stepgraph.cli import demo as demonstration
from stepgraph.cli import failing, rendering
from stepgraph.cli.loading import is_address, load_graphs
from stepgraph.cli.naming import checkpoint_named
from stepgraph.cli.threads import list_threads
from stepgraph.client import GraphClient, GraphRun
from stepgraph.errors import InvalidInputError, ThreadError, UnknownGraphError
from stepgraph.logs import configure_logging
from stepgraph.plugin import GraphPlugin
from stepgraph.run_config import parse_thread_id
from stepgraph.runs import latest_run
from stepgraph.server.connection import Server, connect
from stepgraph.snapshot import config_for

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

GraphArgument = Annotated[
    str,
    typer.Argument(help="A graph's name, served by a worker; or module:variable, which brings a worker of its own."),
]
ThreadArgument = Annotated[str, typer.Argument(help="The thread's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def starter() -> None:
    """Starts, resumes and reads threads: runs of graphs on Temporal."""
    with failing.failing():
        configure_logging("console", "error")


@app.command("run")
def run_command(
    graph: GraphArgument,
    input: Annotated[str, typer.Option(help="The state's keys to set: a JSON object, @FILE, or - for standard input.")],
    thread: Annotated[str | None, typer.Option(help="The thread's id; a new one by default.")] = None,
    recursion_limit: Annotated[int | None, typer.Option(help="Super-steps allowed.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Runs a graph on a thread, showing each super-step as it finishes."""
    thread_id = f"{uuid.uuid4()}" if thread is None else thread
    failing.run(_go(graph, input, thread_id, recursion_limit, detach=detach, as_json=as_json), as_json=as_json)


@app.command()
def resume(
    thread: ThreadArgument,
    graph: Annotated[str | None, typer.Option(help="module:variable, to bring a worker of its own.")] = None,
    recursion_limit: Annotated[int | None, typer.Option(help="Super-steps allowed.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Goes on with a thread where it failed: only what did not finish is run."""
    failing.run(_go(graph, None, thread, recursion_limit, detach=detach, as_json=as_json), as_json=as_json)


@app.command()
def state(
    thread: ThreadArgument,
    checkpoint: Annotated[str | None, typer.Option(help="A checkpoint: its id, the end of it, or a step.")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows where a thread stands, or what was true at a checkpoint."""

    async def show() -> None:
        client = await _client_of(thread)
        config = config_for(thread)
        if checkpoint is not None:
            config = config_for(thread, await checkpoint_named(client, thread, checkpoint))
        found = await client.aget_state(config)
        if as_json:
            rendering.print_json(found)
        else:
            rendering.console.print(rendering.state_block(found))

    failing.run(show(), as_json=as_json)


@app.command()
def history(
    thread: ThreadArgument,
    limit: Annotated[int | None, typer.Option(help="How many checkpoints at the most.")] = None,
    values: Annotated[bool, typer.Option("--values", help="Show the values, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows a thread's checkpoints, newest first, across its runs."""

    async def show() -> None:
        client = await _client_of(thread)
        found = [snapshot async for snapshot in client.aget_state_history(config_for(thread), limit=limit)]
        if as_json:
            rendering.print_json(found)
        else:
            rendering.console.print(rendering.history_table(found, values=values))

    failing.run(show(), as_json=as_json)


@app.command()
def threads(
    graph: Annotated[str | None, typer.Option(help="Only threads of this graph.")] = None,
    limit: Annotated[int, typer.Option(help="How many at the most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Lists threads, the latest first."""

    async def show() -> None:
        client, _ = await connect()
        found = await list_threads(client, graph=graph, limit=limit)
        if as_json:
            rendering.print_json(found)
        else:
            rendering.console.print(rendering.threads_table(found))

    failing.run(show(), as_json=as_json)


@app.command("graph")
def draw(
    address: Annotated[str, typer.Argument(help="module:variable or path/to/file.py:variable.")],
    as_json: AsJson = False,
) -> None:
    """Draws a graph as a Mermaid flowchart; with --json, prints its spec."""
    with failing.failing(as_json=as_json):
        for found in load_graphs([address]):
            if as_json:
                rendering.print_json(found.code.spec.model_dump(mode="json"))
            else:
                print(found.get_graph().draw_mermaid(), end="")


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Runs the examples for real: a failure, what was saved of it, the resume, and the history."""
    with failing.failing(as_json=as_json):
        demonstration.run(as_json=as_json)


def main() -> None:
    """The console command."""
    app()


async def _go(
    graph: str | None,
    given: str | None,
    thread: str,
    recursion_limit: int | None,
    *,
    detach: bool,
    as_json: bool,
) -> None:
    """Starts or resumes a thread, and follows it to its end."""
    thread_id = parse_thread_id(thread)
    values = None if given is None else _read_input(given)
    config: dict[str, Any] = config_for(thread_id)
    if recursion_limit is not None:
        config["recursion_limit"] = recursion_limit
    temporal, server = await connect()
    if not as_json:
        rendering.console.print(f"[dim]{server}[/]")
    async with _client_for(temporal, graph, thread_id) as client:
        run = await client.astart(values, config)
        if detach:
            _tell_started(run, server, as_json=as_json)
        else:
            await _follow(run, server, as_json=as_json)


async def _follow(run: GraphRun, server: Server, *, as_json: bool) -> None:
    if not as_json:
        _tell_started(run, server, as_json=False)
        async for snapshot in run.watch():
            rendering.console.print(rendering.step_line(snapshot))
    values = await run.result()
    if as_json:
        rendering.print_json({"thread_id": run.thread_id, "run_id": run.run_id, "values": values})
    else:
        rendering.console.print(rendering.values_block(values))


def _tell_started(run: GraphRun, server: Server, *, as_json: bool) -> None:
    if as_json:
        rendering.print_json({"thread_id": run.thread_id, "run_id": run.run_id})
        return
    url = server.thread_url(run.thread_id)
    rendering.console.print(f"thread [bold]{run.thread_id}[/]{f'  [dim]{url}[/]' if url else ''}")


@asynccontextmanager
async def _client_for(temporal: Client, graph: str | None, thread_id: str) -> AsyncIterator[GraphClient]:
    """A client for a graph by name, by the thread's, or, with a worker for as long as it is needed, by address."""
    if graph is None or not is_address(graph):
        yield GraphClient(temporal, graph or await _graph_of(temporal, thread_id))
        return
    graphs = load_graphs([graph])
    if len(graphs) != 1:
        raise UnknownGraphError(f"{graph!r} has {len(graphs)} graphs. Name one: MODULE:VARIABLE.")
    client = GraphClient(temporal, graphs[0].name, check_workers=False)
    async with Worker(temporal, task_queue=client.task_queue, plugins=[GraphPlugin(graphs)]):
        yield client


async def _client_of(thread: str) -> GraphClient:
    thread_id = parse_thread_id(thread)
    temporal, _ = await connect()
    return GraphClient(temporal, await _graph_of(temporal, thread_id))


async def _graph_of(temporal: Client, thread_id: str) -> str:
    run = await latest_run(temporal, thread_id)
    if run is None:
        raise ThreadError(
            f"There is no thread {thread_id!r}. List those there are with: starter.py threads",
            thread_id=thread_id,
        )
    return run.graph


def _read_input(given: str) -> Any:
    try:
        text = sys.stdin.read() if given == "-" else Path(given[1:]).read_text() if given.startswith("@") else given
        values = json.loads(text)
    except OSError as error:
        raise InvalidInputError(f"The input file {given[1:]!r} cannot be read: {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            f'The input is not JSON: {error}. Pass an object: --input \'{{"key": "value"}}\'.'
        ) from error
    if not isinstance(values, dict):
        raise InvalidInputError(
            "The input must be a JSON object with the state's keys. To resume, use: starter.py resume"
        )
    return values
