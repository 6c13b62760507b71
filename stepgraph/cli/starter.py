"""``starter.py`` / ``stepgraph``: the operator's command line.

Each command is thin: it reads its arguments, asks `GraphClient`, and prints with `stepgraph.cli.rendering`.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from temporalio.client import Client

from stepgraph.cli import demo as demonstration
from stepgraph.cli import failing, rendering
from stepgraph.cli.loading import is_address, load_graph, load_graphs
from stepgraph.cli.naming import checkpoint_named
from stepgraph.cli.threads import list_threads, status_of
from stepgraph.client import GraphClient, GraphRun
from stepgraph.compiled import CompiledGraph
from stepgraph.errors import (
    GraphRecursionError,
    InvalidInputError,
    InvalidThreadError,
    NodeError,
    NoWorkerError,
    ReducerError,
    RunEndedError,
    StepgraphError,
    ThreadBusyError,
    ThreadError,
)
from stepgraph.logs import configure_logging
from stepgraph.run_config import THREAD_ID_MAX
from stepgraph.runs import Run, latest_run
from stepgraph.server.connection import Server, connect
from stepgraph.serving import BRIEF, worker_for
from stepgraph.settings import text
from stepgraph.snapshot import config_for
from stepgraph.validation import graph_name

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

GraphArgument = Annotated[
    str,
    typer.Argument(
        metavar="GRAPH",
        help="A graph's name, served by a worker; or MODULE:VARIABLE or FILE.py:VARIABLE, "
        "which brings a worker of its own.",
    ),
]
GraphOption = Annotated[
    str | None,
    typer.Option("--graph", metavar="ADDRESS", help="MODULE:VARIABLE or FILE.py:VARIABLE: brings a worker of its own."),
]
ThreadArgument = Annotated[str, typer.Argument(metavar="THREAD", help="The thread's id.")]
RecursionLimit = Annotated[int | None, typer.Option(metavar="STEPS", min=1, help="Super-steps allowed.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait for the end; a worker elsewhere does the work.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
    recursion_limit: RecursionLimit = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Runs a graph on a thread, showing each super-step as it finishes."""

    async def work() -> None:
        values = _read_input(input)
        loaded = load_graph(graph) if is_address(graph) else None
        name = loaded.name if loaded else graph_name(graph)
        if loaded is not None:
            values = loaded.code.schema.check_input(name, values)
        thread_id = f"{name}-{uuid.uuid4().hex[:12]}" if thread is None else _thread_id(thread)
        temporal, server = await _connected(as_json=as_json)
        async with _client_for(temporal, name, loaded) as client:
            started = await client.astart(values, _config(thread_id, recursion_limit))
            address = graph if loaded else None
            await _follow(started, name, server, address=address, detach=detach, as_json=as_json)

    _refuse_to_detach_from_own_worker(graph, detach=detach)
    failing.run(work(), as_json=as_json)


@app.command()
def resume(
    thread: ThreadArgument,
    graph: GraphOption = None,
    recursion_limit: RecursionLimit = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Goes on with a thread where it failed: only what did not finish is run. One that runs is followed."""

    async def work() -> None:
        thread_id = _thread_id(thread)
        loaded = load_graph(graph) if graph is not None and is_address(graph) else None
        temporal, server = await _connected(as_json=as_json)
        latest = await _latest_run(temporal, thread_id)
        name = loaded.name if loaded else graph_name(graph or latest.graph)
        async with _client_for(temporal, name, loaded) as client:
            config = _config(thread_id, recursion_limit)
            try:
                started = await client.astart(None, config)
            except ThreadBusyError:
                running = await client.aget_run(config)
                if running is None:
                    raise
                started = running
            address = graph if loaded else None
            await _follow(started, name, server, address=address, detach=detach, as_json=as_json)

    _refuse_to_detach_from_own_worker(graph, detach=detach)
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
        async with _reader_of(thread, graph) as (client, run):
            config = config_for(run.thread_id)
            if checkpoint is not None:
                config = config_for(run.thread_id, await checkpoint_named(client, run.thread_id, checkpoint))
            found = await client.aget_state(config)
        if as_json:
            rendering.print_json(found)
            return
        rendering.say(f"thread      {escape(run.thread_id)}, graph {escape(run.graph)}, {status_of(run.status)}")
        rendering.say(rendering.state_block(found))

    failing.run(work(), as_json=as_json)


@app.command()
def history(
    thread: ThreadArgument,
    limit: Annotated[int | None, typer.Option(metavar="COUNT", min=1, help="How many checkpoints at the most.")] = None,
    values: Annotated[bool, typer.Option("--values", help="Show the values, too.")] = False,
    graph: GraphOption = None,
    as_json: AsJson = False,
) -> None:
    """Shows a thread's checkpoints, newest first, across its runs."""

    async def work() -> None:
        async with _reader_of(thread, graph) as (client, run):
            found = [snapshot async for snapshot in client.aget_state_history(config_for(run.thread_id), limit=limit)]
        if as_json:
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
            specs = [graph.code.spec.model_dump(mode="json") for graph in found]
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


def main() -> None:
    """The console command."""
    app()


async def _connected(*, as_json: bool) -> tuple[Client, Server]:
    temporal, server = await connect()
    if not as_json:
        rendering.say(f"[dim]{escape(str(server))}[/]")
    return temporal, server


@asynccontextmanager
async def _client_for(
    temporal: Client, graph: str, loaded: CompiledGraph | None, *, reads_only: bool = False
) -> AsyncIterator[GraphClient]:
    """A client for a graph; if its code is here, with a worker for as long as it is needed."""
    client = GraphClient(temporal, graph, check_workers=loaded is None)
    if loaded is None:
        yield client
        return
    async with worker_for(temporal, [loaded], task_queue=client.task_queue, grace=BRIEF, reads_only=reads_only):
        yield client


@asynccontextmanager
async def _reader_of(thread: str, graph: str | None) -> AsyncIterator[tuple[GraphClient, Run]]:
    """A client for reading a thread, and its latest run; with the graph's code, no other worker is needed."""
    thread_id = _thread_id(thread)
    loaded = load_graph(graph) if graph is not None else None
    temporal, _ = await connect()
    run = await _latest_run(temporal, thread_id)
    async with _client_for(temporal, loaded.name if loaded else run.graph, loaded, reads_only=True) as client:
        yield client, run


async def _follow(
    run: GraphRun, graph: str, server: Server, *, address: str | None, detach: bool, as_json: bool
) -> None:
    """Shows a run's super-steps as they finish, then its values."""
    ids = {"thread_id": run.thread_id, "run_id": run.run_id}
    if not as_json:
        url = server.thread_url(run.thread_id)
        rendering.say(f"thread [bold]{escape(run.thread_id)}[/]" + (f"  [dim]{url}[/]" if url else ""))
    elif detach:
        rendering.print_json(ids)
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
    if as_json:
        rendering.print_json({**ids, "values": values})
    else:
        rendering.say(rendering.values_block(values))


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


async def _latest_run(temporal: Client, thread_id: str) -> Run:
    run = await latest_run(temporal, thread_id)
    if run is None:
        raise ThreadError(
            f"There is no thread {thread_id!r}. List those there are with: starter.py threads",
            thread_id=thread_id,
        )
    return run


def _config(thread_id: str, recursion_limit: int | None) -> dict[str, Any]:
    limit = {} if recursion_limit is None else {"recursion_limit": recursion_limit}
    return {**config_for(thread_id), **limit}


def _thread_id(given: str) -> str:
    if not given.strip() or len(given) > THREAD_ID_MAX or not given.isprintable():
        raise InvalidThreadError(
            f"A thread id has 1 to {THREAD_ID_MAX} printable characters; got {given[:40]!r}.", thread_id=given
        )
    return given


def _refuse_to_detach_from_own_worker(graph: str | None, *, detach: bool) -> None:
    if detach and graph is not None and is_address(graph):
        raise typer.BadParameter(
            f"with {graph} the worker would end with this command, and nobody would do the work. "
            f"Start one with worker.py --graphs {graph}, and name the graph instead.",
            param_hint="--detach",
        )


def _read_input(given: str) -> dict[str, Any]:
    where = "The input"
    try:
        if given == "-":
            where = "Standard input"
            given = sys.stdin.read()
        elif given.startswith("@"):
            where = f"The input file {given[1:]!r}"
            given = Path(given[1:]).read_text(encoding="utf-8")
        values = json.loads(given)
    except OSError as error:
        raise InvalidInputError(f"{where} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{where} is not text in UTF-8: {error}.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(
            f'{where} is not JSON: {error}. Pass an object: --input \'{{"key": "value"}}\'.'
        ) from error
    if not isinstance(values, dict):
        raise InvalidInputError(
            f"{where} must be a JSON object with the state's keys. To resume a thread, use: starter.py resume"
        )
    return values
