"""stepgraph: the jobs as its graphs, on a worker of one's own."""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import Any

from temporalio.worker import Worker

from benchmarks.jobs import Chat, Count, Job, more, more_talk, step, talk
from benchmarks.peers.peer import Unable
from benchmarks.peers.temporal import TemporalPeer
from stepgraph import END, START, GraphClient, GraphPlugin, StateGraph
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.temporal.executions import latest_run, start_options


class Ours(TemporalPeer):
    """The graph's plugin in a plain worker, and its client."""

    versions = ("stepgraph", "temporalio")
    threads: GraphClient

    def worker(self, job: Job) -> Worker:
        """A worker with the job's graph."""
        return self.worker_of(graph_of(job))

    def worker_of(self, graph: CompiledGraph) -> Worker:
        """A worker with a graph, and `threads` to reach it."""
        self.threads = GraphClient(self.client, graph.name, task_queue=self.queue, schema=graph.registry.schema)
        return Worker(self.client, task_queue=self.queue, plugins=[GraphPlugin([graph])])

    async def run(self, job: Job, thread: str) -> int:
        """One thread."""
        values = await self.threads.ainvoke(job.input, config(thread))
        return int(values["count"])

    async def runs(self, thread: str) -> list[str | None]:
        """The thread's runs, newest first, as each names the one before it."""
        found: list[str | None] = []
        run = await latest_run(self.client, thread)
        while run is not None:
            found.append(run.run_id)
            after = (await start_options(self.client, run)).after
            run = await latest_run(self.client, thread, after) if after else None
        return found


def config(thread: str) -> dict[str, Any]:
    """A thread's config."""
    return {"configurable": {"thread_id": thread}}


def graph_of(job: Job) -> CompiledGraph:
    """The job as a graph."""
    builder = StateGraph(Chat if job.kind == "chat" else Count)
    if job.kind == "chain":
        names = [f"n{number:03d}" for number in range(job.steps)]
        for name in names:
            builder.add_node(name, step)
        for source, target in pairwise([START, *names, END]):
            builder.add_edge(source, target)
    else:
        builder.add_node("step", talk if job.kind == "chat" else step)
        builder.add_edge(START, "step")
        builder.add_conditional_edges("step", more_talk if job.kind == "chat" else more, {"again": "step", "done": END})
    return builder.compile(name=job.name, **durability_of(job))


def durability_of(job: Job) -> dict[str, Any]:
    """The argument of ``compile`` for the job's durability. `Unable` where ``compile`` takes none."""
    if job.durability == "sync":
        return {}
    if "durability" not in inspect.signature(StateGraph.compile).parameters:
        raise Unable("not there yet")
    return {"durability": job.durability}


PEER = Ours
