"""temporalio-langgraph, the official plugin: LangGraph's own loop inside a workflow, nodes as activities."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.worker import Worker

from benchmarks.jobs import Job
from benchmarks.peers.temporal import TemporalPeer

with workflow.unsafe.imports_passed_through():
    from temporalio.langgraph import LangGraphPlugin, graph

    from benchmarks.peers.langgraphs import builder_of


@workflow.defn
class Official:
    """A graph of the plugin, to its end."""

    @workflow.run
    async def run(self, name: str, given: dict[str, Any]) -> int:
        """How many steps were done."""
        values = await graph(name).compile().ainvoke(given, {"recursion_limit": given["goal"] + 10})
        return int(values["count"])


class OfficialPlugin(TemporalPeer):
    """The plugin in a plain worker."""

    versions = ("temporalio-langgraph", "langgraph", "temporalio")

    def worker(self, job: Job) -> Worker:
        """With the job's graph, every node an activity."""
        options = {"execute_in": "activity", "start_to_close_timeout": timedelta(seconds=60)}
        plugin = LangGraphPlugin(graphs={job.name: builder_of(job, metadata=options)})
        return Worker(self.client, task_queue=self.queue, workflows=[Official], plugins=[plugin])

    async def run(self, job: Job, thread: str) -> int:
        """One workflow."""
        steps: int = await self.client.execute_workflow(
            "Official", args=[job.name, job.input], id=thread, task_queue=self.queue, result_type=int
        )
        return steps


PEER = OfficialPlugin
