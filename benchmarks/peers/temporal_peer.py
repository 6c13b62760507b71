"""What the peers on Temporal share: a client, a worker with the SDK's defaults, and the size of their histories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.worker import Worker

from benchmarks.jobs import Job
from benchmarks.peers.peer import Peer, StorageUse


class TemporalPeer(Peer):
    """A peer whose threads are workflows. A subclass implements `worker` and `run`."""

    client: Client
    task_queue: str

    def worker(self, job: Job) -> Worker:
        """Returns a worker for the job, on `task_queue`."""
        raise NotImplementedError

    @asynccontextmanager
    async def serving(self, job: Job) -> AsyncIterator[None]:
        """Keeps a client and a worker running, on a new task queue."""
        self.client = await self.connect()
        self.task_queue = f"{job.name}-{uuid4().hex[:8]}"
        async with self.worker(job):
            yield

    async def connect(self) -> Client:
        """Returns a client of the server."""
        return await Client.connect(self.address)

    async def storage_use(self, thread: str) -> StorageUse:
        """Returns the events and bytes of all runs of the thread, as the server counts them."""
        runs = [await describe_run(self.client, thread, run_id) for run_id in await self.run_ids(thread)]
        return StorageUse(
            events=sum(run.history_length for run in runs),
            bytes=sum(run.raw_description.workflow_execution_info.history_size_bytes for run in runs),
        )

    async def run_ids(self, thread: str) -> list[str | None]:
        """Returns the ids of the thread's runs; `None` stands for the latest run."""
        return [None]


async def describe_run(client: Client, thread: str, run_id: str | None) -> WorkflowExecutionDescription:
    """Returns the server's description of a run, or of the thread's latest run if ``run_id`` is `None`."""
    handle: Any = client.get_workflow_handle(thread, run_id=run_id)
    description: WorkflowExecutionDescription = await handle.describe()
    return description
