"""Asks the server which task queues have workers."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from stepgraph.temporal.rpc import retried


async def has_workers(client: Client, task_queue: str) -> bool:
    """Return whether a worker has polled the task queue for workflow tasks within the last minutes."""
    return await last_polled(client, task_queue) is not None


async def last_polled(client: Client, task_queue: str) -> datetime | None:
    """Return when a worker last began to poll the task queue for workflow tasks; `None` if none did for minutes.

    A worker that has nothing to do begins a poll about once a minute.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await retried(lambda: client.workflow_service.describe_task_queue(request))
    return max((poller.last_access_time.ToDatetime(UTC) for poller in answer.pollers), default=None)
