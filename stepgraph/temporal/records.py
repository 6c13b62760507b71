"""Records of threads: what closed runs left, and what open ones answer."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
)
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.engine.record import Record
from stepgraph.errors import CheckpointExpiredError, from_wire
from stepgraph.protocol.names import GET_RECORD
from stepgraph.protocol.paging import Pages
from stepgraph.protocol.thread_errors import no_such_checkpoint
from stepgraph.temporal.executions import Run, latest_run, run_before, start_options, was_picked_up
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.run_outcome import outcome_of

QUERY_TIMEOUT = timedelta(seconds=20)


async def load_record(client: Client, run: Run) -> Record | None:
    """The record that a closed run left; if it was ended from outside, what a replay of it says; `None` if it had none.

    A run that ended before it was opened hands on the record of the run before it.
    """
    record = (await outcome_of(client, run)).record
    if record is None and run.ended_externally and await was_picked_up(client, run):
        answer = await ask(client, run, GET_RECORD, {})
        record = Record.model_validate(answer) if answer is not None else None
    if record is not None:
        return record
    options = await start_options(client, run)
    if options.continued is not None and options.continued.record is not None:
        return options.continued.record
    before = await run_before(client, run)
    return await load_record(client, before) if before is not None else None


async def record_at(client: Client, thread_id: str, checkpoint_id: str) -> Record:
    """The record of a checkpoint, wherever in the thread it was made: what a fork of it needs.

    Raises:
        CheckpointNotFoundError: the thread has no such checkpoint.
        CheckpointExpiredError: retention has removed it.
    """
    run = await run_holding(client, thread_id, checkpoint_id)
    if not run.is_open:
        record = (await outcome_of(client, run)).record
        if record is not None and record.checkpoint.id == checkpoint_id and "writes" not in record.omitted:
            return record
    return Record.model_validate(await ask(client, run, GET_RECORD, {"checkpoint_id": checkpoint_id}))


async def run_holding(client: Client, thread_id: str, checkpoint_id: str) -> Run:
    """The run that made a checkpoint: its id says which. Raises like `record_at`."""
    run_id = checkpoint_id.rpartition(".")[0]
    try:
        made = uuid.UUID(run_id)
    except ValueError:
        made = None
    run = await latest_run(client, thread_id, run_id) if made is not None else None
    if run is not None:
        return run
    if made is not None and made.version == 7 and await _retention_is_over(client, made):
        raise CheckpointExpiredError(
            f"Checkpoint {checkpoint_id!r} of thread {thread_id!r} is gone: "
            f"the namespace's retention has removed run {run_id}.",
            thread_id=thread_id,
            run_id=run_id,
        )
    raise no_such_checkpoint(thread_id, checkpoint_id)


async def _retention_is_over(client: Client, made: uuid.UUID) -> bool:
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept = answer.config.workflow_execution_retention_ttl.ToTimedelta()
    made_at = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    return made_at < datetime.now(UTC) - kept


async def ask(
    client: Client, run: Run, query: str, request: Mapping[str, Any], *, timeout: timedelta = QUERY_TIMEOUT
) -> Any:
    """The answer to a query, put together from its pages; a `StepgraphError` in it is raised."""
    handle = client.get_workflow_handle(run.thread_id, run_id=run.run_id)
    pages = Pages()
    while pages.wanted is not None:
        asked = {**request, "page": pages.wanted}
        try:
            answer = await handle.query(query, to_raw(asked), result_type=RawValue, rpc_timeout=timeout / 2)
        except RPCError as error:
            if error.status is not RPCStatusCode.DEADLINE_EXCEEDED:
                raise
            # a worker that drops a run from its cache may drop a question with it
            answer = await handle.query(query, to_raw(asked), result_type=RawValue, rpc_timeout=timeout)
        pages.take(from_raw(answer))
    if isinstance(pages.answer, dict) and "error" in pages.answer:
        raise from_wire(pages.answer["error"])
    return pages.answer
