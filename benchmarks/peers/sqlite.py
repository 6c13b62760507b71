"""LangGraph with its SQLite checkpointer: one process, no server. After a crash, nothing resumes a thread by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from benchmarks.jobs import Job
from benchmarks.peers.langgraph_graphs import build_graph
from benchmarks.peers.peer import Peer, StorageUse
from benchmarks.peers.sqlite_size import row_bytes

MAX_OS_THREADS = 100


class LangGraphWithSqlite(Peer):
    """The blocking checkpointer, used as in its documentation. Each concurrent thread of a job has an OS thread."""

    packages = ("langgraph", "langgraph-checkpoint-sqlite")
    graph: Any
    pool: ThreadPoolExecutor

    @asynccontextmanager
    async def serving(self, job: Job) -> AsyncIterator[None]:
        """Compiles the graph with the checkpointer, and keeps the database open."""
        with (
            SqliteSaver.from_conn_string(str(self.folder / "checkpoints.db")) as saver,
            ThreadPoolExecutor(MAX_OS_THREADS) as self.pool,
        ):
            self.graph = build_graph(job, blocking=True).compile(checkpointer=saver)
            yield

    async def run(self, job: Job, thread: str) -> int:
        """Runs one thread with the job's durability."""
        config = {"configurable": {"thread_id": thread}, "recursion_limit": job.steps + 10}
        loop = asyncio.get_running_loop()
        values = await loop.run_in_executor(
            self.pool, lambda: self.graph.invoke(job.input, config, durability=job.durability)
        )
        return int(values["count"])

    async def storage_use(self, thread: str) -> StorageUse:
        """Returns the bytes of the thread's checkpoints and writes."""
        tables = {"checkpoints": "thread_id", "writes": "thread_id"}
        return StorageUse(events=None, bytes=row_bytes(self.folder / "checkpoints.db", tables, thread))


PEER = LangGraphWithSqlite
