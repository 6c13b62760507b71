"""stepgraph, with an agent of LangGraph's that it adopts."""

from __future__ import annotations

from temporalio.worker import Worker

import stepgraph
from benchmarks.agent_graph import build_graph, steps_in
from benchmarks.jobs import Job
from benchmarks.peers.ours import Ours, thread_config


class OursAgent(Ours):
    """The worker and client of `Ours`, for the job ``agent``."""

    packages = ("stepgraph", "langgraph", "temporalio")

    def worker(self, job: Job) -> Worker:
        """Returns a worker for the adopted graph."""
        return self.worker_for(stepgraph.adopt(build_graph(), name=job.name))

    async def run(self, job: Job, thread: str) -> int:
        """Runs one thread."""
        config = {**thread_config(thread), "recursion_limit": job.steps + 10}
        values = await self.graph_client.ainvoke(job.input, config)
        return steps_in(values["messages"])


PEER = OursAgent
