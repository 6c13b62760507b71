"""Tests of what surrounds a node: its `Runtime`, the functions that find it, the store, the writer, the config."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from operator import add
from typing import Annotated, Any

import langgraph.config
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableLambda, ensure_config
from langchain_core.tools import tool
from langgraph.prebuilt import ToolNode
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

from stepgraph import (
    END,
    START,
    ExecutionInfo,
    Runtime,
    StateGraph,
    StreamWriter,
    get_config,
    get_runtime,
    get_store,
    get_stream_writer,
)
from stepgraph.errors import GraphDefinitionError, OutsideNodeError
from stepgraph.execution.node_services import NodeServices
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_node import run_task
from stepgraph.execution.runtime import StoreOnDemand, no_heartbeat
from stepgraph.execution.stream_writer import StreamedValue, no_stream
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph


class State(TypedDict, total=False):
    text: str
    log: Annotated[list[str], add]


def task(compiled: CompiledGraph, services: NodeServices, **fields: Any) -> Any:
    """Run the node ``n`` of a graph, with what a process provides."""
    registry = compiled.registry
    request = TaskRequest(
        graph="g",
        thread_id="t1",
        run_id="r1",
        checkpoint_id="r1.000002",
        step=2,
        spec_hash=registry.spec.hash,
        node="n",
        task_id="task-1",
        **fields,
    )
    code = RunCode(registry, registry.spec, services)
    return asyncio.run(run_task(code, request, {}, run_sync=asyncio.to_thread, attempt=3))


@pytest.mark.parametrize("kind", ["thread", "event loop"])
def test_a_node_finds_its_runtime_by_parameter_and_by_function(kind: str) -> None:
    """Config, runtime, store and writer are the same objects, for functions on threads and on the event loop."""
    store, found = InMemoryStore(), []

    def look(config: Any, runtime: Runtime[Any], kept: Any, writer: StreamWriter) -> None:
        found.append(
            (
                get_config() is config,
                get_runtime() is runtime,
                get_store() is kept is runtime.store is store,
                get_stream_writer() is writer is runtime.stream_writer,
            )
        )

    def on_thread(config: Any, runtime: Runtime[Any], store: Any, writer: StreamWriter) -> None:
        look(config, runtime, store, writer)

    async def on_loop(config: Any, runtime: Runtime[Any], store: Any, writer: StreamWriter) -> None:
        await asyncio.sleep(0)
        look(config, runtime, store, writer)

    builder = StateGraph(State).add_node("n", on_thread if kind == "thread" else on_loop)
    builder.add_edge(START, "n").add_edge("n", END)
    MemoryRunner(builder.compile(name="g", store=store)).invoke({}, THREAD)
    assert found == [(True, True, True, True)]


@pytest.mark.parametrize("function", [get_config, get_runtime, get_store, get_stream_writer])
def test_outside_a_node_there_is_no_runtime(function: Any) -> None:
    """The error is a `RuntimeError`, as in LangGraph, and says what to do."""
    with pytest.raises(OutsideNodeError, match=rf"{function.__name__}\(\) was called outside a node\. Call it from"):
        function()
    assert issubclass(OutsideNodeError, RuntimeError)


def test_the_runtime_says_which_attempt_at_which_task_runs() -> None:
    """`ExecutionInfo` has the ids of the task, the attempt, and when the first attempt started."""
    infos: list[Any] = []

    def node(runtime: Runtime[Any]) -> None:
        infos.append(runtime.execution_info)

    compiled = graph(State, "START > n, n > END", n=node)
    task(compiled, NodeServices(first_attempt_time=5.0))
    assert infos == [ExecutionInfo("r1.000002", "n:task-1", "task-1", "t1", "r1", 3, 5.0)]
    before = time.time()
    MemoryRunner(compiled).invoke({}, THREAD)
    assert before <= infos[1].node_first_attempt_time <= time.time()
    assert (infos[1].thread_id, infos[1].run_id, infos[1].node_attempt) == ("t1", "run-0001", 1)


def test_what_a_node_writes_goes_to_the_sink_of_its_process() -> None:
    """Each value comes with its task and attempt. Without a sink, writing does nothing."""
    sent: list[StreamedValue] = []

    def node(writer: StreamWriter) -> None:
        writer({"progress": 1})
        get_stream_writer()("half")

    compiled = graph(State, "START > n, n > END", n=node)
    task(compiled, NodeServices(stream=sent.append))
    assert [(each.node, each.task_id, each.attempt, each.value) for each in sent] == [
        ("n", "task-1", 3, {"progress": 1}),
        ("n", "task-1", 3, "half"),
    ]
    MemoryRunner(compiled).invoke({}, THREAD)
    assert len(sent) == 2


def test_the_store_of_the_process_is_opened_when_a_node_asks_for_it() -> None:
    """A node that takes the runtime alone opens no store; a graph's own store comes first."""
    opened: list[InMemoryStore] = []

    def open_store() -> InMemoryStore:
        opened.append(InMemoryStore())
        return opened[-1]

    services = NodeServices(open_store=open_store)
    task(graph(State, "START > n, n > END", n=lambda runtime: {"text": repr(runtime)}), services)
    assert opened == []
    task(graph(State, "START > n, n > END", n=lambda runtime: {"text": str(runtime.store is opened[0])}), services)
    assert len(opened) == 1
    builder = StateGraph(State).add_node("n", lambda store: store.put(("a",), "k", {"v": 1})).add_edge(START, "n")
    own = InMemoryStore()
    task(builder.add_edge("n", END).compile(name="g", store=own), services)
    assert len(opened) == 1
    item = own.get(("a",), "k")
    assert item is not None
    assert item.value == {"v": 1}


def test_without_a_store_a_node_finds_none() -> None:
    """As in LangGraph, the store is `None` where there is none."""
    seen: list[Any] = []
    runner = MemoryRunner(
        graph(State, "START > n, n > END", n=lambda store, runtime: seen.extend([store, runtime.store, get_store()]))
    )
    runner.invoke({}, THREAD)
    assert seen == [None, None, None]


def test_only_a_store_is_taken_as_a_store() -> None:
    """`compile` refuses an object without a store's methods."""
    builder = StateGraph(State).add_node("n", lambda: None).add_edge(START, "n")
    with pytest.raises(GraphDefinitionError, match=r"compile\(store=\.\.\.\) takes a BaseStore of .*; got True\."):
        builder.add_edge("n", END).compile(name="g", store=True)


def test_a_runtime_can_be_changed_for_others() -> None:
    """`override` and `merge` make copies, as LangGraph's do, and neither opens the store."""
    opened: list[str] = []
    first: Runtime[Any] = Runtime(context={"user": "ada"}, store=StoreOnDemand(lambda: opened.append("x")))
    assert first.override(previous=1).context == {"user": "ada"}
    second: Runtime[Any] = Runtime(context={"user": "bob"}, stream_writer=print)
    assert opened == []
    merged = first.merge(second)
    assert (merged.context, merged.stream_writer) == ({"user": "bob"}, print)
    assert second.merge(Runtime()) == second
    assert Runtime().stream_writer is no_stream
    assert Runtime().heartbeat is no_heartbeat
    assert replace(second, previous=2).previous == 2
    with pytest.raises(RuntimeError, match="no execution_info to patch"):
        Runtime().patch_execution_info(node_attempt=2)
    info = ExecutionInfo("c", "ns", "t")
    patched = Runtime(execution_info=info).patch_execution_info(node_attempt=2).execution_info
    assert patched == info.patch(node_attempt=2)
    assert (second.drain_requested, second.drain_reason) == (False, None)


def test_langchain_sees_the_config_of_the_node_that_calls_it() -> None:
    """Tags, metadata and configurable keys reach the chain that a node calls, on threads and on the event loop."""
    seen: list[Any] = []

    def look(value: Any) -> Any:
        config = ensure_config()
        seen.append((config["tags"], config["metadata"]["langgraph_node"], config["configurable"]["user"]))
        return value

    async def on_loop(state: State) -> None:
        await RunnableLambda(look).ainvoke(1)

    runner = MemoryRunner(
        graph(
            State,
            "START > a, a > b, b > END",
            a=lambda state: RunnableLambda(look).invoke({}),
            b=on_loop,
        )
    )
    runner.invoke({}, {"configurable": {"thread_id": "t1", "user": "ada"}, "tags": ["nightly"]})
    assert seen == [(["nightly"], "a", "ada"), (["nightly"], "b", "ada")]
    assert "langgraph_node" not in ensure_config().get("metadata", {})


def test_functions_of_langgraph_find_the_runtime_too() -> None:
    """`langgraph.config`'s functions, and a `ToolNode`, work in a node of stepgraph."""
    found: list[Any] = []

    @tool
    def remember(word: str) -> str:
        """Keep a word."""
        langgraph.config.get_store().put(("words",), word, {"v": 1})
        return f"kept {word}"

    class Chat(TypedDict, total=False):
        messages: Annotated[list[AnyMessage], add]

    def ask(state: Chat) -> None:
        found.append(langgraph.config.get_store())

    call = AIMessage("", tool_calls=[{"name": "remember", "args": {"word": "tea"}, "id": "1"}])
    store = InMemoryStore()
    builder = StateGraph(Chat).add_node(ask).add_node(ToolNode([remember])).add_edge(START, "ask")
    builder.add_edge("ask", "tools").add_edge("tools", END)
    result = MemoryRunner(builder.compile(name="g", store=store)).invoke(
        {"messages": [HumanMessage("x"), call]}, THREAD
    )
    assert found == [store]
    assert store.get(("words",), "tea") is not None
    assert result["messages"][-1].content == "kept tea"
