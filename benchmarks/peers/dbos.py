"""DBOS on SQLite: durable functions in one process. It has no graphs, and no checkpoints of a state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbos import DBOS, SetWorkflowID

from benchmarks.jobs import Job, message
from benchmarks.peers.peer import Peer, StorageUse
from benchmarks.peers.sqlite_size import row_bytes


@DBOS.step()
async def count(number: int) -> int:
    """Counts one step."""
    return number + 1


@DBOS.step()
async def speak(number: int, size: int) -> str:
    """Returns a message of ``size`` bytes."""
    return message(number, size)


@DBOS.workflow()
async def by_hand(steps: int, size: int) -> int:
    """Runs all steps of a job, one after the other, and returns their number."""
    done = 0
    while done < steps:
        if size:
            await speak(done, size)
            done += 1
        else:
            done = await count(done)
    return done


class Dbos(Peer):
    """One DBOS workflow per thread. It runs in the process that starts it."""

    packages = ("dbos",)

    @asynccontextmanager
    async def serving(self, job: Job) -> AsyncIterator[None]:
        """Keeps DBOS running on a database in the peer's folder."""
        url = f"sqlite:///{self.folder / 'dbos.db'}"
        DBOS(config={"name": "benchmarks", "system_database_url": url, "log_level": "ERROR"})
        DBOS.launch()
        try:
            yield
        finally:
            DBOS.destroy()

    async def run(self, job: Job, thread: str) -> int:
        """Runs one workflow."""
        with SetWorkflowID(thread):
            handle = await DBOS.start_workflow_async(by_hand, job.steps, job.size)
        steps: int = await handle.get_result()
        return steps

    async def storage_use(self, thread: str) -> StorageUse:
        """Returns the bytes of the rows of the workflow and its steps."""
        tables = {"workflow_status": "workflow_uuid", "operation_outputs": "workflow_uuid"}
        return StorageUse(events=None, bytes=row_bytes(self.folder / "dbos.db", tables, thread))


PEER = Dbos
