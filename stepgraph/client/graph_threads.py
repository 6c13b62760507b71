"""`Threads`: what every call of a `GraphClient` first makes sure of, and how it starts a thread's next run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client

from stepgraph.client.graph_run import GraphRun
from stepgraph.client.run_starter import start_next_run
from stepgraph.client.thread_reader import has_workers, record_left_by
from stepgraph.engine.channels import Channels
from stepgraph.engine.record import Record
from stepgraph.errors import GraphMismatchError, UnknownGraphError
from stepgraph.protocol.config import RunConfig
from stepgraph.temporal.executions import Run, latest_run, was_picked_up
from stepgraph.temporal.run_outcome import outcome_of

POLLER_CHECKS = 4
POLLER_PAUSE = 0.5


@dataclass(frozen=True)
class Threads:
    """The threads of one graph, as Temporal has them."""

    client: Client
    graph: str
    task_queue: str
    channels: Channels | None
    """The graph's, where its code is here."""
    check_workers: bool

    async def latest(self, thread_id: str) -> Run | None:
        """A thread's latest run; `None` if there is none.

        Raises:
            GraphMismatchError: the thread belongs to another graph.
        """
        run = await latest_run(self.client, thread_id)
        if run is not None:
            await self._check_graph(run)
        return run

    async def record_after(self, run: Run, *, needed: bool) -> Record | None:
        """What a thread goes on from after a closed run; unless it is needed, only if that costs no replay."""
        record = (await outcome_of(self.client, run)).record
        if record is None and (needed or run.ended_externally):
            await self.make_sure_it_is_served()  # for a replay may have to tell what there is
            record = await record_left_by(self.client, run)
        return record

    async def start(
        self,
        config: RunConfig,
        given: dict[str, Any] | None,
        *,
        after: Run | None,
        **commands: Any,
    ) -> GraphRun:
        """Starts the run that follows ``after``; ``commands`` are fields of `StartOptions`.

        Raises:
            ThreadBusyError: another client was faster.
            UnknownGraphError: no worker serves the graph.
        """
        await self.make_sure_it_is_served()
        run = await start_next_run(
            self.client, self.graph, given, config, after=after, task_queue=self.task_queue, commands=commands
        )
        return self.run(run)

    def run(self, run: Run, *, head: str | None = None) -> GraphRun:
        """A run, to be followed from a checkpoint on."""
        return GraphRun(self.client, run.thread_id, run.run_id, self.channels, head=head)

    async def make_sure_it_is_served(self) -> None:
        """Refuses to start what nobody would take: a name mistyped, or a worker not started."""
        if not self.check_workers:
            return
        for _ in range(POLLER_CHECKS):
            if await has_workers(self.client, self.task_queue):
                return
            await asyncio.sleep(POLLER_PAUSE)
        raise UnknownGraphError(
            f"No worker serves graph {self.graph!r}: nobody polls task queue {self.task_queue!r}. Start one with "
            "worker.py --graphs MODULE:VARIABLE, or mend the name.",
            graph=self.graph,
            task_queue=self.task_queue,
        )

    async def _check_graph(self, run: Run) -> None:
        if run.graph == self.graph:
            return
        record: Record | None = None
        if not run.is_open:
            outcome = await outcome_of(self.client, run)
            record = outcome.record
            if record is None and (outcome.error is not None or not await was_picked_up(self.client, run)):
                record = await record_left_by(self.client, run)
                if record is None:
                    return  # a start that came to nothing: no graph has the thread yet
        owner = record.graph if record is not None else run.graph
        if owner != self.graph:
            raise GraphMismatchError(
                f"Thread {run.thread_id!r} belongs to graph {owner!r}, not to {self.graph!r}. Use another thread id.",
                thread_id=run.thread_id,
                graph=self.graph,
                thread_graph=owner,
            )
