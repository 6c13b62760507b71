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
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from temporalio.client import Client
from temporalio.worker import Worker

from stepgraph.client import GraphClient
from stepgraph.errors import StepgraphError
from stepgraph.logs import get_logger, quiet_sdk
from stepgraph.plugin import GraphPlugin
from stepgraph.server.connection import Server, connect
from stepgraph.settings import text

if TYPE_CHECKING:
    from stepgraph.compiled import CompiledGraph

T = TypeVar("T")
Call = Callable[[GraphClient], Awaitable[T]]
Stream = Callable[[GraphClient], AsyncIterator[T]]

STOP_SECONDS = 5
log = get_logger("session")


@dataclass
class _Working:
    """A worker that serves a graph in this process."""

    graph: CompiledGraph
    worker: Worker
    task: asyncio.Task[None]


class Session:
    """One process's way to Temporal. `current` gives the one there is."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stepgraph-session", daemon=True)
        self._thread.start()
        self._connecting: asyncio.Task[tuple[Client, Server]] | None = None
        self._working: dict[str, _Working] = {}
        self._lock: asyncio.Lock | None = None
        atexit.register(self.close)

    @property
    def usable(self) -> bool:
        """Whether calls can be made: not after `close`, and not in a forked child."""
        return self._pid == os.getpid() and not self._loop.is_closed() and self._thread.is_alive()

    def call(self, graph: CompiledGraph, call: Call[T]) -> T:
        """Makes a call and waits for it, whether or not an event loop is running here."""
        future = self._submit(self._called(graph, call))
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def acall(self, graph: CompiledGraph, call: Call[T]) -> T:
        """Makes a call from somebody's event loop, without blocking it."""
        return await asyncio.wrap_future(self._submit(self._called(graph, call)))

    def stream(self, graph: CompiledGraph, stream: Stream[T]) -> Iterator[T]:
        """Items one after the other, each fetched when it is asked for."""
        items = self.call(graph, _iterator(stream))
        try:
            while True:
                item = self._submit(_next(items)).result()
                if item is _NO_MORE:
                    return
                yield item
        finally:
            self._submit(_close(items)).result()

    async def astream(self, graph: CompiledGraph, stream: Stream[T]) -> AsyncIterator[T]:
        """The same from somebody's event loop."""
        items = await self.acall(graph, _iterator(stream))
        try:
            while True:
                item = await asyncio.wrap_future(self._submit(_next(items)))
                if item is _NO_MORE:
                    return
                yield item
        finally:
            await asyncio.wrap_future(self._submit(_close(items)))

    def server(self) -> Server:
        """The server in use; connects if need be."""

        async def connected() -> Server:
            return (await self._connected())[1]

        return self._submit(connected()).result()

    def close(self) -> None:
        """Stops the workers, then the loop. Done by itself when the process ends."""
        if not self.usable:
            return
        with suppress(concurrent.futures.TimeoutError, RuntimeError):
            self._submit(self._stop()).result(STOP_SECONDS * 2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        if not self._loop.is_running():
            self._loop.close()
        atexit.unregister(self.close)

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        if threading.current_thread() is self._thread:
            work.close()
            raise StepgraphError(
                "A node that is async cannot call a graph's blocking methods; use ainvoke and the like."
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _called(self, graph: CompiledGraph, call: Call[T]) -> T:
        client, _ = await self._connected()
        in_process = workers() == "in-process"
        if in_process:
            await self._work_on(graph, client)
        return await call(GraphClient(client, graph.name, schema=graph.code.schema, check_workers=not in_process))

    async def _connected(self) -> tuple[Client, Server]:
        if self._connecting is None or (self._connecting.done() and self._connecting.exception() is not None):
            self._connecting = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> tuple[Client, Server]:
        client, server = await connect()
        log.info(str(server))
        return client, server

    async def _work_on(self, graph: CompiledGraph, client: Client) -> None:
        """Has a worker for the graph, of its latest definition under that name."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            working = self._working.get(graph.name)
            if working is not None and working.graph is graph and not working.task.done():
                return
            if working is not None:
                await _stop(working)
            quiet_sdk()
            task_queue = GraphClient(client, graph.name).task_queue
            worker = Worker(
                client,
                task_queue=task_queue,
                plugins=[GraphPlugin([graph])],
                graceful_shutdown_timeout=timedelta(seconds=STOP_SECONDS),
            )
            self._working[graph.name] = _Working(graph, worker, asyncio.ensure_future(worker.run()))

    async def _stop(self) -> None:
        await asyncio.gather(*(_stop(working) for working in self._working.values()), return_exceptions=True)
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
        await close()


async def _stop(working: _Working) -> None:
    with suppress(Exception):
        await working.worker.shutdown()
        await working.task
