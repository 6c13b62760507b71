"""stepgraph with the calls of the cases ``reads`` and ``memory``, which the other peers do not have.

It reads open and closed threads with a cold and a warm cache, and creates idle threads.
"""

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

from benchmarks.jobs import CountState, count_router, count_step, message
from benchmarks.peers.ours import Ours, thread_config
from benchmarks.peers.temporal_peer import describe_run
from benchmarks.process_memory import resident_bytes
from stepgraph import END, START, Command, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting.graph_worker import graph_worker

READS = 20
"""How often a read is repeated for one sample, which is the median of these."""
CONCURRENT_STARTS = 20
"""How many idle threads are created at once."""


class DocumentState(TypedDict):
    """The state of a thread that has one large document."""

    document: str
    size: int


def approve(state: Any) -> dict[str, Any]:
    """Waits for a human at an interrupt."""
    interrupt("Approve?")
    return {}


def load_document(state: Any) -> dict[str, Any]:
    """Writes a document of ``size`` bytes, unless the input had one."""
    return {} if state.get("document") else {"document": message(state["size"], state["size"])}


def counting_graph() -> CompiledGraph:
    """Returns a graph that counts up to its goal and then waits at an interrupt."""
    builder = StateGraph(CountState)
    builder.add_node("step", count_step)
    builder.add_node("approve", approve)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", count_router, {"again": "step", "done": "approve"})
    builder.add_edge("approve", END)
    return builder.compile(name="counting")


def document_graph() -> CompiledGraph:
    """Returns a graph that waits at an interrupt, with a document in its state."""
    builder = StateGraph(DocumentState)
    builder.add_node("load_document", load_document)
    builder.add_node("approve", approve)
    builder.add_edge(START, "load_document")
    builder.add_edge("load_document", "approve")
    builder.add_edge("approve", END)
    return builder.compile(name="document")


class OursReading(Ours):
    """The worker and client of `Ours`, for one graph at a time, on task queues that several processes share."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(address, folder)
        self.workers = AsyncExitStack()
        """Workers that run until the process ends."""

    async def create_idle_thread(self, steps: int, task_queue: str) -> dict[str, Any]:
        """Runs a thread that does ``steps`` steps and then waits at an interrupt. Returns its id."""
        thread = f"idle-{steps}-{uuid4().hex[:8]}"
        config = {**thread_config(thread), "recursion_limit": steps + 10}
        async with await self._worker_on(task_queue, counting_graph()):
            await self.graph_client.ainvoke({"count": 0, "goal": steps}, config)
        return {"thread": thread}

    async def read_warm(self, thread: str, task_queue: str) -> dict[str, Any]:
        """Returns the seconds of reads of an open thread with a warm cache: its state, and its last ten checkpoints."""
        async with await self._worker_on(task_queue, counting_graph()):
            return await median_seconds(
                state=lambda: self.graph_client.aget_state(thread_config(thread)),
                history=lambda: self._read_last_ten_checkpoints(thread),
            )

    async def read_history_cold(self, thread: str, task_queue: str) -> dict[str, Any]:
        """Returns the seconds of a read of an open thread's last ten checkpoints.

        Call it in a new process, whose cache is empty.
        """
        async with await self._worker_on(task_queue, counting_graph()):
            start = time.perf_counter()
            await self._read_last_ten_checkpoints(thread)
            return {"seconds": time.perf_counter() - start}

    async def read_closed(self, size: int) -> dict[str, Any]:
        """Returns the seconds of a read of a finished thread's state with no worker running, and of a describe call.

        Args:
            size: the bytes of the state.
        """
        thread, task_queue = f"closed-{uuid4().hex[:8]}", f"closed-{uuid4().hex[:8]}"
        async with await self._worker_on(task_queue, document_graph()):
            await self.graph_client.ainvoke({"document": message(1, size)}, thread_config(thread))
            await self.graph_client.ainvoke(Command(resume="yes"), thread_config(thread))
        return await median_seconds(
            describe=lambda: describe_run(self.client, thread, None),
            state=lambda: self.graph_client.aget_state(thread_config(thread)),
        )

    async def start_worker(self, task_queue: str) -> dict[str, Any]:
        """Starts the worker that `worker.py` runs, until this process ends. Returns the memory of the process."""
        client = await Client.connect(self.address)
        worker = graph_worker(client, [document_graph().registry], task_queue=task_queue, grace=timedelta())
        await self.workers.enter_async_context(worker)
        return {"bytes": resident_bytes()}

    async def memory(self) -> dict[str, Any]:
        """Returns the memory of this process."""
        return {"bytes": resident_bytes()}

    async def create_idle_threads(
        self, count: int, size: int, task_queue: str, written_by_node: bool
    ) -> dict[str, Any]:
        """Starts threads that wait at an interrupt. The worker of another process runs them.

        Args:
            count: how many threads.
            size: the bytes of each thread's state.
            task_queue: the worker's task queue.
            written_by_node: whether a node writes the state; otherwise it is the input.
        """
        await self._worker_on(task_queue, document_graph())  # for `graph_client`; another process runs the worker
        for first in range(0, count, CONCURRENT_STARTS):
            numbers = range(first, min(first + CONCURRENT_STARTS, count))
            inputs = [{"size": size} if written_by_node else {"document": message(n, size)} for n in numbers]
            await asyncio.gather(
                *(
                    self.graph_client.ainvoke(input_data, thread_config(f"{task_queue}-{number}"))
                    for input_data, number in zip(inputs, numbers, strict=True)
                )
            )
        return {}

    async def _worker_on(self, task_queue: str, graph: CompiledGraph) -> Worker:
        """Returns a worker for a graph on a task queue. The caller runs it."""
        self.client, self.task_queue = await Client.connect(self.address), task_queue
        return self.worker_for(graph)

    async def _read_last_ten_checkpoints(self, thread: str) -> None:
        history = self.graph_client.aget_state_history(thread_config(thread), limit=10)
        checkpoints = [checkpoint async for checkpoint in history]
        assert len(checkpoints) == 10, len(checkpoints)


async def median_seconds(**reads: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    """Returns the median seconds of each read. The reads take turns, and the first turn is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(READS + 1):
        for name, read in reads.items():
            start = time.perf_counter()
            await read()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(values[1:]) for name, values in seconds.items()}


PEER = OursReading
