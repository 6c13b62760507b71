"""langgraph-temporal, a community package: compiled LangGraph graphs run as workflows, and nodes as activities."""

from __future__ import annotations

from langgraph.temporal import TemporalGraph
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.jobs import Job
from benchmarks.peers.langgraph_graphs import build_graph
from benchmarks.peers.temporal_peer import TemporalPeer


class Community(TemporalPeer):
    """The package's own worker and client."""

    packages = ("langgraph-temporal", "langgraph", "temporalio")
    graph: TemporalGraph

    def worker(self, job: Job) -> Worker:
        """Returns a worker for the job's graph, without the workflow sandbox, as the package requires."""
        compiled = build_graph(job, blocking=True).compile()
        self.graph = TemporalGraph(compiled, self.client, task_queue=self.task_queue)
        worker: Worker = self.graph.create_worker(workflow_runner=UnsandboxedWorkflowRunner())
        return worker

    async def run(self, job: Job, thread: str) -> int:
        """Runs one workflow."""
        config = {"configurable": {"thread_id": thread}, "recursion_limit": job.steps + 10}
        values = await self.graph.ainvoke(job.input, config)
        return int(values["count"])


PEER = Community
