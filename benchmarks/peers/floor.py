"""The floor: the job written by hand as a workflow of plain activities, with no graph, checkpoints or reads."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.worker import Worker

from benchmarks.jobs import Job, message
from benchmarks.peers.temporal import TemporalPeer

TIMEOUT = timedelta(seconds=60)


@activity.defn
async def count(number: int) -> int:
    """A step that counts."""
    return number + 1


@activity.defn
async def speak(number: int, size: int) -> str:
    """A step that says something; it is told no more than it needs."""
    return message(number, size)


@workflow.defn
class ByHand:
    """All steps of a job, one after the other."""

    @workflow.run
    async def run(self, job: dict[str, int]) -> int:
        """How many steps were done."""
        done = 0
        while done < job["steps"]:
            if job["size"]:
                await workflow.execute_activity(speak, args=[done, job["size"]], start_to_close_timeout=TIMEOUT)
                done += 1
            else:
                done = await workflow.execute_activity(count, done, start_to_close_timeout=TIMEOUT)
        return done


class Floor(TemporalPeer):
    """Temporal's own SDK, nothing else."""

    versions = ("temporalio",)

    def worker(self, job: Job) -> Worker:
        """Of the workflow and its activities."""
        return Worker(self.client, task_queue=self.queue, workflows=[ByHand], activities=[count, speak])

    async def run(self, job: Job, thread: str) -> int:
        """One workflow."""
        steps: int = await self.client.execute_workflow(
            "ByHand", {"steps": job.steps, "size": job.size}, id=thread, task_queue=self.queue, result_type=int
        )
        return steps


PEER = Floor
