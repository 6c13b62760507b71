"""stepgraph: the jobs as its graphs, on a worker with `GraphPlugin` and the SDK's defaults."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from temporalio.worker import Worker

from benchmarks.jobs import (
    ChatState,
    CountState,
    FanState,
    Job,
    JobKind,
    MergeState,
    chat_router,
    chat_step,
    count_router,
    count_step,
    fan_step,
    merge_router,
    merge_step,
)
from benchmarks.peers.temporal_peer import TemporalPeer
from stepgraph import END, START, GraphClient, GraphPlugin, StateGraph
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.temporal.executions import latest_run, start_options


class Ours(TemporalPeer):
    """A worker with `GraphPlugin`, and a `GraphClient`."""

    packages: ClassVar[tuple[str, ...]] = ("stepgraph", "temporalio")
    graph_client: GraphClient

    def worker(self, job: Job) -> Worker:
        """Returns a worker for the job's graph."""
        return self.worker_for(build_graph(job))

    def worker_for(self, graph: CompiledGraph) -> Worker:
        """Returns a worker for a graph on `task_queue`, and sets `graph_client` to a client of that graph."""
        schema = graph.registry.schema
        self.graph_client = GraphClient(self.client, graph.name, task_queue=self.task_queue, schema=schema)
        return Worker(self.client, task_queue=self.task_queue, plugins=[GraphPlugin([graph])])

    async def run(self, job: Job, thread: str) -> int:
        """Runs one thread."""
        values = await self.graph_client.ainvoke(job.input, thread_config(thread))
        return int(values["count"])

    async def run_ids(self, thread: str) -> list[str | None]:
        """Returns the ids of the thread's runs, newest first. The start options of each run name the one before it."""
        run_ids: list[str | None] = []
        run = await latest_run(self.client, thread)
        while run is not None:
            run_ids.append(run.run_id)
            previous_id = (await start_options(self.client, run)).after
            run = await latest_run(self.client, thread, previous_id) if previous_id else None
        return run_ids


def thread_config(thread: str) -> dict[str, Any]:
    """Returns the config of a thread."""
    return {"configurable": {"thread_id": thread}}


def build_graph(job: Job) -> CompiledGraph:
    """Returns the job as a compiled graph."""
    states: dict[JobKind, type] = {"chat": ChatState, "merge": MergeState, "fan": FanState}
    builder = StateGraph(states.get(job.kind, CountState))
    if job.kind == "chain":
        names = [f"n{number:03d}" for number in range(job.steps)]
        for name in names:
            builder.add_node(name, count_step)
        for source, target in pairwise([START, *names, END]):
            builder.add_edge(source, target)
    elif job.kind == "fan":
        for number in range(job.steps):
            name = f"n{number:05d}"
            builder.add_node(name, fan_step).add_edge(START, name).add_edge(name, END)
    else:
        loops: dict[JobKind, tuple[Any, Any]] = {"chat": (chat_step, chat_router), "merge": (merge_step, merge_router)}
        node, router = loops.get(job.kind, (count_step, count_router))
        builder.add_node("step", node)
        builder.add_edge(START, "step")
        builder.add_conditional_edges("step", router, {"again": "step", "done": END})
    return builder.compile(name=job.name, durability=job.durability)


PEER = Ours
