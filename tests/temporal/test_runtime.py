"""What surrounds a node on a real server: runtime, store, parameters, several retry policies."""

from __future__ import annotations

import asyncio
import time
from operator import add
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda, ensure_config
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

from stepgraph import END, START, RetryPolicy, Runtime, StateGraph, StreamWriter, TimeoutPolicy, get_runtime, get_store
from stepgraph.engine.spec import Durability
from stepgraph.errors import NodeTimeoutError
from stepgraph.protocol.config import parse_config
from tests.conftest import Stage


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_nodes_and_routers_take_what_they_name(stage: Stage, durability: Durability) -> None:
    """Functions on threads and on the event loop, Runnables and routers find store, runtime, config and writer."""
    store = InMemoryStore()

    def on_thread(state: State, runtime: Runtime[Any], kept: BaseStore, *, writer: StreamWriter) -> dict[str, Any]:
        writer("nobody reads this")
        assert get_runtime() is runtime
        kept.put(("seen",), "thread", {"task": runtime.execution_info.task_id if runtime.execution_info else ""})
        return {"log": ["thread"]}

    async def on_loop(config: RunnableConfig) -> dict[str, Any]:
        await asyncio.sleep(0)
        await get_store().aput(("seen",), "loop", {"task": config["metadata"]["task_id"]})
        return {"log": ["loop"]}

    def in_runnable(state: State) -> dict[str, Any]:
        return {"log": [ensure_config()["metadata"]["langgraph_node"], *ensure_config()["tags"]]}

    def router(store: BaseStore) -> str:
        return "runnable" if len(store.search(("seen",))) == 2 else END

    builder = StateGraph(State).add_sequence([on_thread, on_loop]).add_node("runnable", RunnableLambda(in_runnable))
    builder.add_edge(START, "on_thread").add_edge("runnable", END)
    builder.add_conditional_edges("on_loop", router, ["runnable", END])
    graph = builder.compile(name=f"surrounded-{durability}", durability=durability, store=store)
    async with stage.serving(graph):
        client, config = stage.use(graph), stage.thread(tags=["nightly"])
        assert await client.ainvoke({}, config) == {"log": ["thread", "loop", "runnable", "nightly"]}
        thread = parse_config(config).thread_id
        tasks = {item.key: item.value["task"] for item in store.search(("seen",))}
        assert len(set(tasks.values())) == 2
        assert thread not in tasks.values()


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_the_first_retry_policy_that_matches_decides(stage: Stage, durability: Durability) -> None:
    """Each exception is retried as the first policy says that names it; attempts are counted over all of them."""
    infos: list[Any] = []

    def flaky(runtime: Runtime[Any]) -> dict[str, Any]:
        infos.append(runtime.execution_info)
        if len(infos) < 4:
            raise (KeyError("x") if len(infos) % 2 else ConnectionError("y"))
        return {"log": ["done"]}

    policies = [
        RetryPolicy(initial_interval=0.0, max_attempts=2, retry_on=OSError),
        RetryPolicy(initial_interval=0.0, max_attempts=9, retry_on=(KeyError, ConnectionError)),
    ]
    builder = StateGraph(State).add_node("flaky", flaky, retry_policy=[policies[1], policies[0]])
    graph = builder.add_edge(START, "flaky").add_edge("flaky", END).compile(name="flaky", durability=durability)
    async with stage.serving(graph):
        assert await stage.use(graph).ainvoke({}, stage.thread()) == {"log": ["done"]}
        assert [info.node_attempt for info in infos] == [1, 2, 3, 4]
        assert len({info.node_first_attempt_time for info in infos}) == 1
    infos.clear()
    builder = StateGraph(State).add_node("flaky", flaky, retry_policy=policies)
    graph = builder.add_edge(START, "flaky").add_edge("flaky", END).compile(name="fails", durability=durability)
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await stage.use(graph).ainvoke({}, stage.thread())
        assert [info.node_attempt for info in infos] == [1, 2]


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("kind", ["thread", "event loop"])
async def test_an_attempt_that_exceeds_its_timeout_policy_is_a_failure_of_the_node(
    stage: Stage, durability: Durability, kind: str
) -> None:
    """It fails at once without a retry policy; a retry policy's default retries it. A function on a thread is ended."""
    attempts: list[int] = []

    def on_thread(runtime: Runtime[Any]) -> dict[str, Any]:
        attempts.append(runtime.execution_info.node_attempt if runtime.execution_info else 0)
        while len(attempts) == 1:
            time.sleep(0.001)
        return {"log": ["done"]}

    async def on_loop(runtime: Runtime[Any]) -> dict[str, Any]:
        attempts.append(runtime.execution_info.node_attempt if runtime.execution_info else 0)
        if len(attempts) == 1:
            await asyncio.Event().wait()
        return {"log": ["done"]}

    builder = StateGraph(State).add_node(
        "slow",
        on_thread if kind == "thread" else on_loop,
        timeout=TimeoutPolicy(run_timeout=0.2),
        retry_policy=RetryPolicy(initial_interval=0.0),
    )
    graph = builder.add_edge(START, "slow").add_edge("slow", END).compile(name="slow", durability=durability)
    async with stage.serving(graph):
        assert await stage.use(graph).ainvoke({}, stage.thread()) == {"log": ["done"]}
        assert attempts == [1, 2]
    attempts.clear()
    builder = StateGraph(State).add_node("slow", on_loop, timeout=TimeoutPolicy(idle_timeout=0.2))
    graph = builder.add_edge(START, "slow").add_edge("slow", END).compile(name="fails", durability=durability)
    async with stage.serving(graph):
        with pytest.raises(NodeTimeoutError, match="made no progress for longer than its idle_timeout of 0.2 seconds"):
            await stage.use(graph).ainvoke({}, stage.thread())
        assert attempts == [1]
