"""The local activity that reads a checkpoint of another run, for a fork of it."""

from __future__ import annotations

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph.errors import StepgraphError
from stepgraph.protocol.names import READ_CHECKPOINT
from stepgraph.protocol.opening import ReadRequest
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.records import QueryRun, record_at


class ReadCheckpointActivity:
    """Reads checkpoints. ``query`` says how to query the run that has one."""

    def __init__(self, query: QueryRun) -> None:
        self._query = query

    @activity.defn(name=READ_CHECKPOINT)
    async def read_checkpoint(self, raw: RawValue) -> RawValue:
        """Return the record of a checkpoint that another run, perhaps of another thread, has made.

        An error fails the activity without another attempt, and travels in the details, as JSON data.
        """
        request = ReadRequest.model_validate(from_raw(raw))
        try:
            record = await record_at(activity.client(), request.thread_id, request.checkpoint_id, query=self._query)
        except StepgraphError as error:
            raise ApplicationError(
                error.message, error.to_wire(), type=type(error).__name__, non_retryable=True
            ) from error
        return to_raw(record)
