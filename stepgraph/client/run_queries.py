"""Queries a run: a worker answers or, where none does at once, a replay of the run's history in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
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

WORKER_PATIENCE = timedelta(seconds=1)
"""How long a worker may then take before the reader replays the run itself. The server lists a worker for minutes after
it has ended, and a replay costs no more here than there."""

UNRESPONSIVE_TIME = timedelta(seconds=15)
"""For how long the runs of a task queue are replayed at once after a query that no worker answered. A thread may have
many runs, and a server keeps few queries for a run without a worker."""

MAX_UNRESPONSIVE = 1_000
"""How many task queues are noted as unresponsive."""

_unresponsive_until: dict[tuple[str, str, str], float] = {}
"""By server, namespace and task queue: until when it is not queried."""


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
    replay: asyncio.Future[ReplayedRun | None] | None = None
    answer: asyncio.Future[Any] | None = None
    try:
        if not is_unresponsive(client, run.task_queue):
            answer = asyncio.ensure_future(query_run(client, run, query, request))
            await _wait_for_worker(client, run, answer)
            if _is_answer(answer):
                return answer.result()
        replay = asyncio.ensure_future(replay_run(client, run.thread_id, run.run_id))
        await asyncio.wait([each for each in (answer, replay) if each], return_when=asyncio.FIRST_COMPLETED)
        if replay.done() and replay.exception() is not None:  # a slow worker may know what is not readable here
            answer = answer or asyncio.ensure_future(query_run(client, run, query, request))
            await asyncio.wait([answer], timeout=WORKER_PATIENCE.total_seconds())
        if answer is not None and _is_answer(answer):
            return answer.result()
        replayed = await replay
    finally:
        unfinished = [each for each in (answer, replay) if each is not None]
        for each in unfinished:
            each.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
    if replayed is None:
        return None
    if replays is not None:
        replays[run.run_id] = replayed
    return replayed.answer(query, request)


def is_unresponsive(client: Client, task_queue: str) -> bool:
    """Return whether no worker of the task queue has answered the latest query of this process to one of its runs."""
    return time.monotonic() < _unresponsive_until.get(_place(client, task_queue), 0.0)


async def _wait_for_worker(client: Client, run: Run, answer: asyncio.Future[Any]) -> None:
    """Wait until a worker has answered a query, or until it is likely that none will: note that then."""
    done, _ = await asyncio.wait([answer], timeout=WORKER_CHECK_DELAY.total_seconds())
    if not done and await has_workers(client, run.task_queue):
        done, _ = await asyncio.wait([answer], timeout=WORKER_PATIENCE.total_seconds())
    _unresponsive_until.pop(_place(client, run.task_queue), None)
    if not done:
        while len(_unresponsive_until) >= MAX_UNRESPONSIVE:
            del _unresponsive_until[next(iter(_unresponsive_until))]
        _unresponsive_until[_place(client, run.task_queue)] = time.monotonic() + UNRESPONSIVE_TIME.total_seconds()


def _is_answer(answer: asyncio.Future[Any]) -> bool:
    """Return whether a query has been answered, be it with an error of the run's."""
    return answer.done() and not isinstance(answer.exception(), RPCError | WorkflowQueryFailedError)


def _place(client: Client, task_queue: str) -> tuple[str, str, str]:
    return client.service_client.config.target_host, client.namespace, task_queue
