"""The workers of a process that calls graphs: one for each task queue, which serves one definition of each graph.

A graph that is compiled again, as in a notebook, replaces the definition of that name, unless a call of that definition
is under way: its nodes would run the other definition's code. Knows nothing of what a call does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from temporalio.client import Client
from temporalio.worker import Worker

from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.hosting.graph_worker import SHORT_GRACE, daemon_plugin, plugin_worker
from stepgraph.hosting.plugin import GraphPlugin


class RunningWorker:
    """A worker of this process on one task queue. Made on the event loop on which it runs."""

    def __init__(self, client: Client, task_queue: str, plugin: GraphPlugin) -> None:
        self.plugin = plugin
        self._worker: Worker = plugin_worker(client, plugin, task_queue=task_queue, grace=SHORT_GRACE)
        self.task = asyncio.ensure_future(self._worker.run())

    def failure(self) -> BaseException | None:
        """Return the error that ended the worker; None while it runs, or if it was stopped."""
        return self.task.exception() if self.task.done() and not self.task.cancelled() else None

    async def stop(self) -> None:
        """Stop the worker. Errors are ignored: it is not used any more."""
        with suppress(Exception):
            await self._worker.shutdown()
            await self.task


class ProcessWorkers:
    """The workers of a process, by task queue. To be used on one event loop."""

    def __init__(self) -> None:
        self._running: dict[str, RunningWorker] = {}
        self._calls: Counter[tuple[str, str]] = Counter()
        """How many calls are under way, by task queue and graph name. All have the definition that is served."""

    @contextmanager
    def serving(self, graph: GraphRegistry, client: Client, task_queue: str) -> Iterator[RunningWorker]:
        """Serve a graph, and yield the worker that does, for the time of one call.

        Raises:
            GraphDefinitionError: a call of another definition of that graph is under way.
        """
        worker = self._worker_for(graph, client, task_queue)
        key = task_queue, graph.name
        self._calls[key] += 1
        try:
            yield worker
        finally:
            self._calls[key] -= 1

    async def stop(self) -> None:
        """Stop all workers."""
        await asyncio.gather(*(worker.stop() for worker in self._running.values()))
        self._running.clear()

    def _worker_for(self, graph: GraphRegistry, client: Client, task_queue: str) -> RunningWorker:
        """Return the worker on a task queue, with this definition of the graph. Starts one where none runs."""
        worker = self._running.get(task_queue)
        served = worker.plugin.graphs.get(graph.name) if worker is not None else None
        if self._calls[task_queue, graph.name] and served is not None and not graph.has_code_of(served):
            raise _two_definitions(graph.name)
        if worker is None or worker.task.done():
            graphs = {**(worker.plugin.graphs if worker is not None else {}), graph.name: graph}
            worker = self._running[task_queue] = RunningWorker(client, task_queue, daemon_plugin(list(graphs.values())))
        elif served is not graph and not self._calls[task_queue, graph.name]:
            worker.plugin.serve(graph)
        return worker


def _two_definitions(graph: str) -> GraphDefinitionError:
    return GraphDefinitionError(
        f"Two graphs named {graph!r} are called at once in this process, and the nodes of both would run the code of "
        "one. Give each a name of its own, compile(name=...); or compile the graph once and call that; or call the "
        "second when the calls of the first have returned.",
        graph=graph,
    )
