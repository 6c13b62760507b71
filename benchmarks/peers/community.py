"""langgraph-temporal, a community package: compiled LangGraph graphs as workflows, nodes as activities."""

from __future__ import annotations

from langgraph.temporal import TemporalGraph
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.jobs import Job
from benchmarks.peers.langgraphs import builder_of
from benchmarks.peers.temporal import TemporalPeer


class Community(TemporalPeer):
    """The package's own worker and client."""

    versions = ("langgraph-temporal", "langgraph", "temporalio")
    graph: TemporalGraph

    def worker(self, job: Job) -> Worker:
        """With the job's graph, outside the sandbox, as the package demands."""
        self.graph = TemporalGraph(builder_of(job, blocking=True).compile(), self.client, task_queue=self.queue)
        worker: Worker = self.graph.create_worker(workflow_runner=UnsandboxedWorkflowRunner())
        return worker

    async def run(self, job: Job, thread: str) -> int:
        """One workflow."""
        config = {"configurable": {"thread_id": thread}, "recursion_limit": job.steps + 10}
        values = await self.graph.ainvoke(job.input, config)
        return int(values["count"])


PEER = Community
