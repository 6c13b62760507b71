"""temporalio-langgraph, the official plugin, with the agent of the job ``agent``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.worker import Worker

from benchmarks.jobs import Job
from benchmarks.peers.temporal_peer import TemporalPeer

with workflow.unsafe.imports_passed_through():
    from temporalio.langgraph import LangGraphPlugin, graph

    from benchmarks.agent_graph import build_graph, steps_in


@workflow.defn
class OfficialAgent:
    """Runs the agent to its end."""

    @workflow.run
    async def run(self, name: str, input_data: dict[str, Any], limit: int) -> int:
        """Returns the number of steps."""
        values = await graph(name).compile().ainvoke(input_data, {"recursion_limit": limit})
        return steps_in(values["messages"])


class OfficialAgentPeer(TemporalPeer):
    """The plugin in a worker with the SDK's defaults."""

    packages = ("temporalio-langgraph", "langgraph", "temporalio")

    def worker(self, job: Job) -> Worker:
        """Returns a worker for the job's graph. Every node runs as an activity."""
        options = {"execute_in": "activity", "start_to_close_timeout": timedelta(seconds=60)}
        plugin = LangGraphPlugin(graphs={job.name: build_graph(metadata=options)})
        return Worker(self.client, task_queue=self.task_queue, workflows=[OfficialAgent], plugins=[plugin])

    async def run(self, job: Job, thread: str) -> int:
        """Runs one workflow."""
        steps: int = await self.client.execute_workflow(
            "OfficialAgent",
            args=[job.name, job.input, job.steps + 10],
            id=thread,
            task_queue=self.task_queue,
            result_type=int,
            execution_timeout=timedelta(minutes=10),
        )
        return steps


PEER = OfficialAgentPeer
