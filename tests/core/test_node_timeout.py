"""Tests of `TimeoutPolicy`, of the defaults for all nodes, and of LangGraph's options that are refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from operator import add
from typing import Annotated, Any

import langgraph.graph
import langgraph.types
import pytest
from langgraph.errors import NodeTimeoutError as LangGraphTimeoutError
from typing_extensions import TypedDict

from stepgraph import END, START, RetryPolicy, Runtime, StateGraph, StreamWriter, TimeoutPolicy
from stepgraph.errors import GraphDefinitionError, NodeError, NodeTimeoutError
from stepgraph.execution.node_timeout import AttemptTimer
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


async def wait_for_ever(state: State) -> None:
    await asyncio.Event().wait()


def single(node: Callable[..., Any], **options: Any) -> StateGraph:
    return StateGraph(State).add_node("n", node, **options).add_edge(START, "n").add_edge("n", END)


@pytest.mark.parametrize("kind", ["run", "idle"])
async def test_an_attempt_that_exceeds_its_policy_fails_as_in_langgraph(kind: str) -> None:
    """The error says which limit it was. Its attributes, and that it is no `TimeoutError`, are LangGraph's."""
    limits: dict[str, Any] = {f"{kind}_timeout": timedelta(milliseconds=50)}
    theirs = langgraph.graph.StateGraph(State).add_node(
        "n", wait_for_ever, timeout=langgraph.types.TimeoutPolicy(**limits)
    )
    theirs = theirs.add_edge(START, "n").add_edge("n", END)
    with pytest.raises(LangGraphTimeoutError) as expected:
        await theirs.compile().ainvoke({})
    for policy in (TimeoutPolicy(**limits), langgraph.types.TimeoutPolicy(**limits)):
        runner = MemoryRunner(single(wait_for_ever, timeout=policy).compile(name="g"))
        with pytest.raises(NodeTimeoutError, match=rf"than its {kind}_timeout of 0\.05 seconds") as caught:
            await runner.ainvoke({}, THREAD)
        assert isinstance(caught.value, NodeError)
        assert not isinstance(caught.value, TimeoutError)
    async with asyncio.timeout(None):
        with pytest.raises(NodeTimeoutError) as raised:
            async with AttemptTimer(policy_of(limits), "n"):
                await asyncio.Event().wait()
    for name in ("node", "kind", "timeout", "run_timeout", "idle_timeout"):
        assert getattr(raised.value, name) == getattr(expected.value, name)
    assert raised.value.elapsed >= 0.05


def policy_of(limits: dict[str, Any]) -> TimeoutPolicy:
    return TimeoutPolicy(**limits).checked()


@pytest.mark.parametrize("sign", ["heartbeat", "stream", "stream that does not count"])
async def test_signs_of_progress_keep_an_attempt_going(sign: str) -> None:
    """A heartbeat always counts, on a thread, too; a value for the stream counts with ``refresh_on="auto"``."""
    idle = 0.5
    policy = TimeoutPolicy(
        idle_timeout=idle, refresh_on="heartbeat" if sign == "stream that does not count" else "auto"
    )

    async def node(runtime: Runtime[Any], writer: StreamWriter) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        end = loop.time() + 2 * idle
        while loop.time() < end:
            if sign == "heartbeat":
                await asyncio.to_thread(runtime.heartbeat)
            else:
                writer("x")
            await asyncio.sleep(0.001)
        return {"log": ["done"]}

    runner = MemoryRunner(single(node, timeout=policy).compile(name="g"))
    if sign == "stream that does not count":
        with pytest.raises(NodeTimeoutError, match="made no progress for longer than its idle_timeout"):
            await runner.ainvoke({}, THREAD)
    else:
        assert await runner.ainvoke({}, THREAD) == {"log": ["done"]}


async def test_a_function_that_is_not_async_has_timeouts_too() -> None:
    """LangGraph refuses them for such nodes. Here the attempt fails while the function is told to end."""
    release = threading.Event()
    runner = MemoryRunner(
        single(lambda state: release.wait(), timeout=TimeoutPolicy(run_timeout=0.05)).compile(name="g")
    )
    with pytest.raises(NodeTimeoutError):
        await runner.ainvoke({}, THREAD)
    release.set()


def test_a_plain_timeout_bounds_the_attempts_of_workers() -> None:
    """Only a policy makes a timeout a failure of the node; a longer one than the default bound extends that."""
    builder = single(wait_for_ever, timeout=5).add_node("m", wait_for_ever, timeout=TimeoutPolicy(run_timeout=200_000))
    registry = builder.add_edge("n", "m").add_node("o", wait_for_ever).add_edge("n", "o").compile(name="g").registry
    assert [registry.spec.node(name).timeout for name in "nmo"] == [5.0, 200_000.0, 86_400.0]
    assert [registry.nodes[name].timeout_policy is None for name in "nmo"] == [True, False, True]


def test_defaults_hold_for_nodes_without_options_of_their_own() -> None:
    """As in LangGraph, it does not matter whether a node was added before or after; the last default counts."""
    first, second = RetryPolicy(max_attempts=2), RetryPolicy(max_attempts=7)
    builder = single(wait_for_ever).set_node_defaults(retry_policy=first, timeout=30)
    builder.set_node_defaults(retry_policy=second).add_node("m", wait_for_ever).add_edge("n", "m")
    builder.add_node("own", wait_for_ever, retry_policy=first, timeout=5).add_edge("n", "own")
    registry = builder.compile(name="g").registry
    assert [registry.nodes[name].retry_policies for name in ("n", "m", "own")] == [(second,), (second,), (first,)]
    assert [registry.spec.node(name).timeout for name in ("n", "m", "own")] == [30.0, 30.0, 5.0]
    retries = [registry.spec.node(name).retry for name in ("n", "m", "own")]
    assert [retry and retry.max_attempts for retry in retries] == [7, 7, 2]


REFUSED: dict[str, tuple[Callable[[StateGraph], Any], str]] = {
    "an error handler": (
        lambda b: b.add_node("m", wait_for_ever, error_handler=wait_for_ever),
        "'m' has error_handler=<function wait_for_ever",
    ),
    "a cache policy": (
        lambda b: b.add_node("m", wait_for_ever, cache_policy=langgraph.types.CachePolicy()),
        "'m' has cache_policy=CachePolicy",
    ),
    "a trace policy": (
        lambda b: b.add_node("m", wait_for_ever, trace_policy=langgraph.types.TracePolicy()),
        "'m' has trace_policy=TracePolicy",
    ),
    "an error handler for all": (
        lambda b: b.set_node_defaults(error_handler=wait_for_ever),
        "'set_node_defaults' has error_handler=",
    ),
}


@pytest.mark.parametrize(("mistake", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_there_is_refused_with_the_page_that_says_so(
    mistake: Callable[[StateGraph], Any], message: str
) -> None:
    """The error says what to do instead."""
    with pytest.raises(GraphDefinitionError, match=message) as caught:
        mistake(single(wait_for_ever))
    assert caught.value.message.endswith("See docs/coming-from-langgraph.md.")


@pytest.mark.parametrize(
    "limits", [{"run_timeout": 0}, {"idle_timeout": -1.0}, {"run_timeout": "5"}, {"refresh_on": "never"}]
)
def test_a_timeout_policy_needs_positive_times(limits: dict[str, Any]) -> None:
    """The error names the node and the field."""
    with pytest.raises(GraphDefinitionError, match=rf"Node 'n': {next(iter(limits))} must be .*got "):
        single(wait_for_ever, timeout=TimeoutPolicy(**limits))


@pytest.mark.parametrize("name", ["CachePolicy", "TracePolicy", "entrypoint", "task"])
def test_an_import_of_what_is_not_there_says_so(name: str) -> None:
    """The message of the import error names what to do instead, and the page."""
    with pytest.raises(ImportError, match=rf"stepgraph has no {name}\. .* See docs/coming-from-langgraph\.md\."):
        exec(f"from stepgraph import {name}")
