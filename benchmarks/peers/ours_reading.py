"""What only stepgraph is asked: to read threads, open and closed, warm and cold, and to keep many of them waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, TypedDict
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.jobs import Count, message, more, step
from benchmarks.peers.ours import Ours, config
from benchmarks.peers.temporal import described
from benchmarks.process import resident
from stepgraph import END, START, Command, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting.graph_worker import graph_worker

READS = 20
"""Times that a read is done; the median counts."""


class Kept(TypedDict):
    """The state of a thread that waits."""

    document: str
    size: int


def ask(state: Any) -> dict[str, Any]:
    """Waits for a person."""
    interrupt("go on?")
    return {}


def fetch(state: Any) -> dict[str, Any]:
    """Writes a document of the size wanted, if it has none."""
    return {} if state.get("document") else {"document": message(state["size"], state["size"])}


def counting() -> CompiledGraph:
    """Counts up to the goal, and then waits for a person."""
    builder = StateGraph(Count)
    builder.add_node("step", step)
    builder.add_node("ask", ask)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", more, {"again": "step", "done": "ask"})
    builder.add_edge("ask", END)
    return builder.compile(name="counting")


def waiting() -> CompiledGraph:
    """Waits for a person, with a document in its hands."""
    builder = StateGraph(Kept)
    builder.add_node("fetch", fetch)
    builder.add_node("ask", ask)
    builder.add_edge(START, "fetch")
    builder.add_edge("fetch", "ask")
    builder.add_edge("ask", END)
    return builder.compile(name="waiting")


class OursReading(Ours):
    """The same worker and client, for one graph at a time, on task queues that outlive a worker."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(address, folder)
        self.staying = AsyncExitStack()

    async def grow(self, steps: int, queue: str) -> dict[str, Any]:
        """A thread that has done so many steps and waits now."""
        thread = f"grown-{steps}-{uuid4().hex[:8]}"
        async with await self.on(counting(), queue):
            await self.threads.ainvoke({"count": 0, "goal": steps}, {**config(thread), "recursion_limit": steps + 10})
        return {"thread": thread}

    async def warm_reads(self, thread: str, queue: str) -> dict[str, Any]:
        """Seconds of a read of an open thread, its worker at hand: of its state, of the last ten checkpoints."""
        async with await self.on(counting(), queue):
            return await timed(state=lambda: self.threads.aget_state(config(thread)), history=lambda: self.ten(thread))

    async def cold_history(self, thread: str, queue: str) -> dict[str, Any]:
        """Seconds of the first read of the last ten checkpoints that this process does."""
        async with await self.on(counting(), queue):
            began = time.perf_counter()
            await self.ten(thread)
            return {"seconds": time.perf_counter() - began}

    async def closed_reads(self, size: int) -> dict[str, Any]:
        """Seconds of a read of a finished thread's state when no worker runs, and of a bare describe call."""
        thread, queue = f"closed-{uuid4().hex[:8]}", f"closed-{uuid4().hex[:8]}"
        async with await self.on(waiting(), queue):
            await self.threads.ainvoke({"document": message(1, size)}, config(thread))
            await self.threads.ainvoke(Command(resume="yes"), config(thread))
        return await timed(
            describe=lambda: described(self.client, thread, None),
            state=lambda: self.threads.aget_state(config(thread)),
        )

    async def stand_by(self, queue: str) -> dict[str, Any]:
        """Brings up what `worker.py` runs, which stays until this process ends; bytes of memory it takes."""
        client = await Client.connect(self.address)
        worker = graph_worker(client, [waiting().registry], task_queue=queue, grace=timedelta())
        await self.staying.enter_async_context(worker)
        return {"bytes": resident()}

    async def memory(self) -> dict[str, Any]:
        """Bytes of memory of this process."""
        return {"bytes": resident()}

    async def ask_many(self, threads: int, size: int, queue: str, written: bool) -> dict[str, Any]:
        """Brings so many threads to where they wait, for the worker of another process.

        Args:
            threads: how many.
            size: bytes of their state.
            queue: the worker's.
            written: whether a node writes the state, rather than the input.
        """
        await self.on(waiting(), queue)
        for first in range(0, threads, 20):
            some = range(first, min(first + 20, threads))
            given = [{"size": size} if written else {"document": message(n, size)} for n in some]
            await asyncio.gather(
                *(self.threads.ainvoke(each, config(f"{queue}-{n}")) for each, n in zip(given, some, strict=True))
            )
        return {}

    async def on(self, graph: CompiledGraph, queue: str) -> Worker:
        """A worker for the graph on a task queue."""
        self.client, self.queue = await Client.connect(self.address), queue
        return self.worker_of(graph)

    async def ten(self, thread: str) -> None:
        """The last ten checkpoints."""
        found = [each async for each in self.threads.aget_state_history(config(thread), limit=10)]
        assert len(found) == 10, len(found)


async def timed(**reads: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    """The median seconds of each read, all done in turn; the first of each is not counted."""
    took: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(READS + 1):
        for name, read in reads.items():
            began = time.perf_counter()
            await read()
            took[name].append(time.perf_counter() - began)
    return {name: median(seconds[1:]) for name, seconds in took.items()}


PEER = OursReading
