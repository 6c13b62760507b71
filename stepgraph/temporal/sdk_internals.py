"""Everything that depends on private parts of the Temporal SDK, or on behaviour that it does not document.

Each function has a test in ``tests/temporal/test_sdk_internals.py`` that fails when an upgrade of the SDK changes what
it depends on. ``temporalio`` has an upper bound in ``pyproject.toml`` for the same reason.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from temporalio import activity, workflow
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    StorageDriverActivityInfo,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WorkflowSerializationContext,
)
from temporalio.exceptions import FailureError
from temporalio.worker import Worker

Handler = TypeVar("Handler", bound=Callable[..., Any])


def dynamic_workflow(base: type, members: Mapping[str, Any], *, module: str) -> type:
    """Return a dynamic workflow class that runs outside the sandbox, made from a class with an ``execute`` method.

    The SDK refuses a ``run`` method that is defined inside a function, because its sandbox imports a workflow by its
    qualified name. Outside the sandbox nothing is imported, so ``run`` gets the name of a method of a module's class.

    Args:
        base: the class; its ``execute`` takes the arguments as a sequence of `RawValue`.
        members: attributes of the new class.
        module: the name of the module that the class belongs to.
    """
    name = f"Served{base.__name__}"

    async def run(self, args: Sequence[RawValue]) -> RawValue:  # type: ignore[no-untyped-def]  # the SDK counts annotations
        result: RawValue = await self.execute(args)
        return result

    run.__qualname__, run.__module__ = f"{name}.run", module
    cls = type(name, (base,), {**members, "run": workflow.run(run), "__module__": module})
    return workflow.defn(dynamic=True, sandboxed=False)(cls)


def takes_any_arguments(handler: Handler) -> Handler:
    """Have the SDK call a handler of signals, updates or queries with its argument as a `RawValue`.

    The SDK decodes arguments by the handler's signature, and fails the workflow task, again and again, if there are
    more arguments than parameters. So the handler takes any number (``*arguments``), and the SDK is shown a signature
    with one. It passes a single argument undecoded. Several arguments are decoded; if one cannot be, the SDK refuses
    the update or the query, and drops the signal.
    """
    parameters = [
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("argument", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=RawValue),
    ]
    handler.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what `inspect.signature` returns
    handler.__annotations__ = {"argument": RawValue, "return": handler.__annotations__.get("return")}
    return handler


def release_arguments(args: Sequence[RawValue]) -> None:
    """Empty a dynamic workflow's list of arguments.

    The SDK holds the list for as long as the run is open, so several copies of a record would stay in memory.
    """
    if isinstance(args, list):
        args.clear()


def set_deadlock_timeout(worker: Worker, seconds: int) -> None:
    """Set how long a workflow task may compute before the SDK fails it as a deadlock; 2 seconds by default.

    The SDK has no setting for it, except ``debug_mode``, which turns the detector off.
    """
    workflow_worker = worker._workflow_worker
    if workflow_worker is not None:
        workflow_worker._deadlock_timeout_seconds = seconds


def workflow_data_converter(client: Client, *, thread_id: str, graph: str) -> DataConverter:
    """Return the client's data converter as the SDK uses it for the arguments of one workflow.

    Codecs then get the workflow id, and external storage puts the payloads under it.
    """
    return client.data_converter._with_contexts(
        WorkflowSerializationContext(namespace=client.namespace, workflow_id=thread_id),
        StorageDriverStoreContext(
            target=StorageDriverWorkflowInfo(namespace=client.namespace, id=thread_id, type=graph)
        ),
    )


def activity_data_converter(client: Client, info: activity.Info) -> DataConverter:
    """Return the client's data converter as the SDK uses it for the heartbeats of one activity."""
    namespace, is_local = info.namespace, info.is_local
    return client.data_converter._with_contexts(
        ActivitySerializationContext(
            namespace=namespace,
            workflow_id=info.workflow_id,
            workflow_type=info.workflow_type,
            activity_type=info.activity_type,
            activity_id=info.activity_id,
            activity_task_queue=info.task_queue,
            is_local=is_local,
        ),
        StorageDriverStoreContext(
            target=StorageDriverActivityInfo(
                id=info.activity_id, type=info.activity_type, run_id=info.activity_run_id, namespace=namespace
            )
        ),
    )


def redirect_heartbeats(receiver: Callable[..., None], details: Sequence[Any]) -> Callable[..., None]:
    """Give an activity's heartbeats to a function, for the rest of the current asyncio task. Return the SDK's function.

    Args:
        receiver: what `temporalio.activity.heartbeat` calls from now on.
        details: what `temporalio.activity.info` has as ``heartbeat_details`` from now on.
    """
    context = activity._Context.current()
    assert context.heartbeat is not None, "an activity runs"
    info = replace(context.info(), heartbeat_details=details)
    activity._Context.set(replace(context, heartbeat=receiver, info=lambda: info))
    return context.heartbeat


def with_failure(error: FailureError, failure: Failure) -> None:
    """Have the SDK send this failure for an exception, instead of the one it would make from the exception."""
    error._failure = failure


def reports_activity_failure(record: logging.LogRecord) -> bool:
    """Return whether a log record of the SDK reports that an activity ended with a failure."""
    return record.getMessage().startswith("Completing activity as failed")
