"""LangGraph with its SQLite checkpointer: one process, no server; nothing takes a thread up again by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from benchmarks.jobs import Job
from benchmarks.peers.langgraphs import builder_of
from benchmarks.peers.peer import Peer, Stored
from benchmarks.peers.tables import bytes_of


class LangGraphWithSqlite(Peer):
    """The blocking checkpointer, as its documentation has it; threads at once are OS threads."""

    versions = ("langgraph", "langgraph-checkpoint-sqlite")
    graph: Any
    pool: ThreadPoolExecutor

    @asynccontextmanager
    async def serving(self, job: Job) -> AsyncIterator[None]:
        """The graph, compiled with the checkpointer."""
        with (
            SqliteSaver.from_conn_string(str(self.folder / "checkpoints.db")) as saver,
            ThreadPoolExecutor(100) as self.pool,
        ):
            self.graph = builder_of(job, blocking=True).compile(checkpointer=saver)
            yield

    async def run(self, job: Job, thread: str) -> int:
        """One thread, with the durability wanted."""
        config = {"configurable": {"thread_id": thread}, "recursion_limit": job.steps + 10}
        loop = asyncio.get_running_loop()
        values = await loop.run_in_executor(
            self.pool, lambda: self.graph.invoke(job.input, config, durability=job.durability)
        )
        return int(values["count"])

    async def stored(self, thread: str) -> Stored:
        """The rows of its checkpoints and writes."""
        tables = {"checkpoints": "thread_id", "writes": "thread_id"}
        return Stored(events=None, bytes=bytes_of(self.folder / "checkpoints.db", tables, thread))


PEER = LangGraphWithSqlite
