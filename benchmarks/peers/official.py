"""temporalio-langgraph, the official plugin: LangGraph's own loop runs inside a workflow, and nodes are activities."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.worker import Worker

from benchmarks.jobs import Job
from benchmarks.peers.temporal_peer import TemporalPeer

with workflow.unsafe.imports_passed_through():
    from temporalio.langgraph import LangGraphPlugin, graph

    from benchmarks.peers.langgraph_graphs import build_graph


@workflow.defn
class Official:
    """Runs one of the plugin's graphs to its end."""

    @workflow.run
    async def run(self, name: str, input_data: dict[str, Any]) -> int:
        """Returns the number of steps."""
        values = await graph(name).compile().ainvoke(input_data, {"recursion_limit": input_data["goal"] + 10})
        return int(values["count"])


class OfficialPlugin(TemporalPeer):
    """The plugin in a worker with the SDK's defaults."""

    packages = ("temporalio-langgraph", "langgraph", "temporalio")

    def worker(self, job: Job) -> Worker:
        """Returns a worker for the job's graph. Every node runs as an activity."""
        options = {"execute_in": "activity", "start_to_close_timeout": timedelta(seconds=60)}
        plugin = LangGraphPlugin(graphs={job.name: build_graph(job, metadata=options)})
        return Worker(self.client, task_queue=self.task_queue, workflows=[Official], plugins=[plugin])

    async def run(self, job: Job, thread: str) -> int:
        """Runs one workflow."""
        steps: int = await self.client.execute_workflow(
            "Official", args=[job.name, job.input], id=thread, task_queue=self.task_queue, result_type=int
        )
        return steps


PEER = OfficialPlugin
