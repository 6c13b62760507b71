"""A worker of workflows that are not stepgraph's: they leave what they are told to leave."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from tests.conftest import Stage


@workflow.defn(dynamic=True, sandboxed=False)
class ForeignWorkflow:
    """Ends as its first argument says: with the second one as its result, with the others as details, or never."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        end = workflow.payload_converter().from_payload(args[0].payload, str)
        if end == "failure":
            raise ApplicationError("a failure of another workflow", *args[1:], type="NodeError", non_retryable=True)
        if end == "none":
            await workflow.wait_condition(lambda: False)
        return args[1]


def foreign_task_queue(stage: Stage) -> str:
    """Return the task queue of the foreign workflows of a stage."""
    return f"{stage.task_queue}-foreign"


def foreign_worker(stage: Stage) -> Worker:
    """Return a worker for them."""
    return Worker(stage.client, task_queue=foreign_task_queue(stage), workflows=[ForeignWorkflow])
