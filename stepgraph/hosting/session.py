"""The session: one connection and one event loop of a process, and a worker for each graph that it invokes.

The blocking and async methods of `CompiledGraph` make their calls through `current()`. Everything runs on an event loop
in a thread of its own. So the same call works in a plain script, in pytest and inside a running event loop, and a
graph's worker keeps running between calls.

Owns that thread and the connection; `_process_workers` has the workers. Knows nothing of what a call does: a call is
any function that takes a `GraphClient`.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Literal, TypeVar

from temporalio.client import Client

from stepgraph.client import GraphClient
from stepgraph.errors import StepgraphError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.hosting._process_workers import ProcessWorkers
from stepgraph.hosting.connection import TemporalServer, connect
from stepgraph.hosting.disk_guard import disk_guard
from stepgraph.hosting.graph_worker import SHORT_GRACE
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.settings import text_setting

T = TypeVar("T")
Call = Callable[[GraphClient], Awaitable[T]]
Stream = Callable[[GraphClient], AsyncIterator[T]]

STOP_SECONDS = SHORT_GRACE.total_seconds() + 2
"""How long the end of a process waits for its workers to stop polling the server."""

_END_OF_STREAM: Any = object()
log = get_logger("session")


class Session:
    """A process's connection to Temporal and its workers. Use `current` to get it.

    Its methods may be called from any thread, and what the async ones return may be used on any event loop.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stepgraph-session", daemon=True)
        self._thread.start()
        self._connecting: asyncio.Task[tuple[Client, TemporalServer]] | None = None
        self._workers = ProcessWorkers()
        atexit.register(self.close)

    @property
    def usable(self) -> bool:
        """Whether calls can be made. False after `close`, and in a forked child, where the thread does not exist."""
        return self._pid == os.getpid() and not self._loop.is_closed() and self._thread.is_alive()

    def call(self, graph: GraphRegistry, call: Call[T]) -> T:
        """Make a call and block until it has returned, whether or not an event loop is running in this thread."""
        return self._run_blocking(self._make_call(graph, call))

    async def acall(self, graph: GraphRegistry, call: Call[T]) -> T:
        """Make a call without blocking the event loop of its caller."""
        return await self._run_async(self._make_call(graph, call))

    def read(self, graph: GraphRegistry, call: Call[T]) -> T:
        """Make a call that only reads, as `call` does. It starts no worker: whoever looks at a thread runs no node."""
        return self._run_blocking(self._make_read(graph, call))

    async def aread(self, graph: GraphRegistry, call: Call[T]) -> T:
        """Make a call that only reads, as `acall` does. It starts no worker."""
        return await self._run_async(self._make_read(graph, call))

    def stream(self, graph: GraphRegistry, stream: Stream[T]) -> Iterator[T]:
        """Yield the items of an async iterator that only reads. Each is fetched when the caller asks for it."""
        items = self.read(graph, _open_stream(stream))
        try:
            while True:
                item = self._run_blocking(_next_item(items))
                if item is _END_OF_STREAM:
                    return
                yield item
        finally:
            self._close_without_waiting(items)

    async def astream(self, graph: GraphRegistry, stream: Stream[T]) -> AsyncIterator[T]:
        """Yield the items of an async iterator, as `stream` does, without blocking the event loop of its caller."""
        items = await self.aread(graph, _open_stream(stream))
        try:
            while True:
                item = await self._run_async(_next_item(items))
                if item is _END_OF_STREAM:
                    return
                yield item
        finally:
            self._close_without_waiting(items)

    def server(self) -> TemporalServer:
        """Return the server in use. Connects if need be."""

        async def connected_server() -> TemporalServer:
            return (await self._connection())[1]

        return self._run_blocking(connected_server())

    def close(self) -> None:
        """Stop the workers, then the event loop. Called by `atexit` when the process ends."""
        if not self.usable:
            return
        atexit.unregister(self.close)
        with suppress(concurrent.futures.TimeoutError, RuntimeError):
            self._submit(self._workers.stop()).result(STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        if not self._loop.is_running():
            self._loop.close()

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        try:
            if threading.current_thread() is self._thread:
                raise StepgraphError(
                    "A node that is async cannot call a graph's blocking methods; use ainvoke and the like."
                )
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except BaseException:
            work.close()
            raise

    def _run_blocking(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._submit(work)
        try:
            return future.result()
        except BaseException:  # for example Ctrl-C
            future.cancel()
            raise

    async def _run_async(self, work: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self._thread:  # called from an async node
            return await work
        return await asyncio.wrap_future(self._submit(work))

    def _close_without_waiting(self, items: AsyncIterator[Any]) -> None:
        """Close a stream in the background: the garbage collector may call this, on any thread."""
        if self.usable:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(lambda: self._loop.create_task(_close_stream(items)))

    async def _make_call(self, graph: GraphRegistry, call: Call[T]) -> T:
        """Make a call, with a running worker for the graph unless workers are external.

        Raises:
            GraphDefinitionError: a call of another graph of that name is under way in this process.
            ServerError: the disk of the embedded server is full.
            StepgraphError: the worker failed during the call.
        """
        temporal_client, server = await self._connection()
        in_process = _worker_mode() == "in-process"
        client = GraphClient(temporal_client, graph.name, schema=graph.schema, check_workers=not in_process)
        if not in_process:
            async with disk_guard(server.folder):
                return await call(client)
        with self._workers.serving(graph, client.client, client.task_queue) as worker:
            calling = asyncio.ensure_future(call(client))
            try:
                async with disk_guard(server.folder):
                    await asyncio.wait([calling, worker.task], return_when=asyncio.FIRST_COMPLETED)
                    if calling.done():
                        return calling.result()
                if not calling.done() and (failure := worker.failure()):
                    raise StepgraphError(
                        f"This process's worker on task queue {client.task_queue!r} stopped: {failure}. The thread is "
                        "as it was; try again."
                    )
                return await calling
            finally:
                calling.cancel()

    async def _make_read(self, graph: GraphRegistry, call: Call[T]) -> T:
        temporal_client, server = await self._connection()
        async with disk_guard(server.folder):
            return await call(GraphClient(temporal_client, graph.name, schema=graph.schema))

    async def _connection(self) -> tuple[Client, TemporalServer]:
        """Return the connection, which concurrent calls share. Connects if need be, also after a failed attempt."""
        if self._connecting is None or (self._connecting.done() and self._connecting.exception() is not None):
            self._connecting = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> tuple[Client, TemporalServer]:
        client, server = await connect()
        if server.started_here:  # a warning: where logging is not configured, Python prints warnings and errors alone
            log.warning(f"This process started a Temporal server, as none is configured or running. {server}")
        else:
            log.info(str(server))
        return client, server


def _worker_mode() -> Literal["in-process", "external"]:
    """Return where the nodes run of graphs that this process invokes: here, or in worker processes."""
    mode = text_setting("STEPGRAPH_WORKERS", "in-process")
    if mode == "in-process":
        return "in-process"
    if mode == "external":
        return "external"
    raise StepgraphError(
        f"STEPGRAPH_WORKERS must be 'in-process' or 'external'; got {mode!r}.", setting="STEPGRAPH_WORKERS"
    )


_current_session: Session | None = None
_current_lock = threading.Lock()


def current() -> Session:
    """Return the process's session. Opens it at first use."""
    global _current_session
    with _current_lock:
        if _current_session is None or not _current_session.usable:
            _current_session = Session()
        return _current_session


def _forget_parent_session() -> None:
    """Make a forked child open a session of its own, since the parent's thread does not exist there.

    The parent's session stays referenced: its loop and its connection cannot be closed from the child.
    """
    global _current_session, _current_lock
    _parent_sessions.append(_current_session)
    _current_session, _current_lock = None, threading.Lock()


_parent_sessions: list[Session | None] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent_session)


def _open_stream(stream: Stream[T]) -> Call[AsyncIterator[T]]:
    """Return a call that returns the stream's iterator, so that a stream is opened as any call is made."""

    async def open_iterator(client: GraphClient) -> AsyncIterator[T]:
        return stream(client)

    return open_iterator


async def _next_item(items: AsyncIterator[T]) -> T:
    item: T = await anext(items, _END_OF_STREAM)
    return item


async def _close_stream(items: AsyncIterator[Any]) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        with suppress(RuntimeError):  # the next item was being fetched when that was cancelled
            await close()
