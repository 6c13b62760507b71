"""The oracle: what must hold of every call, and of its thread afterwards.

1. A call ends within its time, in an answer or in an error of stepgraph's.
2. No workflow task of the thread has failed: not in its history, not at the moment, not in the worker's log.
3. The thread can be read, by its worker and by a replay without one, and both say the same.
4. What was accepted is in the history, and nothing is there twice.
5. A signal that the thread did not follow is told of in its state.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import WorkflowExecution

from stepgraph import StateSnapshot
from stepgraph.errors import StepgraphError
from stepgraph.protocol.names import GET_STATE
from stepgraph.temporal.executions import Run, latest_run, run_before
from stepgraph.temporal.records import query_run
from stepgraph_workflows import replay_run
from tests.attack.calls import Accepted, Call, Signal
from tests.attack.graphs import worked
from tests.attack.live_thread import LiveThread
from tests.attack.programs import Program
from tests.conftest import Stage
from tests.patience import PATIENCE

CALL_SECONDS = PATIENCE / 4
"""How long a call may take: a hundred times what it takes on an idle machine."""

TELL_SECONDS = CALL_SECONDS
"""How long to wait for a sign that a signal was taken: a new checkpoint, or an error in the state."""

HANDLED = ("update_state", "fork", "resume", "invoke")
"""The signals that stepgraph handles."""

T = TypeVar("T")


class Fault(AssertionError):
    """Something that must never be."""


class FailedActivations(logging.Handler):
    """Collects what a worker logs of workflow tasks that it could not work on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Failed"):
            error = record.exc_info[1] if record.exc_info else None
            self.lines.append(f"{record.getMessage()}: {type(error).__name__}: {str(error)[:500]}")

    def of(self, run_id: str) -> list[str]:
        """Return the lines about a run."""
        return [line for line in self.lines if run_id in line]


@contextmanager
def watched_log() -> Iterator[FailedActivations]:
    """Collect the failed activations of all workers in this process."""
    handler, logger = FailedActivations(), logging.getLogger("temporalio")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


class Oracle:
    """Runs programs on a stage whose worker serves the attacked graphs."""

    def __init__(self, stage: Stage, log: FailedActivations) -> None:
        self.stage = stage
        self.log = log
        self.seconds = CALL_SECONDS

    async def judge(self, program: Program) -> None:
        """Run a program on a new thread. Raises `Fault` for the first thing that must never be."""
        thread = LiveThread(self.stage, program.kind)
        try:
            await thread.bring_into(program.on)
            accepted = [await self._make(call, thread) for call in program.calls]
            if program.ends:
                await self._in_time("waiting for the thread", _until_idle(thread))
            await self._check(thread, accepted, program)
        except StepgraphError as error:
            if not program.damages:
                raise Fault(f"the thread cannot be read: {type(error).__name__}: {_short(error)}") from error
        finally:
            await thread.end()

    async def _make(self, call: Call, thread: LiveThread) -> tuple[Accepted, list[str]]:
        """Make a call. Return whether it was accepted, and the marks that it carried."""
        marks_before = len(thread.marks)
        before = await self._head(thread) if isinstance(call, Signal) else None
        run_before_call = await latest_run(self.stage.client, thread.thread_id)
        accepted = await self._in_time(repr(call), call.make(thread))
        if _must_tell(call) and run_before_call is not None and run_before_call.is_open:
            await self._check_told(thread, before)
        await self._in_time("reading the head", thread.look())
        return accepted, thread.marks[marks_before:]

    async def _in_time(self, what: str, awaitable: Awaitable[T]) -> T:
        """Return what something gives; `Fault` if it hangs, or raises anything but a `StepgraphError`."""
        try:
            async with asyncio.timeout(self.seconds):
                return await awaitable
        except (Fault, StepgraphError):
            raise
        except TimeoutError:
            raise Fault(f"{what}: no answer within {self.seconds:g} s") from None
        except (Exception, asyncio.CancelledError) as error:
            raise Fault(f"{what}: {type(error).__name__}: {_short(error)}") from error

    async def _head(self, thread: LiveThread) -> StateSnapshot:
        return await self._in_time("reading the head", thread.client.aget_state(thread.config))

    async def _check_told(self, thread: LiveThread, before: StateSnapshot | None) -> None:
        """Wait for a sign that a signal was taken."""
        deadline = asyncio.get_running_loop().time() + TELL_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            await self._check_tasks(thread)
            if await self._head(thread) != before:
                return
            await asyncio.sleep(0.05)
        raise Fault("a signal has vanished: the state is what it was, and its 'errors' tell nothing")

    async def _check(self, thread: LiveThread, accepted: list[tuple[Accepted, list[str]]], program: Program) -> None:
        runs = await self._check_tasks(thread)
        snapshots = await self._snapshots(thread)
        for run in runs:
            if run.task_queue == self.stage.task_queue:
                await self._check_replay(run, compare=run is runs[0])
        self._check_marks(snapshots, accepted)
        most = len(program.calls) + (program.on != "new")
        for key, times in worked.items():
            if key.startswith(f"{thread.thread_id}/") and times > most:
                raise Fault(f"a node without a retry policy has begun {times} times, for {most} calls")

    async def _check_tasks(self, thread: LiveThread) -> list[Run]:
        """Return the thread's runs, newest first; `Fault` if a workflow task of one has failed."""
        runs = await _runs(thread)
        for run in runs:
            if lines := self.log.of(run.run_id):
                raise Fault(f"the worker could not work on a run: {lines[0]}")
            handle = self.stage.client.get_workflow_handle(run.thread_id, run_id=run.run_id)
            async for event in handle.fetch_history_events():
                failed = event.workflow_task_failed_event_attributes
                if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED and failed.cause != UNHANDLED:
                    raise Fault(f"a workflow task has failed: {_short(failed.failure.message)}")
            if run.is_open and (attempt := _attempt(await handle.describe())) > 2:
                raise Fault(f"a workflow task is in attempt {attempt}")
        return runs

    async def _snapshots(self, thread: LiveThread) -> list[StateSnapshot]:
        """Return the head and the whole history, as a client reads them."""

        async def read() -> list[StateSnapshot]:
            head = await thread.client.aget_state(thread.config)
            return [head, *[each async for each in thread.client.aget_state_history(thread.config)]]

        return await self._in_time("reading state and history", read())

    async def _check_replay(self, run: Run, *, compare: bool) -> None:
        """Read a run by a replay; with ``compare``, also by a query, until both say the same."""
        deadline = asyncio.get_running_loop().time() + self.seconds
        while True:
            replayed = await self._in_time("replaying", replay_run(self.stage.client, run.thread_id, run.run_id))
            if replayed is None or not compare:
                return
            by_replay = replayed.answer(GET_STATE, {})
            by_query = await self._in_time("querying", query_run(self.stage.client, run, GET_STATE, {}))
            if by_query == by_replay:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Fault(f"a query says {_short(by_query)}, a replay says {_short(by_replay)}")
            await asyncio.sleep(0.1)  # the run may have gone on meanwhile

    def _check_marks(self, snapshots: list[StateSnapshot], accepted: list[tuple[Accepted, list[str]]]) -> None:
        """Check that the marks of accepted calls are in the history, and none twice in any state."""
        writes = json.dumps([(each.metadata or {}).get("writes") for each in snapshots], default=str)
        for whether, marks in accepted:
            for mark in marks:
                if whether == "yes" and mark not in writes:
                    raise Fault(f"what was accepted is not in the history: {mark}")
        every_mark = [mark for _, marks in accepted for mark in marks]
        for snapshot in snapshots:
            log = list(snapshot.values.get("log") or ()) if isinstance(snapshot.values, dict) else []
            if doubled := [mark for mark in every_mark if log.count(mark) > 1]:
                raise Fault(f"what was accepted once is there {log.count(doubled[0])} times: {doubled[0]}")


UNHANDLED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
"""The server has the task done again, because a message came while the run was about to end. That is no fault."""


async def _runs(thread: LiveThread) -> list[Run]:
    """Return the thread's runs, newest first."""
    client, runs = thread.stage.client, []
    run = await latest_run(client, thread.thread_id)
    while run is not None:
        runs.append(run)
        run = await run_before(client, run)
    return runs


def _must_tell(call: Call) -> bool:
    """Return whether a call is a signal that the thread has to follow, or to tell of.

    A signal that asks the thread to go on, without an input, leaves a thread that waits for an answer as it is.
    """
    if not isinstance(call, Signal) or call.name not in HANDLED:
        return False
    only_goes_on = call.name == "invoke" and all(
        not isinstance(each, dict) or "input" not in each for each in call.arguments
    )
    return not only_goes_on


async def _until_idle(thread: LiveThread) -> None:
    """Wait until no node of the thread runs."""
    run = await thread.client.aget_run(thread.config)
    if run is not None:
        with suppress(StepgraphError):
            await run.result()


def _attempt(description: WorkflowExecution) -> int:
    """Return the attempt of the workflow task that is pending; 0 if none is."""
    return description.raw_description.pending_workflow_task.attempt  # type: ignore[attr-defined, no-any-return]


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, BaseException) else f"{value}"
    return text if len(text) < 400 else f"{text[:200]} ... {text[-200:]}"
