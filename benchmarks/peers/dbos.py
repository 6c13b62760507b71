"""DBOS on SQLite: durable functions in one process; no graphs, no checkpoints of a state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbos import DBOS, SetWorkflowID

from benchmarks.jobs import Job, message
from benchmarks.peers.peer import Peer, Stored
from benchmarks.peers.tables import bytes_of


@DBOS.step()
async def count(number: int) -> int:
    """A step that counts."""
    return number + 1


@DBOS.step()
async def speak(number: int, size: int) -> str:
    """A step that says something."""
    return message(number, size)


@DBOS.workflow()
async def by_hand(steps: int, size: int) -> int:
    """All steps of a job, one after the other."""
    done = 0
    while done < steps:
        if size:
            await speak(done, size)
            done += 1
        else:
            done = await count(done)
    return done


class Dbos(Peer):
    """A workflow a thread, started where it runs."""

    versions = ("dbos",)

    @asynccontextmanager
    async def serving(self, job: Job) -> AsyncIterator[None]:
        """DBOS, launched on a database in the folder."""
        url = f"sqlite:///{self.folder / 'dbos.db'}"
        DBOS(config={"name": "benchmarks", "system_database_url": url, "log_level": "ERROR"})
        DBOS.launch()
        try:
            yield
        finally:
            DBOS.destroy()

    async def run(self, job: Job, thread: str) -> int:
        """One workflow."""
        with SetWorkflowID(thread):
            handle = await DBOS.start_workflow_async(by_hand, job.steps, job.size)
        steps: int = await handle.get_result()
        return steps

    async def stored(self, thread: str) -> Stored:
        """The rows of the workflow and of its steps."""
        tables = {"workflow_status": "workflow_uuid", "operation_outputs": "workflow_uuid"}
        return Stored(events=None, bytes=bytes_of(self.folder / "dbos.db", tables, thread))


PEER = Dbos
