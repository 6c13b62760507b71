"""Tests that fail when an upgrade of the Temporal SDK changes what `stepgraph.temporal.sdk_internals` depends on.

`stepgraph.temporal.payloads.failure` depends on undocumented behaviour, too, and is tested here for that.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue, RetryPolicy
from temporalio.converter import (
    ExternalStorage,
    PayloadCodec,
    SerializationContext,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    WithSerializationContext,
)
from temporalio.exceptions import ActivityError, ApplicationError, FailureError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from stepgraph.temporal import sdk_internals
from stepgraph.temporal.payloads import failure, from_raw, to_raw
from tests.patience import PATIENCE, eventually

COMPUTING_SECONDS = 3.0
"""More than the SDK's deadlock timeout of 2 seconds, and less than the server's 10 seconds for a workflow task."""


def dynamic(base: type, **members: Any) -> type:
    """Return the dynamic workflow class for a class with an ``execute`` method."""
    return sdk_internals.dynamic_workflow(base, members, module=__name__)


@asynccontextmanager
async def running(
    client: Client,
    base: type,
    *args: Any,
    activities: Sequence[Callable[..., Any]] = (),
    configure: Callable[[Worker], None] = lambda worker: None,
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Start a workflow of the class on a worker of its own. It is terminated if it is still open in the end."""
    task_queue = f"test-{uuid.uuid4().hex[:12]}"
    worker = Worker(client, task_queue=task_queue, workflows=[dynamic(base)], activities=activities)
    configure(worker)
    async with worker, asyncio.timeout(PATIENCE):
        handle = await client.start_workflow("anything", args=args, id=task_queue, task_queue=task_queue)
        try:
            yield handle
        finally:
            if not (await handle.describe()).close_time:
                await handle.terminate()


async def result_of(client: Client, base: type, *args: Any, **options: Any) -> Any:
    """Run a workflow of the class, and return its result as JSON data."""
    async with running(client, base, *args, **options) as handle:
        result = await client.get_workflow_handle(handle.id, result_type=RawValue).result()
    return from_raw(result)


async def events_of(handle: WorkflowHandle[Any, Any], attributes: str) -> list[HistoryEvent]:
    """Return the events of a workflow that have such attributes, which say what kind of event it is."""
    return [event for event in (await handle.fetch_history()).events if event.HasField(attributes)]  # type: ignore[arg-type]


COMPLETED = "workflow_task_completed_event_attributes"
FAILED = "workflow_task_failed_event_attributes"
ACTIVITY_FAILED = "activity_task_failed_event_attributes"
WORKFLOW_FAILED = "workflow_execution_failed_event_attributes"


class Describing:
    """A workflow that reports what the SDK has made of it."""

    member = "not set"

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        in_sandbox = workflow.unsafe.in_sandbox()
        return to_raw(
            {
                "type": workflow.info().workflow_type,
                "arguments": [from_raw(each) for each in args],
                "in_sandbox": in_sandbox,
            }
        )


async def test_a_dynamic_workflow_takes_every_type_and_runs_outside_the_sandbox(server: WorkflowEnvironment) -> None:
    """It gets its arguments as raw payloads, and its class needs not be importable by name."""

    class Local(Describing):
        pass

    for base in (Describing, Local):
        assert await result_of(server.client, base, {"b": 1, "a": 2}, None) == {
            "type": "anything",
            "arguments": [{"b": 1, "a": 2}, None],
            "in_sandbox": False,
        }


def test_a_dynamic_workflow_has_the_names_of_a_class_in_its_module() -> None:
    """The SDK looks at the qualified name of ``run`` and at the module. The members are attributes of the class."""
    made = dynamic(Describing, member="set")
    assert (made.__name__, made.__module__) == ("ServedDescribing", __name__)
    assert (made.run.__qualname__, made.run.__module__) == ("ServedDescribing.run", __name__)  # type: ignore[attr-defined]
    assert (made.member, Describing.member) == ("set", "not set")  # type: ignore[attr-defined]


def test_the_sdk_refuses_a_workflow_that_is_defined_in_a_function() -> None:
    """Once the SDK accepts one, `dynamic_workflow` need not set qualified names any more."""
    with pytest.raises(ValueError, match="Local classes unsupported"):

        @workflow.defn(dynamic=True, sandboxed=False)
        class Local:
            @workflow.run
            async def run(self, args: Sequence[RawValue]) -> RawValue:
                return args[0]


class Releasing:
    """A workflow that releases its arguments, and reports whether the SDK still holds them."""

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        workflow_input: Any = asyncio.get_running_loop()._workflow_input  # type: ignore[attr-defined]
        is_same_list = workflow_input.args[0] is args
        argument = weakref.ref(args[0])
        sdk_internals.release_arguments(args)
        gc.collect()
        return to_raw({"is_same_list": is_same_list, "left": len(workflow_input.args[0]), "freed": argument() is None})


async def test_the_list_of_arguments_is_the_one_that_the_sdk_holds(server: WorkflowEnvironment) -> None:
    """Emptying the list frees the arguments, because nothing else of the SDK refers to them."""
    result = await result_of(server.client, Releasing, "x" * 1000)
    assert result == {"is_same_list": True, "left": 0, "freed": True}


def test_arguments_in_another_sequence_are_left_alone() -> None:
    """An interceptor may pass the arguments as a tuple."""
    args = (to_raw(1),)
    sdk_internals.release_arguments(args)
    assert len(args) == 1


class Computing:
    """A workflow whose first task computes for some seconds."""

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        end = time.monotonic() + COMPUTING_SECONDS
        while time.monotonic() < end:
            pass
        return to_raw("done")


async def first_task_failures(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Wait until the workflow's first task has ended. Return its failure's message, or nothing if it has passed."""

    async def ended() -> bool:
        return bool(await events_of(handle, COMPLETED) or await events_of(handle, FAILED))

    await eventually(ended)
    return [each.workflow_task_failed_event_attributes.failure.message for each in await events_of(handle, FAILED)]


async def test_a_long_workflow_task_passes_with_the_deadlock_timeout_set(server: WorkflowEnvironment) -> None:
    """The first attempt at the task completes it."""

    def configure(worker: Worker) -> None:
        sdk_internals.set_deadlock_timeout(worker, 60)

    async with running(server.client, Computing, configure=configure) as handle:
        assert await first_task_failures(handle) == []
        assert await handle.result() == "done"


async def test_a_long_workflow_task_fails_with_the_default_deadlock_timeout(server: WorkflowEnvironment) -> None:
    """If it does not fail any more, or later, the reason to set the timeout is gone or the default has changed."""
    async with running(server.client, Computing) as handle:
        assert await first_task_failures(handle) == [
            "[TMPRL1101] Potential deadlock detected: workflow didn't yield within 2 second(s)."
        ]


async def test_a_worker_without_workflows_has_no_deadlock_timeout(server: WorkflowEnvironment) -> None:
    """A worker that only runs activities is accepted."""

    @activity.defn
    async def nothing() -> None:
        pass

    worker = Worker(server.client, task_queue="activities-only", activities=[nothing])
    sdk_internals.set_deadlock_timeout(worker, 60)


@dataclass(frozen=True)
class RecordingCodec(PayloadCodec, WithSerializationContext):
    """A codec that changes nothing, and records for which workflow the SDK uses it."""

    contexts: list[SerializationContext]
    context: SerializationContext | None = None

    def with_context(self, context: SerializationContext) -> RecordingCodec:
        return replace(self, context=context)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        assert self.context is not None
        self.contexts.append(self.context)
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


@dataclass
class RecordingDriver(StorageDriver):
    """A storage driver that records for which workflow it stores payloads."""

    contexts: list[StorageDriverStoreContext] = field(default_factory=list)

    def name(self) -> str:
        return "recording"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        self.contexts.append(context)
        return [StorageDriverClaim({}) for _ in payloads]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        raise NotImplementedError


async def test_arguments_are_converted_with_the_contexts_that_the_sdk_uses(server: WorkflowEnvironment) -> None:
    """The codec and the storage driver learn of the same workflow as with the SDK's own ``start_workflow``."""
    codec, driver = RecordingCodec([]), RecordingDriver()
    converter = replace(
        server.client.data_converter,
        payload_codec=codec,
        external_storage=ExternalStorage([driver], payload_size_threshold=0),
    )
    client = Client(server.client.service_client, namespace=server.client.namespace, data_converter=converter)
    thread_id = f"thread-{uuid.uuid4().hex[:12]}"

    handle = await client.start_workflow("some-graph", "x" * 1000, id=thread_id, task_queue="nobody-polls-this")
    await handle.terminate()
    [from_sdk] = codec.contexts
    [stored_by_sdk] = driver.contexts
    codec.contexts.clear()
    driver.contexts.clear()

    own = sdk_internals.workflow_data_converter(client, thread_id=thread_id, graph="some-graph")
    await own.encode([to_raw("x" * 1000)])
    assert codec.contexts == [from_sdk]
    assert driver.contexts == [stored_by_sdk]


class Calling:
    """A workflow that calls the activity of a test."""

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        return await workflow.execute_activity(
            "of_the_test",
            result_type=RawValue,
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


async def test_heartbeats_are_converted_with_the_contexts_that_the_sdk_uses(server: WorkflowEnvironment) -> None:
    """The codec and the storage driver learn of the same activity as with the SDK's own heartbeat."""
    codec, driver = RecordingCodec([]), RecordingDriver()
    converter = replace(
        server.client.data_converter,
        payload_codec=codec,
        external_storage=ExternalStorage([driver], payload_size_threshold=0),
    )
    client = Client(server.client.service_client, namespace=server.client.namespace, data_converter=converter)
    recorded: list[tuple[list[Any], list[Any]]] = []

    @activity.defn(name="of_the_test")
    async def of_the_test() -> str:
        codec.contexts.clear()
        driver.contexts.clear()
        activity.heartbeat("x" * 1000)
        await eventually(lambda: driver.contexts)
        recorded.append((codec.contexts[:], driver.contexts[:]))
        codec.contexts.clear()
        driver.contexts.clear()
        await sdk_internals.activity_data_converter(client, activity.info()).encode(["x" * 1000])
        recorded.append((codec.contexts[:], driver.contexts[:]))
        raise ApplicationError("over")  # the driver could not return a result

    async with running(client, Calling, activities=[of_the_test]) as handle:
        await eventually(lambda: len(recorded) == 2)
        with suppress(RPCError):  # the activity's error may have ended the run
            await handle.terminate()
    by_sdk, by_own = recorded
    assert by_own == by_sdk
    assert [type(context).__name__ for context in by_sdk[0]] == ["ActivitySerializationContext"]


async def test_redirected_heartbeats_reach_their_receiver_alone(server: WorkflowEnvironment) -> None:
    """On the event loop and on its threads, the receiver gets the details. The SDK's function still sends them."""
    received: list[tuple[Any, ...]] = []
    found: list[Any] = []

    @activity.defn(name="of_the_test")
    async def of_the_test() -> str:
        send = sdk_internals.redirect_heartbeats(lambda *details: received.append(details), ["earlier"])
        found.append(activity.info().heartbeat_details)
        activity.heartbeat("here", 1)
        await asyncio.to_thread(activity.heartbeat, "on a thread")
        send("by the SDK")
        return "done"

    async with running(server.client, Calling, activities=[of_the_test]) as handle:
        assert await handle.result() == "done"
    assert received == [("here", 1), ("on a thread",)]
    assert found == [["earlier"]]


def final() -> FailureError:
    """Return a failure with everything that a node's failure has."""
    return failure("the message", {"b": 1, "a": "ä"}, None, type="SomeError", stack_trace="the node's own frames")


def retried_later() -> FailureError:
    """Return a failure that sets the pause before the next attempt."""
    return failure("again", type="SomeError", non_retryable=False, next_retry_delay=timedelta(hours=1))


def application_error() -> FailureError:
    """Return an error of another class, for which the SDK must use the failure of `with_failure`."""
    error = ApplicationError("made by the SDK", "details", type="MadeBySdk")
    to_send = final().failure
    assert to_send is not None
    sdk_internals.with_failure(error, to_send)
    return error


FAILURES = {"final": final, "retried later": retried_later, "application error": application_error}
"""Exceptions whose failures the SDK must send unchanged."""


@activity.defn
async def fail(name: str) -> None:
    """Raise a failure, from another exception and through a frame, both of which the SDK would report."""
    try:
        raise KeyError("secret")
    except KeyError as cause:
        raise FAILURES[name]() from cause


class Failing:
    """A workflow that runs an activity which fails, and then fails in the same way."""

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        name = from_raw(args[0])
        try:
            await workflow.execute_activity(
                fail,
                name,
                start_to_close_timeout=timedelta(seconds=60),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        except ActivityError:
            raise FAILURES[name]() from KeyError("secret")
        return to_raw("not reached")


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_arrives_as_it_was_made(server: WorkflowEnvironment, name: str) -> None:
    """Neither an activity nor a workflow adds a traceback, a cause or the text of the exception."""
    made = FAILURES[name]().failure
    assert made is not None
    async with running(server.client, Failing, name, activities=[fail]) as handle:
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        [activity_event] = await events_of(handle, ACTIVITY_FAILED)
        [workflow_event] = await events_of(handle, WORKFLOW_FAILED)
    for arrived in (
        activity_event.activity_task_failed_event_attributes.failure,
        workflow_event.workflow_execution_failed_event_attributes.failure,
    ):
        assert unchanged_fields(arrived) == unchanged_fields(made)
        assert not arrived.HasField("cause")


def unchanged_fields(data: Failure) -> dict[str, Any]:
    """Return what stepgraph sets in a failure. The server may note further things in it, such as its source."""
    info = data.application_failure_info
    return {
        "message": data.message,
        "stack_trace": data.stack_trace,
        "type": info.type,
        "non_retryable": info.non_retryable,
        "details": [(dict(payload.metadata), payload.data) for payload in info.details.payloads],
        "next_retry_delay": info.next_retry_delay.ToTimedelta(),
    }


async def test_the_sdk_would_send_a_traceback_and_the_cause(server: WorkflowEnvironment) -> None:
    """An `ApplicationError` without `with_failure` has both; otherwise `payloads.failure` would not be needed."""

    @activity.defn(name="fail")
    async def fail_plainly(name: str) -> None:
        raise ApplicationError("plain") from KeyError("secret")

    async with running(server.client, Failing, "final", activities=[fail_plainly]) as handle:
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        [event] = await events_of(handle, ACTIVITY_FAILED)
    plain = event.activity_task_failed_event_attributes.failure
    assert "fail_plainly" in plain.stack_trace
    assert "secret" in plain.cause.message


async def test_the_sdk_logs_a_failed_activity_with_its_exception(
    server: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    """The text is the one that is recognised, and the record has the exception, by which stepgraph drops its own."""
    error = ApplicationError("not one of stepgraph's, whose records `quiet_sdk` drops")

    @activity.defn(name="fail")
    async def fail_plainly(name: str) -> None:
        raise error

    with caplog.at_level(logging.WARNING, logger="temporalio.activity"):
        async with running(server.client, Failing, "final", activities=[fail_plainly]) as handle:
            with pytest.raises(WorkflowFailureError):
                await handle.result()
    [record] = [record for record in caplog.records if record.name == "temporalio.activity"]
    assert sdk_internals.reports_activity_failure(record)
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_another_log_record_does_not_report_a_failed_activity() -> None:
    """Only the SDK's text for a failed activity counts."""
    record = logging.LogRecord("temporalio.activity", logging.WARNING, __file__, 1, "Something else", (), None)
    assert not sdk_internals.reports_activity_failure(record)
