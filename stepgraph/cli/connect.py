"""Turns what an operator types into a connected client for the right graph and thread.

Owns the reading of arguments (graph addresses, thread ids, JSON), and the worker that a command runs while it has a
graph's code. Knows nothing of what a command then does or prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from stepgraph.graph.validation import graph_name
from stepgraph.hosting.connection import TemporalServer, connect
from stepgraph.hosting.disk_guard import disk_guard
from stepgraph.hosting.graph_worker import SHORT_GRACE, graph_worker
from stepgraph.protocol.config import RunnableConfig, parse_thread_id
from stepgraph.temporal.executions import Run, latest_run
from stepgraph.temporal.program_names import operator_command, worker_command
from stepgraph.temporal.storage import check_storage


@dataclass(frozen=True)
class GraphReference:
    """A graph as a command names it: by its name alone, or with its code and the address that it was loaded from."""

    name: str
    code: CompiledGraph | None = None
    address: str | None = None


@dataclass(frozen=True)
class GraphConnection:
    """A client for one graph, and the server that it is connected to."""

    client: GraphClient
    server: TemporalServer
    address: str | None
    """Where the graph's code was loaded from: this process runs a worker for it. None if other workers serve it."""


def graph_at(address: str | None) -> GraphReference | None:
    """Load the graph at an address; None if no address was given."""
    if address is None:
        return None
    code = load_graph(address)
    return GraphReference(code.name, code, address)


def graph_called(text: str) -> GraphReference:
    """Return a graph by its name, or loads it if the text is an address."""
    reference = graph_at(text) if is_address(text) else None
    return reference or GraphReference(graph_name(text))


@asynccontextmanager
async def open_graph(graph: GraphReference, *, announce: bool) -> AsyncIterator[GraphConnection]:
    """Connect to a server and yields a client for a graph; if its code was loaded, runs a worker meanwhile.

    Args:
        graph: the graph.
        announce: whether to print which server is used.
    """
    temporal, server = await _connect(announce=announce)
    async with disk_guard(server.folder), _graph_connection(temporal, server, graph) as connection:
        yield connection


@asynccontextmanager
async def open_thread(
    thread: str, graph: GraphReference | None = None, *, announce: bool = False
) -> AsyncIterator[tuple[GraphConnection, Run]]:
    """Connect to a server and yields a client for a thread's graph, and the thread's latest run.

    Args:
        thread: the thread id, as typed.
        graph: the graph; by default the one that the thread belongs to, served by other workers.
        announce: whether to print which server is used.

    Raises:
        ThreadError: there is no such thread.
    """
    thread_id = checked_thread_id(thread)
    temporal, server = await _connect(announce=announce)
    async with disk_guard(server.folder):
        run = await latest_run(temporal, thread_id)
        if run is None:
            raise ThreadError(
                f"There is no thread {thread_id!r}. List those there are with: {operator_command()} threads",
                thread_id=thread_id,
            )
        graph = graph or GraphReference(run.graph)
        async with _graph_connection(temporal, server, graph) as connection:
            yield connection, run


async def _connect(*, announce: bool) -> tuple[Client, TemporalServer]:
    temporal, server = await connect()
    if announce:
        rendering.print_line(f"[dim]{escape(str(server))}[/]")
    return temporal, server


@asynccontextmanager
async def _graph_connection(
    temporal: Client, server: TemporalServer, graph: GraphReference
) -> AsyncIterator[GraphConnection]:
    client = GraphClient(temporal, graph.name, check_workers=graph.code is None)
    connection = GraphConnection(client, server, graph.address)
    if graph.code is None:
        yield connection
        return
    await check_storage(temporal)  # a worker that cannot store a state would try again without end
    async with graph_worker(temporal, [graph.code.registry], task_queue=client.task_queue, grace=SHORT_GRACE):
        yield connection


def with_recursion_limit(config: RunnableConfig, limit: int | None) -> RunnableConfig:
    """Return a config with a recursion limit, if one was given."""
    return config if limit is None else {**config, "recursion_limit": limit}


def checked_thread_id(thread: str) -> str:
    """Return a thread id as typed. Raises `InvalidThreadError` if it cannot be one."""
    if not thread.strip():
        raise InvalidThreadError(f"A thread id must not be empty; got {thread!r}.", thread_id=thread)
    return parse_thread_id(thread)


def refuse_to_detach_from_own_worker(graph: str | None, *, detach: bool) -> None:
    """Raise a usage error if a command is to leave its thread to a worker that ends with the command."""
    if detach and graph is not None and is_address(graph):
        raise typer.BadParameter(
            f"with {graph} the worker would end with this command, and nobody would do the work. "
            f"Start one with {worker_command()} --graphs {graph}, and name the graph instead.",
            param_hint="--detach",
        )


def read_json(argument: str) -> dict[str, Any]:
    """Read a JSON object from an argument: the JSON itself, ``@FILE``, or ``-`` for standard input.

    Raises:
        InvalidInputError: there is no such file, or no JSON object in it.
    """
    source = "The input"
    try:
        if argument == "-":
            source = "Standard input"
            argument = sys.stdin.read()
        elif argument.startswith("@"):
            source = f"The input file {argument[1:]!r}"
            argument = Path(argument[1:]).read_text(encoding="utf-8")
        values = json.loads(argument)
    except OSError as error:
        raise InvalidInputError(f"{source} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{source} is not text in UTF-8: {error}.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(
            f'{source} is not JSON: {error}. Pass an object: --input \'{{"key": "value"}}\'.'
        ) from error
    if not isinstance(values, dict):
        raise InvalidInputError(
            f"{source} must be a JSON object with the state's keys. To resume a thread, use: "
            f"{operator_command()} resume"
        )
    return values
