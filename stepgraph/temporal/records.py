"""Reads records of threads: from the outcome of a closed run, or by a query to a run.

Owns which run has a checkpoint, and in which order the places that may have its record are tried. What a record
contains is `stepgraph.engine.record`'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.engine.ids import run_id_of
from stepgraph.engine.record import Record
from stepgraph.errors import CheckpointExpiredError, from_wire
from stepgraph.protocol.names import GET_RECORD
from stepgraph.protocol.thread_errors import no_such_checkpoint
from stepgraph.temporal.executions import Run, latest_run, run_before, start_options, was_picked_up
from stepgraph.temporal.payloads import to_raw
from stepgraph.temporal.query_pages import query_all_pages
from stepgraph.temporal.rpc import retried
from stepgraph.temporal.run_outcome import outcome_of

QUERY_TIMEOUT = timedelta(seconds=20)
"""How long a query's second attempt may take. The first gets half of it."""


class QueryRun(Protocol):
    """Returns a run's complete answer to a query, as JSON data: `query_run`, or another source of the same answer."""

    async def __call__(self, client: Client, run: Run, query: str, request: Mapping[str, Any]) -> Any:
        """Return the answer."""


async def load_record(client: Client, run: Run, *, query: QueryRun | None = None) -> Record | None:
    """Return the record that a closed run left, or `None` if its thread had no checkpoint.

    A run that was ended externally left none, and one may be damaged, so the run is replayed to make one. If the run
    ended before it had restored its thread, the record of the run before it still holds.

    Args:
        client: a connected client.
        run: the run.
        query: how to query a run; by default, a worker is queried.
    """
    outcome = await outcome_of(client, run)
    record = outcome.record
    if record is None and (outcome.is_damaged or (run.ended_externally and await was_picked_up(client, run))):
        replayed = await (query or query_run)(client, run, GET_RECORD, {})
        record = Record.model_validate(replayed) if replayed is not None else None
    if record is not None:
        return record
    options = await start_options(client, run)
    if options.continued is not None and options.continued.record is not None:
        return options.continued.record
    before = await run_before(client, run)
    return await load_record(client, before, query=query) if before is not None else None


async def record_at(client: Client, thread_id: str, checkpoint_id: str, *, query: QueryRun | None = None) -> Record:
    """Return the record of a checkpoint, whichever run of the thread made it. A fork of the checkpoint starts from it.

    ``query`` says how to query the run; by default, a worker is queried.

    Raises:
        CheckpointNotFoundError: the thread has no such checkpoint.
        CheckpointExpiredError: the namespace's retention has removed the run that made it.
    """
    run = await run_holding(client, thread_id, checkpoint_id)
    if not run.is_open:
        record = (await outcome_of(client, run)).record
        if record is not None and record.checkpoint.id == checkpoint_id and "writes" not in record.omitted:
            return record
    record_data = await (query or query_run)(client, run, GET_RECORD, {"checkpoint_id": checkpoint_id})
    if record_data is None:  # no worker has begun with the run
        raise no_such_checkpoint(thread_id, checkpoint_id)
    return Record.model_validate(record_data)


async def run_holding(client: Client, thread_id: str, checkpoint_id: str) -> Run:
    """Return the run that made a checkpoint. A checkpoint id is the run's id, a dot and a number.

    Raises:
        CheckpointNotFoundError: the thread has no such run. Whether the run has the checkpoint is not checked.
        CheckpointExpiredError: the namespace's retention has removed the run.
    """
    run_id = run_id_of(checkpoint_id)
    try:
        run_uuid = uuid.UUID(run_id)
    except ValueError:
        run_uuid = None  # not a run id; the server would refuse it
    run = await latest_run(client, thread_id, run_id) if run_uuid is not None else None
    if run is not None:
        return run
    if run_uuid is not None and run_uuid.version == 7 and await _retention_is_over(client, run_uuid):
        raise CheckpointExpiredError(
            f"Checkpoint {checkpoint_id!r} of thread {thread_id!r} is gone: "
            f"the namespace's retention has removed run {run_id}.",
            thread_id=thread_id,
            run_id=run_id,
        )
    raise no_such_checkpoint(thread_id, checkpoint_id)


async def _retention_is_over(client: Client, run_uuid: uuid.UUID) -> bool:
    """Return whether a run is older than the namespace's retention. Its id, a UUID of version 7, contains its time."""
    request = DescribeNamespaceRequest(namespace=client.namespace)
    response = await retried(lambda: client.workflow_service.describe_namespace(request))
    retention = response.config.workflow_execution_retention_ttl.ToTimedelta()
    started_at = datetime.fromtimestamp((run_uuid.int >> 80) / 1000, UTC)
    return started_at < datetime.now(UTC) - retention


async def query_run(client: Client, run: Run, query: str, request: Mapping[str, Any]) -> Any:
    """Return a run's complete answer to a query, as JSON data.

    Args:
        client: a connected client.
        run: the run. If no worker has it in memory, one replays it first.
        query: the query's name, one of `stepgraph.protocol.names`.
        request: the query's fields, without ``page``.

    Raises:
        StepgraphError: the error that the run answered with.
        RPCError: no worker answered within `QUERY_TIMEOUT`, or the server refused the query.
        WorkflowQueryFailedError: the run's worker could not answer.
    """
    handle = client.get_workflow_handle(run.thread_id, run_id=run.run_id)

    async def query_page(page: dict[str, Any]) -> RawValue:
        page_request = to_raw({**request, **page})
        response: RawValue
        try:
            response = await handle.query(query, page_request, result_type=RawValue, rpc_timeout=QUERY_TIMEOUT / 2)
        except RPCError as error:
            if error.status is not RPCStatusCode.DEADLINE_EXCEEDED:
                raise
            # a worker that evicts a run from its cache may lose a query that has just reached it
            response = await handle.query(query, page_request, result_type=RawValue, rpc_timeout=QUERY_TIMEOUT)
        return response

    answer = await query_all_pages(query_page)
    if isinstance(answer, dict) and "error" in answer:
        raise from_wire(answer["error"])
    return answer
