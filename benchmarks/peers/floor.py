"""The floor: each job as a hand-written workflow of plain activities, with no graph, no checkpoints and no reads."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.worker import Worker

from benchmarks.jobs import Job, message
from benchmarks.peers.temporal_peer import TemporalPeer

TIMEOUT = timedelta(seconds=60)


@activity.defn
async def count(number: int) -> int:
    """Counts one step."""
    return number + 1


@activity.defn
async def speak(number: int, size: int) -> str:
    """Returns a message of ``size`` bytes. Its input is two numbers and not the state, which keeps histories small."""
    return message(number, size)


@workflow.defn
class ByHand:
    """Runs all steps of a job, one after the other."""

    @workflow.run
    async def run(self, job: dict[str, int]) -> int:
        """Returns the number of steps."""
        steps = 0
        while steps < job["steps"]:
            if job["size"]:
                await workflow.execute_activity(speak, args=[steps, job["size"]], start_to_close_timeout=TIMEOUT)
                steps += 1
            else:
                steps = await workflow.execute_activity(count, steps, start_to_close_timeout=TIMEOUT)
        return steps


class Floor(TemporalPeer):
    """Temporal's own SDK and nothing else."""

    packages = ("temporalio",)

    def worker(self, job: Job) -> Worker:
        """Returns a worker for the workflow and its activities."""
        return Worker(self.client, task_queue=self.task_queue, workflows=[ByHand], activities=[count, speak])

    async def run(self, job: Job, thread: str) -> int:
        """Runs one workflow."""
        steps: int = await self.client.execute_workflow(
            "ByHand", {"steps": job.steps, "size": job.size}, id=thread, task_queue=self.task_queue, result_type=int
        )
        return steps


PEER = Floor
