"""What peers on Temporal share: one client, one worker with the SDK's defaults, and what their runs stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.worker import Worker

from benchmarks.jobs import Job
from benchmarks.peers.peer import Peer, Stored


class TemporalPeer(Peer):
    """A peer whose threads are workflows; a subclass says which, in `worker`."""

    client: Client
    queue: str

    def worker(self, job: Job) -> Worker:
        """A worker for the job, on `queue`."""
        raise NotImplementedError

    @asynccontextmanager
    async def serving(self, job: Job) -> AsyncIterator[None]:
        """A client and a worker, on a task queue of their own."""
        self.client = await self.connect()
        self.queue = f"{job.name}-{uuid4().hex[:8]}"
        async with self.worker(job):
            yield

    async def connect(self) -> Client:
        """A client of the server."""
        return await Client.connect(self.address)

    async def stored(self, thread: str) -> Stored:
        """Events and bytes of all runs of the thread, as the server counts them."""
        runs = [await described(self.client, thread, run_id) for run_id in await self.runs(thread)]
        return Stored(
            events=sum(run.history_length for run in runs),
            bytes=sum(run.raw_description.workflow_execution_info.history_size_bytes for run in runs),
        )

    async def runs(self, thread: str) -> list[str | None]:
        """The ids of the thread's runs."""
        return [None]


async def described(client: Client, thread: str, run_id: str | None) -> WorkflowExecutionDescription:
    """What the server says of a run."""
    handle: Any = client.get_workflow_handle(thread, run_id=run_id)
    found: WorkflowExecutionDescription = await handle.describe()
    return found
