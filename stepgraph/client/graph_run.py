"""`GraphRun`: one run of a thread that a client started, or found: its progress and its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import RawValue
from temporalio.exceptions import CancelledError, TerminatedError
from temporalio.exceptions import TimeoutError as RunTimeoutError
from temporalio.service import RPCError

from stepgraph.channels import Channels
from stepgraph.client.reading import history_of, values_shown
from stepgraph.engine.record import Record
from stepgraph.errors import RunEndedError, StepgraphError
from stepgraph.interrupts import Interrupt
from stepgraph.payloads import from_raw
from stepgraph.runs import closing_of_failure
from stepgraph.snapshot import StateSnapshot, snapshot_from, view_of_record
from stepgraph.wire import SETTLED, Settled

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
        self._handle: WorkflowHandle[Any, RawValue] = client.get_workflow_handle(
            thread_id, run_id=run_id, result_type=RawValue
        )

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
        asked = view_of_record(record)["interrupts"]
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
        try:
            return Record.model_validate(from_raw(await self._handle.result()))
        except WorkflowFailureError as failure:
            error = self._error(failure)
        raise error

    async def _waits(self) -> Record:
        """The record of a thread that waits for people. Never comes if it does not."""
        handle = self._client.get_workflow_handle(self.thread_id)  # of whichever run it has come to
        while True:
            try:
                answer = Settled.model_validate(
                    from_raw(await handle.execute_update(SETTLED, result_type=RawValue, rpc_timeout=UPDATE_TIMEOUT))
                )
                if answer.waiting is not None:
                    return answer.waiting
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
        seen = self._head
        try:
            over = False
            while not over:
                await asyncio.wait([ending], timeout=POLL_SECONDS)
                over = ending.done()
                fresh: list[dict[str, Any]] = []
                async for shown in history_of(self._client, self.thread_id, filter=None, before=None, limit=None):
                    if shown["config"]["configurable"]["checkpoint_id"] == seen:
                        break
                    fresh.append(shown)
                for shown in reversed(fresh):
                    seen = shown["config"]["configurable"]["checkpoint_id"]
                    yield snapshot_from(shown, self._channels)
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    def _error(self, failure: WorkflowFailureError) -> StepgraphError:
        told = closing_of_failure(failure.cause).error
        if told is not None:
            return told
        for kind, status in (
            (CancelledError, "cancelled"),
            (TerminatedError, "terminated"),
            (RunTimeoutError, "timed out"),
        ):
            if isinstance(failure.cause, kind):
                return RunEndedError(
                    f"Run {self.run_id} of thread {self.thread_id!r} was {status}. "
                    "What it did is kept; resume the thread.",
                    thread_id=self.thread_id,
                    run_id=self.run_id,
                    status=status,
                )
        return StepgraphError(f"Run {self.run_id} of thread {self.thread_id!r} failed: {failure.cause}")


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
        yield snapshot_from(view_of_record(self._record), self._channels)
