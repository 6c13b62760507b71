"""Queries a run: a worker answers or, where none does at once, a replay of the run's history in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError

from stepgraph.temporal.executions import Run
from stepgraph.temporal.records import query_run
from stepgraph.temporal.task_queues import has_workers
from stepgraph_workflows import ReplayedRun, replay_run

Replays = dict[str, ReplayedRun]
"""By run id."""

WORKER_CHECK_DELAY = timedelta(seconds=0.2)
"""How long a query may go unanswered before the reader asks the server whether any worker polls the task queue."""

WORKER_PATIENCE = timedelta(seconds=2)
"""How long a worker may then take before the reader replays the run itself. The server lists a worker for minutes after
it has ended, and a replay costs no more here than there."""


async def query_run_or_replay(
    client: Client, run: Run, query: str, request: Mapping[str, Any], replays: Replays | None = None
) -> Any:
    """Return the answer to a query, as JSON data: a worker's or, where none answers at once, that of a replay.

    Args:
        client: a connected client.
        run: the run.
        query: the query's name, one of `stepgraph.protocol.names`.
        request: the query's fields, without ``page``.
        replays: the replays that the caller has made so far, by run id; one that is made is added.

    Raises:
        StepgraphError: the run answers with this error; or no worker answers, and the history cannot be replayed.
    """
    if replays and run.run_id in replays:
        return replays[run.run_id].answer(query, request)
    answer = asyncio.ensure_future(query_run(client, run, query, request))
    try:
        if await _answers_soon(client, run, answer):
            with suppress(RPCError, WorkflowQueryFailedError):
                return await answer
        replay = asyncio.ensure_future(replay_run(client, run.thread_id, run.run_id))
        try:
            await asyncio.wait([answer, replay], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and replay.done() and replay.exception() is not None:
                with suppress(RPCError, WorkflowQueryFailedError):  # a slow worker may know what is not readable here
                    return await answer
            if answer.done() and not isinstance(answer.exception(), RPCError | WorkflowQueryFailedError):
                return answer.result()
            replayed = await replay
        finally:
            replay.cancel()
    finally:
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
    if replayed is None:
        return None
    if replays is not None:
        replays[run.run_id] = replayed
    return replayed.answer(query, request)


async def _answers_soon(client: Client, run: Run, answer: asyncio.Future[Any]) -> bool:
    """Wait until a worker has answered a query; return false as soon as it is likely that none will."""
    done, _ = await asyncio.wait([answer], timeout=WORKER_CHECK_DELAY.total_seconds())
    if not done and await has_workers(client, run.task_queue):
        done, _ = await asyncio.wait([answer], timeout=WORKER_PATIENCE.total_seconds())
    return bool(done)
