"""Reads snapshots, histories and records of threads. Needs neither a worker nor the code of the graph.

Owns where an answer comes from: the record that a closed run left in its last event; a query, which a worker answers;
or a replay of the run's history in this process, where no worker answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from temporalio.client import Client

from stepgraph.client.run_queries import Replays, query_run_or_replay
from stepgraph.engine.ids import run_id_of
from stepgraph.engine.recent_history import RECENT_STEPS
from stepgraph.engine.record import Record, outcomes_from
from stepgraph.errors import CheckpointNotFoundError
from stepgraph.protocol.names import GET_HISTORY, GET_RECORD, GET_STATE
from stepgraph.protocol.snapshot import head_in_record, history_in_record, matches_filter
from stepgraph.temporal.executions import Run, latest_run, run_before, was_picked_up
from stepgraph.temporal.records import load_record, run_holding
from stepgraph.temporal.run_outcome import current_outcome, outcome_of


async def read_closed_record(client: Client, run: Run) -> Record | None:
    """Return the record that a closed run left; `None` if the thread has no checkpoint."""
    return await load_record(client, run, query=query_run_or_replay)


async def read_current_head(
    client: Client, thread_id: str, latest: Coroutine[Any, Any, Run | None]
) -> tuple[dict[str, Any] | None, str | None]:
    """Return the head of a thread as JSON data, `None` if it has no checkpoint; and why its latest run failed.

    Args:
        client: a connected client.
        thread_id: the thread.
        latest: finds the thread's latest run. The outcome of the current run is read at the same time, which saves a
            round trip: most threads that are read are closed.
    """
    outcome = asyncio.ensure_future(current_outcome(client, thread_id))
    try:
        run = await latest
        if run is None:
            return None, None
        if run.is_open:
            return await read_head(client, run), None
        record, reason = (await outcome).record, (await outcome).reason
        if record is not None and record.run_id == run.run_id and _has_whole_head(record):
            return head_in_record(record), reason
        return await read_head(client, run), reason
    finally:
        outcome.cancel()
        await asyncio.gather(outcome, return_exceptions=True)


async def read_head(client: Client, run: Run) -> dict[str, Any] | None:
    """Return the head of a thread, whose latest run is given, as JSON data; `None` if the thread has no checkpoint."""
    if not run.is_open:
        record = (await outcome_of(client, run)).record
        if record is not None and _has_whole_head(record):
            return head_in_record(record)
        if run.ended_externally and not await was_picked_up(client, run):
            previous = await run_before(client, run)
            return await read_head(client, previous) if previous is not None else None
    snapshot: dict[str, Any] | None = await query_run_or_replay(client, run, GET_STATE, {})
    if snapshot is None and (previous := await run_before(client, run)) is not None:  # not yet restored in this run
        return await read_head(client, previous)
    return snapshot


def _has_whole_head(record: Record) -> bool:
    """Return whether a record has everything that a snapshot of the head shows. A large record omits parts of it."""
    return not {"pending_values", "writes"} & set(record.omitted)


async def read_idle_record(client: Client, thread_id: str, run_id: str) -> Record | None:
    """Return the record of an open run whose thread waits at an interrupt or breakpoint; `None` if it does not."""
    run = await latest_run(client, thread_id, run_id)
    if run is None or not run.is_open:
        return None
    data = await query_run_or_replay(client, run, GET_RECORD, {})
    if data is None:
        return None
    record = Record.model_validate(data)
    return record if record.paused or outcomes_from(record).waiting_by_task() else None


async def read_values(client: Client, record: Record) -> dict[str, Any]:
    """Return the values with pending writes of an idle thread, as JSON data.

    The record has them, unless it was too large for the pending writes: then the run is queried.
    """
    snapshot = head_in_record(record)
    run = await latest_run(client, record.thread_id, record.run_id) if "pending_values" in record.omitted else None
    if run is not None:
        head = await query_run_or_replay(client, run, GET_STATE, {})
        if head["config"] == snapshot["config"]:  # otherwise the thread has gone on since the record was made
            snapshot = head
    values: dict[str, Any] = snapshot["values"]
    return values


async def read_checkpoint(client: Client, latest: Run | None, thread_id: str, checkpoint_id: str) -> dict[str, Any]:
    """Return the snapshot of one checkpoint as JSON data.

    If the run that made the checkpoint ended there, a later run executed the checkpoint's tasks and knows what became
    of them. Therefore the later runs are queried first, the latest before the others.

    Args:
        client: a connected client.
        latest: the thread's latest run.
        thread_id: the thread.
        checkpoint_id: the checkpoint.

    Raises:
        CheckpointNotFoundError: the thread has no such checkpoint.
        CheckpointExpiredError: retention has removed the run that made the checkpoint.
    """
    maker = await run_holding(client, thread_id, checkpoint_id)
    request = {"checkpoint_id": checkpoint_id}
    for run in await _later_runs_at(client, maker, latest, checkpoint_id):
        with suppress(CheckpointNotFoundError):
            later_snapshot: dict[str, Any] | None = await query_run_or_replay(client, run, GET_STATE, request)
            if later_snapshot is not None:
                return later_snapshot
    snapshot: dict[str, Any] = await query_run_or_replay(client, maker, GET_STATE, request)
    return snapshot


async def _later_runs_at(client: Client, maker: Run, latest: Run | None, checkpoint_id: str) -> list[Run]:
    """Return the runs, latest first, that may have had a checkpoint as their head after the run that made it."""
    if latest is None or not await _may_have_ended_at(client, maker, checkpoint_id):
        return []
    newest_first: list[Run] = []
    run: Run | None = latest
    while run is not None and run.run_id != maker.run_id:
        newest_first.append(run)
        run = await run_before(client, run)
    candidates: list[Run] = []
    for run in reversed(newest_first):
        if run.ended_externally and not await was_picked_up(client, run):
            continue
        candidates.insert(0, run)
        if not await _may_have_ended_at(client, run, checkpoint_id):
            break
    return candidates


async def _may_have_ended_at(client: Client, run: Run, checkpoint_id: str) -> bool:
    """Return whether a closed run may have ended with this checkpoint as the head, and with tasks due.

    A run that left no record may have.
    """
    if run.is_open:
        return False
    record = (await outcome_of(client, run)).record
    return record is None or (record.checkpoint.id == checkpoint_id and bool(record.checkpoint.tasks))


async def read_history(
    client: Client, thread_id: str, *, filter: Mapping[str, Any] | None, before: str | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Yield a thread's checkpoints as JSON data, newest first, from the latest run back to the oldest on the server.

    Args:
        client: a connected client.
        thread_id: the thread.
        filter: metadata that a checkpoint must have.
        before: a checkpoint id: yield only older checkpoints.
        limit: the largest number of checkpoints to yield.
    """
    run = await run_holding(client, thread_id, before) if before else await latest_run(client, thread_id)
    seen: set[str] = set()
    replays: Replays = {}
    while run is not None and (limit is None or len(seen) < limit):
        if run.ended_externally and not await was_picked_up(client, run):
            run = await run_before(client, run)
            continue
        # One more than is missing: the checkpoint from which a run was continued is in both runs.
        remaining = None if limit is None else limit - len(seen) + bool(seen)
        request = {"limit": remaining, "before": before, "filter": dict(filter) if filter else None}
        page = await _history_in_last_event(client, run, request) or await query_run_or_replay(
            client, run, GET_HISTORY, request, replays
        )
        if page is None:  # the run has not restored the thread yet
            run = await run_before(client, run)
            continue
        for snapshot in page["snapshots"]:
            checkpoint_id = snapshot["config"]["configurable"]["checkpoint_id"]
            if checkpoint_id not in seen and (limit is None or len(seen) < limit):
                seen.add(checkpoint_id)
                yield snapshot
        before = page["more_before"]
        next_run_id = run_id_of(before) if before is not None else page["previous_run_id"]
        if next_run_id != run.run_id:
            run = await latest_run(client, thread_id, next_run_id) if next_run_id is not None else None


async def _history_in_last_event(client: Client, run: Run, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answer a `GET_HISTORY` request from the record that a closed run left, without a worker.

    Return `None` if the run is open, or if its record does not have as many checkpoints as the request wants.
    """
    if run.is_open or request["limit"] is None or request["limit"] > RECENT_STEPS + 1:
        return None
    record = (await outcome_of(client, run)).record
    if record is None or {"writes", "results"} & set(record.omitted):
        return None
    snapshots = list(history_in_record(record))
    if request["before"] is not None:
        ids = [snapshot["config"]["configurable"]["checkpoint_id"] for snapshot in snapshots]
        snapshots = snapshots[ids.index(request["before"]) + 1 :] if request["before"] in ids else []
    matching = [snapshot for snapshot in snapshots if matches_filter(snapshot, request["filter"])]
    if len(matching) < request["limit"]:
        return None
    return {"snapshots": matching, "more_before": None, "previous_run_id": None}
