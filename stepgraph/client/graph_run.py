"""`GraphRun`: one run of a thread that a client started, or found: its progress and its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import RawValue
from temporalio.service import RPCError

from stepgraph.client.thread_reader import history_of, values_shown, waiting_record
from stepgraph.engine.channels import Channels
from stepgraph.engine.record import Record
from stepgraph.errors import RunEndedError, StepgraphError
from stepgraph.protocol.commands import IdleAnswer
from stepgraph.protocol.interrupts import Interrupt
from stepgraph.protocol.names import WAIT_UNTIL_IDLE
from stepgraph.protocol.snapshot import StateSnapshot, head_in_record, snapshot_from
from stepgraph.protocol.start_options import StartOptions
from stepgraph.temporal.executions import latest_run, start_options
from stepgraph.temporal.payloads import from_raw
from stepgraph.temporal.run_outcome import RunOutcome, await_outcome

POLL_SECONDS = 0.25
SHORT_RUN_SECONDS = 0.15
UPDATE_TIMEOUT = timedelta(minutes=5)


class GraphRun:
    """A run of a thread. `result` waits for its end; `watch` tells of its checkpoints as they are made."""

    def __init__(
        self,
        client: Client,
        thread_id: str,
        run_id: str,
        channels: Channels | None,
        *,
        head: str | None = None,
    ) -> None:
        self.thread_id = thread_id
        self.run_id = run_id
        self._client = client
        self._channels = channels
        self._head = head
        self._runs = [run_id]
        """The runs that it has come through so far: a long one goes on in another."""

    async def result(self) -> dict[str, Any]:
        """The values when the thread stands still: the graph is done, or waits for people.

        What they are asked is under ``__interrupt__`` then, a list of `Interrupt`. Goes along when the run is continued
        as another one.

        Raises:
            NodeError: a node failed for good; also of the node's own exception type where that is loaded.
            RunEndedError: the run was cancelled, terminated or timed out.
            StepgraphError: whatever else ended the run.
        """
        record = await self.record()
        values = await values_shown(self._client, record)
        if self._channels:
            values = self._channels.decode(values)
        asked = head_in_record(record)["interrupts"]
        return {**values, "__interrupt__": [Interrupt(**each) for each in asked]} if asked else values

    async def record(self) -> Record:
        """The thread's record once it stands still; raises like `result`."""
        ending = asyncio.ensure_future(self._ended())
        waiting: asyncio.Future[Record] | None = None
        try:
            done, _ = await asyncio.wait([ending], timeout=SHORT_RUN_SECONDS)
            if not done:  # only now, for what it takes in history: most runs end soon, or never wait
                waiting = asyncio.ensure_future(self._waits())
                await asyncio.wait([ending, waiting], return_when=asyncio.FIRST_COMPLETED)
            if waiting is not None and waiting.done() and not ending.done():
                return waiting.result()
            return await ending
        finally:
            for each in (ending, waiting):
                if each is not None:
                    each.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await each

    async def _ended(self) -> Record:
        while True:
            outcome = await await_outcome(self._client, self.thread_id, self._runs[-1])
            if outcome.continued_for_size and outcome.continued_as is not None:
                self._runs.append(outcome.continued_as)
                continue
            if outcome.error is not None:
                raise outcome.error
            if outcome.record is not None:
                return outcome.record
            raise self._nothing_left(outcome)

    async def _waits(self) -> Record:
        """The record of a thread that waits for people. Never comes if it does not."""
        while True:
            handle = self._client.get_workflow_handle(self.thread_id, run_id=self._runs[-1])
            try:
                answer = IdleAnswer.model_validate(
                    from_raw(
                        await handle.execute_update(WAIT_UNTIL_IDLE, result_type=RawValue, rpc_timeout=UPDATE_TIMEOUT)
                    )
                )
                record = answer.record
                if answer.query_record:
                    record = await waiting_record(self._client, self.thread_id, self._runs[-1])
                if record is not None:
                    return record
            except WorkflowUpdateRPCTimeoutOrCancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # the SDK takes a cancellation for an answer that is late
                    raise asyncio.CancelledError from None
            except (RPCError, WorkflowUpdateFailedError):
                pass  # the run has ended, or no worker is there to answer: its end will tell
            await asyncio.sleep(POLL_SECONDS)

    async def watch(self) -> AsyncIterator[StateSnapshot]:
        """Every checkpoint the run makes, oldest first, until it ends. How it ended, `result` tells."""
        ending = asyncio.ensure_future(self.record())
        seen = None
        try:
            seen = self._head or await self._begun_at()
            over = False
            while not over:
                await asyncio.wait([ending], timeout=POLL_SECONDS)
                over = ending.done()
                fresh: list[dict[str, Any]] = []
                async for shown in history_of(self._client, self.thread_id, filter=None, before=None, limit=None):
                    checkpoint_id = shown["config"]["configurable"]["checkpoint_id"]
                    if checkpoint_id == seen:
                        break
                    if checkpoint_id.rpartition(".")[0] in self._runs:
                        fresh.append(shown)
                    elif fresh:  # from here on, older runs
                        break
                for shown in reversed(fresh):
                    seen = shown["config"]["configurable"]["checkpoint_id"]
                    yield snapshot_from(shown, self._channels)
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    async def _begun_at(self) -> str | None:
        """The checkpoint that the run took over."""
        run = await latest_run(self._client, self.thread_id, self.run_id)
        options = await start_options(self._client, run) if run is not None else StartOptions()
        record = options.continued.record if options.continued is not None else None
        if record is None and options.after is not None:
            record = (await await_outcome(self._client, self.thread_id, options.after)).record
        return record.checkpoint.id if record is not None else None

    def _nothing_left(self, outcome: RunOutcome) -> StepgraphError:
        if outcome.ended is None:
            return StepgraphError(f"Run {self._runs[-1]} of thread {self.thread_id!r} failed: {outcome.fault}")
        return RunEndedError(
            f"Run {self._runs[-1]} of thread {self.thread_id!r} was {outcome.ended}. "
            "What it did is kept; resume the thread.",
            thread_id=self.thread_id,
            run_id=self._runs[-1],
            status=outcome.ended,
        )


class QueuedRun(GraphRun):
    """An input that waits in line for its thread to stand still. ``run_id`` is the run that holds it meanwhile."""

    def __init__(
        self, client: Client, thread_id: str, run_id: str, channels: Channels | None, *, queued_input_id: str
    ) -> None:
        super().__init__(client, thread_id, run_id, channels)
        self._queued_input_id = queued_input_id
        self._coming: asyncio.Task[None] | None = None

    async def record(self) -> Record:
        """The thread's record once the input's turn has come and passed; raises like `result`."""
        await self._turn()
        return await super().record()

    async def watch(self) -> AsyncIterator[StateSnapshot]:
        """Every checkpoint that comes of the input, once its turn has come."""
        await self._turn()
        async for snapshot in super().watch():
            yield snapshot

    async def _turn(self) -> None:
        """Until the turn has come, for however many wait for that."""
        if self._coming is None or self._coming.cancelled():
            self._coming = asyncio.create_task(self._go_along())
        await asyncio.shield(self._coming)

    async def _go_along(self) -> None:
        """Goes along the runs of the thread until the one that begins with this input."""
        while True:
            run = await latest_run(self._client, self.thread_id, self.run_id)
            options = await start_options(self._client, run) if run is not None else StartOptions()
            if options.continued is not None and options.continued.queued_input_id == self._queued_input_id:
                return
            outcome = await await_outcome(self._client, self.thread_id, self.run_id)
            if outcome.continued_as is None:
                error = outcome.error or self._nothing_left(outcome)
                error.add_note("The inputs that waited in line went with it.")
                raise error
            self.run_id = outcome.continued_as
            self._runs = [self.run_id]


class FinishedRun(GraphRun):
    """What resuming a finished thread gives: nothing ran, the values are those there are."""

    def __init__(self, client: Client, record: Record, channels: Channels | None) -> None:
        super().__init__(client, record.thread_id, record.run_id, channels)
        self._record = record

    async def record(self) -> Record:
        """The record of the thread's last run."""
        return self._record

    async def watch(self) -> AsyncIterator[StateSnapshot]:
        """The head alone."""
        yield snapshot_from(head_in_record(self._record), self._channels)
