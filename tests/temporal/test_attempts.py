"""Which attempts at a node count as failed: those that raise or take too long, not those whose worker was lost."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Callable
from datetime import timedelta
from operator import add
from typing import Annotated, Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.workflowservice.v1 import RespondActivityTaskFailedRequest
from typing_extensions import TypedDict

from stepgraph import END, START, RetryPolicy, StateGraph
from stepgraph.engine.spec import Durability
from stepgraph.errors import NodeError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.config import parse_config
from tests.conftest import Stage

DAY = 86_400

pytestmark = pytest.mark.parametrize("durability", ["sync", "async"])


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


class CustomError(BaseException):
    """An exception that `except Exception` does not catch."""


def single(node: Callable[..., Any], durability: Durability, **options: Any) -> CompiledGraph:
    builder = StateGraph(State)
    builder.add_node("only", node, **options)
    builder.add_edge(START, "only").add_edge("only", END)
    return builder.compile(name="attempts", durability=durability)


async def lose_worker(stage: Stage) -> None:
    """Report the current activity's attempt as lost, as the sidecar of a worker does that was killed."""
    request = RespondActivityTaskFailedRequest(
        namespace=stage.client.namespace,
        task_token=activity.info().task_token,
        failure=Failure(message="lost", application_failure_info=ApplicationFailureInfo(type="WorkerDied")),
    )
    await stage.client.workflow_service.respond_activity_task_failed(request)


async def scheduled_activities(stage: Stage, config: dict[str, Any]) -> int:
    """Return how many activities the thread's runs have scheduled."""
    histories = [await stage.history(run) for run in await stage.runs(parse_config(config).thread_id)]
    kinds = [event.event_type for history in histories for event in history.events]
    return kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)


@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "event loop"])
@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, CustomError, SystemExit, KeyboardInterrupt])
async def test_an_exception_that_usually_ends_a_process_is_a_failure(
    stage: Stage, error: type[BaseException], is_async: bool, durability: Durability
) -> None:
    """The node has not been cancelled, so its run fails, after one attempt, and the worker goes on."""
    runs: list[str] = []

    def failing(state: State) -> None:
        runs.append("failing")
        raise error("by hand")

    async def failing_async(state: State) -> None:
        failing(state)

    graph = single(failing_async if is_async else failing, durability)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(NodeError, match="Node 'only' .*by hand"):
            await client.ainvoke({}, config)
        assert runs == ["failing"]
        assert await scheduled_activities(stage, config) == 1
        with pytest.raises(NodeError, match="by hand"):
            await client.ainvoke(None, config)


async def test_an_attempt_whose_worker_was_lost_does_not_count(stage: Stage, durability: Durability) -> None:
    """A policy of two attempts allows one retry after an exception, however many workers are lost before and after."""
    attempts: list[int] = []
    outcomes = ["lost", "raises", "lost", "lost", "done"]

    async def node(state: State, config: Any) -> dict[str, Any]:
        attempts.append(config["metadata"]["attempt"])
        outcome = outcomes[len(attempts) - 1]
        if outcome == "lost":
            await lose_worker(stage)
            await asyncio.sleep(DAY)
        if outcome == "raises":
            raise ConnectionError("try again")
        return {"log": [outcome]}

    policy = RetryPolicy(initial_interval=0.01, max_attempts=2)
    graph = single(node, durability, retry_policy=policy, heartbeat_timeout=DAY)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert await client.ainvoke({}, config) == {"log": ["done"]}
    assert attempts == [1, 1, 2, 2, 2]


async def test_failed_attempts_are_counted_across_lost_workers(stage: Stage, durability: Durability) -> None:
    """The last attempt that the policy allows is final, although the worker of the one before it was lost."""
    outcomes = ["raises", "raises", "lost", "raises"]
    made: list[str] = []

    async def node(state: State) -> dict[str, Any]:
        made.append(outcomes[len(made)])
        if made[-1] == "lost":
            await lose_worker(stage)
            await asyncio.sleep(DAY)
        raise ConnectionError("try again")

    policy = RetryPolicy(initial_interval=0.01, max_attempts=3)
    graph = single(node, durability, retry_policy=policy, heartbeat_timeout=DAY)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError, match="try again") as caught:
            await client.ainvoke({}, config)
    assert isinstance(caught.value, NodeError)
    assert caught.value.attempts == 3
    assert made == outcomes


async def test_attempts_go_on_when_the_activity_of_fused_super_steps_runs_out_of_time(
    stage: Stage, durability: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine attempts are nine attempts, though their pauses take longer than one activity may.

    The time that such an activity may take beyond its slowest node is replaced: it is a minute.
    """
    monkeypatch.setattr("stepgraph_workflows.fused_dispatch.GRACE", timedelta(seconds=1))
    attempts: list[int] = []

    def node(state: State, config: Any) -> None:
        attempts.append(config["metadata"]["attempt"])
        raise ConnectionError("not yet")

    policy = RetryPolicy(initial_interval=0.4, backoff_factor=1.0, max_attempts=9, jitter=False)
    graph = single(node, durability, retry_policy=policy, timeout=1)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError, match="not yet") as caught:
            await client.ainvoke({}, config)
    assert attempts == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert isinstance(caught.value, NodeError)
    assert caught.value.attempts == 9


async def test_an_attempt_that_takes_too_long_counts(stage: Stage, durability: Durability) -> None:
    """With a retry policy, the last attempt that exceeds the node's timeout is final, whatever ``retry_on`` says."""
    runs: list[int] = []

    async def slow(state: State) -> None:
        runs.append(1)
        await asyncio.sleep(DAY)

    policy = RetryPolicy(initial_interval=0.01, max_attempts=2, retry_on=ConnectionError)
    graph = single(slow, durability, retry_policy=policy, timeout=0.2)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(TimeoutError, match="longer than the node's timeout of 0.2 seconds") as caught:
            await client.ainvoke({}, config)
    assert isinstance(caught.value, NodeError)
    assert caught.value.attempts == 2
    assert len(runs) == 2


async def test_a_sibling_of_a_failed_node_is_not_left_running(stage: Stage, durability: Durability) -> None:
    """The run fails when both nodes have ended, and the sibling's result is kept."""
    running: list[str] = []
    failed = asyncio.Event()

    async def fails(state: State) -> None:
        failed.set()
        raise CustomError("at once")

    async def sibling(state: State) -> dict[str, Any]:
        running.append("sibling")
        await failed.wait()
        await asyncio.sleep(0.2)
        running.remove("sibling")
        return {"log": ["sibling"]}

    builder = StateGraph(State)
    builder.add_node("fails", fails).add_node("sibling", sibling)
    for name in ("fails", "sibling"):
        builder.add_edge(START, name).add_edge(name, END)
    graph = builder.compile(name="siblings", durability=durability)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(NodeError, match=r"Finished, and not run again: 'sibling'"):
            await client.ainvoke({}, config)
        assert running == []


def block(seconds: float) -> None:
    """Keep the event loop from running, as a node does that is async and calls what blocks."""
    time.sleep(seconds)


def hold_interpreter_lock(seconds: float) -> None:
    """Sleep without releasing Python's interpreter lock, as a badly written extension does."""
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


@pytest.mark.parametrize("blocking", [hold_interpreter_lock, block], ids=["interpreter lock", "event loop"])
async def test_a_node_that_keeps_the_worker_from_sending_heartbeats_is_not_started_twice(
    stage: Stage, blocking: Callable[[float], None], durability: Durability
) -> None:
    """The worker's sidecar sends heartbeats while the worker cannot."""
    runs: list[str] = []

    async def blocks(state: State) -> dict[str, Any]:
        runs.append("blocks")
        blocking(6.0)
        return {"log": ["blocks"]}

    graph = single(blocks, durability, heartbeat_timeout=3)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert await client.ainvoke({}, config) == {"log": ["blocks"]}
    assert runs == ["blocks"]


async def test_a_blocked_retry_does_not_erase_what_was_acknowledged(stage: Stage, durability: Durability) -> None:
    """The sidecar repeats the details that the server has: the failed attempt stays counted when the worker is lost."""
    made: list[str] = []

    async def node(state: State) -> dict[str, Any]:
        made.append("attempt")
        if len(made) == 2:
            block(4.0)  # longer than the sidecar waits
            await lose_worker(stage)
            await asyncio.sleep(DAY)
        raise ConnectionError("try again")

    policy = RetryPolicy(initial_interval=0.01, max_attempts=2)
    graph = single(node, durability, retry_policy=policy, heartbeat_timeout=3)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError, match="try again") as caught:
            await client.ainvoke({}, config)
    assert isinstance(caught.value, NodeError)
    assert caught.value.attempts == 2
    assert len(made) == 3


async def test_details_that_cannot_be_sent_are_an_error_of_the_node(stage: Stage, durability: Durability) -> None:
    """The node that passes them to a heartbeat fails, once, and its worker goes on."""
    runs: list[str] = []

    async def node(state: State) -> None:
        runs.append("node")
        activity.heartbeat(object())

    graph = single(node, durability)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(TypeError, match="object"):
            await client.ainvoke({}, config)
    assert runs == ["node"]


async def test_a_node_may_send_heartbeats_of_its_own(stage: Stage, durability: Durability) -> None:
    """A node finds the details that it sent itself, also after a failed attempt, and failed attempts stay counted."""
    found: list[Any] = []

    def node(state: State) -> dict[str, Any]:
        found.append(list(activity.info().heartbeat_details))
        activity.heartbeat(f"half of {len(found)}", 50)
        if len(found) < 3:
            raise ConnectionError("try again")
        return {"log": ["done"]}

    graph = single(node, durability, retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=3))
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert await client.ainvoke({}, config) == {"log": ["done"]}
    assert found[0] == []
    assert found[1:] == ([["half of 1", 50], ["half of 2", 50]] if durability == "sync" else [[], []])
