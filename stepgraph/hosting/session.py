"""What `graph.invoke` works through: one connection and one event loop a process, and a worker for each graph used.

Everything runs on a loop in a thread of its own, so the same call works in a plain script, in pytest and inside a
running event loop, and a graph's worker goes on between calls.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from temporalio.client import Client
from temporalio.worker import Worker

from stepgraph.client import GraphClient
from stepgraph.errors import StepgraphError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.hosting.connection import Server, connect
from stepgraph.hosting.graph_worker import SHORT_GRACE, graph_worker
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.settings import text

T = TypeVar("T")
Call = Callable[[GraphClient], Awaitable[T]]
Stream = Callable[[GraphClient], AsyncIterator[T]]

STOP_SECONDS = SHORT_GRACE.total_seconds() + 2
"""How long the end of the process waits for its workers to take their leave of the server."""
log = get_logger("session")


@dataclass(frozen=True)
class _RunningWorker:
    """A worker that serves graphs in this process, on one task queue."""

    graphs: dict[str, GraphRegistry]
    worker: Worker
    task: asyncio.Task[None]

    def broken(self) -> BaseException | None:
        """What ended it, other than being told to."""
        return self.task.exception() if self.task.done() and not self.task.cancelled() else None

    async def stop(self) -> None:
        """Ends it, however it fares."""
        with suppress(Exception):
            await self.worker.shutdown()
            await self.task


class Session:
    """One process's way to Temporal. `current` gives the one there is."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stepgraph-session", daemon=True)
        self._thread.start()
        self._connecting: asyncio.Task[tuple[Client, Server]] | None = None
        self._working: dict[str, _RunningWorker] = {}
        self._lock: asyncio.Lock | None = None
        atexit.register(self.close)

    @property
    def usable(self) -> bool:
        """Whether calls can be made: not after `close`, and not in a forked child."""
        return self._pid == os.getpid() and not self._loop.is_closed() and self._thread.is_alive()

    def call(self, graph: GraphRegistry, call: Call[T]) -> T:
        """Makes a call and waits for it, whether or not an event loop is running here."""
        return self._wait(self._called(graph, call))

    async def acall(self, graph: GraphRegistry, call: Call[T]) -> T:
        """Makes a call from somebody's event loop, without blocking it."""
        return await self._await(self._called(graph, call))

    def stream(self, graph: GraphRegistry, stream: Stream[T]) -> Iterator[T]:
        """Items one after the other, each fetched when it is asked for."""
        items = self.call(graph, _iterator(stream))
        try:
            while True:
                item = self._wait(_next(items))
                if item is _NO_MORE:
                    return
                yield item
        finally:
            self._let_go_of(items)

    async def astream(self, graph: GraphRegistry, stream: Stream[T]) -> AsyncIterator[T]:
        """The same from somebody's event loop."""
        items = await self.acall(graph, _iterator(stream))
        try:
            while True:
                item = await self._await(_next(items))
                if item is _NO_MORE:
                    return
                yield item
        finally:
            self._let_go_of(items)

    def server(self) -> Server:
        """The server in use; connects if need be."""

        async def connected() -> Server:
            return (await self._connected())[1]

        return self._wait(connected())

    def close(self) -> None:
        """Stops the workers, then the loop. Done by itself when the process ends."""
        if not self.usable:
            return
        atexit.unregister(self.close)
        with suppress(concurrent.futures.TimeoutError, RuntimeError):
            self._submit(self._stop()).result(STOP_SECONDS)
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

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._submit(work)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, say
            future.cancel()
            raise

    async def _await(self, work: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self._thread:  # in a node that is async
            return await work
        return await asyncio.wrap_future(self._submit(work))

    def _let_go_of(self, items: AsyncIterator[Any]) -> None:
        """Closes a stream without waiting: whoever abandons one may be the garbage collector, on any thread."""
        if self.usable:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(lambda: self._loop.create_task(_close(items)))

    async def _called(self, graph: GraphRegistry, call: Call[T]) -> T:
        client, _ = await self._connected()
        in_process = workers() == "in-process"
        its_client = GraphClient(client, graph.name, schema=graph.schema, check_workers=not in_process)
        if not in_process:
            return await call(its_client)
        working = await self._work_on(graph, its_client)
        calling = asyncio.ensure_future(call(its_client))
        try:
            await asyncio.wait([calling, working.task], return_when=asyncio.FIRST_COMPLETED)
            if not calling.done() and (broken := working.broken()):
                raise StepgraphError(
                    f"This process's worker on task queue {its_client.task_queue!r} stopped: {broken}. The thread is "
                    "as it was; try again."
                )
            return await calling
        finally:
            calling.cancel()

    async def _connected(self) -> tuple[Client, Server]:
        if self._connecting is None or (self._connecting.done() and self._connecting.exception() is not None):
            self._connecting = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> tuple[Client, Server]:
        client, server = await connect()
        log.info(str(server))
        return client, server

    async def _work_on(self, graph: GraphRegistry, client: GraphClient) -> _RunningWorker:
        """The worker for the graph, of its latest definition under that name."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            working = self._working.get(client.task_queue)
            if working is not None and working.graphs.get(graph.name) is graph and not working.task.done():
                return working
            graphs = {**(working.graphs if working else {}), graph.name: graph}
            if working is not None:
                await working.stop()
            worker = graph_worker(client.client, list(graphs.values()), task_queue=client.task_queue, grace=SHORT_GRACE)
            working = _RunningWorker(graphs, worker, asyncio.ensure_future(worker.run()))
            self._working[client.task_queue] = working
            return working

    async def _stop(self) -> None:
        await asyncio.gather(*(working.stop() for working in self._working.values()))
        self._working.clear()


def workers() -> Literal["in-process", "external"]:
    """Who runs the nodes of graphs that this process invokes."""
    given = text("STEPGRAPH_WORKERS", "in-process")
    if given == "in-process":
        return "in-process"
    if given == "external":
        return "external"
    raise StepgraphError(
        f"STEPGRAPH_WORKERS must be 'in-process' or 'external'; got {given!r}.", setting="STEPGRAPH_WORKERS"
    )


_current: Session | None = None
_current_lock = threading.Lock()


def current() -> Session:
    """The process's session, opened at first use."""
    global _current
    with _current_lock:
        if _current is None or not _current.usable:
            _current = Session()
        return _current


def _forget() -> None:
    """In a forked child: the session's thread is not there. What it held is kept, for it cannot be taken down."""
    global _current, _current_lock
    _of_parents.append(_current)
    _current, _current_lock = None, threading.Lock()


_of_parents: list[Session | None] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

_NO_MORE: Any = object()


def _iterator(stream: Stream[T]) -> Call[AsyncIterator[T]]:
    async def begun(client: GraphClient) -> AsyncIterator[T]:
        return stream(client)

    return begun


async def _next(items: AsyncIterator[T]) -> T:
    found: T = await anext(items, _NO_MORE)
    return found


async def _close(items: AsyncIterator[Any]) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        with suppress(RuntimeError):  # it is being asked for its next item, and that was cancelled
            await close()
