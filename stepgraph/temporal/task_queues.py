"""Asks the server which task queues have workers."""

from __future__ import annotations

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from stepgraph.temporal.rpc import retried


async def has_workers(client: Client, task_queue: str) -> bool:
    """Return whether a worker has polled the task queue for workflow tasks within the last minutes."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await retried(lambda: client.workflow_service.describe_task_queue(request))
    return bool(answer.pollers)
