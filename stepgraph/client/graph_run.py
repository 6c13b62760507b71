"""`GraphRun`: one run of a thread that a client started, or found: its progress and its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import CancelledError, TerminatedError
from temporalio.exceptions import TimeoutError as RunTimeoutError

from stepgraph.channels import Channels
from stepgraph.client.reading import history_of
from stepgraph.engine.record import Record
from stepgraph.errors import RunEndedError, StepgraphError
from stepgraph.payloads import from_raw
from stepgraph.runs import closing_of_failure
from stepgraph.snapshot import StateSnapshot, snapshot_from, view_of_record

POLL_SECONDS = 0.25


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
        """The values when the graph is done, also when the run goes on as another one.

        Raises:
            NodeError: a node failed for good; also of the node's own exception type where that is loaded.
            RunEndedError: the run was cancelled, terminated or timed out.
            StepgraphError: whatever else ended the run.
        """
        record = await self.record()
        return self._channels.decode(record.values) if self._channels else record.values

    async def record(self) -> Record:
        """The record that the finished run left; raises like `result`."""
        try:
            return Record.model_validate(from_raw(await self._handle.result()))
        except WorkflowFailureError as failure:
            error = self._error(failure)
        raise error

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
