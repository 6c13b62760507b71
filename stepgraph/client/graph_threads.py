"""`Threads`: finds a thread's latest run, and starts its next one, for every method of a `GraphClient`.

Owns the two checks before a run is started: that the thread belongs to the graph, and that a worker serves the graph.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client

from stepgraph.client.graph_run import GraphRun, QueuedRun
from stepgraph.client.run_starter import start_next_run
from stepgraph.client.thread_reader import read_closed_record
from stepgraph.engine.record import Record
from stepgraph.errors import GraphMismatchError, UnknownGraphError
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.commands import CommandAnswer
from stepgraph.protocol.config import RunConfig
from stepgraph.temporal.executions import Run, latest_run, was_picked_up
from stepgraph.temporal.program_names import worker_command
from stepgraph.temporal.run_outcome import outcome_of
from stepgraph.temporal.task_queues import has_workers

POLLER_CHECKS = 4
"""How many times to ask the server for pollers of the task queue: a worker that has just started is listed late."""

POLLER_CHECK_SECONDS = 0.5
"""The pause after each of these checks."""


@dataclass(frozen=True)
class Threads:
    """The threads of one graph on a Temporal server."""

    client: Client
    graph: str
    task_queue: str
    schema: StateSchema | None
    """The graph's state schema, which decodes values into their declared types; `None` without the graph's code."""
    check_workers: bool
    """Whether to refuse a start while no worker polls the task queue."""

    async def latest(self, thread_id: str) -> Run | None:
        """Return a thread's latest run; `None` if the thread has none.

        Raises:
            GraphMismatchError: the thread belongs to another graph.
        """
        run = await latest_run(self.client, thread_id)
        if run is not None:
            await self._check_graph(run)
        return run

    async def record_after(self, run: Run, *, needed: bool) -> Record | None:
        """Return the record from which the run after a closed run restores the thread; `None` if there is none.

        Args:
            run: the thread's latest run, which is closed.
            needed: whether to look further if the run's last event holds no record. Otherwise the result is `None`,
                except after a run that was ended from outside, which is then replayed.
        """
        record = (await outcome_of(self.client, run)).record
        if record is None and (needed or run.ended_externally):
            await self.require_worker()
            record = await read_closed_record(self.client, run)
        return record

    async def start(
        self,
        config: RunConfig,
        input_data: dict[str, Any] | None,
        *,
        after: Run | None,
        caller: str,
        **options: Any,
    ) -> GraphRun | None:
        """Start the run that follows ``after``, for the command with the id ``caller``.

        ``options`` are fields of `StartOptions`, such as ``fork``. The result is `None` if it is not known whether the
        run was started.

        Raises:
            ThreadBusyError: another client has started the next run meanwhile.
            UnknownGraphError: no worker serves the graph.
        """
        await self.require_worker()
        run = await start_next_run(
            self.client,
            self.graph,
            input_data,
            config,
            after=after,
            caller=caller,
            task_queue=self.task_queue,
            options=options,
        )
        return self.graph_run(run.thread_id, run.run_id) if run is not None else None

    def graph_run(self, thread_id: str, run_id: str) -> GraphRun:
        """Return a `GraphRun` for a run."""
        return GraphRun(self.client, thread_id, run_id, self.schema)

    def run_that_took(self, answer: CommandAnswer | GraphRun, thread_id: str) -> GraphRun:
        """Return the run that a command was delivered to, or the place of an input in the thread's queue."""
        if isinstance(answer, GraphRun):
            return answer
        if answer.queued_input_id is not None:
            return QueuedRun(self.client, thread_id, answer.run_id, self.schema, queued_input_id=answer.queued_input_id)
        head = (answer.configurable or {}).get("checkpoint_id")
        return GraphRun(self.client, thread_id, answer.run_id, self.schema, head=head)

    async def require_worker(self) -> None:
        """Raise `UnknownGraphError` if no worker polls the task queue, so that a new run would wait for ever.

        Does nothing if ``check_workers`` is False.
        """
        if not self.check_workers:
            return
        for _ in range(POLLER_CHECKS):
            if await has_workers(self.client, self.task_queue):
                return
            await asyncio.sleep(POLLER_CHECK_SECONDS)
        raise UnknownGraphError(
            f"No worker serves graph {self.graph!r}: nobody polls task queue {self.task_queue!r}. Start one with "
            f"{worker_command()} --graphs MODULE:VARIABLE, or fix the name.",
            graph=self.graph,
            task_queue=self.task_queue,
        )

    async def _check_graph(self, run: Run) -> None:
        """Raise `GraphMismatchError` if the thread, whose latest run is given, belongs to another graph.

        A run's workflow type is the graph that it was started for. If that was the wrong graph, the run has failed or
        was never picked up, and the thread's record names the graph to which the thread belongs.
        """
        if run.graph == self.graph:
            return
        record: Record | None = None
        if not run.is_open:
            outcome = await outcome_of(self.client, run)
            record = outcome.record
            if record is None and (outcome.error is not None or not await was_picked_up(self.client, run)):
                record = await read_closed_record(self.client, run)
                if record is None:
                    return  # no run of the thread has made a checkpoint: the thread belongs to no graph yet
        owner = record.graph if record is not None else run.graph
        if owner != self.graph:
            raise GraphMismatchError(
                f"Thread {run.thread_id!r} belongs to graph {owner!r}, not to {self.graph!r}. Use another thread id.",
                thread_id=run.thread_id,
                graph=self.graph,
                thread_graph=owner,
            )
