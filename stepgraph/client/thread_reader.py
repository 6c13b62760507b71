"""Reading threads: where a snapshot is to be had, and what an answer that does not come means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.engine.recent_history import RECENT_STEPS
from stepgraph.engine.record import Record, outcomes_from
from stepgraph.errors import CheckpointNotFoundError, NoWorkerError, StepgraphError
from stepgraph.protocol.names import GET_HISTORY, GET_RECORD, GET_STATE
from stepgraph.protocol.snapshot import head_in_record, history_in_record, matches
from stepgraph.temporal.executions import Run, latest_run, run_before, was_picked_up
from stepgraph.temporal.records import ask, load_record, run_holding
from stepgraph.temporal.run_outcome import current_outcome, outcome_of

T = TypeVar("T")

PATIENCE = timedelta(seconds=2)
"""How long a query may go unanswered before it is asked whether any worker is there at all."""


NO_ANSWER_STATUSES = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.CANCELLED)
"""How the server says that no worker answered a query in time, or is known to poll the task queue."""


async def record_left_by(client: Client, run: Run) -> Record | None:
    """What a closed run left; `NoWorkerError` if it was ended from outside, and no worker is there to tell."""
    return await _answered(client, run, load_record(client, run))


async def current_head(
    client: Client, thread_id: str, latest: Coroutine[Any, Any, Run | None]
) -> dict[str, Any] | None:
    """The head of a thread, as JSON data; `None` if there is none. ``latest`` is to tell the thread's latest run.

    Whether it is closed and how it ended are asked side by side: most threads that are read are at rest.
    """
    ending = asyncio.ensure_future(current_outcome(client, thread_id))
    try:
        run = await latest
        if run is None:
            return None
        record = (await ending).record if not run.is_open else None
        if record is not None and record.run_id == run.run_id and _tells_all(record):
            return head_in_record(record)
        return await head_of(client, run)
    finally:
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)


async def head_of(client: Client, run: Run) -> dict[str, Any] | None:
    """The head of a thread whose latest run this is, as JSON data."""
    if not run.is_open:
        record = (await outcome_of(client, run)).record
        if record is not None and _tells_all(record):
            return head_in_record(record)
        if run.ended_externally and not await was_picked_up(client, run):
            before = await run_before(client, run)
            return await head_of(client, before) if before is not None else None
    found: dict[str, Any] | None = await ask_worker(client, run, GET_STATE, {})
    if found is None and (before := await run_before(client, run)) is not None:  # it has not taken the thread up yet
        return await head_of(client, before)
    return found


def _tells_all(record: Record) -> bool:
    return not {"pending_values", "writes"} & set(record.omitted)


async def waiting_record(client: Client, thread_id: str, run_id: str) -> Record | None:
    """The record of a run that waits for people; `None` if it does not any more."""
    run = await latest_run(client, thread_id, run_id)
    if run is None or not run.is_open:
        return None
    record = Record.model_validate(await ask_worker(client, run, GET_RECORD, {}))
    return record if record.paused or outcomes_from(record).waiting_by_task() else None


async def values_shown(client: Client, record: Record) -> dict[str, Any]:
    """The values of a thread that stands still; asked for where its record had no room for those that are pending."""
    shown = head_in_record(record)
    run = await latest_run(client, record.thread_id, record.run_id) if "pending_values" in record.omitted else None
    if run is not None:
        head = await ask_worker(client, run, GET_STATE, {})
        if head["config"] == shown["config"]:  # nobody has moved the thread on meanwhile
            shown = head
    values: dict[str, Any] = shown["values"]
    return values


async def checkpoint_of(client: Client, latest: Run | None, thread_id: str, checkpoint_id: str) -> dict[str, Any]:
    """One checkpoint, as JSON data, of a thread whose latest run is known.

    Where the run that made it ended there, later runs did its tasks, so the last of them is asked first.
    """
    made = await run_holding(client, thread_id, checkpoint_id)
    for run in await _later_at(client, made, latest, checkpoint_id):
        with suppress(CheckpointNotFoundError):
            shown: dict[str, Any] | None = await ask_worker(client, run, GET_STATE, {"checkpoint_id": checkpoint_id})
            if shown is not None:
                return shown
    found: dict[str, Any] = await ask_worker(client, made, GET_STATE, {"checkpoint_id": checkpoint_id})
    return found


async def _later_at(client: Client, made: Run, latest: Run | None, checkpoint_id: str) -> list[Run]:
    """The runs that may have stood at a checkpoint after the one that made it, the last first."""
    if latest is None or not await _may_have_ended_at(client, made, checkpoint_id):
        return []
    later: list[Run] = []
    run: Run | None = latest
    while run is not None and run.run_id != made.run_id:
        later.append(run)
        run = await run_before(client, run)
    found: list[Run] = []
    for run in reversed(later):
        if run.ended_externally and not await was_picked_up(client, run):
            continue
        found.insert(0, run)
        if not await _may_have_ended_at(client, run, checkpoint_id):
            break
    return found


async def _may_have_ended_at(client: Client, run: Run, checkpoint_id: str) -> bool:
    """Whether a run has left this checkpoint, with tasks, as the thread's head; one without a record does not say."""
    if run.is_open:
        return False
    record = (await outcome_of(client, run)).record
    return record is None or (record.checkpoint.id == checkpoint_id and bool(record.checkpoint.triggers))


async def history_of(
    client: Client, thread_id: str, *, filter: Mapping[str, Any] | None, before: str | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Checkpoints as JSON data, newest first, from run to earlier run for as long as the server keeps them."""
    run = await run_holding(client, thread_id, before) if before else await latest_run(client, thread_id)
    seen: set[str] = set()
    while run is not None and (limit is None or len(seen) < limit):
        if run.ended_externally and not await was_picked_up(client, run):
            run = await run_before(client, run)
            continue
        left = None if limit is None else limit - len(seen) + bool(seen)  # one may have been seen in the run after
        request = {"limit": left, "before": before, "filter": dict(filter) if filter else None}
        answer = await _from_record(client, run, request) or await ask_worker(client, run, GET_HISTORY, request)
        if answer is None:  # it has not taken the thread up yet
            run = await run_before(client, run)
            continue
        for shown in answer["snapshots"]:
            checkpoint_id = shown["config"]["configurable"]["checkpoint_id"]
            if checkpoint_id not in seen and (limit is None or len(seen) < limit):
                seen.add(checkpoint_id)
                yield shown
        before = answer["more_before"]
        goes_on_in = before.rpartition(".")[0] if before is not None else answer["previous_run_id"]
        if goes_on_in != run.run_id:
            run = await latest_run(client, thread_id, goes_on_in) if goes_on_in is not None else None


async def _from_record(client: Client, run: Run, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `GET_HISTORY` would answer, if the record that a closed run left has all of it: no worker, no replay."""
    if run.is_open or request["limit"] is None or request["limit"] > RECENT_STEPS + 1:
        return None
    record = (await outcome_of(client, run)).record
    if record is None or {"writes", "results"} & set(record.omitted):
        return None
    shown = list(history_in_record(record))
    if request["before"] is not None:
        ids = [each["config"]["configurable"]["checkpoint_id"] for each in shown]
        shown = shown[ids.index(request["before"]) + 1 :] if request["before"] in ids else []
    found = [each for each in shown if matches(each, request["filter"])]
    if len(found) < request["limit"]:
        return None
    return {"snapshots": found, "more_before": None, "previous_run_id": None}


async def ask_worker(client: Client, run: Run, query: str, request: Mapping[str, Any]) -> Any:
    """The answer to a query; `NoWorkerError` rather than a long wait when no worker could give one."""
    return await _answered(client, run, ask(client, run, query, request))


async def _answered(client: Client, run: Run, question: Coroutine[Any, Any, T]) -> T:
    scratchpad = asyncio.ensure_future(question)
    try:
        done, _ = await asyncio.wait([scratchpad], timeout=PATIENCE.total_seconds())
        if not done and not await has_workers(client, run.task_queue):
            raise no_worker(run)
        return await scratchpad
    except WorkflowQueryFailedError as error:
        raise StepgraphError(f"Thread {run.thread_id!r} could not be read: {error}", thread_id=run.thread_id) from error
    except RPCError as error:
        if error.status in NO_ANSWER_STATUSES:
            raise no_worker(run) from error
        raise
    finally:
        scratchpad.cancel()


async def has_workers(client: Client, task_queue: str) -> bool:
    """Whether a worker has polled the task queue for workflows within the last minutes."""
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    return bool(answer.pollers)


def no_worker(run: Run) -> NoWorkerError:
    """The error for work that waits in vain."""
    return NoWorkerError(
        f"No worker answers for thread {run.thread_id!r}: nobody polls task queue {run.task_queue!r}. "
        f"Start one that has graph {run.graph!r}: worker.py --graphs MODULE:VARIABLE.",
        thread_id=run.thread_id,
        task_queue=run.task_queue,
        graph=run.graph,
    )
