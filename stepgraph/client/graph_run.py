"""`GraphRun`: waits for a run of a thread, and follows it from checkpoint to checkpoint.

Owns what a caller holds after a thread was started, resumed or forked. Starting runs is the business of
`stepgraph.client.run_starter`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import RawValue
from temporalio.service import RPCError

from stepgraph.client.run_queries import is_unresponsive
from stepgraph.client.server_errors import server_errors
from stepgraph.client.thread_reader import read_history, read_idle_record, read_values
from stepgraph.engine.ids import run_id_of
from stepgraph.engine.record import Record
from stepgraph.errors import RunEndedError, StepgraphError
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.commands import IdleAnswer
from stepgraph.protocol.interrupts import Interrupt
from stepgraph.protocol.invoke_result import OutputKeys, invoke_result
from stepgraph.protocol.names import WAIT_UNTIL_IDLE
from stepgraph.protocol.snapshot import StateSnapshot, head_in_record, snapshot_from
from stepgraph.protocol.start_options import StartOptions
from stepgraph.temporal.executions import latest_run, start_options
from stepgraph.temporal.payloads import from_raw
from stepgraph.temporal.rpc import is_cancelled
from stepgraph.temporal.run_outcome import RunOutcome, await_outcome
from stepgraph.temporal.task_queues import has_workers, last_polled

POLL_SECONDS = 0.25
"""The pause between two looks at the history, and between two attempts at `WAIT_UNTIL_IDLE`."""

SHORT_RUN_SECONDS = 0.15
"""How long to wait for a run's end before sending `WAIT_UNTIL_IDLE`. Most runs end within this time, and an update adds
events to the history."""

UPDATE_TIMEOUT = timedelta(minutes=5)
"""How long one `WAIT_UNTIL_IDLE` may take before it is sent again."""


class UnresponsiveQueue(NamedTuple):
    """What is known of a task queue whose workers do not answer."""

    task_queue: str
    last_polled: datetime | None
    """When a worker last began to poll it; `None` if none did for minutes."""


class GraphRun:
    """A run of a thread: `result` waits until the thread is idle, `watch` yields its checkpoints as they are made.

    Args:
        client: a connected client.
        thread_id: the thread.
        run_id: the run.
        schema: the graph's state schema, which decodes values into their declared types; `None` returns JSON data.
        head: the checkpoint after which `watch` begins; by default the one from which the run restored the thread.
    """

    def __init__(
        self,
        client: Client,
        thread_id: str,
        run_id: str,
        schema: StateSchema | None,
        *,
        head: str | None = None,
    ) -> None:
        self.thread_id = thread_id
        self.run_id = run_id
        self._client = client
        self.output_keys: OutputKeys = None
        """What `result` shows of the state instead of the graph's output."""
        self._schema = schema
        self._head = head
        self._run_ids = [run_id]
        """The run, then the runs that continue it because its history has grown."""

    async def result(self) -> Any:
        """Wait until the thread is idle, and return the values of its output.

        A value that does not come back unchanged under the types of this process's code is JSON data.

        Interrupts that wait for an answer are listed under ``__interrupt__``, each an `Interrupt`. If the run continues
        as new, the result is that of the run which continues it.

        Raises:
            NodeError: a node failed and is not retried. The error is also of the node's own exception type if that
                type is imported here.
            RunEndedError: the run was cancelled, terminated or timed out.
            StepgraphError: any other error that ended the run.
        """
        with server_errors(self._client):
            record = await self.record()
            values = await read_values(self._client, record)
            output = record.output
            if self._schema is not None:
                stamps = {**record.checkpoint.stamps, **record.pending_stamps}
                values, _ = self._schema.channels.readable(values, stamps)
                output = self._schema.output_names
            interrupts = [Interrupt(**each) for each in head_in_record(record)["interrupts"]]
            return invoke_result(values, output, self.output_keys, interrupts)

    async def record(self) -> Record:
        """Wait until the thread is idle, and return its record. Raises the errors of `result`."""
        with server_errors(self._client):
            end = asyncio.ensure_future(self._wait_for_end())
            idle: asyncio.Future[Record] | None = None
            try:
                done, _ = await asyncio.wait([end], timeout=SHORT_RUN_SECONDS)
                if not done:
                    idle = asyncio.ensure_future(self._wait_until_idle())
                    await asyncio.wait([end, idle], return_when=asyncio.FIRST_COMPLETED)
                if idle is not None and idle.done() and not end.done():
                    return idle.result()
                return await end
            finally:
                for future in (end, idle):
                    if future is not None:
                        future.cancel()
                        with suppress(asyncio.CancelledError, Exception):
                            await future

    async def _wait_for_end(self) -> Record:
        """Return the record that the run leaves when it ends, or raise the error that ended it."""
        while True:
            outcome = await await_outcome(self._client, self.thread_id, self._run_ids[-1])
            if outcome.continued_for_size and outcome.continued_as is not None:
                self._run_ids.append(outcome.continued_as)
                continue
            if outcome.error is not None:
                raise outcome.error
            if outcome.record is not None:
                return outcome.record
            raise self._end_error(outcome)

    async def _wait_until_idle(self) -> Record:
        """Return the thread's record once it waits at an interrupt or breakpoint. Never returns if it does not wait."""
        while True:
            handle = self._client.get_workflow_handle(self.thread_id, run_id=self._run_ids[-1])
            try:
                answer = IdleAnswer.model_validate(
                    from_raw(
                        await handle.execute_update(WAIT_UNTIL_IDLE, result_type=RawValue, rpc_timeout=UPDATE_TIMEOUT)
                    )
                )
                record = answer.record
                if answer.query_record:
                    record = await read_idle_record(self._client, self.thread_id, self._run_ids[-1])
                if record is not None:
                    return record
            except (RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
                if is_cancelled():  # the SDK raises these when the task is cancelled, too; `record` waits for its end
                    raise asyncio.CancelledError from None
                # otherwise the run has ended, which `_wait_for_end` reports, or no worker answers for the moment
            await asyncio.sleep(POLL_SECONDS)

    async def has_worker(self) -> bool:
        """Return whether a worker polls the run's task queue, or has done so within the last minutes."""
        with server_errors(self._client):
            run = await latest_run(self._client, self.thread_id, self._run_ids[-1])
            return run is None or await has_workers(self._client, run.task_queue)

    async def unresponsive_queue(self) -> UnresponsiveQueue | None:
        """Return since when nobody polls, if no worker has answered the latest read of the thread in this process.

        `None` if a worker has, if nothing was read, or if the run is closed.
        """
        with server_errors(self._client):
            run = await latest_run(self._client, self.thread_id, self._run_ids[-1])
            if run is None or not run.is_open or not is_unresponsive(self._client, run.task_queue):
                return None
            return UnresponsiveQueue(run.task_queue, await last_polled(self._client, run.task_queue))

    async def watch(self) -> AsyncIterator[StateSnapshot]:
        """Yield every checkpoint that the run makes, oldest first, until the thread is idle.

        Errors that end the run are raised by `result`, not here.
        """
        with server_errors(self._client):
            end = asyncio.ensure_future(self.record())
            last_seen, read_at = None, None
            try:
                last_seen = self._head or await self._restored_checkpoint()
                ended = False
                while not ended:
                    await asyncio.wait([end], timeout=POLL_SECONDS)
                    ended = end.done()
                    grown_to = await self._place_in_history()
                    if grown_to == read_at and not ended:
                        continue  # the server answers this alone; a query would wait for a worker
                    read_at = grown_to
                    new: list[dict[str, Any]] = []
                    async for snapshot in read_history(
                        self._client, self.thread_id, filter=None, before=None, limit=None
                    ):
                        checkpoint_id = snapshot["config"]["configurable"]["checkpoint_id"]
                        if checkpoint_id == last_seen:
                            break
                        if run_id_of(checkpoint_id) in self._run_ids:
                            new.append(snapshot)
                        elif new:  # the checkpoints from here on are of earlier runs
                            break
                    for snapshot in reversed(new):
                        last_seen = snapshot["config"]["configurable"]["checkpoint_id"]
                        yield snapshot_from(snapshot, self._schema)
            finally:
                end.cancel()
                await asyncio.gather(end, return_exceptions=True)

    async def _place_in_history(self) -> tuple[str, int]:
        """Return the latest run that continues this one, and how many events it has."""
        run_id = self._run_ids[-1]
        description = await self._client.get_workflow_handle(self.thread_id, run_id=run_id).describe()
        return run_id, description.history_length

    async def _restored_checkpoint(self) -> str | None:
        """Return the id of the checkpoint from which the run restored the thread; `None` for a new thread."""
        run = await latest_run(self._client, self.thread_id, self.run_id)
        options = await start_options(self._client, run) if run is not None else StartOptions()
        record = options.continued.record if options.continued is not None else None
        if record is None and options.after is not None:
            record = (await await_outcome(self._client, self.thread_id, options.after)).record
        return record.checkpoint.id if record is not None else None

    def _end_error(self, outcome: RunOutcome) -> StepgraphError:
        """Return the error for a run that ended without a record and without an error of stepgraph's."""
        if outcome.ended is None:
            return StepgraphError(f"Run {self._run_ids[-1]} of thread {self.thread_id!r} failed: {outcome.fault}")
        return RunEndedError(
            f"Run {self._run_ids[-1]} of thread {self.thread_id!r} was {outcome.ended}. "
            "What it did is kept; resume the thread.",
            thread_id=self.thread_id,
            run_id=self._run_ids[-1],
            status=outcome.ended,
        )


class QueuedRun(GraphRun):
    """An input in the input queue of its thread.

    ``run_id`` is the run that holds the queue, and from the input's start on the run that begins with the input.
    """

    def __init__(
        self, client: Client, thread_id: str, run_id: str, schema: StateSchema | None, *, queued_input_id: str
    ) -> None:
        super().__init__(client, thread_id, run_id, schema)
        self._queued_input_id = queued_input_id
        self._search: asyncio.Task[None] | None = None
        self._searchers = 0

    async def record(self) -> Record:
        """Wait until the input has run and the thread is idle; return its record. Raises the errors of `result`."""
        await self._wait_for_start()
        return await super().record()

    async def watch(self) -> AsyncIterator[StateSnapshot]:
        """Wait until the input's run begins, then yield every checkpoint that it makes, oldest first."""
        await self._wait_for_start()
        async for snapshot in super().watch():
            yield snapshot

    async def _wait_for_start(self) -> None:
        """Wait until the input's run begins.

        All concurrent callers share one search, which ends with the last of them. A search that failed is not kept.
        """
        with server_errors(self._client):
            if self._search is None or _has_failed(self._search):
                self._search = asyncio.create_task(self._find_run())
            self._searchers += 1
            try:
                await asyncio.shield(self._search)
            finally:
                self._searchers -= 1
                if not self._searchers and not self._search.done():
                    self._search.cancel()
                    self._search = None

    async def _find_run(self) -> None:
        """Follow the thread from run to run until the one that begins with this input, and make that one `run_id`."""
        while True:
            run = await latest_run(self._client, self.thread_id, self.run_id)
            options = await start_options(self._client, run) if run is not None else StartOptions()
            if options.continued is not None and options.continued.queued_input_id == self._queued_input_id:
                return
            outcome = await await_outcome(self._client, self.thread_id, self.run_id)
            if outcome.continued_as is None:
                error = outcome.error or self._end_error(outcome)
                error.add_note("The inputs in the thread's input queue are lost.")
                raise error
            self.run_id = outcome.continued_as
            self._run_ids = [self.run_id]


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


class FinishedRun(GraphRun):
    """The last run of a finished thread, returned for a resume that has nothing to run: its result is known already."""

    def __init__(self, client: Client, record: Record, schema: StateSchema | None) -> None:
        super().__init__(client, record.thread_id, record.run_id, schema)
        self._record = record

    async def record(self) -> Record:
        """Return the record of the thread's last run."""
        return self._record

    async def watch(self) -> AsyncIterator[StateSnapshot]:
        """Yield the thread's head."""
        yield snapshot_from(head_in_record(self._record), self._schema)
