"""From what an operator types to a client for the right thread: ids, addresses, JSON, a worker where one is brought."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from temporalio.client import Client

from stepgraph.cli import rendering
from stepgraph.cli.graph_loader import is_address, load_graph
from stepgraph.client import GraphClient
from stepgraph.errors import InvalidInputError, InvalidThreadError, ThreadError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting.connection import Server, connect
from stepgraph.hosting.graph_worker import SHORT_GRACE, graph_worker
from stepgraph.protocol.config import parse_thread_id
from stepgraph.protocol.snapshot import config_for
from stepgraph.temporal.executions import Run, latest_run


async def connected(*, as_json: bool) -> tuple[Client, Server]:
    temporal, server = await connect()
    if not as_json:
        rendering.say(f"[dim]{escape(str(server))}[/]")
    return temporal, server


@asynccontextmanager
async def client_for(
    temporal: Client, graph: str, loaded: CompiledGraph | None, *, reads_only: bool = False
) -> AsyncIterator[GraphClient]:
    """A client for a graph; if its code is here, with a worker for as long as it is needed."""
    client = GraphClient(temporal, graph, check_workers=loaded is None)
    if loaded is None:
        yield client
        return
    async with graph_worker(
        temporal, [loaded.registry], task_queue=client.task_queue, grace=SHORT_GRACE, reads_only=reads_only
    ):
        yield client


@asynccontextmanager
async def reader_of(thread: str, graph: str | None) -> AsyncIterator[tuple[GraphClient, Run]]:
    """A client for reading a thread, and its latest run; with the graph's code, no other worker is needed."""
    thread_id = checked_thread_id(thread)
    loaded = load_graph(graph) if graph is not None else None
    temporal, _ = await connect()
    run = await run_of(temporal, thread_id)
    async with client_for(temporal, loaded.name if loaded else run.graph, loaded, reads_only=True) as client:
        yield client, run


async def run_of(temporal: Client, thread_id: str) -> Run:
    run = await latest_run(temporal, thread_id)
    if run is None:
        raise ThreadError(
            f"There is no thread {thread_id!r}. List those there are with: starter.py threads",
            thread_id=thread_id,
        )
    return run


@asynccontextmanager
async def for_thread(thread: str, graph: str | None) -> AsyncIterator[tuple[GraphClient, Run, Server]]:
    """A client for changing a thread, its latest run, and the server; with the graph's code, with a worker."""
    thread_id = checked_thread_id(thread)
    loaded = load_graph(graph) if graph is not None else None
    temporal, server = await connect()
    run = await run_of(temporal, thread_id)
    async with client_for(temporal, loaded.name if loaded else run.graph, loaded) as client:
        yield client, run, server


def config_with(thread_id: str, recursion_limit: int | None) -> dict[str, Any]:
    limit = {} if recursion_limit is None else {"recursion_limit": recursion_limit}
    return {**config_for(thread_id), **limit}


def checked_thread_id(given: str) -> str:
    if not given.strip():
        raise InvalidThreadError(f"A thread id must not be empty; got {given!r}.", thread_id=given)
    return parse_thread_id(given)


def refuse_to_detach_from_own_worker(graph: str | None, *, detach: bool) -> None:
    if detach and graph is not None and is_address(graph):
        raise typer.BadParameter(
            f"with {graph} the worker would end with this command, and nobody would do the work. "
            f"Start one with worker.py --graphs {graph}, and name the graph instead.",
            param_hint="--detach",
        )


def read_json(given: str) -> dict[str, Any]:
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
